package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/pyjson"
)

// verdict says what this program does about a key of a configuration file.
type verdict struct {
	kind  int
	why   string   // harmless: why no value changes a number; refused: what a value changes
	allow []string // of a refused key: the JSON values that change nothing; none: those of unset
}

const (
	computed = iota // read; its values are checked where they are read
	harmless        // no value of it changes a number
	refused         // a value other than those allowed changes numbers in a way that is not computed here
)

// unset are the values of a key that is not in use.
var unset = []string{"null", "false", "0", "0.0", `""`, "[]", "{}"}

// verdicts are the keys of each file. Every key that transformers 5 and peft know is here; testdata/keys records
// which those are.
//
// A key that is in no list: in config.json it is harmless, because transformers computes with declared keys only, and
// a note names it. In adapter_config.json it is refused if it is set, because peft adds a key there for every new
// variant of LoRA.
var verdicts = map[string]map[string]verdict{
	"config.json": table(
		group{computed, "", nil, `
			architectures model_type vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads
			num_key_value_heads head_dim max_position_embeddings rms_norm_eps hidden_act tie_word_embeddings
			attention_bias mlp_bias rope_theta rope_scaling rope_parameters partial_rotary_factor
			original_max_position_embeddings sliding_window use_sliding_window max_window_layers layer_types
			bos_token_id eos_token_id torch_dtype dtype quantization_config`},
		group{refused, "its weights are compressed", nil, `compression_config`},
		group{refused, "its layers differ in size", nil, `per_layer_config`},
		group{refused, "a token would attend to later ones", []string{"true"}, `is_causal`},
		group{refused, "it names other files than config.json and *.safetensors", nil, `
			configuration_files transformers_weights`},
		group{refused, "heads have been cut out", nil, `pruned_heads`},
		group{harmless, "generation settings, which transformers 5 drops from config.json", nil, `
			assistant_confidence_threshold assistant_lookbehind bad_words_ids begin_suppress_tokens
			diversity_penalty do_sample early_stopping encoder_no_repeat_ngram_size encoder_repetition_penalty
			epsilon_cutoff eta_cutoff exponential_decay_length_penalty forced_bos_token_id forced_eos_token_id
			length_penalty max_length min_length no_repeat_ngram_size num_assistant_tokens
			num_assistant_tokens_schedule num_beam_groups num_beams num_return_sequences output_scores
			remove_invalid_values repetition_penalty return_dict_in_generate suppress_tokens target_lookbehind
			temperature top_k top_p typical_p`},
		group{harmless, "classes and heads of other tasks", nil, `
			finetuning_task id2label label2id num_labels problem_type task_specific_params add_cross_attention
			cross_attention_hidden_size decoder_start_token_id is_decoder is_encoder_decoder sep_token_id
			tie_encoder_decoder`},
		group{harmless, "what the classes of transformers return, and how they run", nil, `
			output_attentions output_hidden_states return_dict use_cache attn_implementation
			_attn_implementation_autoset _flash_attn_2_enabled experts_implementation chunk_size_feed_forward
			pretraining_tp gradient_checkpointing torchscript tf_legacy_loss use_bfloat16`},
		group{harmless, "acts in transformers' training mode only: rollout and training compute as in evaluation", nil,
			`attention_dropout`},
		group{harmless, "the spread of random initial weights; all are loaded", nil, `initializer_range`},
		group{harmless, "sequences are never padded here; as an input, the token is trained as any other", nil,
			`pad_token_id`},
		group{harmless, "names and versions", nil, `
			_commit_hash _name_or_path name_or_path prefix tokenizer_class transformers_version unsloth_fixed
			unsloth_version`},
		group{harmless, "code that transformers runs only when it is told to trust it", nil, `auto_map`},
		group{harmless, "not read by the four classes", nil, `
			is_llama_config max_sequence_length rope_interleaved use_mrope`},
		group{harmless, "for other programs than transformers", nil, `transformers.js_config`},
	),
	"rope_parameters": table(
		group{computed, "", nil, `
			rope_type type rope_theta factor low_freq_factor high_freq_factor original_max_position_embeddings
			partial_rotary_factor`},
		group{harmless, "of rope types that are refused", nil, `
			attention_factor attn_factor beta_fast beta_slow extrapolation_factor finetuned long_factor short_factor
			mrope_section mscale mscale_all_dim truncate`},
	),
	"adapter_config.json": table(
		group{computed, "", nil, `
			peft_type r lora_alpha use_rslora lora_dropout target_modules exclude_modules layers_to_transform
			rank_pattern alpha_pattern base_model_name_or_path bias`},
		group{refused, "peft changes the base weights when it loads such an adapter, or they were changed when it " +
			"was trained (peft's path_initial_model_for_weight_conversion saves a plain one)",
			[]string{"null", "true", "false", `"gaussian"`, `"eva"`, `"orthogonal"`, `"mica"`}, `init_lora_weights`},
		group{refused, "it replaces layers or weights besides the low-rank update", nil, `
			modules_to_save trainable_token_indices layer_replication target_parameters enable_lora`},
		group{refused, "its update is not W + scale B A", nil, `
			use_dora lora_bias use_qalora use_bdlora kasa_config monteclora_config arrow_config
			alora_invocation_tokens megatron_config velora_config`},
		group{refused, "it selects layers by a name other than model.layers",
			[]string{"null", `"layers"`, `["layers"]`, "[]", `""`}, `layers_pattern`},
		group{harmless, "only chooses initial values; the trained ones are loaded", nil, `
			corda_config eva_config loftq_config lora_ga_config`},
		group{harmless, "peft sets it to false for the linear layers of these models", nil, `fan_in_fan_out`},
		group{harmless, "only matters together with a key that is refused", nil, `
			megatron_core qalora_group_size`},
		group{harmless, "adapters of the embedding and the output matrix are refused", nil, `ensure_weight_tying`},
		group{harmless, "names, versions and ways to run", nil, `
			auto_mapping inference_mode merge_weights peft_version revision runtime_config task_type`},
	),
}

// group is one verdict on several keys, separated by blanks.
type group struct {
	kind  int
	why   string
	allow []string
	keys  string
}

func table(groups ...group) map[string]verdict {
	t := map[string]verdict{}
	for _, g := range groups {
		for _, key := range strings.Fields(g.keys) {
			t[key] = verdict{g.kind, g.why, g.allow}
		}
	}
	return t
}

// refuses reports whether value, which is compact JSON, is one that is not computed here.
func (v verdict) refuses(value string) bool {
	allow := v.allow
	if allow == nil {
		allow = unset
	}
	return v.kind == refused && !slices.Contains(allow, value)
}

// tagged is how transformers 5 writes NaN and infinite numbers in config.json.
var tagged = regexp.MustCompile(`\{\s*"__float__"\s*:\s*"(NaN|Infinity|-Infinity)"\s*\}`)

// instead is what to do about a file with a key that is refused.
var instead = map[string]string{
	"config.json":         "use a checkpoint without it",
	"rope_parameters":     "use a checkpoint without it",
	"adapter_config.json": "train the adapter without it, or merge it with peft's merge_and_unload",
}

// checkedFile is a configuration file whose keys have been checked against the verdicts.
type checkedFile struct {
	values  map[string]string // every key's value as compact JSON, numbers that are not finite, all harmless, as null
	unknown []string          // the keys that have no verdict and are set
}

// checkFile reads a file, which is one object. A value that changes numbers in a way that is not computed is an error,
// and so is a number that is not finite in a key that is computed with.
func checkFile(file string, data []byte) (*checkedFile, error) {
	data = tagged.ReplaceAll(data, []byte("$1"))
	for _, n := range pyjson.Find(data) {
		if v, known := verdictOn(file, n.Path); known && v.kind != harmless {
			return nil, fmt.Errorf("%s is %s, and it is computed with: it must be a finite number", n.Path, n.Value)
		}
	}
	var raw map[string]json.RawMessage
	if err := pyjson.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("not a usable %s: %w", file, err)
	}
	if raw == nil {
		return nil, fmt.Errorf("not a usable %s: it is null, not an object", file)
	}
	j := &checkedFile{values: map[string]string{}}
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		var compact bytes.Buffer
		if err := json.Compact(&compact, raw[key]); err != nil {
			return nil, err
		}
		value := compact.String()
		j.values[key] = value
		v, known := verdicts[file][key]
		if v.refuses(value) {
			return nil, fmt.Errorf("%s is %s, which is not supported: %s: %s", key, shortened(value), v.why,
				instead[file])
		}
		if !known && !slices.Contains(unset, value) {
			j.unknown = append(j.unknown, key)
		}
	}
	return j, nil
}

// verdictOn finds the verdict on a key of file, or on one within the two objects that hold rotary embeddings.
func verdictOn(file, path string) (verdict, bool) {
	top, inner, nested := strings.Cut(path, ".")
	if nested && (top == "rope_parameters" || top == "rope_scaling") {
		file, top = "rope_parameters", inner
	}
	v, known := verdicts[file][top]
	return v, known
}

// set reports whether key is there and not null.
func (j *checkedFile) set(key string) bool {
	v, ok := j.values[key]
	return ok && v != "null"
}

// has reports whether key is there, even as null.
func (j *checkedFile) has(key string) bool {
	_, ok := j.values[key]
	return ok
}

// null reports whether key is there as null.
func (j *checkedFile) null(key string) bool { return j.has(key) && !j.set(key) }

// decode fills v from the keys that file's verdicts know. encoding/json would take a key in other letters (Head_Dim)
// for one of them.
func (j *checkedFile) decode(file string, v any) error {
	fields := map[string]json.RawMessage{}
	for key, value := range j.values {
		if _, known := verdicts[file][key]; known {
			fields[key] = json.RawMessage(value)
		}
	}
	text, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	if err := pyjson.Unmarshal(text, v); err != nil {
		return fmt.Errorf("not a usable %s: %w", file, err)
	}
	return nil
}

// shortened is a value as it fits into a message.
func shortened(value string) string {
	if r := []rune(value); len(r) > 60 {
		return string(r[:60]) + "..."
	}
	return value
}

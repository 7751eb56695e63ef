package model

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// recordedKeys is what testdata/keys/make.py found.
func recordedKeys(t *testing.T) (keys map[string][]string, inits map[string]string) {
	text, err := os.ReadFile(filepath.Join("testdata", "keys", "keys.json"))
	require.NoError(t, err)
	var raw map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(text, &raw))
	keys = map[string][]string{}
	for file := range verdicts {
		var list []string
		require.NoError(t, json.Unmarshal(raw[file], &list), file)
		keys[file] = list
	}
	require.NoError(t, json.Unmarshal(raw["init_lora_weights"], &inits))
	return keys, inits
}

// Every key that transformers and peft know has a verdict, and a verdict says why.
func TestEveryKeyHasAVerdict(t *testing.T) {
	keys, _ := recordedKeys(t)
	for file, list := range keys {
		require.NotEmpty(t, list)
		for _, key := range list {
			v, ok := verdicts[file][key]
			require.True(t, ok, "%s of %s has no verdict in verdicts.go", key, file)
			require.Equal(t, v.kind != computed, v.why != "", "%s of %s", key, file)
		}
	}
}

// An adapter whose base weights peft changes as it loads it is refused by name; the others load.
func TestInitLoRAWeights(t *testing.T) {
	_, inits := recordedKeys(t)
	inits[`"lora_ga"`] = "changed" // in training; peft loads it on the plain base
	for _, v := range []string{`"pissa_niter_16"`, `"PiSSA"`, `"corda_x"`, `"OLoRA"`, `"one_that_is_new"`, `7`} {
		inits[v] = "changed"
	}
	inits["null"] = "same"
	for value, does := range inits {
		_, err := ParseAdapterConfig(
			[]byte(`{"peft_type":"LORA","r":4,"lora_alpha":8,"target_modules":["q_proj"],"init_lora_weights":` + value +
				`}`))
		if does == "same" {
			require.NoError(t, err, value)
		} else {
			require.ErrorContains(t, err,
				"init_lora_weights is "+value+", which is not supported: peft changes the base "+
					"weights")
		}
	}
}

// Every key that is refused is refused when it is set and read when it is not.
func TestRefusedKeys(t *testing.T) {
	base := map[string]string{
		"config.json":         strings.TrimSuffix(smol, "}"),
		"adapter_config.json": `{"peft_type":"LORA","r":4,"lora_alpha":8,"target_modules":["q_proj"]`,
	}
	parse := func(file, key, value string) error {
		text := []byte(base[file] + `,"` + key + `":` + value + `}`)
		if file == "config.json" {
			_, err := ParseConfig(text)
			return err
		}
		_, err := ParseAdapterConfig(text)
		return err
	}
	for file := range base {
		for key, v := range verdicts[file] {
			if v.kind != refused {
				continue
			}
			for _, value := range []string{`{"a": 1}`, `["x"]`, `"x"`, "3"} {
				err := parse(file, key, value)
				require.ErrorContains(t, err, key+" is ", "%s of %s", value, file)
				require.ErrorContains(t, err, v.why)
			}
			allow := v.allow
			if allow == nil {
				allow = unset
			}
			for _, value := range allow {
				require.NoError(t, parse(file, key, value), "%s: %s of %s", key, value, file)
			}
		}
		require.NoError(t, parse(file, "key_of_the_future", "null"))
	}
	require.ErrorContains(t, parse("adapter_config.json", "key_of_the_future", "true"), "key_of_the_future is set, "+
		"which this program does not know")
}

// NaN and infinite numbers, as Python's json and as transformers 5 write them, are read where nothing is computed
// with them.
func TestConfigsWithNonFiniteNumbers(t *testing.T) {
	nan := []string{"NaN", "Infinity", "-Infinity", `{"__float__": "NaN"}`, `{ "__float__":"-Infinity" }`}
	for _, value := range nan {
		parse := func(changes string) (*Config, error) {
			return ParseConfig([]byte(strings.TrimSuffix(smol, "}") + `,` + changes + `}`))
		}
		for _, key := range []string{"attention_dropout", "initializer_range", "temperature", "future_key"} {
			c, err := parse(`"` + key + `": ` + value)
			require.NoError(t, err, value)
			text, err := setKey(c.JSON(), `"float32"`, "torch_dtype")
			require.NoError(t, err)
			require.Contains(t, string(text), `"`+key+`": `+value, "what is saved keeps it")
			_, err = ParseConfig(text)
			require.NoError(t, err)
		}
		_, err := parse(`"rope_scaling": {"rope_type": "default", "beta_fast": ` + value + `}`)
		require.NoError(t, err)
		for _, key := range []string{"rms_norm_eps", "rope_theta", "hidden_size", "sliding_window",
			"partial_rotary_factor"} {
			_, err := parse(`"` + key + `": ` + value)
			require.ErrorContains(t, err, key+" is ")
			require.ErrorContains(t, err, "finite number")
		}
		_, err = parse(`"rope_scaling": {"rope_type": "llama3", "factor": ` + value + `}`)
		require.ErrorContains(t, err, "rope_scaling.factor is ")

		lora := `{"peft_type":"LORA","r":4,"target_modules":["q_proj"],"rank_pattern":{"q_proj":2},`
		_, err = ParseAdapterConfig([]byte(lora + `"lora_alpha":8,"eva_config":{"rho":` + value + `}}`))
		require.NoError(t, err)
		_, err = ParseAdapterConfig([]byte(lora + `"lora_alpha":` + value + `}`))
		require.ErrorContains(t, err, "lora_alpha is ")
		_, err = ParseAdapterConfig([]byte(lora + `"lora_alpha":8,"alpha_pattern":{"q_proj":` + value + `}}`))
		require.ErrorContains(t, err, "alpha_pattern.q_proj is ")
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(smol), 0o666))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "generation_config.json"),
		[]byte(`{"temperature": NaN, "top_p": Infinity, "eos_token_id": [2, 0]}`), 0o666))
	c, err := ReadConfig(dir)
	require.NoError(t, err)
	require.Equal(t, []int32{2, 0}, c.EOS)
}

package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/internal/gguf"
)

// A GGUF file holds the tokens, merges or scores, and the chat template of its tokenizer in its metadata, and of the
// pre-tokenizer only a name. A tokenizer.json is made of them and parsed as any other.

// ggufPreTokenizers are the pre-tokenizers by their names in GGUF files (tokenizer.ggml.pre): a pattern, or several
// steps, as the tokenizer.json of the models that the name stands for has them.
var ggufPreTokenizers = map[string]struct {
	pattern string // "": the one of GPT-2
	digits  bool   // each digit for itself, before the pattern
	nfc     bool   // the text is normalised
	whole   bool   // a word that is a token needs no merges; and BOS comes first unless the file says otherwise
}{
	"gpt-2": {}, "smollm": {digits: true}, "starcoder": {digits: true}, "qwen2": {pattern: qwenPattern, nfc: true},
	"deepseek-r1-qwen": {pattern: qwenPattern, nfc: true},
	"llama-bpe":        {pattern: llama3Pattern, whole: true}, "llama3": {pattern: llama3Pattern, whole: true},
}

// llama3Pattern is the pattern of Llama 3.
const llama3Pattern = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`

// ErrNoTokens is the error of a GGUF file that holds a model alone.
var ErrNoTokens = errors.New("it has no tokens (tokenizer.ggml.tokens)")

// ggufTokenizer is the tokenizer of a GGUF file.
type ggufTokenizer struct {
	gguf.Metadata
	tokens []string
	kinds  []int64
}

// openGGUF is Open of a GGUF file.
func openGGUF(path string) (*Tokenizer, error) {
	g, err := readGGUF(path)
	if err != nil {
		return nil, err
	}
	text, err := g.file()
	var t *Tokenizer
	if err == nil {
		t, err = parse(text)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the tokenizer of %s: %w", path, err)
	}
	t.bos, t.eos = g.BOS(len(g.tokens)), g.EOS(len(g.tokens))
	t.chat = chatSource{named: g.templates(), special: g.named()}
	return t, nil
}

// readGGUF reads the metadata and checks what every tokenizer needs.
func readGGUF(path string) (*ggufTokenizer, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	g := &ggufTokenizer{Metadata: f.Metadata}
	var ok bool
	if g.tokens, ok = g.Texts("tokenizer.ggml.tokens"); !ok {
		return nil, fmt.Errorf("reading the tokenizer of %s: %w", path, ErrNoTokens)
	}
	if g.kinds, ok = g.Ints("tokenizer.ggml.token_type"); ok && len(g.kinds) != len(g.tokens) {
		return nil, fmt.Errorf("reading the tokenizer of %s: it has %d tokens and %d types of tokens", path,
			len(g.tokens),
			len(g.kinds))
	} else if !ok {
		g.kinds = slices.Repeat([]int64{gguf.TokenNormal}, len(g.tokens))
	}
	for n := len(g.kinds); n > 0 && g.kinds[n-1] == gguf.TokenUnused; n-- { // rows of the embedding that no token has
		g.tokens, g.kinds = g.tokens[:n-1], g.kinds[:n-1]
	}
	return g, nil
}

// object is a JSON object in the order of writing.
type object = map[string]any

// file is the text of a tokenizer.json.
func (g *ggufTokenizer) file() ([]byte, error) {
	var out object
	var err error
	switch kind, _ := g.Text("tokenizer.ggml.model"); kind {
	case "gpt2":
		out, err = g.byteLevel()
	case "llama":
		out, err = g.sentencepiece()
	default:
		err = fmt.Errorf("its kind is %q (tokenizer.ggml.model): only gpt2 and llama are supported", kind)
	}
	if err != nil {
		return nil, err
	}
	out["version"], out["truncation"], out["padding"] = "1.0", nil, nil
	out["added_tokens"], out["post_processor"] = g.added(), g.postProcessor()
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	err = enc.Encode(out)
	return text.Bytes(), err
}

// byteLevel is a tokenizer of bytes with merges, as GPT-2's.
func (g *ggufTokenizer) byteLevel() (object, error) {
	name, _ := g.Text("tokenizer.ggml.pre")
	pre, ok := ggufPreTokenizers[name]
	if !ok {
		return nil,
			fmt.Errorf("its pre-tokenizer %q (tokenizer.ggml.pre) is not supported: give the model's folder of "+
				"safetensors instead", name)
	}
	merges, ok := g.Texts("tokenizer.ggml.merges")
	if !ok {
		return nil, errors.New("it has no merges (tokenizer.ggml.merges)")
	}
	vocab := map[string]int{}
	for id, token := range g.tokens {
		if _, ok := fromAlphabet(nil, []byte(token)); ok || g.plain(id) {
			vocab[token] = id
		}
	}
	byteLevel := object{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
		"use_regex": pre.pattern == ""}
	steps := []any{}
	if pre.digits {
		steps = append(steps, object{"type": "Digits", "individual_digits": true})
	}
	if pre.pattern != "" {
		steps = append(steps, object{"type": "Split", "pattern": object{"Regex": pre.pattern}, "behavior": "Isolated",
			"invert": false})
	}
	out := object{"normalizer": nil, "pre_tokenizer": object{"type": "Sequence",
		"pretokenizers": append(steps, byteLevel)},
		"decoder": object{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
		"model": object{"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": "",
			"end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false, "ignore_merges": pre.whole,
			"vocab":  vocab,
			"merges": merges}}
	if pre.nfc {
		out["normalizer"] = object{"type": "NFC"}
	}
	return out, nil
}

// plain reports whether a token is text that merges make, and not an added one.
func (g *ggufTokenizer) plain(id int) bool {
	k := g.kinds[id]
	return k == gguf.TokenNormal || k == gguf.TokenByte || k == gguf.TokenUnused
}

// sentencepiece is a tokenizer of characters with scores, as Llama 2's. Its merges are those of the conversion to
// tokenizer.json: every pair of tokens whose concatenation is a token, by the score of that.
func (g *ggufTokenizer) sentencepiece() (object, error) {
	scores, ok := g.Floats("tokenizer.ggml.scores")
	if !ok || len(scores) < len(g.tokens) {
		return nil, errors.New("it has no score for every token (tokenizer.ggml.scores)")
	}
	vocab := map[string]int{}
	for id, token := range g.tokens {
		if !utf8.ValidString(token) {
			return nil, fmt.Errorf("its token %d is not UTF-8", id)
		}
		vocab[token] = id
	}
	mergeable := func(s string) bool {
		id, ok := vocab[s]
		return ok && g.kinds[id] != gguf.TokenByte && g.kinds[id] != gguf.TokenUnused
	}
	type merge struct {
		left, right string
		score       float64
	}
	var merges []merge
	for id, token := range g.tokens {
		if g.kinds[id] != gguf.TokenNormal {
			continue
		}
		for cut := range token {
			if cut > 0 && mergeable(token[:cut]) && mergeable(token[cut:]) {
				merges = append(merges, merge{token[:cut], token[cut:], scores[id]})
			}
		}
	}
	slices.SortStableFunc(merges, func(a, b merge) int {
		switch {
		case a.score > b.score:
			return -1
		case a.score < b.score:
			return 1
		}
		return 0
	})
	pairs := make([][2]string, len(merges))
	for i, m := range merges {
		pairs[i] = [2]string{m.left, m.right}
	}
	normalizers := []any{object{"type": "Replace", "pattern": object{"String": " "}, "content": metaspace}}
	decoders := []any{object{"type": "Replace", "pattern": object{"String": metaspace}, "content": " "},
		object{"type": "ByteFallback"}, object{"type": "Fuse"}}
	if prefix, ok := g.Bool("tokenizer.ggml.add_space_prefix"); prefix || !ok {
		normalizers = append([]any{object{"type": "Prepend", "prepend": metaspace}}, normalizers...)
		decoders = append(decoders, object{"type": "Strip", "content": " ", "start": 1, "stop": 0})
	}
	out := object{"normalizer": object{"type": "Sequence", "normalizers": normalizers}, "pre_tokenizer": nil,
		"decoder": object{"type": "Sequence", "decoders": decoders}}
	model := object{"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil,
		"end_of_word_suffix": nil, "fuse_unk": true, "byte_fallback": slices.Contains(g.kinds, gguf.TokenByte),
		"vocab":  vocab,
		"merges": pairs}
	if id := slices.Index(g.kinds, gguf.TokenUnknown); id >= 0 {
		model["unk_token"] = g.tokens[id]
	}
	out["model"] = model
	return out, nil
}

// added are the tokens that are found before anything else. Control tokens are special.
func (g *ggufTokenizer) added() []object {
	out := []object{}
	for id, token := range g.tokens {
		if g.plain(id) || token == "" {
			continue
		}
		out = append(out, object{"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
			"normalized": false, "special": g.kinds[id] != gguf.TokenUserDefined})
	}
	return out
}

// postProcessor puts BOS and EOS around a text, where the file says so.
func (g *ggufTokenizer) postProcessor() object {
	template, special := []any{}, object{}
	add := func(id int32) {
		token := g.tokens[id]
		template = append(template, object{"SpecialToken": object{"id": token, "type_id": 0}})
		special[token] = object{"id": token, "ids": []int32{id}, "tokens": []string{token}}
	}
	bos, given := g.Bool("tokenizer.ggml.add_bos_token")
	if !given {
		kind, _ := g.Text("tokenizer.ggml.model")
		name, _ := g.Text("tokenizer.ggml.pre")
		bos = kind == "llama" || ggufPreTokenizers[name].whole
	}
	if ids := g.BOS(len(g.tokens)); bos && len(ids) > 0 {
		add(ids[0])
	}
	template = append(template, object{"Sequence": object{"id": "A", "type_id": 0}})
	if id, ok := g.Int("tokenizer.ggml.eos_token_id"); ok && id >= 0 && id < int64(len(g.tokens)) {
		if eos, _ := g.Bool("tokenizer.ggml.add_eos_token"); eos {
			add(int32(id))
		}
	}
	return object{"type": "TemplateProcessing", "single": template, "pair": template, "special_tokens": special}
}

// named are the tokens that a chat template may use by name.
func (g *ggufTokenizer) named() map[string]string {
	out := map[string]string{}
	for name, key := range map[string]string{"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown",
		"pad_token": "padding"} {
		if id, ok := g.Int("tokenizer.ggml." + key + "_token_id"); ok && id >= 0 && id < int64(len(g.tokens)) {
			out[name] = g.tokens[id]
		}
	}
	return out
}

// templates are the chat templates by name.
func (g *ggufTokenizer) templates() map[string]string {
	const key = "tokenizer.chat_template"
	out := map[string]string{}
	if text, ok := g.Text(key); ok {
		out[defaultTemplate] = text
	}
	for k := range g.Metadata {
		if name, ok := strings.CutPrefix(k, key+"."); ok {
			if text, ok := g.Text(k); ok {
				out[name] = text
			}
		}
	}
	return out
}

// SaveGGUF writes into the folder dir what a Hugging Face folder holds of the tokenizer of a GGUF file: tokenizer.json,
// tokenizer_config.json, chat_template.jinja and generation_config.json. A file without a tokenizer gives none of them.
func SaveGGUF(path, dir string) error {
	g, err := readGGUF(path)
	if errors.Is(err, ErrNoTokens) {
		return nil
	} else if err != nil {
		return err
	}
	files := map[string][]byte{}
	if files["tokenizer.json"], err = g.file(); err != nil {
		return fmt.Errorf("reading the tokenizer of %s: %w", path, err)
	}
	config := object{"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": false}
	for name, token := range g.named() {
		config[name] = token
	}
	if files["tokenizer_config.json"], err = json.MarshalIndent(config, "", "  "); err != nil {
		return err
	}
	generation := object{}
	if ids := g.BOS(len(g.tokens)); len(ids) > 0 {
		generation["bos_token_id"] = ids[0]
	}
	if ids := g.EOS(len(g.tokens)); len(ids) > 0 {
		generation["eos_token_id"] = ids
	}
	if files["generation_config.json"], err = json.MarshalIndent(generation, "", "  "); err != nil {
		return err
	}
	if text, ok := g.templates()[defaultTemplate]; ok {
		files["chat_template.jinja"] = []byte(text)
	}
	for name, text := range files {
		if err := disk.WriteFile(filepath.Join(dir, name), text); err != nil {
			return err
		}
	}
	return nil
}

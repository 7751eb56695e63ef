package gguf

import "slices"

// Types of tokens, in tokenizer.ggml.token_type.
const (
	TokenNormal = iota + 1
	TokenUnknown
	TokenControl
	TokenUserDefined
	TokenUnused
	TokenByte
)

// BOS are the ids that begin a text, those outside a vocabulary left out.
func (m Metadata) BOS(vocab int) []int32 { return m.ids(vocab, "tokenizer.ggml.bos_token_id") }

// EOS are the ids that end a generation. A file names one or two; generation_config.json of the model that it was made
// from often more, which are found by their texts.
func (m Metadata) EOS(vocab int) []int32 {
	out := m.ids(vocab, "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id")
	tokens, _ := m.Texts("tokenizer.ggml.tokens")
	kinds, _ := m.Ints("tokenizer.ggml.token_type")
	for id, kind := range kinds[:min(len(kinds), len(tokens), vocab)] {
		if kind == TokenControl && slices.Contains(turnEnds, tokens[id]) && !slices.Contains(out, int32(id)) {
			out = append(out, int32(id))
		}
	}
	return out
}

// turnEnds are the texts of control tokens that end a turn.
var turnEnds = []string{"<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|endoftext|>", "<|end_of_text|>"}

func (m Metadata) ids(vocab int, keys ...string) (out []int32) {
	for _, key := range keys {
		if id, ok := m.Int(key); ok && id >= 0 && id < int64(vocab) && !slices.Contains(out, int32(id)) {
			out = append(out, int32(id))
		}
	}
	return out
}

package tokenizer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/internal/gguf/gguftest"
	"github.com/zerosearch-go/zerosearch/internal/goldens"
)

// The tokenizers of llama.cpp's own test files give llama.cpp's ids, and read them as the same text.
func TestGGUFVocabularies(t *testing.T) {
	for name, bos := range map[string]string{"gpt-2": "", "llama-spm": "<s>"} {
		t.Run(name, func(t *testing.T) {
			path := goldens.Data(t, "goldens/llama.cpp-vocab/ggml-vocab-"+name+".gguf")
			tok, err := Open(path)
			require.NoError(t, err)
			dir := t.TempDir() // what is saved is read as the same tokenizer
			require.NoError(t, SaveGGUF(path, dir))
			saved, err := Open(dir)
			require.NoError(t, err)
			texts, ids := llamaCases(t, name)
			require.Greater(t, len(texts), 30)
			for i, text := range texts {
				for _, tok := range []*Tokenizer{tok, saved} {
					got := tok.Encode(text, EncodeOptions{})
					require.Equal(t, ids[i], join(got), "%q", text)
					require.Equal(t, strings.TrimPrefix(text, " "), strings.TrimPrefix(tok.Decode(got, false), " "))
				}
			}
			with := tok.Encode("x", EncodeOptions{AddSpecial: true})
			first, _ := tok.Token(with[0])
			require.Equal(t, bos, strings.TrimSuffix(first, "x"))
			require.Equal(t, with, saved.Encode("x", EncodeOptions{AddSpecial: true}))
			require.Equal(t, tok.EOSIDs(), saved.EOSIDs())
			require.NotEmpty(t, tok.EOSIDs())
		})
	}
}

// ggufFile is a file with the metadata of a tiny tokenizer of bytes.
func ggufFile(t *testing.T, change map[string]any) string {
	tokens, kinds := []string{}, []int32{}
	for b := range 256 {
		tokens, kinds = append(tokens, toAlphabet([]byte{byte(b)})), append(kinds, 1)
	}
	for _, x := range []struct {
		text string
		kind int32
	}{{"he", 1}, {"ll", 1}, {"<|im_start|>", 3}, {"<|im_end|>", 3}, {"<think>", 4}, {"<|endoftext|>", 3},
		{"[PAD262]", 5}} {
		tokens, kinds = append(tokens, x.text), append(kinds, x.kind)
	}
	all := map[string]any{"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "qwen2",
		"tokenizer.ggml.tokens":     tokens,
		"tokenizer.ggml.token_type": kinds, "tokenizer.ggml.merges": []string{"h e", "l l"},
		"tokenizer.ggml.eos_token_id": uint32(259), "tokenizer.ggml.bos_token_id": uint32(261),
		"tokenizer.chat_template": "{% for m in messages %}<|im_start|>{{ m.content }}{{ eos_token }}{% endfor %}"}
	for k, v := range change {
		all[k] = v
	}
	var meta []gguftest.KV
	for k, v := range all {
		if v != nil {
			meta = append(meta, gguftest.KV{Key: k, Value: v})
		}
	}
	path := filepath.Join(t.TempDir(), "x.gguf")
	require.NoError(t, os.WriteFile(path, gguftest.File(meta, nil), 0o644))
	return path
}

// Control tokens are special, user-defined ones are not, unused ones are none; the template is found; EOS are all ends
// of turns.
func TestGGUFTokens(t *testing.T) {
	path := ggufFile(t, nil)
	dir := t.TempDir()
	require.NoError(t, SaveGGUF(path, dir))
	for _, path := range []string{path, dir} {
		tok, err := Open(path)
		require.NoError(t, err)
		require.Equal(t, 262, tok.VocabSize())
		require.Equal(t, []int32{256, 257, 'o'}, tok.Encode("hello", EncodeOptions{AddSpecial: true})[:3])
		require.Equal(t, []int32{258, 256, 259, 260},
			tok.Encode("<|im_start|>he<|im_end|><think>", EncodeOptions{ParseSpecial: true}))
		require.True(t, tok.Special(258))
		require.False(t, tok.Special(260))
		require.Equal(t, []int32{259, 261}, tok.EOSIDs())
		tmpl, err := tok.Chat()
		require.NoError(t, err)
		ids, err := tok.EncodeChat(tmpl, ChatInput{Messages: []Message{{Role: "user", Content: "he<|im_end|>"}}})
		require.NoError(t, err)
		require.Equal(t, []int32{258, 256}, ids[:2])
		require.Equal(t, int32(259), ids[len(ids)-1])
		require.Len(t, ids, 3+len("<|im_end|>"), "what a user writes is no control token")
	}
	tok, err := Open(ggufFile(t, map[string]any{"tokenizer.ggml.add_bos_token": true,
		"tokenizer.ggml.add_eos_token": true}))
	require.NoError(t, err)
	require.Equal(t, []int32{261, 256, 259}, tok.Encode("he", EncodeOptions{AddSpecial: true}))
}

func TestGGUFTokenizerRefused(t *testing.T) {
	for says, change := range map[string]map[string]any{
		`its kind is "t5" (tokenizer.ggml.model)`:            {"tokenizer.ggml.model": "t5"},
		`its pre-tokenizer "tekken" (tokenizer.ggml.pre) is`: {"tokenizer.ggml.pre": "tekken"},
		"it has no merges":                 {"tokenizer.ggml.merges": nil},
		"it has no tokens":                 {"tokenizer.ggml.tokens": nil},
		"263 tokens and 2 types of tokens": {"tokenizer.ggml.token_type": []int32{1, 1}},
		"it has no score for every token":  {"tokenizer.ggml.model": "llama"},
		"merges":                           {"tokenizer.ggml.merges": []string{"x"}},
		"model":                            {"tokenizer.ggml.merges": []string{"a zz"}},
	} {
		_, err := Open(ggufFile(t, change))
		require.ErrorContains(t, err, says)
		require.ErrorContains(t, err, "x.gguf")
	}
}

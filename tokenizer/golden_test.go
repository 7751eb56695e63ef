package tokenizer

import (
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/internal/goldens"
)

var goldenNames = []string{"smollm2", "llama3", "qwen3", "qwen2.5", "gpt2", "llama2"}

// goldenFile is a file of the tokenizer goldens: smollm2's are in testdata.
func goldenFile(t *testing.T, name string) string {
	if strings.HasPrefix(name, "smollm2.") {
		return "testdata/goldens/" + name
	}
	return goldens.Path(t, "tokenizers/"+name)
}

func forEachTokenizer(t *testing.T, f func(t *testing.T, name string, tok *Tokenizer)) {
	for _, name := range goldenNames {
		t.Run(name, func(t *testing.T) { f(t, name, open(t, name)) })
	}
}

// The references' ids and texts (tokenizers 0.23.3; sentencepiece 0.2.3 for llama2).
func TestEncodeDecodeAsReference(t *testing.T) {
	forEachTokenizer(t, func(t *testing.T, name string, tok *Tokenizer) {
		type line struct {
			Text               string
			IDs                []int32
			ParseSpecial       bool `json:"parse_special"`
			AddSpecial         bool `json:"add_special"`
			Decoded            *string
			DecodedSkipSpecial *string `json:"decoded_skip_special"`
		}
		eachLine(t, goldenFile(t, name+".jsonl"), func(n int, l line) {
			ids := tok.Encode(l.Text, EncodeOptions{AddSpecial: l.AddSpecial, ParseSpecial: l.ParseSpecial})
			require.Equal(t, l.IDs, append([]int32{}, ids...), "line %d: %q", n, l.Text)
			if l.AddSpecial && name != "llama2" { // these lines were not decoded
				return
			}
			want := l.Text
			if l.Decoded != nil {
				want = *l.Decoded
			}
			// sentencepiece never prints control pieces.
			require.Equal(t, want, tok.Decode(ids, name == "llama2"), "line %d", n)
			if l.DecodedSkipSpecial != nil {
				want = *l.DecodedSkipSpecial
			}
			require.Equal(t, want, tok.Decode(ids, true), "line %d, special tokens skipped", n)
		})
	})
}

func TestDecodeOfArbitraryIDs(t *testing.T) {
	forEachTokenizer(t, func(t *testing.T, name string, tok *Tokenizer) {
		eachLine(t, goldenFile(t, name+".decode.jsonl"), func(n int, l struct {
			IDs  []int32
			Text string
		}) {
			require.Equal(t, l.Text, tok.Decode(l.IDs, false), "line %d: %v", n, l.IDs)
			requirePieces(t, tok, l.IDs, l.Text)
		})
	})
}

func TestStreamAsReference(t *testing.T) {
	for _, name := range goldenNames[:5] {
		t.Run(name, func(t *testing.T) {
			tok := open(t, name)
			eachLine(t, goldenFile(t, name+".stream.jsonl"), func(n int, l struct {
				IDs  []int32
				Text string
			}) {
				requirePieces(t, tok, l.IDs, l.Text)
			})
		})
	}
}

// requirePieces checks that a Decoder's pieces are whole characters and make up text.
func requirePieces(t require.TestingT, tok *Tokenizer, ids []int32, text string) {
	d := tok.NewDecoder(false)
	var got strings.Builder
	for _, id := range ids {
		piece := d.Add(id)
		require.True(t, utf8.ValidString(piece), "%q", piece)
		got.WriteString(piece)
		require.True(t, strings.HasPrefix(text, got.String()), "%q is no beginning of %q", got.String(), text)
	}
	got.WriteString(d.Flush())
	require.Equal(t, text, got.String())
}

// Two small tokenizers whose added tokens have every combination of switches, with a prefix space, unknown characters,
// byte fallback and both kinds of post-processor, and two of Llama 3's and of Qwen's kind (tokenizers 0.23.3;
// testdata/tiny/make.py and families.py).
func TestTinyAsReference(t *testing.T) {
	for _, name := range []string{"tiny-bytes", "tiny-metaspace", "tiny-llama3", "tiny-qwen"} {
		t.Run(name, func(t *testing.T) {
			tok, err := Open("testdata/tiny/" + name + ".json")
			require.NoError(t, err)
			eachLine(t, "testdata/tiny/"+name+".jsonl", func(n int, l struct {
				Text               string
				ParseSpecial       bool `json:"parse_special"`
				AddSpecial         bool `json:"add_special"`
				IDs                []int32
				Decoded            string
				DecodedSkipSpecial string `json:"decoded_skip_special"`
			}) {
				ids := tok.Encode(l.Text, EncodeOptions{AddSpecial: l.AddSpecial, ParseSpecial: l.ParseSpecial})
				require.Equal(t, l.IDs, append([]int32{}, ids...), "line %d: %q", n, l.Text)
				require.Equal(t, l.Decoded, tok.Decode(ids, false), "line %d", n)
				require.Equal(t, l.DecodedSkipSpecial, tok.Decode(ids, true), "line %d", n)
				requirePieces(t, tok, ids, l.Decoded)
			})
		})
	}
}

// Arbitrary ids of the small ones of Llama 3's and of Qwen's kind.
func TestTinyDecode(t *testing.T) {
	for _, name := range []string{"tiny-llama3", "tiny-qwen"} {
		tok, err := Open("testdata/tiny/" + name + ".json")
		require.NoError(t, err)
		eachLine(t, "testdata/tiny/"+name+".decode.jsonl", func(n int, l struct {
			IDs  []int32
			Text string
		}) {
			require.Equal(t, l.Text, tok.Decode(l.IDs, false), "%s, line %d: %v", name, n, l.IDs)
			requirePieces(t, tok, l.IDs, l.Text)
		})
	}
}

// llama.cpp's own vectors: encoding without special tokens, one line of ids a text.
func TestEncodeAsLlamaCpp(t *testing.T) {
	for file, name := range map[string]string{"llama-bpe": "llama3", "qwen2": "qwen2.5", "gpt-2": "gpt2",
		"llama-spm": "llama2"} {
		t.Run(file, func(t *testing.T) {
			tok := open(t, name)
			texts, lines := llamaCases(t, file)
			for i, text := range texts {
				require.Equal(t, lines[i], join(tok.Encode(text, EncodeOptions{})), "%q", text)
			}
		})
	}
}

// llamaCases are the texts of llama.cpp's vectors and their ids.
func llamaCases(t *testing.T, file string) (texts, ids []string) {
	base := "goldens/llama.cpp-vocab/ggml-vocab-" + file + ".gguf"
	in, err := os.ReadFile(goldens.Data(t, base+".inp"))
	require.NoError(t, err)
	out, err := os.ReadFile(goldens.Data(t, base+".out"))
	require.NoError(t, err)
	texts = strings.Split(strings.TrimSuffix(string(in), "\n__ggml_vocab_test__\n"), "\n__ggml_vocab_test__\n")
	for line := range strings.Lines(string(out)) {
		ids = append(ids, strings.TrimSpace(line))
	}
	require.Len(t, ids, len(texts))
	return texts, ids
}

package serve

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// vectorModel has the architecture of Qwen3-Embedding and random weights; golden.json is what transformers makes of it.
const vectorModel = "../rl/dense/testdata/"

func newVectors(t *testing.T, use Use) *rig {
	r := newFolder(t, vectorModel+"model", true)
	r.m.Use = use
	s, err := New(r.eng, []Model{r.m}, Options{})
	require.NoError(t, err)
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	r.s, r.url, r.http = s, h.URL, h.Client()
	return r
}

type vectorAnswer struct {
	ID, Object, Model string
	Data              []struct {
		Index  int
		Object string
		Vector json.RawMessage `json:"embedding"`
	}
	Usage vectorUsage
}

func (r *rig) vectors(q object) (a vectorAnswer, vectors [][]float64) {
	status, _, text := r.do(r.t.Context(), "POST", "/v1/embeddings", marshal(r.t, q))
	require.Equal(r.t, 200, status, "%s", text)
	require.NoError(r.t, json.Unmarshal(text, &a))
	for i, d := range a.Data {
		require.Equal(r.t, i, d.Index)
		require.Equal(r.t, "embedding", d.Object)
		var v []float64
		if q["encoding_format"] == "base64" {
			var text string
			require.NoError(r.t, json.Unmarshal(d.Vector, &text))
			b, err := base64.StdEncoding.DecodeString(text)
			require.NoError(r.t, err)
			for ; len(b) > 0; b = b[4:] {
				v = append(v, float64(math.Float32frombits(binary.LittleEndian.Uint32(b))))
			}
		} else {
			require.NoError(r.t, json.Unmarshal(d.Vector, &v))
		}
		vectors = append(vectors, v)
	}
	return a, vectors
}

// Vectors are those of transformers in float64: closing token, last-token pooling and norm; as numbers and in base64,
// of texts and of ids, together and alone; shortened to some dimensions; as they are.
func TestEmbeddingsAreTransformers(t *testing.T) {
	var g struct {
		Documents, Queries []string
		IDs                [][]int32
		DocumentVectors    [][]float64 `json:"document_vectors"`
		QueryVectors       [][]float64 `json:"query_vectors"`
	}
	text, err := os.ReadFile(vectorModel + "golden.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &g))
	r := newVectors(t, Embeds)
	near := func(want, got [][]float64) {
		require.Len(t, got, len(want))
		for i := range want {
			require.Len(t, got[i], len(want[i]))
			for k := range want[i] {
				require.InDelta(t, want[i][k], got[i][k], 2e-6)
			}
		}
	}
	a, all := r.vectors(object{"input": g.Documents, "model": "m"})
	near(g.DocumentVectors, all)
	require.Equal(t, "list", a.Object)
	require.Equal(t, "m", a.Model)
	require.True(t, strings.HasPrefix(a.ID, "embd-"))
	tokens := 0
	for _, ids := range g.IDs {
		tokens += len(ids)
	}
	require.Equal(t, vectorUsage{tokens, tokens}, a.Usage)
	_, same := r.vectors(object{"input": g.Documents, "encoding_format": "base64"})
	require.Equal(t, len(all), len(same))
	for i := range all {
		for k := range all[i] {
			require.Equal(t, float32(all[i][k]), float32(same[i][k]))
		}
	}
	_, ids := r.vectors(object{"input": g.IDs})
	require.Equal(t, all, ids)
	_, alone := r.vectors(object{"input": g.Documents[1], "encoding_format": "float"})
	require.Equal(t, all[1:2], alone)
	_, alone = r.vectors(object{"input": g.IDs[1]})
	require.Equal(t, all[1:2], alone)
	for i, q := range g.Queries {
		_, v := r.vectors(object{"input": "Instruct: Find it\nQuery:" + q})
		near(g.QueryVectors[i:i+1], v)
	}
	var short [][]float64
	for _, v := range g.DocumentVectors {
		sum := 0.0
		for _, x := range v[:5] {
			sum += x * x
		}
		s := make([]float64, 5)
		for k := range s {
			s[k] = v[k] / math.Sqrt(sum)
		}
		short = append(short, s)
	}
	_, got := r.vectors(object{"input": g.Documents, "dimensions": 5})
	near(short, got)
	for _, name := range []string{"normalize", "use_activation"} {
		_, raw := r.vectors(object{"input": g.Documents, name: false})
		for i := range raw {
			sum := 0.0
			for _, x := range raw[i] {
				sum += x * x
			}
			require.Greater(t, math.Abs(sum-1), 0.1)
			for k := range raw[i] {
				require.InDelta(t, g.DocumentVectors[i][k], raw[i][k]/math.Sqrt(sum), 2e-6)
			}
		}
	}
	many := make([]string, 300) // more than the engine gets at once
	for i := range many {
		many[i] = g.Documents[i%len(g.Documents)]
	}
	_, v := r.vectors(object{"input": many})
	require.Len(t, v, 300)
	for i := range v {
		require.Equal(t, all[i%len(all)], v[i])
	}
	r.quiet()
}

// A text that is cut keeps the closing token, as transformers' truncation does; ids are cut at the end.
func TestEmbeddingsTruncate(t *testing.T) {
	r := newVectors(t, Embeds)
	long := strings.Repeat("harbour ", 100)
	ids := r.m.Tokenizer.Encode(long, tokenizer.EncodeOptions{AddSpecial: true})
	require.Greater(t, len(ids), 512)
	end := ids[len(ids)-1]
	for most, want := range map[int][]int32{20: append(ids[:19:19], end), -1: append(ids[:511:511], end),
		9999: append(ids[:511:511], end)} {
		a, v := r.vectors(object{"input": long, "truncate_prompt_tokens": most})
		_, w := r.vectors(object{"input": want})
		require.Equal(t, w, v)
		require.Equal(t, len(want), a.Usage.Prompt)
	}
	_, cut := r.vectors(object{"input": ids, "truncate_prompt_tokens": 7})
	_, short := r.vectors(object{"input": ids[:7]})
	require.Equal(t, short, cut)
	_, bare := r.vectors(object{"input": "harbour", "add_special_tokens": false})
	_, same := r.vectors(object{"input": ids[:7]})
	require.Equal(t, same, bare)
}

// What is refused, and by which models.
func TestEmbeddingsRefusals(t *testing.T) {
	r := newVectors(t, Embeds)
	refused := func(r *rig, path string, q object, want string) {
		status, _, text := r.do(t.Context(), "POST", path, marshal(t, q))
		require.Equal(t, 400, status, "%s", text)
		require.Contains(t, string(text), want)
	}
	for want, q := range map[string]object{
		"the input is missing":                                 {},
		"input must be a string, a list of strings":            {"input": 5},
		"input[1] has id 99999":                                nil,
		"dimensions is 17: the vectors of model m have 16":     {"input": "x", "dimensions": 17},
		"ask for 1 at least":                                   {"input": "x", "dimensions": 0},
		"encoding_format must be float or base64":              {"input": "x", "encoding_format": "int8"},
		"truncate_prompt_tokens is 0":                          {"input": "x", "truncate_prompt_tokens": 0},
		"input[1] has 601 tokens, more than the context":       {"input": []string{"x", strings.Repeat("y", 600)}},
		"send at most 2048":                                    {"input": make([]string, 2049)},
		"input[0] is empty":                                    {"input": []string{""}, "add_special_tokens": false},
		"unknown parameter \\\"inputs\\\": did you mean input": {"inputs": "x"},
		"messages is not supported: use input":                 {"messages": []object{}},
		"padding is not supported, except as do_not_pad":       {"input": "x", "padding": "max_length"},
	} {
		if q != nil {
			refused(r, "/v1/embeddings", q, want)
		}
	}
	refused(r, "/v1/embeddings", object{"input": [][]int{{1}, {99999}}}, "99999")
	refused(r, textPath, object{"prompt": "x"}, "model m makes vectors: ask /v1/embeddings")
	refused(r, chatPath, object{"messages": hello()}, "model m makes vectors: ask /v1/embeddings")
	refused(newVectors(t, Generates), "/v1/embeddings", object{"input": "x"}, "was not trained to make vectors")
	both := newVectors(t, GeneratesAndEmbeds)
	_, v := both.vectors(object{"input": "x"})
	require.Len(t, v, 1)
	require.Len(t, both.post(textPath, object{"prompt": "x", "max_tokens": 2}).Choices, 1)
	r.quiet()
}

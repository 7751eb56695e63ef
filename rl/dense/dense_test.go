package dense_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/devices"
	"github.com/zerosearch-go/zerosearch/rl/dense"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/rl/search/searchtest"
)

type golden struct {
	Documents, Queries []string
	DocumentVectors    [][]float64 `json:"document_vectors"`
	QueryVectors       [][]float64 `json:"query_vectors"`
	Scores             [][]float64
}

func open(t *testing.T, device string, kind kernels.DType) (*dense.Encoder, golden) {
	t.Helper()
	dev, err := devices.Open(device, devices.Options{Threads: 1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dev.Close()) })
	e, err := dense.Open(t.Context(), dev, "testdata/model", kind)
	require.NoError(t, err)
	t.Cleanup(e.Close)
	var g golden
	text, err := os.ReadFile("testdata/golden.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &g))
	return e, g
}

// Vectors are those of transformers in float64: prefix, closing token, last-token pooling and norm. A text has the same
// vector alone, to the last bit.
func TestAgainstTransformers(t *testing.T) {
	for _, device := range []string{"ref", "cpu"} {
		e, g := open(t, device, kernels.F32)
		got, err := e.Documents(g.Documents)
		require.NoError(t, err)
		for i, want := range g.DocumentVectors {
			for k, x := range want {
				require.InDelta(t, x, got[i*e.Dim()+k], 2e-6, "%s: %q", device, g.Documents[i])
			}
			alone, err := e.Documents(g.Documents[i : i+1])
			require.NoError(t, err)
			require.Equal(t, got[i*e.Dim():][:e.Dim()], alone)
		}
		for i, want := range g.QueryVectors {
			got, err := e.Query(g.Queries[i])
			require.NoError(t, err)
			for k, x := range want {
				require.InDelta(t, x, got[k], 2e-6, "%s: %q", device, g.Queries[i])
			}
		}
	}
}

// The index ranks as transformers' products do, and keeps what it has computed.
func TestIndex(t *testing.T) {
	e, g := open(t, "cpu", kernels.F32)
	keep := filepath.Join(t.TempDir(), "keep")
	for range 2 {
		x, err := dense.NewIndex(t.Context(), e, g.Documents, dense.IndexOptions{Keep: keep, Model: "m"})
		require.NoError(t, err)
		for i, q := range g.Queries {
			got, err := x.Rank(t.Context(), q, 3)
			require.NoError(t, err)
			require.Equal(t, best(g.Scores[i])[:3], got, q)
		}
		searchtest.Run(t, &search.Ranked{Label: "hybrid", Passages: g.Documents, TopK: 2,
			Rankers: []search.Ranker{search.NewBM25(g.Documents), x}})
		x.Close()
	}
	files, err := filepath.Glob(filepath.Join(keep, "*.bf16"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	// What is kept is used: the file with other numbers gives another order.
	require.NoError(t, os.WriteFile(files[0], make([]byte, len(g.Documents)*e.Dim()*2), 0o644))
	x, err := dense.NewIndex(t.Context(), e, g.Documents, dense.IndexOptions{Keep: keep, Model: "m"})
	require.NoError(t, err)
	defer x.Close()
	got, err := x.Rank(t.Context(), g.Queries[0], 9)
	require.NoError(t, err)
	require.Equal(t, []int{0, 1, 2, 3}, got)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = dense.NewIndex(ctx, e, g.Documents, dense.IndexOptions{})
	require.ErrorIs(t, err, context.Canceled)
	_, err = x.Rank(ctx, "q", 1)
	require.ErrorIs(t, err, context.Canceled)
}

func best(scores []float64) (order []int) {
	for range scores {
		top := -1
		for i, s := range scores {
			used := false
			for _, j := range order {
				used = used || i == j
			}
			if !used && (top < 0 || s > scores[top]) {
				top = i
			}
		}
		order = append(order, top)
	}
	return order
}

// The files of sentence-transformers make a folder an embedding model; its vector must be that of the last token.
func TestIsEmbedding(t *testing.T) {
	is, err := dense.IsEmbedding("testdata/model")
	require.NoError(t, err)
	require.True(t, is)
	dir := t.TempDir()
	is, err = dense.IsEmbedding(dir)
	require.NoError(t, err)
	require.False(t, is)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "1_Pooling"), 0o755))
	file := filepath.Join(dir, "1_Pooling", "config.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"pooling_mode_lasttoken":true}`), 0o644))
	is, err = dense.IsEmbedding(dir)
	require.NoError(t, err)
	require.True(t, is)
	require.NoError(t, os.WriteFile(file, []byte(`{"pooling_mode_mean_tokens":true}`), 0o644))
	_, err = dense.IsEmbedding(dir)
	require.ErrorContains(t, err, "its vector is not that of the last token")
}

func TestBadModels(t *testing.T) {
	dev, err := devices.Open("cpu", devices.Options{Threads: 1})
	require.NoError(t, err)
	defer dev.Close()
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS("testdata/model")))
	for name, c := range map[string]struct{ text, want string }{
		"1_Pooling/config.json":             {`{"pooling_mode_cls_token":true}`, "is not that of the last token"},
		"config_sentence_transformers.json": {`{`, "config_sentence_transformers.json: unexpected end"},
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		old, _ := os.ReadFile(path)
		require.NoError(t, os.WriteFile(path, []byte(c.text), 0o644))
		_, err := dense.Open(t.Context(), dev, dir, 0)
		require.ErrorContains(t, err, c.want)
		require.ErrorContains(t, err, "opening the embedding model "+dir)
		if old == nil {
			require.NoError(t, os.Remove(path))
		} else {
			require.NoError(t, os.WriteFile(path, old, 0o644))
		}
	}
	_, err = dense.Open(t.Context(), dev, filepath.Join(dir, "absent"), 0)
	require.ErrorContains(t, err, "absent")
}

package embed_test

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/engine/embed"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/num"
)

// Values against transformers are tested in package rl/dense, which has the text too.
func TestEncoder(t *testing.T) {
	dev := ref.New()
	c := &model.Config{Arch: "qwen3", Vocab: 37, Hidden: 16, Inter: 28, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 6,
		MaxPos: 64, Eps: 1e-5, RopeTheta: 1e4, QKNorm: true, Tied: true}
	m, err := model.NewRandom(dev, c, model.Options{}, 3)
	require.NoError(t, err)
	defer m.Close()
	e, err := embed.NewEncoder(m, 1000)
	require.NoError(t, err)
	defer e.Close()
	require.Equal(t, 64, e.MaxTokens(), "the model's own limit")

	var seqs [][]int32 // several passes: more sequences and more tokens than one takes
	for n := range 40 {
		seqs = append(seqs, make([]int32, 1+n%30))
		seqs[n][n%30] = int32(n % 37)
	}
	all, err := e.Encode(seqs)
	require.NoError(t, err)
	require.Len(t, all, 40*16)
	for i, s := range seqs {
		alone, err := e.Encode([][]int32{s})
		require.NoError(t, err)
		require.Equal(t, all[i*16:][:16], alone)
		sum := 0.0
		for _, x := range alone {
			sum += float64(x) * float64(x)
		}
		require.InDelta(t, 1, sum, 1e-5)
	}
	for want, bad := range map[string][][]int32{"a sequence of 0 tokens: give 1 to 64": {{1}, {}},
		"a sequence of 65 tokens": {make([]int32, 65)}, "37": {{37}}} {
		_, err := e.Encode(bad)
		require.ErrorContains(t, err, want)
	}
}

func TestIndexOrder(t *testing.T) {
	x, err := embed.NewIndex(ref.New(), 4, 2)
	require.NoError(t, err)
	defer x.Close()
	for i, v := range [][]float32{{1, 0}, {0, 1}, {1, 0}, {0.5, 0.5}} {
		var b []byte
		for _, f := range v {
			b = binary.LittleEndian.AppendUint16(b, num.BF16FromF32(f))
		}
		x.Put(i, b)
	}
	hits, err := x.Find([]float32{1, 0.25}, 9)
	require.NoError(t, err)
	require.Equal(t, []embed.Hit{{0, 1}, {2, 1}, {3, 0.625}, {1, 0.25}}, hits, "of equal products the earlier")
	hits, err = x.Find([]float32{0, 1}, 1)
	require.NoError(t, err)
	require.Equal(t, []embed.Hit{{1, 1}}, hits)
}

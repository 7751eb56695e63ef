package train

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
	"github.com/zerosearch-go/zerosearch/model"
)

// The averaged copy scores as the formula's weights do, and goes through a checkpoint with its bits.
func TestAverage(t *testing.T) {
	dev := ref.New()
	seqs := group(rand.New(rand.NewPCG(3, 4)), 1, 2, 10)
	m, err := model.NewRandom(dev, tiny(), model.Options{DType: kernels.F32, Trainable: true}, 5)
	require.NoError(t, err)
	defer m.Close()
	tr, err := New(dev, m, nil, Options{KVType: kernels.F32})
	require.NoError(t, err)
	defer tr.Close()
	clone := func() *model.Model {
		c, err := m.Clone(model.Options{})
		require.NoError(t, err)
		t.Cleanup(c.Close)
		return c
	}
	master := func() (out [][]float32) {
		for _, p := range m.Params() {
			x := make([]float32, p.Master.Len())
			require.NoError(t, kernels.Download(dev, x, p.Master))
			out = append(out, x)
		}
		return out
	}
	score := func(m *model.Model) []float32 {
		s, err := NewScorer(dev, m, nil, Options{KVType: kernels.F32})
		require.NoError(t, err)
		defer s.Close()
		logp, _, err := s.Score(seqs)
		require.NoError(t, err)
		return append(logp[0], logp[1]...)
	}
	step := func() {
		var loss float64
		_, err := tr.Step(seqs, crossEntropy(50, &loss), 1e-2)
		require.NoError(t, err)
	}
	copied := clone()
	avg, err := NewAverage(dev, m.Trained(), copied.All(), 0.75, nil)
	require.NoError(t, err)
	defer avg.Close()
	require.Equal(t, score(m), score(copied), "it begins as the policy")
	start := score(copied)
	want := master()
	dir := t.TempDir()
	for range 3 {
		step()
		require.NoError(t, avg.Update())
		for i, now := range master() {
			for j := range now {
				want[i][j] = 0.75*want[i][j] + 0.25*now[j]
			}
		}
	}
	expected := clone()
	for i, p := range expected.All() {
		part := avg.from.Of(avg.avg, i)
		x, err := kernels.NewTensor(dev, kernels.F32, part.Rows, part.Cols)
		require.NoError(t, err)
		kernels.Upload(dev, x, want[i])
		if p.W != nil {
			dev.Pack(p.W, 0, x)
		} else {
			dev.Copy(p.Master, x)
		}
		x.Buf.Free()
	}
	got := score(copied)
	require.InDeltaSlice(t, score(expected), got, 1e-4)
	require.NotEqual(t, start, got)
	require.NotEqual(t, score(m), got)

	require.NoError(t, avg.Save(dir))
	other := clone()
	again, err := NewAverage(dev, m.Trained(), other.All(), 0.75, nil)
	require.NoError(t, err)
	defer again.Close()
	require.NoError(t, again.Load(t.Context(), dir))
	require.Equal(t, got, score(other))
	require.ErrorContains(t, again.Load(t.Context(), t.TempDir()), "restoring the averaged reference")
	_, err = NewAverage(dev, m.Trained(), m.All()[1:], 0.5, nil)
	require.ErrorContains(t, err, "a copy of")
}

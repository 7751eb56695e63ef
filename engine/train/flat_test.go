package train

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
	"github.com/zerosearch-go/zerosearch/model"
)

// counted counts what is done on a device. It is no kernels.Updater, whatever the device is.
type counted struct {
	kernels.Device
	uploads, fetches, syncs, squares, steps, packs, zeros, sums int
}

func (d *counted) reset() { *d = counted{Device: d.Device} }

func (d *counted) Upload(dst kernels.Tensor, src []byte) {
	d.uploads++
	d.Device.Upload(dst, src)
}

func (d *counted) Fetch(dst []byte, src kernels.Tensor) kernels.Ticket {
	d.fetches++
	return d.Device.Fetch(dst, src)
}

func (d *counted) Sync() error {
	d.syncs++
	return d.Device.Sync()
}

func (d *counted) SumSquares(dst, x kernels.Tensor, ranges []kernels.Range, add bool) {
	d.squares++
	d.Device.SumSquares(dst, x, ranges, add)
}

func (d *counted) AdamW(p, g, m, v kernels.Tensor, s kernels.AdamWStep) {
	d.steps++
	d.Device.AdamW(p, g, m, v, s)
}

func (d *counted) Pack(w kernels.Weight, row0 int, rows kernels.Tensor) {
	d.packs++
	d.Device.Pack(w, row0, rows)
}

func (d *counted) Zero(t kernels.Tensor) {
	d.zeros++
	d.Device.Zero(t)
}

func (d *counted) Axpy(y kernels.Tensor, a float32, x kernels.Tensor) {
	d.sums++
	d.Device.Axpy(y, a, x)
}

// matrices is how many of all are packed after a step.
func matrices(all []*model.Param) (n int) {
	for _, p := range all {
		if p.W != nil {
			n++
		}
	}
	return n
}

// An optimizer step on a device that is no Updater is one sum of squares, one AdamW, one Zero, and a Pack a matrix; its
// norm is its one download. The number of layers changes nothing but the packing. A critic's head is a second piece.
func TestOptimizerStepIsFlat(t *testing.T) {
	for _, layers := range []int{1, 5} {
		dev := &counted{Device: ref.New()}
		c := tiny()
		c.Layers = layers
		m, err := model.NewRandom(dev, c, model.Options{DType: kernels.BF16, Trainable: true}, 5)
		require.NoError(t, err)
		defer m.Close()
		tr, err := New(dev, m, nil, Options{})
		require.NoError(t, err)
		defer tr.Close()
		dev.reset()
		_, err = tr.Step(nil, nil, 1e-3)
		require.NoError(t, err)
		want := counted{Device: dev.Device, fetches: 1, syncs: 1, squares: 1, steps: 1, zeros: 1,
			packs: matrices(m.Params())}
		require.Equal(t, want, *dev)

		critic, err := NewCritic(dev, m, nil, Options{})
		require.NoError(t, err)
		defer critic.Close()
		dev.reset()
		_, err = critic.Step(nil, nil, 1e-3)
		require.NoError(t, err)
		want.squares, want.steps, want.zeros, want.packs = 2, 2, 2, want.packs+1
		require.Equal(t, want, *dev)
		dev.reset()
		tr.ZeroGrad()
		require.Equal(t, counted{Device: dev.Device, zeros: 1}, *dev)
	}
}

// A micro-batch is one download, and no wait for the device but that: log-probabilities and entropies come together.
func TestMicroBatchIsOneDownload(t *testing.T) {
	dev := &counted{Device: ref.New()}
	m, err := model.NewRandom(dev, tiny(), model.Options{DType: kernels.F32, Trainable: true}, 5)
	require.NoError(t, err)
	defer m.Close()
	seqs := group(rand.New(rand.NewPCG(3, 4)), 1, 4, 40)
	o := Options{KVType: kernels.F32, MicroBatchTokens: 110}
	tr, err := New(dev, m, nil, o)
	require.NoError(t, err)
	defer tr.Close()
	critic, err := NewCritic(dev, m, nil, o)
	require.NoError(t, err)
	defer critic.Close()
	scorer, err := NewScorer(dev, m, nil, o)
	require.NoError(t, err)
	defer scorer.Close()
	for range 2 { // the second time all memory is there
		for what, run := range map[string]func() (Stats, error){
			"loss": func() (Stats, error) {
				return tr.Accumulate(seqs, func(_ int, _, _, dlogp, dentropy []float32) error {
					dlogp[0], dentropy[0] = 1, 1
					return nil
				})
			},
			"values": func() (Stats, error) {
				return critic.Accumulate(seqs, func(_ int, _, dvalue []float32) error {
					dvalue[0] = 1
					return nil
				})
			},
			"score": func() (Stats, error) {
				_, _, err := scorer.Score(seqs)
				return Stats{MicroBatches: len(packs(seqs, o.MicroBatchTokens))}, err
			},
		} {
			dev.reset()
			st, err := run()
			require.NoError(t, err)
			require.Greater(t, st.MicroBatches, 1)
			require.Equal(t, st.MicroBatches, dev.fetches, what)
			require.Zero(t, dev.syncs, what)
			require.LessOrEqual(t, dev.uploads, 3*st.MicroBatches, "%s: targets, gradients, the table of rotations",
				what)
		}
	}
}

// An average is moved and computed with where it lies: nothing is downloaded, and the number of sums does not depend on
// that of the parameters.
func TestAverageStaysOnTheDevice(t *testing.T) {
	sums := map[int]int{}
	for _, layers := range []int{1, 5} {
		dev := &counted{Device: ref.New()}
		c := tiny()
		c.Vocab, c.Layers = 2000, layers
		m, err := model.NewRandom(dev, c, model.Options{DType: kernels.BF16, Trainable: true}, 5)
		require.NoError(t, err)
		defer m.Close()
		dev.reset()
		reference, err := m.Clone(model.Options{})
		require.NoError(t, err)
		defer reference.Close()
		avg, err := NewAverage(dev, m.Trained(), reference.All(), 0.9, nil)
		require.NoError(t, err)
		defer avg.Close()
		dev.sums = 0
		require.NoError(t, avg.Update())
		require.Zero(t, dev.fetches)
		sums[layers] = dev.sums
	}
	require.Equal(t, sums[1], sums[5])
}

// One step for all parameters has the bits of a step for each of them, and so has the norm; so has a device that
// updates a weight in one pass over memory.
func TestFlatStepHasTheBitsOfSteps(t *testing.T) {
	fast, err := cpu.New(cpu.Options{Threads: 2})
	require.NoError(t, err)
	defer fast.Close()
	seqs := group(rand.New(rand.NewPCG(3, 4)), 1, 4, 40)
	c := tiny()
	c.Vocab, c.Tied = 401, false // several blocks of squares in a matrix, none of them whole
	run := func(dev kernels.Device, step func(m *model.Model, tr *Trainer) float64) (norms []float64, out [][]float32) {
		m, err := model.NewRandom(dev, c, model.Options{DType: kernels.BF16, Trainable: true}, 5)
		require.NoError(t, err)
		defer m.Close()
		tr, err := New(dev, m, nil, Options{MaxGradNorm: 1, WeightDecay: 0.1})
		require.NoError(t, err)
		defer tr.Close()
		for range 3 {
			_, err := tr.Accumulate(seqs, func(seq int, logp, _, dlogp, _ []float32) error {
				for i := range dlogp {
					dlogp[i] = float32(math.Sin(float64(seq + i)))
				}
				return nil
			})
			require.NoError(t, err)
			norms = append(norms, step(m, tr))
		}
		for _, p := range m.Params() {
			for _, x := range []kernels.Tensor{p.Master, p.Grad} {
				host := make([]float32, x.Len())
				require.NoError(t, kernels.Download(dev, host, x))
				out = append(out, host)
			}
		}
		return norms, out
	}
	whole := func(_ *model.Model, tr *Trainer) float64 {
		st, err := tr.Step(nil, nil, 1e-2)
		require.NoError(t, err)
		return st.GradNorm
	}
	var moments [][2]kernels.Tensor
	step := 0
	apart := func(m *model.Model, tr *Trainer) float64 {
		step++
		for i, p := range m.Params() {
			if step == 1 {
				var mv [2]kernels.Tensor
				for j := range mv {
					mv[j], err = kernels.NewTensor(fast, kernels.F32, p.Master.Rows, p.Master.Cols)
					require.NoError(t, err)
				}
				moments = append(moments, mv)
			}
			fast.SumSquares(tr.norm, p.Grad, nil, i > 0)
		}
		var sum [1]float64
		require.NoError(t, kernels.Download(fast, sum[:], tr.norm))
		norm := math.Sqrt(sum[0])
		for i, p := range m.Params() {
			fast.AdamW(p.Master, p.Grad, moments[i][0], moments[i][1],
				kernels.AdamWStep{LR: 1e-2, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8,
					WeightDecay: 0.1, GradScale: float32(min(1, 1/(norm+1e-6))), Step: step})
			m.Repack(p)
			fast.Zero(p.Grad)
		}
		return norm
	}
	norms, want := run(fast, apart)
	for _, dev := range []kernels.Device{fast, &counted{Device: fast}} {
		got, params := run(dev, whole)
		require.Equal(t, norms, got)
		require.Equal(t, want, params)
	}
	for _, mv := range moments {
		mv[0].Buf.Free()
		mv[1].Buf.Free()
	}
}

package train

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
	"github.com/zerosearch-go/zerosearch/model"
)

// criticRig is a critic whose head is not zero.
func criticRig(t *testing.T, dev kernels.Device, dtype kernels.DType, tied, lora, frozen bool) *Critic {
	cfg := tiny()
	cfg.Tied = tied
	m, err := model.NewRandom(dev, cfg, model.Options{DType: dtype, Trainable: !lora && !frozen}, 7)
	require.NoError(t, err)
	t.Cleanup(m.Close)
	var a *model.Adapter
	if lora {
		a, err = model.NewAdapter(m, model.AdapterConfig{R: 3, Alpha: 6, Targets: []string{"all-linear"}}, true, 5)
		require.NoError(t, err)
		t.Cleanup(a.Close)
		for i, p := range a.Params() { // B is zero at first, and A would have no gradient
			fillWaves(dev, p, 0.05, i)
			a.Repack(p)
		}
	}
	c, err := NewCritic(dev, m, a, Options{KVType: dtype, MicroBatchTokens: 150})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	for i, p := range []*model.Param{c.w, c.b} {
		fillWaves(dev, p, 0.3, i)
		c.repack(p)
	}
	return c
}

func fillWaves(dev kernels.Device, p *model.Param, size float64, phase int) {
	x := make([]float32, p.Master.Len())
	for i := range x {
		x[i] = float32(size * math.Sin(float64(3*i+phase+1)))
	}
	kernels.Upload(dev, p.Master, x)
}

// valueWeights is the derivative of the test's loss sum(w v).
func valueWeights(seq, i int) float64 { return math.Cos(float64(2*seq + i)) }

func valueLoss(t *testing.T, c *Critic, seqs []Sequence) (loss float64) {
	values, err := c.Values(seqs)
	require.NoError(t, err)
	for s, row := range values {
		require.Len(t, row, seqs[s].Trained())
		for i, v := range row {
			loss += valueWeights(s, i) * float64(v)
		}
	}
	return loss
}

func accumulate(t *testing.T, c *Critic, seqs []Sequence) {
	_, err := c.Accumulate(seqs, func(seq int, value, dvalue []float32) error {
		for i := range value {
			dvalue[i] = float32(valueWeights(seq, i))
		}
		return nil
	})
	require.NoError(t, err)
}

// The gradient of the values, by head, by all weights and by an adapter, against central differences of the largest and
// of other elements of every parameter.
func TestValueGradientByDifferences(t *testing.T) {
	dev, err := cpu.New(cpu.Options{Threads: 1})
	require.NoError(t, err)
	t.Cleanup(func() { dev.Close() })
	r := rand.New(rand.NewPCG(1, 2))
	seqs := append(group(r, 1, 2, 40), group(r, 2, 1, 3)...)
	for name, c := range map[string]*Critic{"all": criticRig(t, dev, kernels.F32, true, false, false),
		"untied":  criticRig(t, dev, kernels.F32, false, false, false),
		"adapter": criticRig(t, dev, kernels.F32, true, true, false),
		"head":    criticRig(t, dev, kernels.F32, true, false, true)} {
		t.Run(name, func(t *testing.T) {
			accumulate(t, c, seqs)
			for _, p := range c.trained() {
				require.NotEqual(t, "lm_head.weight", p.Name, "no value depends on it")
				grad, x := make([]float32, p.Grad.Len()), make([]float32, p.Master.Len())
				require.NoError(t, kernels.Download(dev, grad, p.Grad))
				require.NoError(t, kernels.Download(dev, x, p.Master))
				large := 0
				for i, g := range grad {
					if math.Abs(float64(g)) > math.Abs(float64(grad[large])) {
						large = i
					}
				}
				require.NotZero(t, grad[large], p.Name)
				for _, i := range []int{large, len(grad) / 2, len(grad) - 1} {
					const h = 4e-3
					at := func(v float32) float64 {
						old := x[i]
						x[i] = v
						kernels.Upload(dev, p.Master, x)
						c.repack(p)
						x[i] = old
						return valueLoss(t, c, seqs)
					}
					up, down := x[i]+h, x[i]-h
					slope := (at(up) - at(down)) / float64(up-down)
					require.InDelta(t, slope, grad[i], 1e-2*math.Abs(float64(grad[large])), "%s[%d]", p.Name, i)
					at(x[i])
				}
			}
		})
	}
}

// Values do not depend on what else is in the batch, a new critic says 0, and a step moves values towards their
// targets.
func TestCriticLearns(t *testing.T) {
	dev := ref.New()
	m, err := model.NewRandom(dev, tiny(), model.Options{DType: kernels.BF16, Trainable: true}, 7)
	require.NoError(t, err)
	defer m.Close()
	c, err := NewCritic(dev, m, nil, Options{MaxGradNorm: 1})
	require.NoError(t, err)
	defer c.Close()
	seqs := group(rand.New(rand.NewPCG(3, 4)), 1, 3, 33)
	loss := func() (sum float64) {
		values, err := c.Values(seqs)
		require.NoError(t, err)
		for _, row := range values {
			for _, v := range row {
				sum += (float64(v) - 0.5) * (float64(v) - 0.5)
			}
		}
		return sum
	}
	values, err := c.Values(seqs)
	require.NoError(t, err)
	for _, row := range values {
		require.Equal(t, make([]float32, len(row)), row)
	}
	before := loss()
	for range 8 {
		st, err := c.Step(seqs, func(_ int, v, dv []float32) error {
			for i := range v {
				dv[i] = (v[i] - 0.5) / 100
			}
			return nil
		}, 3e-3)
		require.NoError(t, err)
		require.NoError(t, st.Skipped)
	}
	require.Less(t, loss(), before/2)
	together, err := c.Values(seqs)
	require.NoError(t, err)
	alone, err := c.Values(seqs[2:])
	require.NoError(t, err)
	require.Equal(t, together[2], alone[0])

	st, err := c.Step(seqs, func(_ int, v, dv []float32) error { dv[0] = float32(math.Inf(1)); return nil }, 1e-3)
	require.NoError(t, err)
	require.ErrorContains(t, st.Skipped, "gradient")
	require.Equal(t, 8, c.Steps())
}

// trained lists the parameters of head and body.
func (c *Critic) trained() (all []*model.Param) {
	for _, f := range c.flats {
		all = append(all, f.Params...)
	}
	return all
}

// Head, body and moments go through a checkpoint with their bits, and the number of threads changes none.
func TestCriticResumesBitForBit(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	seqs := append(group(r, 1, 3, 40), group(r, 2, 3, 33)...)
	run := func(threads, stopAfter int) (out [][]float32) {
		dev, err := cpu.New(cpu.Options{Threads: threads})
		require.NoError(t, err)
		defer dev.Close()
		start := func(seed uint64) (*model.Model, *Critic) {
			m, err := model.NewRandom(dev, tiny(), model.Options{DType: kernels.BF16, Trainable: true}, seed)
			require.NoError(t, err)
			c, err := NewCritic(dev, m, nil, Options{MaxGradNorm: 1, WeightDecay: 0.01})
			require.NoError(t, err)
			return m, c
		}
		m, c := start(5)
		dir := t.TempDir()
		for k := range 4 {
			if k == stopAfter {
				require.NoError(t, disk.ReplaceDir(filepath.Join(dir, "step"), c.SaveState))
				c.Close()
				m.Close()
				m, c = start(99)
				require.NoError(t, c.LoadState(t.Context(), filepath.Join(dir, "step")))
			}
			_, err := c.Step(seqs, func(seq int, v, dv []float32) error {
				for i := range v {
					dv[i] = (v[i] - float32(seq)) / 64
				}
				return nil
			}, 1e-2)
			require.NoError(t, err)
		}
		require.NoError(t, c.SaveHead(dir))
		fresh, err := NewCritic(dev, m, nil, Options{})
		require.NoError(t, err)
		require.NoError(t, fresh.LoadHead(dir))
		a, err := c.Values(seqs)
		require.NoError(t, err)
		b, err := fresh.Values(seqs)
		require.NoError(t, err)
		require.Equal(t, a, b, "a head that was saved and loaded")
		fresh.Close()
		for _, p := range c.trained() {
			x := make([]float32, p.Master.Len())
			require.NoError(t, kernels.Download(dev, x, p.Master))
			out = append(out, x)
		}
		c.Close()
		m.Close()
		return out
	}
	whole := run(1, -1)
	require.Equal(t, whole, run(1, 2))
	require.Equal(t, whole, run(2, -1))
}

// A sequence without a gradient adds nothing: skipping its backward pass gives the bits of running it.
func TestNoGradientSequencesChangeNoBit(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	seqs := append(group(r, 1, 3, 70), group(r, 2, 3, 40)...)
	noGradient := map[int]bool{1: true, 3: true, 4: true}
	for _, dtype := range []kernels.DType{kernels.F32, kernels.BF16} {
		gradient := func(seqs []Sequence, at func(i int) int) (out [][]float32, numbers map[int]float32) {
			dev := ref.New()
			m, err := model.NewRandom(dev, tiny(), model.Options{DType: dtype, Trainable: true}, 7)
			require.NoError(t, err)
			defer m.Close()
			tr, err := New(dev, m, nil, Options{KVType: dtype})
			require.NoError(t, err)
			defer tr.Close()
			numbers = map[int]float32{}
			_, err = tr.Accumulate(seqs, func(seq int, logp, _, dlogp, _ []float32) error {
				numbers[at(seq)] = logp[0]
				for i := range dlogp {
					if !noGradient[at(seq)] {
						dlogp[i] = float32(math.Sin(float64(at(seq) + i)))
					}
				}
				return nil
			})
			require.NoError(t, err)
			for _, p := range m.Params() {
				g := make([]float32, p.Grad.Len())
				require.NoError(t, kernels.Download(dev, g, p.Grad))
				out = append(out, g)
			}
			return out, numbers
		}
		marked := append([]Sequence(nil), seqs...)
		for i := range noGradient {
			marked[i].NoGradient = true
		}
		got, numbers := gradient(marked, func(i int) int { return i })
		order := []int{0, 2, 5, 1, 3, 4} // the same, all walked back in one micro-batch
		var walked []Sequence
		for _, i := range order {
			walked = append(walked, seqs[i])
		}
		want, same := gradient(walked, func(i int) int { return order[i] })
		require.Equal(t, want, got, "%v", dtype)
		require.Equal(t, same, numbers, "%v", dtype)
		require.Len(t, numbers, 6)
	}
	dev := ref.New()
	m, err := model.NewRandom(dev, tiny(), model.Options{DType: kernels.F32, Trainable: true}, 7)
	require.NoError(t, err)
	defer m.Close()
	tr, err := New(dev, m, nil, Options{KVType: kernels.F32})
	require.NoError(t, err)
	defer tr.Close()
	seqs[0].NoGradient = true
	var loss float64
	_, err = tr.Step(seqs[:1], crossEntropy(10, &loss), 1e-3)
	require.ErrorContains(t, err, "marked NoGradient")
}

// A loss that is not finite skips the step and leaves the weights as they were.
func TestNonFiniteLossIsSkipped(t *testing.T) {
	dev, m, tr := newTiny(t)
	seqs := group(rand.New(rand.NewPCG(3, 4)), 1, 2, 10)
	before := make([]float32, m.Params()[0].Master.Len())
	require.NoError(t, kernels.Download(dev, before, m.Params()[0].Master))
	st, err := tr.Step(seqs, func(seq int, _, _, dlogp, _ []float32) error {
		dlogp[0] = 1
		if seq == 1 {
			return &NonFiniteError{What: "loss", Seq: 1, Token: -1, Value: math.NaN()}
		}
		return nil
	}, 1)
	require.NoError(t, err)
	require.ErrorContains(t, st.Skipped, "the loss of sequence 1 is NaN")
	after := make([]float32, len(before))
	require.NoError(t, kernels.Download(dev, after, m.Params()[0].Master))
	require.Equal(t, before, after)
	grad := make([]float32, len(before))
	require.NoError(t, kernels.Download(dev, grad, m.Params()[0].Grad))
	require.Equal(t, make([]float32, len(before)), grad, "nothing of it is left")
}

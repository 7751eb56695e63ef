package train

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/internal/goldens"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/safetensors"
)

// crossEntropy is the mean negative log-probability over n trained ids; sum receives the loss.
func crossEntropy(n int, sum *float64) LossFunc {
	return func(_ int, logp, _, dlogp, _ []float32) error {
		for i, lp := range logp {
			*sum -= float64(lp) / float64(n)
			dlogp[i] = float32(-1 / float64(n))
		}
		return nil
	}
}

func load(t *testing.T, dir string, dtype kernels.DType) (kernels.Device, *model.Model) {
	dev := ref.New()
	m, err := model.Load(dev, dir, model.Options{DType: dtype, Trainable: true})
	require.NoError(t, err)
	t.Cleanup(m.Close)
	return dev, m
}

func readInts(t *testing.T, f *safetensors.File, name string) []int32 {
	x, ok := f.Tensor(name)
	require.True(t, ok, name)
	out := make([]int32, x.Elements())
	require.NoError(t, x.Int32(out))
	return out
}

// torch's losses, gradient norms and weights of five AdamW steps, through packing, loss, clipping and update.
func TestAdamWGoldens(t *testing.T) {
	for _, name := range []string{"llama", "llama-tied", "qwen2", "odd", "bf16", "small-llama-tied", "small-qwen2"} {
		t.Run(name, func(t *testing.T) {
			dir := goldens.Local(t, "../../model/testdata", "models/"+name, "golden.json")
			var g struct {
				Settings struct {
					LR    float64
					Betas []float64
					Eps   float64
					Decay float64 `json:"weight_decay"`
					Clip  float64 `json:"max_grad_norm"`
				} `json:"adamw_settings"`
				Scalars struct {
					AdamW []struct {
						Loss float64
						Norm float64 `json:"grad_norm"`
					}
				}
			}
			data, err := os.ReadFile(filepath.Join(dir, "golden.json"))
			require.NoError(t, err)
			require.NoError(t, json.Unmarshal(data, &g))
			f, err := safetensors.Open(filepath.Join(dir, "golden.safetensors"))
			require.NoError(t, err)
			defer f.Close()
			dev, m := load(t, dir, kernels.F32)
			tr, err := New(dev, m, nil, Options{Beta1: g.Settings.Betas[0], Beta2: g.Settings.Betas[1],
				Eps:         g.Settings.Eps,
				WeightDecay: g.Settings.Decay, MaxGradNorm: g.Settings.Clip, KVType: kernels.F32, MicroBatchTokens: 64})
			require.NoError(t, err)
			defer tr.Close()
			require.NotEmpty(t, g.Scalars.AdamW)
			for step, want := range g.Scalars.AdamW {
				pre := fmt.Sprintf("adamw.step%d.", step)
				seqs, n := split(readInts(t, f, pre+"ids"), readInts(t, f, pre+"mask"), readInts(t, f, pre+"lens"))
				var loss float64
				st, err := tr.Step(seqs, crossEntropy(n, &loss), g.Settings.LR)
				require.NoError(t, err)
				require.InDelta(t, want.Loss, loss, 1e-5, "loss of step %d", step)
				require.InEpsilon(t, want.Norm, st.GradNorm, 1e-5, "gradient norm of step %d", step)
			}
			checkFinal(t, f, m)
		})
	}
}

func split(ids, mask, lens []int32) (seqs []Sequence, trained int) {
	at := 0
	for _, n := range lens {
		s := Sequence{IDs: ids[at : at+int(n)]}
		for _, v := range mask[at : at+int(n)] {
			s.Mask = append(s.Mask, v != 0)
		}
		at += int(n)
		trained += s.Trained()
		seqs = append(seqs, s)
	}
	return seqs, trained
}

func checkFinal(t *testing.T, f *safetensors.File, m *model.Model) {
	off, all := 0, 0
	for _, p := range m.Params() {
		x, ok := f.Tensor("adamw.final." + p.Name)
		if !ok {
			return // this case has the scalars only
		}
		want := make([]float32, x.Elements())
		require.NoError(t, x.Float32(want))
		got := make([]float32, p.Master.Len())
		require.NoError(t, kernels.Download(m.Device, got, p.Master))
		all += len(want)
		for i := range want {
			d := math.Abs(float64(got[i] - want[i]))
			require.Less(t, d, 2e-3, "%s[%d]", p.Name, i)
			if d > 3e-6 {
				off++
			}
		}
	}
	require.LessOrEqual(t, off, all/1000, "elements off by more than 3e-6, of %d", all)
}

func tiny() *model.Config {
	return &model.Config{Arch: "qwen3", Vocab: 61, Hidden: 32, Inter: 48, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 16,
		Eps:       1e-6,
		RopeTheta: 1e4, Tied: true, QKNorm: true, MaxPos: 512}
}

func group(r *rand.Rand, key uint64, n, prompt int) (seqs []Sequence) {
	head := make([]int32, prompt)
	for i := range head {
		head[i] = int32(r.IntN(61))
	}
	for range n {
		s := Sequence{IDs: append([]int32(nil), head...), Mask: make([]bool, prompt), Prefix: key, Shared: prompt}
		for range 5 + r.IntN(60) {
			s.IDs = append(s.IDs, int32(r.IntN(61)))
			s.Mask = append(s.Mask, r.IntN(4) > 0)
		}
		seqs = append(seqs, s)
	}
	return seqs
}

func gradients(t *testing.T, seqs []Sequence, o Options) (norm float64, grads [][]float32) {
	dev := ref.New()
	m, err := model.NewRandom(dev, tiny(), model.Options{DType: kernels.F32, Trainable: true}, 7)
	require.NoError(t, err)
	defer m.Close()
	o.KVType = kernels.F32
	tr, err := New(dev, m, nil, o)
	require.NoError(t, err)
	defer tr.Close()
	loss := func(seq int, logp, entropy, dlogp, dentropy []float32) error {
		for i := range logp {
			dlogp[i], dentropy[i] = float32(math.Sin(float64(seq+i))), float32(0.1*math.Cos(float64(i)))
		}
		return nil
	}
	_, err = tr.Accumulate(seqs, loss)
	require.NoError(t, err)
	for _, p := range m.Params() {
		g := make([]float32, p.Grad.Len())
		require.NoError(t, kernels.Download(dev, g, p.Grad))
		grads = append(grads, g)
	}
	return norm, grads
}

// Sharing a group's prompt, the size of micro-batches and recomputation change time and memory, not the gradient.
func TestSameGradientHoweverPacked(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var seqs, unshared []Sequence
	for g, prompt := range []int{70, 33, 64, 3} {
		seqs = append(seqs, group(r, uint64(g+1), 3, prompt)...)
	}
	for _, s := range seqs {
		s.Prefix = 0
		unshared = append(unshared, s)
	}
	_, want := gradients(t, unshared, Options{MicroBatchTokens: 1})
	for name, got := range map[string]func() (float64, [][]float32){
		"shared":    func() (float64, [][]float32) { return gradients(t, seqs, Options{}) },
		"small":     func() (float64, [][]float32) { return gradients(t, seqs, Options{MicroBatchTokens: 200}) },
		"recompute": func() (float64, [][]float32) { return gradients(t, seqs, Options{Recompute: true}) },
	} {
		_, g := got()
		for i := range want {
			scale := 0.0
			for _, v := range want[i] {
				scale = max(scale, math.Abs(float64(v)))
			}
			require.Positive(t, scale)
			for j := range want[i] {
				require.InDelta(t, want[i][j], g[i][j], 5e-5*scale, "%s: parameter %d, element %d", name, i, j)
			}
		}
	}
}

// Sharing a prompt, wherever it ends, changes no bit of a log-probability.
func TestSharedPromptSameBits(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var seqs, unshared []Sequence
	for g, prompt := range []int{70, 33, 64, 3, 31} {
		seqs = append(seqs, group(r, uint64(g+1), 4, prompt)...)
	}
	for _, s := range seqs {
		s.Prefix = 0
		unshared = append(unshared, s)
	}
	dev, err := cpu.New(cpu.Options{Threads: 2})
	require.NoError(t, err)
	defer dev.Close()
	for _, dtype := range []kernels.DType{kernels.F32, kernels.BF16, kernels.Q8} {
		m, err := model.NewRandom(dev, tiny(), model.Options{DType: dtype}, 7)
		require.NoError(t, err)
		score := func(seqs []Sequence, tokens int) [][]float32 {
			s, err := NewScorer(dev, m, nil, Options{MicroBatchTokens: tokens})
			require.NoError(t, err)
			defer s.Close()
			logps, _, err := s.Score(seqs)
			require.NoError(t, err)
			return logps
		}
		want := score(unshared, 1)
		require.Equal(t, want, score(seqs, 0), "%v", dtype)
		require.Equal(t, want, score(seqs, 150), "%v", dtype)
		m.Close()
	}
}

// A run that is stopped, saved and restored goes on with the same bits.
func TestResumeBitForBit(t *testing.T) {
	seqs := group(rand.New(rand.NewPCG(3, 4)), 1, 4, 40)
	run := func(stopAfter int) [][]float32 {
		dir := filepath.Join(t.TempDir(), "step")
		var out [][]float32
		start := func(seed uint64) (kernels.Device, *model.Model, *Trainer) {
			dev := ref.New()
			m, err := model.NewRandom(dev, tiny(), model.Options{DType: kernels.BF16, Trainable: true}, seed)
			require.NoError(t, err)
			tr, err := New(dev, m, nil, Options{MaxGradNorm: 1, WeightDecay: 0.01})
			require.NoError(t, err)
			return dev, m, tr
		}
		dev, m, tr := start(5)
		for k := range 4 {
			if k == stopAfter {
				require.NoError(t, disk.ReplaceDir(dir, tr.SaveState))
				tr.Close()
				m.Close()
				dev, m, tr = start(99) // other weights, all replaced
				require.NoError(t, tr.LoadState(t.Context(), dir))
				require.Equal(t, k, tr.Steps())
			}
			var loss float64
			_, err := tr.Step(seqs, crossEntropy(100, &loss), 1e-2)
			require.NoError(t, err)
		}
		for _, p := range m.Params() {
			g := make([]float32, p.Master.Len())
			require.NoError(t, kernels.Download(dev, g, p.Master))
			out = append(out, g)
		}
		tr.Close()
		m.Close()
		return out
	}
	require.Equal(t, run(-1), run(2))
}

// newTiny is a trainer of a random model on ref, with default options.
func newTiny(t *testing.T) (kernels.Device, *model.Model, *Trainer) {
	dev := ref.New()
	m, err := model.NewRandom(dev, tiny(), model.Options{DType: kernels.F32, Trainable: true}, 5)
	require.NoError(t, err)
	t.Cleanup(m.Close)
	tr, err := New(dev, m, nil, Options{})
	require.NoError(t, err)
	t.Cleanup(tr.Close)
	return dev, m, tr
}

// A gradient that is not finite changes nothing and is reported.
func TestNonFinite(t *testing.T) {
	_, _, tr := newTiny(t)
	seqs := group(rand.New(rand.NewPCG(3, 4)), 1, 2, 10)
	st, err := tr.Step(seqs, func(_ int, logp, _, dlogp, _ []float32) error {
		dlogp[0] = float32(math.Inf(1))
		return nil
	}, 1e-3)
	require.NoError(t, err)
	require.ErrorContains(t, st.Skipped, "norm of the gradient is")
	require.Zero(t, tr.Steps())
	var loss float64
	st, err = tr.Step(seqs, crossEntropy(10, &loss), 1e-3)
	require.NoError(t, err)
	require.NoError(t, st.Skipped)
	_, err = tr.Step([]Sequence{{IDs: []int32{1, 61}, Mask: []bool{false, true}}}, crossEntropy(1, &loss), 1e-3)
	require.ErrorContains(t, err, "outside the vocabulary")
}

// What is no number any more is not saved: the checkpoint before it stays the last.
func TestSaveStateRefusesWhatDiverged(t *testing.T) {
	dev, m, tr := newTiny(t)
	dir := t.TempDir()
	require.NoError(t, tr.SaveState(dir))
	p := m.Params()[1]
	for _, bad := range []float32{float32(math.Inf(-1)), float32(math.NaN())} {
		host := make([]float32, p.Master.Len())
		host[len(host)-1] = bad
		kernels.Upload(dev, p.Master, host)
		require.ErrorIs(t, tr.SaveState(t.TempDir()), ErrDiverged)
		require.ErrorContains(t, tr.SaveState(t.TempDir()), p.Name)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, tr.LoadState(gone, dir), context.Canceled)
}

package train

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/num"
)

// inRanks runs f as every rank of a local group.
func inRanks(t *testing.T, size int, f func(g dist.Group) error) {
	t.Helper()
	errs := make(chan error)
	for _, g := range dist.Local(size) {
		go func() {
			err := f(g)
			if err != nil {
				err = fmt.Errorf("rank %d of %d: %w", g.Rank(), size, err)
				g.Fail(err)
			}
			errs <- err
		}()
	}
	var all []error
	for range size {
		all = append(all, <-errs)
	}
	require.NoError(t, errors.Join(all...))
}

// learner is a rank that trains: a small model or an adapter of it, perhaps with a critic.
type learner struct {
	*Trainer
	m      *model.Model
	a      *model.Adapter // may be nil
	critic *Critic
	grads  [][]float32 // summed, of the first step
	norms  []float64
}

// openRank opens the device of a rank; some tests have others.
var openRank = func(dist.Group) (kernels.Device, error) { return cpu.New(cpu.Options{Threads: 1}) }

// rankShape is what the ranks train: several panels of rows, and a critic that trains all but the last matrix.
var rankShape = func() *model.Config {
	shape := tiny()
	shape.Vocab, shape.Tied = 201, false
	return shape
}

// rankGroups are how many groups of sequences a step has, how long their prompts are, and the longest sequence.
var rankGroups, rankPrompt, rankLongest = 5, 20, 100

// learn makes a learner, lets it do something, and frees it.
func learn(g dist.Group, lora bool, do func(l *learner) error) (err error) {
	dev, err := openRank(g)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	shape := rankShape()
	m, err := model.NewRandom(dev, shape, model.Options{DType: kernels.BF16, Trainable: !lora}, 7)
	if err != nil {
		return err
	}
	defer m.Close()
	var a *model.Adapter
	if lora {
		c := model.AdapterConfig{R: 3, Alpha: 6, Targets: []string{"all-linear"}}
		if a, err = model.NewAdapter(m, c, true, 5); err != nil {
			return err
		}
		defer a.Close()
	}
	o := Options{MaxGradNorm: 1, WeightDecay: 0.1, Eps: 1e-3, Ranks: g, MicroBatchTokens: 200}
	l := &learner{m: m, a: a}
	if l.Trainer, err = New(dev, m, a, o); err != nil {
		return err
	}
	defer l.Trainer.Close()
	valued, err := model.NewRandom(dev, shape, model.Options{DType: kernels.BF16, Trainable: !lora}, 8)
	if err != nil {
		return err
	}
	defer valued.Close()
	if l.critic, err = NewCritic(dev, valued, nil, o); err != nil {
		return err
	}
	defer l.critic.Close()
	return do(l)
}

// steps takes optimizer steps from to to, every rank with the groups of its own.
func (l *learner) steps(g dist.Group, from, to int) error {
	for step := from; step < to; step++ {
		var own []Sequence
		var place []int // in the step
		r := rand.New(rand.NewPCG(uint64(step), 4))
		n := 0
		for k := range rankGroups {
			for _, s := range group(r, uint64(k+1), 3, rankPrompt) {
				most := min(rankLongest, len(s.IDs))
				s.IDs, s.Mask = s.IDs[:most], s.Mask[:most]
				if k%g.Size() == g.Rank() {
					own, place = append(own, s), append(place, n)
				}
				n++
			}
		}
		st, err := l.Accumulate(own, func(seq int, logp, _, dlogp, _ []float32) error {
			for i := range dlogp {
				dlogp[i] = float32(math.Sin(float64(place[seq]+i))) / 100
			}
			return nil
		})
		if step == 0 && err == nil {
			err = l.keepGradients()
		}
		if err = l.Finish(&st, err, 1e-2); err != nil {
			return err
		}
		l.norms = append(l.norms, st.GradNorm)
		st, err = l.critic.Step(own, func(seq int, value, dvalue []float32) error {
			for i := range dvalue {
				dvalue[i] = (value[i] - float32(place[seq]%3)) / 100
			}
			return nil
		}, 1e-2)
		if err != nil {
			return err
		}
		l.norms = append(l.norms, st.GradNorm)
	}
	return nil
}

// keepGradients notes the gradients that the ranks sum up to, and leaves their own.
func (l *learner) keepGradients() error {
	for _, f := range l.Trainer.flats {
		own := make([]float32, f.Grad.Cols)
		if err := kernels.Download(l.dev, own, f.Grad); err != nil {
			return err
		}
		all, err := l.ranks.AllGather(nil, bytesOf(own))
		if err != nil {
			return err
		}
		sum := make([]float32, len(own))
		for _, b := range all {
			part := make([]float32, len(own))
			copy(bytesOf(part), b)
			for i, x := range part {
				sum[i] += x
			}
		}
		l.grads = append(l.grads, sum)
	}
	return nil
}

// masters are the trained parameters, then those of the critic. The weights of the forward passes must be these,
// rounded.
func (l *learner) masters() (out [][]float32, err error) {
	for _, f := range append(append([]flat(nil), l.Trainer.flats...), l.critic.flats...) {
		own := make([]float32, f.len())
		if err := l.download(own, f.own(f.Master), shard{0, f.len()}); err != nil {
			return nil, err
		}
		all, err := l.ranks.AllGather(nil, bytesOf(own))
		if err != nil {
			return nil, err
		}
		x := make([]float32, f.Len())
		copy(bytesOf(x), bytes.Join(all, nil))
		out = append(out, x)
		for i, r := range f.Ranges() {
			if err := l.fits(f.Params[i], x[r.From:r.To]); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// fits is nil if the forward passes compute with p at these values.
func (l *learner) fits(p *model.Param, want []float32) error {
	x, err := kernels.NewTensor(l.dev, kernels.F32, p.Grad.Rows, p.Grad.Cols)
	if err != nil {
		return err
	}
	defer x.Buf.Free()
	if p.W != nil {
		l.dev.Unpack(x, p.W, 0)
	} else {
		l.dev.Copy(x, p.Master)
	}
	got := make([]float32, len(want))
	if err := kernels.Download(l.dev, got, x); err != nil {
		return err
	}
	for i, v := range want {
		if p.W != nil && p.W.Type() == kernels.BF16 {
			v = num.RoundBF16(v)
		}
		if got[i] != v {
			return fmt.Errorf("%s[%d] is computed with as %v, its master is %v", p.Name, i, got[i], want[i])
		}
	}
	return nil
}

// result is what ranks have after some steps.
type result struct {
	masters, grads [][]float32
	norms          []float64
	saved          []string
}

// trainRanks runs steps with size ranks, and gives what rank 0 has; that of all is the same. It begins with the
// checkpoint in dir, if from is not 0, and writes one to its folder next.
func trainRanks(t *testing.T, size int, lora bool, dir string, from, to int) (out result) {
	inRanks(t, size, func(g dist.Group) error {
		return learn(g, lora, func(l *learner) error {
			if from > 0 {
				if err := errors.Join(l.LoadState(context.Background(), filepath.Join(dir, "policy")),
					l.critic.LoadState(context.Background(), filepath.Join(dir, "critic"))); err != nil {
					return err
				}
			}
			if err := l.steps(g, from, to); err != nil {
				return err
			}
			own, err := l.masters()
			if err != nil {
				return err
			}
			all, err := dist.Share(g, own)
			if err != nil {
				return err
			}
			for r := range all {
				if !equal(all[r], own) {
					return fmt.Errorf("the weights of rank %d are others", r)
				}
			}
			to := filepath.Join(dir, "next")
			if err := saveIn(g, to, "policy", l.SaveState); err != nil {
				return err
			}
			if err := saveIn(g, to, "critic", l.critic.SaveState); err != nil {
				return err
			}
			if g.Rank() == 0 {
				out = result{masters: own, grads: l.grads, norms: l.norms}
				for _, name := range []string{"policy", "critic"} {
					raw, err := os.ReadFile(filepath.Join(to, name, stateFile))
					if err != nil {
						return err
					}
					out.saved = append(out.saved, string(raw))
				}
			}
			return nil
		})
	})
	return out
}

func saveIn(g dist.Group, dir, name string, save func(string) error) error {
	dir = filepath.Join(dir, name)
	if g.Rank() > 0 {
		return save("")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return save(dir)
}

func equal(a, b [][]float32) bool {
	for i := range a {
		for k := range a[i] {
			if math.Float32bits(a[i][k]) != math.Float32bits(b[i][k]) {
				return false
			}
		}
	}
	return len(a) == len(b)
}

// Ranks learn what one rank learns, up to the order in which gradients are summed: a gradient differs by at most 5e-5
// of the largest, and a weight after the first step by the learning rate times that over AdamW's eps, whose derivative
// by the gradient is at most 1/eps. Equal numbers of ranks give equal bits, moments included.
func TestRanksLearnTogether(t *testing.T) {
	exchangeElements = 1000 // several chunks a shard
	defer func() { exchangeElements = 4 << 20 }()
	for _, lora := range []bool{false, true} {
		one := trainRanks(t, 1, lora, t.TempDir(), 0, 1)
		for _, size := range []int{2, 3, 7} {
			got := trainRanks(t, size, lora, t.TempDir(), 0, 1)
			largest, apart, far := 0.0, 0.0, 0.0
			for i, x := range one.grads[0] {
				largest = max(largest, math.Abs(float64(x)))
				apart = max(apart, math.Abs(float64(x)-float64(got.grads[0][i])))
			}
			for i, x := range one.masters[0] {
				far = max(far, math.Abs(float64(x)-float64(got.masters[0][i])))
			}
			require.Greater(t, largest, 0.0)
			require.Less(t, apart, 5e-5*largest, "%d ranks, adapter %v", size, lora)
			require.Less(t, far, 1e-2*5e-5*largest/1e-3+1e-7, "%d ranks, adapter %v", size, lora)
			require.InEpsilonSlice(t, one.norms, got.norms, 1e-4)
			require.Equal(t, got, trainRanks(t, size, lora, t.TempDir(), 0, 1), "again")
		}
	}
}

// A checkpoint is the same file whatever number of ranks wrote it, and any number goes on with it: the same number with
// the bits of a run that was not interrupted, one rank too.
func TestRanksResume(t *testing.T) {
	for _, size := range []int{1, 3} {
		dir := t.TempDir()
		whole := trainRanks(t, size, false, t.TempDir(), 0, 4)
		trainRanks(t, size, false, dir, 0, 2)
		got := trainRanks(t, size, false, filepath.Join(dir, "next"), 2, 4)
		require.Equal(t, whole.masters, got.masters)
		require.Equal(t, whole.saved, got.saved)
		for _, other := range []int{1, 2, 4} {
			far := 0.0
			x := trainRanks(t, other, false, filepath.Join(dir, "next"), 2, 4)
			for i, v := range whole.masters[0] {
				far = max(far, math.Abs(float64(v)-float64(x.masters[0][i])))
			}
			require.Less(t, far, 1e-4, "%d ranks go on after %d", other, size)
		}
	}
}

// A loss that is not finite in one rank skips the step in all; an error of one is an error of all.
func TestRanksFailTogether(t *testing.T) {
	inRanks(t, 3, func(g dist.Group) error {
		return learn(g, false, func(l *learner) error {
			before, err := l.masters()
			if err != nil {
				return err
			}
			seqs := group(rand.New(rand.NewPCG(1, 2)), 1, 2, 20)
			step := func(bad error) (Stats, error) {
				return l.Step(seqs, func(_ int, _, _, dlogp, _ []float32) error {
					dlogp[0] = 1
					if g.Rank() == 1 {
						return bad
					}
					return nil
				}, 1e-2)
			}
			st, err := step(&NonFiniteError{"loss", 0, -1, math.NaN()})
			after, _ := l.masters()
			if err != nil || st.Skipped == nil || !equal(before, after) {
				return fmt.Errorf("a loss that is not finite gives %v, %v", st, err)
			}
			if _, err = step(errors.New("no memory")); err == nil {
				return errors.New("an error of rank 1 is none here")
			}
			var of *dist.RankError
			if g.Rank() != 1 && (!errors.As(err, &of) || of.Rank != 1 || of.Text != "no memory") {
				return fmt.Errorf("an error of rank 1 is %w", err)
			}
			// and a gradient that is not finite
			st, err = l.Step(seqs, func(_ int, _, _, dlogp, _ []float32) error {
				if g.Rank() == 2 {
					dlogp[0] = float32(math.Inf(1))
				}
				return nil
			}, 1e-2)
			after, _ = l.masters()
			if err != nil || st.Skipped == nil || !equal(before, after) {
				return fmt.Errorf("a gradient that is not finite gives %v, %v", st, err)
			}
			return nil
		})
	})
}

// Rank 0 has what one process has while WithMasters runs, and a rank holds masters and moments of its part only, and
// the vectors. An average is moved in parts, and is the same file as one process's.
func TestRanksShareMasters(t *testing.T) {
	exchangeElements = 1000
	defer func() { exchangeElements = 4 << 20 }()
	var want, averaged []byte
	for _, size := range []int{1, 2, 3} {
		inRanks(t, size, func(g dist.Group) error {
			return learn(g, false, func(l *learner) error {
				copied, err := l.m.Clone(model.Options{})
				if err != nil {
					return err
				}
				defer copied.Close()
				avg, err := NewAverage(l.dev, l.m.Trained(), copied.All(), 0.5, g)
				if err != nil {
					return err
				}
				defer avg.Close()
				f := l.Trainer.flats[0]
				values := make([]float32, f.len()) // that do not depend on the number of ranks
				for i := range values {
					values[i] = float32(math.Sqrt(float64(f.from + i)))
				}
				kernels.Upload(l.dev, f.own(f.Master), values)
				if err := errors.Join(l.publish(&f.layout, f.Master, f.Params), avg.Update()); err != nil {
					return err
				}
				if got, most := f.Master.Cols, f.Len()/size+32*64; got != f.len() || got > most {
					return fmt.Errorf("a rank holds %d masters of %d, at most %d are its share", got, f.Len(), most)
				}
				dir := t.TempDir()
				save := func() error {
					if g.Rank() > 0 {
						return nil
					}
					return l.m.Save(dir, model.SaveOptions{DType: kernels.F32})
				}
				if err := errors.Join(l.WithMasters(save), avg.Save(dir)); err != nil || g.Rank() > 0 {
					return err
				}
				grads := make([]float32, f.Len())
				if err := kernels.Download(l.dev, grads, f.Grad); err != nil {
					return err
				}
				if slices.ContainsFunc(grads, func(x float32) bool { return x != 0 }) {
					return errors.New("gradients are left")
				}
				raw, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
				mean, also := os.ReadFile(filepath.Join(dir, averageFile))
				if size == 1 {
					want, averaged = raw, mean
				}
				if !bytes.Equal(raw, want) || !bytes.Equal(mean, averaged) {
					return errors.New("the saved weights are not those of one process")
				}
				return errors.Join(err, also)
			})
		})
	}
}

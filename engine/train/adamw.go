package train

import (
	"fmt"
	"math"

	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// optimizer is AdamW over the trained parameters: moments, gradient clipping, the update, and what of these a
// checkpoint holds (checkpoint.go). All parameters have the same learning rate and weight decay, as in torch by
// default.
type optimizer struct {
	exchange
	o     Options
	flats []flat // one, and a critic's head has its own
	step  int    // optimizer steps taken
	norm  kernels.Tensor
}

// flat is a group of parameters with AdamW's moments m and v of the part that this rank updates; a rank alone updates
// all.
type flat struct {
	layout
	m, v kernels.Tensor
}

func newOptimizer(dev kernels.Device, o Options, trained ...model.Flat) (_ optimizer, err error) {
	t := optimizer{exchange: exchange{dev: dev, ranks: o.Ranks}, o: o}
	if t.norm, err = kernels.NewTensor(dev, kernels.F64, 1, 1); err != nil {
		return t, err
	}
	for _, f := range trained {
		x := flat{layout: layOut(f, t.ranks)}
		if x.m, err = x.newMoment(dev); err == nil {
			x.v, err = x.newMoment(dev)
		}
		t.flats = append(t.flats, x)
		if err != nil {
			t.free()
			return t, fmt.Errorf("allocating AdamW's moments of %d parameters: %w", len(f.Params), err)
		}
	}
	var all []*layout
	for i := range t.flats {
		all = append(all, &t.flats[i].layout)
	}
	if err = t.openLink(all...); err != nil {
		t.free()
		return t, fmt.Errorf("allocating room for what the ranks exchange: %w", err)
	}
	return t, nil
}

// newMoment allocates a tensor for this rank's part; an empty part has none.
func (f *flat) newMoment(dev kernels.Device) (kernels.Tensor, error) {
	if f.len() == 0 {
		return kernels.Tensor{}, nil
	}
	return kernels.NewTensor(dev, kernels.F32, 1, f.len())
}

func (t *optimizer) free() {
	for _, f := range t.flats {
		for _, x := range []kernels.Tensor{f.m, f.v} {
			if !x.IsZero() {
				x.Buf.Free()
			}
		}
	}
	if !t.norm.IsZero() {
		t.norm.Buf.Free()
	}
	t.closeLink()
	t.flats, t.norm = nil, kernels.Tensor{}
}

// repack rewrites the weight that the matmuls use from its f32 master.
func (t *optimizer) repack(p *model.Param) {
	if p.W != nil {
		t.dev.Pack(p.W, 0, p.Master)
	}
}

// Steps is the number of optimizer steps taken.
func (t *optimizer) Steps() int { return t.step }

// ZeroGrad sets the accumulated gradients to zero.
func (t *optimizer) ZeroGrad() {
	for _, f := range t.flats {
		t.dev.Zero(f.Grad)
	}
}

// update clips the gradient to the global norm and takes the AdamW step. If the norm is not finite, the step is
// skipped.
func (t *optimizer) update(st *Stats, lr float64) error {
	if err := t.sumGradients(); err != nil {
		return err
	}
	squares, err := t.squares()
	if err != nil {
		return err
	}
	st.GradNorm = math.Sqrt(squares)
	if !finite(st.GradNorm) {
		st.Skipped = fmt.Errorf("the norm of the gradient is %v", st.GradNorm)
		t.ZeroGrad()
		return nil
	}
	scale := 1.0
	if t.o.MaxGradNorm > 0 {
		scale = min(1, t.o.MaxGradNorm/(st.GradNorm+1e-6)) // as torch.nn.utils.clip_grad_norm_
	}
	t.step++
	s := kernels.AdamWStep{LR: lr, Beta1: t.o.Beta1, Beta2: t.o.Beta2, Eps: t.o.Eps, WeightDecay: t.o.WeightDecay,
		GradScale: float32(scale), Step: t.step}
	if t.ranks.Size() > 1 {
		return t.moveShards(s)
	}
	for i := range t.flats {
		t.flats[i].move(t.dev, s)
	}
	return t.dev.Sync()
}

// squares returns the sum of the squares of all gradient elements, over the shards of all ranks.
func (t *optimizer) squares() (float64, error) {
	var sum [1]float64
	first := true
	for _, f := range t.flats {
		if f.len() > 0 {
			t.dev.SumSquares(t.norm, f.shard.of(f.Grad), f.ranges(), !first)
			first = false
		}
	}
	if !first {
		if err := kernels.Download(t.dev, sum[:], t.norm); err != nil {
			return 0, err
		}
	}
	all, err := dist.Share(t.ranks, sum[0])
	if err != nil {
		return 0, err
	}
	for _, x := range all[1:] {
		all[0] += x
	}
	return all[0], nil
}

// ranges are the elements of each parameter that lie in the shard.
func (f *flat) ranges() []kernels.Range {
	all := f.Ranges()
	if f.len() == f.Len() {
		return all
	}
	own := []kernels.Range{}
	for _, r := range all {
		if x := f.cut(r.From, r.To); x.len() > 0 {
			own = append(own, kernels.Range{From: x.from - f.from, To: x.to - f.from})
		}
	}
	return own
}

// moveShards takes the step s: each rank updates its part, then the ranks exchange the new weights.
func (t *optimizer) moveShards(s kernels.AdamWStep) error {
	for _, f := range t.flats {
		if f.len() > 0 {
			t.dev.AdamW(f.own(f.Master), f.shard.of(f.Grad), f.m, f.v, s)
		}
	}
	for _, f := range t.flats {
		if err := t.publish(&f.layout, f.Master, f.Params); err != nil {
			return err
		}
	}
	t.ZeroGrad()
	return t.dev.Sync()
}

// move takes the step s in this rank's part. A device that updates and packs a weight in one pass over memory does so
// parameter by parameter; on other devices all parameters are updated at once, then their weights are packed.
func (f *flat) move(dev kernels.Device, s kernels.AdamWStep) {
	if _, ok := dev.(kernels.Updater); ok {
		for i, p := range f.Params {
			kernels.Update(dev, p.W, p.Master, p.Grad, f.Of(f.m, i), f.Of(f.v, i), s)
		}
		return
	}
	dev.AdamW(f.Master, f.Grad, f.m, f.v, s)
	for _, p := range f.Params {
		if p.W != nil {
			dev.Pack(p.W, 0, p.Master)
		}
	}
	dev.Zero(f.Grad)
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

package train

import (
	"fmt"
	"math"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// optimizer is AdamW over a list of parameters: moments, clipping, the update, and their place in a checkpoint (checkpoint.go).
type optimizer struct {
	dev     kernels.Device
	o       Options
	params  []*model.Param
	moments []moments // one per parameter
	step    int       // optimiser steps taken
	norm    kernels.Tensor
}

type moments struct{ m, v kernels.Tensor }

func newOptimizer(dev kernels.Device, params []*model.Param, o Options) (_ optimizer, err error) {
	t := optimizer{dev: dev, o: o, params: params}
	if t.norm, err = kernels.NewTensor(dev, kernels.F64, 1, 1); err != nil {
		return t, err
	}
	for _, p := range params {
		var mv moments
		for _, dst := range []*kernels.Tensor{&mv.m, &mv.v} {
			if *dst, err = kernels.NewTensor(dev, kernels.F32, p.Master.Rows, p.Master.Cols); err != nil {
				t.moments = append(t.moments, mv)
				t.free()
				return t, fmt.Errorf("allocating AdamW's moments of %s: %w", p.Name, err)
			}
		}
		t.moments = append(t.moments, mv)
	}
	return t, nil
}

func (t *optimizer) free() {
	for _, mv := range t.moments {
		for _, x := range []kernels.Tensor{mv.m, mv.v} {
			if !x.IsZero() {
				x.Buf.Free()
			}
		}
	}
	if !t.norm.IsZero() {
		t.norm.Buf.Free()
	}
	t.moments, t.norm = nil, kernels.Tensor{}
}

// repack brings the weight that the matmuls use up to date with a master that was loaded; a step does it on its way.
func (t *optimizer) repack(p *model.Param) {
	if p.W != nil {
		t.dev.Pack(p.W, 0, p.Master)
	}
}

// Steps is the number of optimiser steps taken.
func (t *optimizer) Steps() int { return t.step }

// ZeroGrad drops gathered gradients.
func (t *optimizer) ZeroGrad() {
	for _, p := range t.params {
		t.dev.Zero(p.Grad)
	}
}

// update clips to the global norm and steps. A gradient that is not finite is dropped.
func (t *optimizer) update(st *Stats, lr float64) error {
	for i, p := range t.params {
		t.dev.SumSquares(t.norm, p.Grad, i > 0)
	}
	var sum [1]float64
	if err := kernels.Download(t.dev, sum[:], t.norm); err != nil {
		return err
	}
	st.GradNorm = math.Sqrt(sum[0])
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
	for i, p := range t.params {
		kernels.Update(t.dev, p.W, p.Master, p.Grad, t.moments[i].m, t.moments[i].v, s)
	}
	return t.dev.Sync()
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// Package train moves weights: it runs packed sequences through the model's forward pass, hands log-probabilities to a loss as
// plain slices, walks back, clips and takes AdamW steps; and it writes checkpoints that survive a power cut.
//
// It knows nothing of text, search or rewards: supervised fine-tuning and every policy-gradient algorithm are a LossFunc.
package train

import (
	"fmt"
	"math"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// LossFunc is the part of a loss that one sequence contributes. It reads the log-probabilities and entropies (nats) of the
// sequence's trained ids, in order, under the current weights and writes the derivative of the batch's loss with respect to each. It
// is called once for every sequence of a step, in order, with index seq into the step's sequences. dentropy may be left zero.
type LossFunc func(seq int, logp, entropy, dlogp, dentropy []float32) error

// Options of a Trainer. The zero value of a field means what its comment says.
type Options struct {
	Beta1, Beta2, Eps float64 // AdamW; 0 means 0.9, 0.999, 1e-8
	WeightDecay       float64 // decoupled, on every parameter, norms and embeddings included, as torch does by default
	MaxGradNorm       float64 // global norm to which gradients are clipped; 0 means no clipping
	MicroBatchTokens  int     // tokens that are forwarded together; 0 means 4096
	Temperature       float64 // logits are divided by it before the log-probabilities; 0 means 1
	KVType            kernels.DType
	Recompute         bool // keep layer inputs only and run each layer's forward again in the backward
}

func (o Options) withDefaults() Options {
	set := func(p *float64, v float64) {
		if *p == 0 {
			*p = v
		}
	}
	set(&o.Beta1, 0.9)
	set(&o.Beta2, 0.999)
	set(&o.Eps, 1e-8)
	set(&o.Temperature, 1)
	if o.MicroBatchTokens == 0 {
		o.MicroBatchTokens = 4096
	}
	if o.KVType == 0 {
		o.KVType = kernels.BF16
	}
	return o
}

// Trainer trains the parameters of one model, or of one adapter over a frozen model. It is used by one goroutine, the one that
// may use the device.
type Trainer struct {
	dev     kernels.Device
	m       *model.Model
	adapter *model.Adapter
	o       Options
	params  []*model.Param
	moments []moments // one per parameter
	step    int       // optimiser steps taken
	pass    passes    // workspace and KV pages, grown as needed
	norm    kernels.Tensor
}

type moments struct{ m, v kernels.Tensor }

// New makes a trainer for the trainable parameters of m, or of a if a is not nil.
func New(dev kernels.Device, m *model.Model, a *model.Adapter, o Options) (*Trainer, error) {
	t := &Trainer{dev: dev, m: m, adapter: a, o: o.withDefaults(), params: m.Params()}
	if a != nil {
		t.params = a.Params()
	}
	if len(t.params) == 0 {
		return nil, fmt.Errorf("starting the trainer: no parameter is trainable: load the model as trainable or add an adapter")
	}
	t.pass = passes{dev: dev, m: m, adapter: a, kvType: t.o.KVType, keep: true, recompute: t.o.Recompute}
	var err error
	if t.norm, err = kernels.NewTensor(dev, kernels.F64, 1, 1); err != nil {
		return nil, fmt.Errorf("starting the trainer: %w", err)
	}
	for _, p := range t.params {
		var mv moments
		for _, dst := range []*kernels.Tensor{&mv.m, &mv.v} {
			if *dst, err = kernels.NewTensor(dev, kernels.F32, p.Master.Rows, p.Master.Cols); err != nil {
				t.Close()
				return nil, fmt.Errorf("allocating AdamW's moments of %s: %w", p.Name, err)
			}
		}
		t.moments = append(t.moments, mv)
	}
	return t, nil
}

// Close frees moments, workspace and pages; the model stays.
func (t *Trainer) Close() {
	t.pass.close()
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

// Steps is the number of optimiser steps taken.
func (t *Trainer) Steps() int { return t.step }

// Stats tells what a step did.
type Stats struct {
	GradNorm      float64 // global norm before clipping
	Tokens        int     // ids forwarded, shared prefixes once
	TrainedTokens int     // ids that entered the loss
	MicroBatches  int
	Skipped       bool // the gradient was not finite: weights and moments are as before
}

// Step accumulates the gradients of loss over seqs, in order, and takes one AdamW step at learning rate lr.
func (t *Trainer) Step(seqs []Sequence, loss LossFunc, lr float64) (Stats, error) {
	st, err := t.Accumulate(seqs, loss)
	if err == nil {
		err = t.update(&st, lr)
	}
	if err != nil {
		t.ZeroGrad()
		return st, fmt.Errorf("training step %d: %w", t.step+1, err)
	}
	return st, nil
}

// Accumulate adds the gradients of loss over seqs to what the parameters have gathered since the last step.
func (t *Trainer) Accumulate(seqs []Sequence, loss LossFunc) (Stats, error) {
	var st Stats
	if err := check(seqs, t.m.Config.Vocab, t.m.Config.MaxPos); err != nil {
		return st, err
	}
	for _, p := range pack(seqs, t.o.MicroBatchTokens) {
		st.MicroBatches++
		st.Tokens += len(p.batch.IDs)
		st.TrainedTokens += len(p.rows)
		if err := t.pass.learn(p, loss, float32(1/t.o.Temperature)); err != nil {
			return st, err
		}
	}
	return st, nil
}

// update clips to the global norm and steps. A gradient that is not finite is dropped.
func (t *Trainer) update(st *Stats, lr float64) error {
	for i, p := range t.params {
		t.dev.SumSquares(t.norm, p.Grad, i > 0)
	}
	var sum [1]float64
	if err := kernels.Download(t.dev, sum[:], t.norm); err != nil {
		return err
	}
	st.GradNorm = math.Sqrt(sum[0])
	if math.IsNaN(st.GradNorm) || math.IsInf(st.GradNorm, 0) {
		st.Skipped = true
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
		t.dev.AdamW(p.Master, p.Grad, t.moments[i].m, t.moments[i].v, s)
		t.repack(p)
		t.dev.Zero(p.Grad)
	}
	return t.dev.Sync()
}

// repack brings the weight that the matmuls use up to date with its master.
func (t *Trainer) repack(p *model.Param) {
	if t.adapter != nil {
		t.adapter.Repack(p)
		return
	}
	t.m.Repack(p)
}

// ZeroGrad drops gathered gradients.
func (t *Trainer) ZeroGrad() {
	for _, p := range t.params {
		t.dev.Zero(p.Grad)
	}
}

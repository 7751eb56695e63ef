// Package train updates weights: it runs packed sequences through the model's forward pass, passes the
// log-probabilities to a loss function as plain slices, runs the backward pass, clips the gradients and takes AdamW
// steps. Its checkpoints are complete or absent, even after a power cut.
//
// It knows nothing of text, search or rewards: supervised fine-tuning and every policy-gradient algorithm are a
// LossFunc.
package train

import (
	"errors"
	"fmt"

	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// LossFunc computes the part of a loss that one sequence contributes. It reads the log-probabilities and entropies
// (nats) of the sequence's trained tokens, in order, under the current weights and writes the derivative of the batch's
// loss with respect to each. It is called once for every sequence of a step, in order, those marked NoGradient last;
// seq is the index into the step's sequences. dentropy may be left zero. If it returns a NonFiniteError, the step is
// skipped.
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

	// Longest is the number of tokens of the longest sequence, Sequences the largest number of sequences in a step or
	// in a call of Score. If both are set, New, NewCritic and NewScorer allocate the memory of the largest micro-batch,
	// so that memory cannot run out in the middle of a run. 0: memory grows with the micro-batches.
	Longest, Sequences int

	// Ranks are the processes that train together: each has sequences of its own, and all take the same steps. nil: one
	// process.
	Ranks dist.Group
}

// most returns the size of the largest micro-batch, or zero if it is not known.
func (o *Options) most() size {
	if o.Longest < 1 || o.Sequences < 1 {
		return size{}
	}
	tokens := max(o.MicroBatchTokens, o.Longest)
	if o.Sequences <= tokens/o.Longest {
		tokens = o.Sequences * o.Longest
	}
	n := min(o.Sequences, tokens)
	pages := (tokens + n*(kernels.PageSize-1)) / kernels.PageSize // each rounds up
	// Every sequence has a segment and may have one for its prompt; it lists its own pages and those of the prompt.
	b := kernels.BatchSpec{Tokens: tokens, Segments: 2 * n, Pages: n*kernels.PagesFor(o.Longest) + pages, Rows: tokens}
	return size{b, o.Longest, pages}
}

// start checks the adapter and allocates memory for the largest micro-batch.
func (x *passes) start(o Options) error {
	if err := x.m.CheckAdapter(x.adapter); err != nil {
		return err
	}
	o.Longest = min(o.Longest, x.m.Config.MaxPos)
	if most := o.most(); most.positions > 0 {
		return x.reserve(most)
	}
	return nil
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
	if o.Ranks == nil {
		o.Ranks = dist.Alone()
	}
	return o
}

// Trainer trains the parameters of one model, or of one adapter over a frozen model. Only the goroutine that uses the
// device may call it.
type Trainer struct {
	optimizer
	pass passes // workspace and KV pages
}

// New makes a trainer for the trainable parameters of m, or of a if a is not nil.
func New(dev kernels.Device, m *model.Model, a *model.Adapter, o Options) (_ *Trainer, err error) {
	o = o.withDefaults()
	all := func() model.Flat { return trained(m, a).Trained() }
	if len(all().Params) == 0 {
		return nil,
			fmt.Errorf("starting the trainer: no parameter is trainable: load the model as trainable or add an adapter")
	}
	t := &Trainer{pass: passes{dev: dev, m: m, adapter: a, kvType: o.KVType, keep: true, recompute: o.Recompute}}
	var f model.Flat
	if err = t.pass.start(o); err == nil {
		f, err = o.share(trained(m, a), all)
	}
	if err == nil {
		t.optimizer, err = newOptimizer(dev, o, f)
	}
	if err != nil {
		t.Close()
		return nil, fmt.Errorf("starting the trainer: %w", err)
	}
	return t, nil
}

// trained returns what holds the trainable parameters: a, or m if a is nil.
func trained(m *model.Model, a *model.Adapter) bank {
	if a != nil {
		return a
	}
	return m
}

// Close frees moments, workspace and pages; the model stays.
func (t *Trainer) Close() {
	t.pass.close()
	t.free()
}

// MaxSkippedSteps is the number of skipped steps in a row after which a run ends with an error, because all later steps
// would be skipped too.
const MaxSkippedSteps = 3

// Stats are the statistics of a step.
type Stats struct {
	GradNorm      float64 // global norm before clipping
	Tokens        int     // tokens of the forward pass; a shared prefix counts once
	TrainedTokens int     // tokens that enter the loss
	MicroBatches  int
	// Skipped is the reason why the step was skipped: the loss or its gradient was not finite, and weights and moments
	// are unchanged. nil: the step was taken.
	Skipped error
}

// Step accumulates the gradients of loss over seqs and takes one AdamW step at learning rate lr.
func (t *Trainer) Step(seqs []Sequence, loss LossFunc, lr float64) (Stats, error) {
	st, err := t.Accumulate(seqs, loss)
	return st, t.Finish(&st, err, lr)
}

// Finish takes the optimizer step with the gradients that Accumulate has summed; st and err are what Accumulate
// returned. If the loss is not finite, the step is skipped without an error: see Stats.Skipped. All ranks call it; st
// then has the counts of all ranks, and an error in one rank is an error in all.
func (t *optimizer) Finish(st *Stats, err error, lr float64) error {
	err = t.agree(st, err)
	var bad *NonFiniteError
	switch {
	case errors.As(err, &bad):
		st.Skipped = bad
		t.ZeroGrad()
		return nil
	case err == nil:
		err = t.update(st, lr)
	}
	if err != nil {
		t.ZeroGrad()
		return fmt.Errorf("training step %d: %w", t.step+1, err)
	}
	return nil
}

// Accumulate adds the gradients of loss over seqs to those that were accumulated since the last step.
func (t *Trainer) Accumulate(seqs []Sequence, loss LossFunc) (Stats, error) {
	var st Stats
	m := t.pass.m
	if err := check(seqs, m.Config.Vocab, m.Config.MaxPos); err != nil {
		return st, err
	}
	for _, p := range packs(seqs, t.o.MicroBatchTokens) {
		st.count(p)
		if err := t.pass.learn(p, loss, float32(1/t.o.Temperature)); err != nil {
			return st, err
		}
	}
	return st, nil
}

func (st *Stats) count(p *packed) {
	st.MicroBatches++
	st.Tokens += len(p.batch.IDs)
	st.TrainedTokens += len(p.batch.Rows)
}

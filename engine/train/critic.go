package train

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// ValueFunc computes the part of a critic's loss that one sequence contributes: it reads the values that are predicted
// at the sequence's trained tokens, in order, and writes the derivative of the batch's loss with respect to each. Calls
// come in the same order as those of a LossFunc.
type ValueFunc func(seq int, value, dvalue []float32) error

// Critic predicts the return of an episode at every trained token, before that token is sampled. It is a linear head
// over the hidden state (after the final norm) from which the token's log-probability is computed:
//
//	V_i = w . h[i-1] + b,  w F32 [1, C]
//
// C is the width of the hidden state. A new head is zero, so that a new critic predicts 0 everywhere. The body is
// trained too if the model or its adapter is trainable; otherwise only the head is trained.
type Critic struct {
	optimizer
	pass passes
	head model.Flat
	w, b *model.Param // of head
	body bool         // the body is trained too
}

// The head's names are those of transformers' LlamaForTokenClassification and its like.
const (
	headWeight, headBias = "score.weight", "score.bias"
	headFile             = "value_head.safetensors"
)

// NewCritic makes a critic on m, or on m and adapter a.
func NewCritic(dev kernels.Device, m *model.Model, a *model.Adapter, o Options) (_ *Critic, err error) {
	o = o.withDefaults()
	body := func() model.Flat { return withoutHead(m, a, trained(m, a).Trained()) }
	c := &Critic{body: len(body().Params) > 0}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	c.pass = passes{dev: dev, m: m, adapter: a, kvType: o.KVType, keep: c.body, recompute: o.Recompute}
	if err = c.pass.start(o); err != nil {
		return nil, fmt.Errorf("starting the critic: %w", err)
	}
	C := m.Config.Hidden
	c.w = &model.Param{Name: headWeight, Shape: []int{1, C}}
	c.b = &model.Param{Name: headBias, Shape: []int{1}}
	if c.head, err = model.NewFlat(dev, []*model.Param{c.w, c.b}); err == nil {
		c.w.W, err = dev.NewWeight(1, C, kernels.F32)
	}
	if err != nil {
		return nil, fmt.Errorf("making the value head: %w", err)
	}
	all := []model.Flat{c.head}
	if c.body {
		f, err := o.share(trained(m, a), body)
		if err != nil {
			return nil, fmt.Errorf("starting the critic: %w", err)
		}
		all = append(all, f)
	}
	c.optimizer, err = newOptimizer(dev, o, all...)
	return c, err
}

// withoutHead returns the parameters of the body without the output matrix, on which no value depends. If the model has
// an output matrix of its own, it is the last parameter.
func withoutHead(m *model.Model, a *model.Adapter, body model.Flat) model.Flat {
	last := len(body.Params) - 1
	if last >= 0 && a == nil && !m.Config.Tied && body.Params[last].Grad == m.HeadGrad() {
		return body.First(last)
	}
	return body
}

// Close frees head, moments, workspace and pages; the model stays.
func (c *Critic) Close() {
	c.pass.close()
	c.free()
	c.head.Free()
	if c.w != nil && c.w.W != nil {
		c.w.W.Free()
		c.w.W = nil
	}
}

// Values predicts the value at each trained token, [sequences][trained tokens of the sequence].
func (c *Critic) Values(seqs []Sequence) ([][]float32, error) {
	out := make([][]float32, len(seqs))
	_, err := c.each(seqs, func(p *packed, v []float32) error {
		for _, s := range p.spans {
			out[s.seq] = v[s.from:s.to]
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("asking the critic: %w", err)
	}
	return out, nil
}

// Step accumulates the gradients of loss over seqs and takes one AdamW step at learning rate lr.
func (c *Critic) Step(seqs []Sequence, loss ValueFunc, lr float64) (Stats, error) {
	st, err := c.Accumulate(seqs, loss)
	if err = c.Finish(&st, err, lr); err != nil {
		err = fmt.Errorf("the critic's %w", err)
	}
	return st, err
}

// Accumulate adds the gradients of loss over seqs to those that were accumulated since the last step.
func (c *Critic) Accumulate(seqs []Sequence, loss ValueFunc) (Stats, error) {
	return c.each(seqs, func(p *packed, v []float32) error {
		dv := make([]float32, len(v))
		for _, s := range p.spans {
			if err := checkFinite("value", s.seq, v[s.from:s.to]); err != nil {
				return err
			}
			if err := loss(s.seq, v[s.from:s.to], dv[s.from:s.to]); err != nil {
				return err
			}
		}
		if !allZero(dv) {
			c.back(p, dv)
		}
		return nil
	})
}

// each runs the micro-batches of seqs and calls do with the values of each, in the order of its spans.
func (c *Critic) each(seqs []Sequence, do func(p *packed, v []float32) error) (Stats, error) {
	var st Stats
	m := c.pass.m
	if err := check(seqs, m.Config.Vocab, m.Config.MaxPos); err != nil {
		return st, err
	}
	for _, p := range packs(seqs, c.o.MicroBatchTokens) {
		st.count(p)
		h, n, err := c.pass.hidden(p)
		if err != nil {
			return st, err
		}
		v := make([]float32, n)
		if n > 0 {
			y := c.pass.out.y.RowRange(0, n)
			c.dev.MatMul(y, h, c.w.W, kernels.Epilogue{Bias: c.b.Master})
			if err := kernels.Download(c.dev, v, y); err != nil {
				return st, err
			}
		}
		if err := do(p, v); err != nil {
			return st, err
		}
	}
	return st, nil
}

// back runs the backward pass from the derivatives dv of the values of p: dw += dv^T h, db += sum dv and, if the body
// is trained, dh = dv w and the backward pass of the body.
func (c *Critic) back(p *packed, dv []float32) {
	o, n := c.pass.out, len(dv)
	dy := o.dy.RowRange(0, n)
	kernels.Upload(c.dev, dy, dv)
	c.dev.MatMulDW(c.w.Grad, dy, o.h.RowRange(0, n), kernels.F32)
	c.dev.BiasBackward(c.b.Grad, dy)
	if c.body {
		c.dev.MatMulDX(o.dh.RowRange(0, n), dy, c.w.W, false, 1)
		c.pass.back(p)
	}
}

// SaveHead writes value_head.safetensors into dir. The body is saved as a model or an adapter.
func (c *Critic) SaveHead(dir string) error {
	return writeTensors(filepath.Join(dir, headFile), c.headState(), map[string]string{}, reader(c.dev))
}

// LoadHead reads what SaveHead wrote. If the folder has no such file, errors.Is(err, fs.ErrNotExist) is true.
func (c *Critic) LoadHead(dir string) error {
	_, err := readTensors(context.Background(), c.dev, dist.Alone(), filepath.Join(dir, headFile), c.headState())
	if err != nil {
		return fmt.Errorf("loading the value head: %w", err)
	}
	c.repack(c.w)
	return c.dev.Sync()
}

// headState lists the head's parameters in alphabetical order.
func (c *Critic) headState() []stateEntry {
	return []stateEntry{{c.b.Name, c.b.Shape, c.b.Master, nil}, {c.w.Name, c.w.Shape, c.w.Master, nil}}
}

package train

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// ValueFunc is the part of a critic's loss that one sequence contributes: it reads the values predicted at the sequence's trained ids, in
// order, and writes the derivative of the batch's loss with respect to each. It is called as a LossFunc is.
type ValueFunc func(seq int, value, dvalue []float32) error

// Critic predicts what an episode will be worth, at every trained id before it is drawn. It is a linear head over the hidden state, after
// the final norm, from which the id's log-probability would come:
//
//	V_i = w . h[i-1] + b,  w F32 [1, C]
//
// A new head is zero, so that a new critic says 0 everywhere. The body learns as well if the model is trainable, or else its adapter is;
// over a frozen body the head learns alone.
type Critic struct {
	optimizer
	pass passes
	w, b *model.Param
	body bool // learns too
}

// The head's names are those of transformers' LlamaForTokenClassification and its like.
const (
	headWeight, headBias = "score.weight", "score.bias"
	headFile             = "value_head.safetensors"
)

// NewCritic makes a critic on m, or on m and adapter a.
func NewCritic(dev kernels.Device, m *model.Model, a *model.Adapter, o Options) (_ *Critic, err error) {
	o = o.withDefaults()
	body := trainable(m, a)
	c := &Critic{body: len(body) > 0}
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
	if c.w, err = newHead(dev, headWeight, []int{1, C}); err != nil {
		return nil, err
	}
	if c.b, err = newHead(dev, headBias, []int{1}); err != nil {
		return nil, err
	}
	if c.w.W, err = dev.NewWeight(1, C, kernels.F32); err != nil {
		return nil, fmt.Errorf("making the value head: %w", err)
	}
	params := []*model.Param{c.w, c.b}
	for _, p := range body {
		if a == nil && !m.Config.Tied && p.Grad == m.HeadGrad() {
			continue // the output matrix: no value depends on it
		}
		params = append(params, p)
	}
	c.optimizer, err = newOptimizer(dev, params, o)
	return c, err
}

// newHead makes a parameter of the head, zero.
func newHead(dev kernels.Device, name string, shape []int) (*model.Param, error) {
	p := &model.Param{Name: name, Shape: shape}
	for _, t := range []*kernels.Tensor{&p.Master, &p.Grad} {
		var err error
		if *t, err = kernels.NewTensor(dev, kernels.F32, 1, shape[len(shape)-1]); err != nil {
			return p, fmt.Errorf("making the value head: %w", err)
		}
	}
	return p, nil
}

// Close frees head, moments, workspace and pages; the model stays.
func (c *Critic) Close() {
	c.pass.close()
	c.free()
	for _, p := range []*model.Param{c.w, c.b} {
		if p == nil {
			continue
		}
		for _, t := range []*kernels.Tensor{&p.Master, &p.Grad} {
			if !t.IsZero() {
				t.Buf.Free()
				*t = kernels.Tensor{}
			}
		}
		if p.W != nil {
			p.W.Free()
			p.W = nil
		}
	}
}

// Values predicts at the trained ids of each sequence.
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
	if err = c.finish(&st, err, lr); err != nil {
		err = fmt.Errorf("the critic's %w", err)
	}
	return st, err
}

// Accumulate adds the gradients of loss over seqs to what the parameters have gathered since the last step.
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
		if allZero(dv) {
			return nil
		}
		return c.back(p, dv)
	})
}

// each runs the micro-batches of seqs and gives their values, in the order of the spans, to do.
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

// back adds the gradient of the values of p: dw += dv^T h, db += sum dv, and, where the body learns, dh = dv w and all below.
func (c *Critic) back(p *packed, dv []float32) error {
	o, n := c.pass.out, len(dv)
	dy := o.dy.RowRange(0, n)
	kernels.Upload(c.dev, dy, dv)
	c.dev.MatMulDW(c.w.Grad, dy, o.h.RowRange(0, n), kernels.F32)
	c.dev.BiasBackward(c.b.Grad, dy)
	if !c.body {
		return c.dev.Sync()
	}
	c.dev.MatMulDX(o.dh.RowRange(0, n), dy, c.w.W, false, 1)
	return c.pass.back(p)
}

// SaveHead writes value_head.safetensors into dir; the body is the model's or the adapter's to save.
func (c *Critic) SaveHead(dir string) error {
	return writeTensors(c.dev, filepath.Join(dir, headFile), c.head(), map[string]string{})
}

// LoadHead reads what SaveHead wrote; a folder that has no such file is an error that is fs.ErrNotExist.
func (c *Critic) LoadHead(dir string) error {
	if _, err := readTensors(context.Background(), c.dev, filepath.Join(dir, headFile), c.head()); err != nil {
		return fmt.Errorf("loading the value head: %w", err)
	}
	c.repack(c.w)
	return c.dev.Sync()
}

// head lists the head's parameters in alphabetical order.
func (c *Critic) head() []stateEntry {
	return []stateEntry{{c.b.Name, c.b.Shape, c.b.Master}, {c.w.Name, c.w.Shape, c.w.Master}}
}

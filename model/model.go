// Package model implements Llama, Mistral, Qwen2 and Qwen3: one transformer block, with a table row for each
// architecture's differences; weights by their checkpoint names; the forward and the backward pass; LoRA adapters; load
// and save.
//
// A pass computes a [Batch] of segments. Each segment is a run of tokens of one sequence, and nothing is padded. Keys
// and values always go through a KV cache, so that prefill, decode and training share one implementation. Forward
// returns the hidden states after the final norm; the device's operations compute logits from them and [Model.Head] in
// chunks.
//
//	dev := ref.New()
//	m, err := model.Load(dev, "models/SmolLM2-135M-Instruct", model.Options{DType: kernels.BF16})
//	kv, err := dev.NewKV(m.KVSpec(pages, kernels.BF16))
//	ws, err := m.NewWorkspace(512, model.WorkspaceOptions{})
//	h := m.Forward(ws, &model.Batch{Layout: kernels.Layout{IDs: ids, Pos: pos, Slots: slots, Segs: segs}}, kv) // [T, C]
//
// A Model belongs to the goroutine that uses its device. Shape letters are those of package kernels.
package model

import (
	"fmt"
	"math"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// Options say how a model's weights are held.
type Options struct {
	// of matrices: F32, BF16, Q8 or Q4 (see Config.HeldAs); norms and biases are F32 always. 0: that of a quantised
	// checkpoint, else BF16
	DType     kernels.DType
	Trainable bool // every parameter gets an F32 master and a gradient; not with Q8 or Q4
	// Headless loads a model for its hidden states alone: an output matrix of its own is not read, and need not be in
	// the checkpoint. Head is then the embedding, which such a model was not trained for.
	Headless bool
}

// Model is a decoder on a device. Treat its fields as read-only.
type Model struct {
	Config    *Config
	Device    kernels.Device
	DType     kernels.DType
	Trainable bool
	Dir       string // where it was loaded from, "" if it was not

	// NoToken lists the ids that stand for no token: rows that only pad the embedding, and holes of the tokenizer
	// (see OnlyTokens). They are never sampled, nor listed among the most likely: a truncation of the sampler, like
	// top-p. Log-probabilities, entropies and losses are over all rows, in sampler and trainer alike, as those of
	// transformers are, and can be compared with them. Without these rows they would be ln(1-e) away, e being the
	// probability of all rows without a token, and no better to learn from: the gradient of ln(1-e) is the same
	// whichever id was drawn, and as small as e. Measured over 158 positions of five texts, Qwen2.5-Coder-0.5B
	// (151,936 rows, 151,665 tokens) has e = 5e-6 on average and 1.9e-4 at most, in F32 as in BF16; at temperature 2
	// it is 2.4e-4 and 1.1e-3.
	NoToken []int32

	*bank
	embed, norm, head *Param // head is nil when tied
	layers            []layer
	rope              ropeTable
	sizes             kernels.Sizes // of a model that is only planned
}

// fill chooses the type of matrices, if that was left open, and refuses what c's checkpoint cannot be.
func (o *Options) fill(c *Config) error {
	switch {
	case o.DType == 0 && c.Quantised != 0:
		o.DType = c.Quantised
	case o.DType == 0:
		o.DType = kernels.BF16
	case c.Quantised != 0 && o.DType != c.Quantised:
		return fmt.Errorf("its weights are %[2]v and cannot be held as %[1]v: hold them as %[2]v (dtype %[2]v), or take "+
			"the checkpoint that they were made from", o.DType, c.Quantised)
	}
	return nil
}

// newModel makes the parameters of c, all zero.
func newModel(dev kernels.Device, c *Config, o Options) (*Model, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	if err := o.fill(c); err != nil {
		return nil, err
	}
	m := &Model{Config: c, Device: dev, DType: o.DType, Trainable: o.Trainable, layers: make([]layer, c.Layers)}
	var params []*Param
	slots(c, m, func(name string, shape []int, place **Param) {
		*place = &Param{Name: name, Shape: shape, held: c.HeldAs(name, o.DType)}
		params = append(params, *place)
	})
	var err error
	if m.bank, err = newBank(dev, o.DType, o.Trainable, params); err != nil {
		return nil, err
	}
	m.rope.inv = invFreq(c)
	return m, nil
}

// Close frees the model's memory. Adapters and workspaces made from it are closed before.
func (m *Model) Close() {
	if m.bank == nil {
		return
	}
	m.rope.free()
	m.free()
	m.bank = nil
}

// OnlyTokens fills in NoToken: has says whether an id stands for a token of the model's tokenizer. Call it before an
// engine gets the model.
func (m *Model) OnlyTokens(has func(id int32) bool) error {
	m.NoToken = nil
	for id := range int32(m.Config.Vocab) {
		if !has(id) {
			m.NoToken = append(m.NoToken, id)
		}
	}
	if len(m.NoToken) == m.Config.Vocab {
		return fmt.Errorf(
			"the tokenizer has no token for any of the model's %d ids: tokenizer and model do not belong together",
			m.Config.Vocab)
	}
	return nil
}

// operand is the type of activations that only matmuls read (kernels.Device.Operand). A model that is only planned has
// no device.
func (m *Model) operand() kernels.DType {
	if m.Device == nil {
		return m.sizes.Operand(m.DType)
	}
	return m.Device.Operand(m.DType)
}

// Params are the trainable parameters, in the order of the checkpoint: none if the model is frozen.
func (m *Model) Params() []*Param { return m.trained() }

// ZeroGrads clears all gradients.
func (m *Model) ZeroGrads() { m.zeroGrads() }

// Repack packs p's weight from its master, after an optimizer step. Vectors are not packed.
func (m *Model) Repack(p *Param) { m.repack(p) }

// Head is the output matrix [V, C]: the embedding if they are tied.
func (m *Model) Head() kernels.Weight { return m.headParam().W }

// HeadGrad is the gradient of Head, F32 [V, C]; none if the model is frozen.
func (m *Model) HeadGrad() kernels.Tensor { return m.headParam().Grad }

func (m *Model) headParam() *Param {
	if m.head == nil {
		return m.embed
	}
	return m.head
}

// KVSpec returns the shape of a cache for this model.
func (m *Model) KVSpec(pages int, t kernels.DType) kernels.KVSpec { return m.Config.KVSpec(pages, t) }

// Clone copies the weights on the device into a new model with options o. A frozen copy can be the reference model of a
// KL term, or the simulator `same`. Of a trainable model the masters are copied.
func (m *Model) Clone(o Options) (*Model, error) { return m.CloneTo(m.Device, o) }

// CloneTo is Clone onto another device. The weights are copied through the host and rounded as by Clone.
func (m *Model) CloneTo(dev kernels.Device, o Options) (*Model, error) {
	if o.DType == 0 {
		o.DType = m.DType
	}
	c, err := newModel(dev, m.Config, o)
	if err != nil {
		return nil, fmt.Errorf("copying the model: %w", err)
	}
	c.Dir, c.NoToken = m.Dir, m.NoToken
	r := reader{m: m}
	defer r.free()
	for i, p := range m.params {
		to := c.params[i]
		if dev == m.Device {
			err = r.chunks(p, nil, func(row0 int, rows kernels.Tensor) error {
				c.set(to, row0, rows)
				return nil
			})
		} else {
			err = r.param(p, nil, func(_ *Param, row0 int, rows []float32) error {
				c.store(to, row0, bytesOf(rows), kernels.F32)
				return nil
			})
		}
		if err != nil {
			c.Close()
			return nil, fmt.Errorf("copying the model: %s: %w", p.Name, err)
		}
	}
	if err := dev.Sync(); err != nil {
		c.Close()
		return nil, fmt.Errorf("copying the model: %w", err)
	}
	return c, nil
}

func (m *Model) eps() float32   { return m.Config.Eps }
func (m *Model) scale() float32 { return float32(1 / math.Sqrt(float64(m.Config.HeadDim))) }

package main

import (
	"fmt"
	"math"

	"github.com/zerosearch-go/zerosearch/bench/ops"
	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/model"
)

// computed is what a model says about some sequences, and what it would learn from them.
type computed struct {
	logits   []float32 // of the last rows of the first sequence
	logprobs []float32
	names    []string
	grads    [][]float32
}

// parity computes with one model on the CPU and on the GPU. In F32 only the order of sums differs; in BF16 operands are
// rounded on the way, and a difference in the last bit of one becomes one of BF16's steps in the next layer.
func parity(j *job) error {
	c, err := ops.LookupModel("qwen2.5-3b")
	if err != nil {
		return err
	}
	shape := *c
	shape.Layers, shape.Vocab = 4, 16384
	lengths := []int{300, 40, 65}
	if j.flags.Quick {
		shape.Layers, shape.Vocab, shape.Hidden, shape.Inter, shape.Heads, shape.KVHeads, shape.HeadDim = 2, 300, 64,
			96, 4, 2, 16
		lengths = []int{40, 7}
	}
	host, err := cpu.New(cpu.Options{})
	if err != nil {
		return err
	}
	defer host.Close()
	gpu, err := j.open()
	if err != nil {
		return err
	}
	defer gpu.Close()
	var bad []string
	for _, t := range []struct {
		dtype           kernels.DType
		logprobs        float64 // absolute
		logits, largest float64 // shares of the largest value of a tensor
	}{{kernels.F32, 1e-3, 1e-3, 2e-3}, {kernels.BF16, 0.06, 0.03, 0.1}} {
		want, err := compute(host, &shape, t.dtype, lengths)
		if err != nil {
			return fmt.Errorf("the CPU: %w", err)
		}
		got, err := compute(gpu, &shape, t.dtype, lengths)
		if err != nil {
			return err
		}
		lp, logits, grad, name := 0.0, distance(want.logits, got.logits), 0.0, ""
		for i := range want.logprobs {
			if lp = max(lp, math.Abs(float64(want.logprobs[i]-got.logprobs[i]))); math.IsNaN(lp) {
				lp = math.MaxFloat64
			}
		}
		for i := range want.grads {
			if far := distance(want.grads[i], got.grads[i]); far >= grad {
				grad, name = far, want.names[i]
			}
		}
		j.say("%v: log-probs differ by at most %.2g (%.2g allowed), logits by %.2g of the largest (%.2g), gradients "+
			"by %.2g of the "+
			"largest of a tensor (%.2g): %s", t.dtype, lp, t.logprobs, logits, t.logits, grad, t.largest, name)
		for what, x := range map[string]float64{"logprobs": lp, "logits": logits, "gradients": grad} {
			j.values[fmt.Sprintf("%v %s", t.dtype, what)] = x
		}
		if lp > t.logprobs || logits > t.logits || grad > t.largest {
			bad = append(bad, t.dtype.String())
		}
	}
	if len(bad) > 0 {
		return fmt.Errorf("a model of %d layers differs from the CPU's in %v", shape.Layers, bad)
	}
	return nil
}

// compute makes the model on d and runs it.
func compute(d kernels.Device, c *model.Config, t kernels.DType, lengths []int) (out computed, err error) {
	m, err := model.NewRandom(d, c, model.Options{DType: t, Trainable: true}, 11)
	if err != nil {
		return out, err
	}
	defer m.Close()
	var seqs []train.Sequence
	n := 0
	for i, length := range lengths {
		s := train.Sequence{IDs: ids(length, c.Vocab, uint64(i)), Mask: make([]bool, length)}
		for k := range s.Mask {
			s.Mask[k] = k%3 > 0
		}
		n += s.Trained()
		seqs = append(seqs, s)
	}
	if out.logits, err = logits(d, m, seqs[0].IDs); err != nil {
		return out, err
	}
	tr, err := train.New(d, m, nil, train.Options{})
	if err != nil {
		return out, err
	}
	defer tr.Close()
	if _, err = tr.Accumulate(seqs, func(_ int, logp, _, dlogp, _ []float32) error {
		out.logprobs = append(out.logprobs, logp...)
		for i := range dlogp {
			dlogp[i] = -1 / float32(n)
		}
		return nil
	}); err != nil {
		return out, err
	}
	for _, p := range m.Params() {
		g := make([]float32, p.Grad.Len())
		if err := kernels.Download(d, g, p.Grad); err != nil {
			return out, err
		}
		out.names, out.grads = append(out.names, p.Name), append(out.grads, g)
	}
	return out, nil
}

// ids are random ids below vocab.
func ids(n, vocab int, seed uint64) []int32 {
	out := make([]int32, n)
	for i, x := range noise(n, 100+seed) {
		out[i] = int32(math.Abs(float64(x))*1e6) % int32(vocab)
	}
	return out
}

// logits are those of the last rows of one sequence, by a forward pass of its own.
func logits(d kernels.Device, m *model.Model, ids []int32) ([]float32, error) {
	n := len(ids)
	l := kernels.Layout{IDs: ids, Pos: make([]int32, n), Slots: make([]int32, n)}
	var pages []int32
	for i := range ids {
		if l.Pos[i], l.Slots[i] = int32(i), int32(i); i%kernels.PageSize == 0 {
			pages = append(pages, int32(i/kernels.PageSize))
		}
	}
	l.Segs = []kernels.Segment{{Len: n, Pages: pages}}
	kvType := kernels.BF16
	if m.DType == kernels.F32 {
		kvType = kernels.F32
	}
	kv, err := d.NewKV(m.KVSpec(len(pages), kvType))
	if err != nil {
		return nil, err
	}
	defer kv.Free()
	ws, err := m.NewWorkspace(n, model.WorkspaceOptions{Positions: n, Batch: l.Spec()})
	if err != nil {
		return nil, err
	}
	defer ws.Close()
	var r room
	defer r.free()
	rows := min(n, 8)
	y := r.tensor(d, kernels.F32, rows, m.Config.Vocab)
	if r.err != nil {
		return nil, r.err
	}
	h := m.Forward(ws, &model.Batch{Layout: l}, kv)
	last := kernels.Tensor{Buf: h.Buf, Off: h.Off + (n-rows)*h.Stride, Rows: rows, Cols: h.Cols, Stride: h.Stride,
		Type: h.Type}
	d.MatMul(y, last, m.Head(), kernels.Epilogue{})
	out := make([]float32, y.Len())
	return out, kernels.Download(d, out, y)
}

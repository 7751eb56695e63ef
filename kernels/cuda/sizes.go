package cuda

import (
	"sync"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/ptx"
)

func init() { kernels.RegisterSizes("cuda", func(int) kernels.Sizes { return sizes{} }) }

// sizes are those of any GPU: nothing that is allocated depends on which it is.
type sizes struct{}

func (sizes) Weight(n, k int, t kernels.DType) int64 {
	return int64(n) * rowBytes(t, ceil(k, kStep)*kStep)
}

func (sizes) KV(s kernels.KVSpec) int64 {
	x := kv{spec: s}
	return x.size()
}

func (sizes) Batch(s kernels.BatchSpec, backward bool) int64 {
	b := batch{spec: s}
	n := 4 * int64(b.end())
	if backward {
		n += usesBytes(s)
	}
	return n
}

func (sizes) Operand(t kernels.DType) kernels.DType { return (*Device)(nil).Operand(t) }

// Scratch is the scratch memory that a device without a GPU has taken after doing the work.
func (sizes) Scratch(all []kernels.Work) (n int64) {
	d := nowhere()
	for i := range all {
		d.work(&all[i])
	}
	for _, s := range d.scratch {
		if s != nil {
			n += s.bytes
		}
	}
	return n
}

// noGPU gives out addresses without memory behind them, and runs nothing.
type noGPU struct{ gpu.GPU }

func (noGPU) Alloc(int64) (gpu.Ptr, error)               { return 1 << 40, nil }
func (noGPU) Free(gpu.Ptr) error                         { return nil }
func (noGPU) Launch(gpu.Func, gpu.Grid, *gpu.Args) error { return nil }

// names are the kernels, which a device without a GPU does not load.
var names = sync.OnceValue(func() map[string]gpu.Func {
	all := map[string]gpu.Func{}
	for _, m := range ptx.Modules() {
		for _, k := range m.Kernels {
			all[k] = 0
		}
	}
	return all
})

// nowhere is a device without a GPU.
func nowhere() *Device {
	return &Device{gpu: noGPU{}, name: "cuda", props: gpu.Props{Major: 8, SMs: 108, Shared: 163 << 10},
		kernels: names()}
}

// work calls the operations of w whose scratch memory depends on shapes.
func (d *Device) work(w *kernels.Work) {
	for _, group := range w.Products {
		d.layer(w, w.Rows, group)
	}
	if w.Rows > 0 && w.Heads > 0 {
		d.need(forPartials, partsBytes(w.Segments*ceil(w.Longest, partitionKeys), w.Heads, w.KV.HeadDim))
		if w.Backward {
			d.need(forPartials, deltaBytes(w.Rows, w.Heads))
			d.need(forAttention, 2*operandBytes(w.Rows, w.Heads*w.KV.HeadDim))
			x, one := d.f32Of(w.Rows, w.Head.K), d.f32Of(1, w.Head.K)
			d.RMSNormBackward(x, one, x, x, one, d.f32Of(w.Rows, 1), false)
		}
	}
	head := d.weightOf(w.Head, w.Type)
	if w.Sampled > 0 {
		logits := d.f32Of(w.Sampled, w.Head.N)
		d.MatMul(logits, d.f32Of(w.Sampled, w.Head.K), head, kernels.Epilogue{})
		b := &batch{Layout: kernels.Layout{Draws: make([]kernels.Sampling, w.Sampled)}, buffer: d.memory()}
		d.Sample(d.tensorOf(kernels.I32, w.Sampled, 1), kernels.LogProbs{}, logits, b, 0)
	}
	if n := min(w.Scored, 2*logitRows); n > 0 { // of more rows, block by block
		h, one, targets := d.f32Of(n, w.Head.K), d.f32Of(n, 1), d.tensorOf(kernels.I32, n, 1)
		all := kernels.LogProbs{Logp: one, Entropy: one, LSE: one}
		d.LogProb(all, h, head, targets, 1)
		if w.Backward {
			var dw kernels.Tensor
			if w.Weights {
				dw = d.f32Of(w.Head.N, w.Head.K)
			}
			d.LogProbBackward(h, dw, h, head, targets, all, one, one, 1)
		}
	}
	if w.Squares > 0 {
		d.SumSquares(d.tensorOf(kernels.F64, 1, 1), d.f32Of(1, w.Squares), nil, false)
	}
	d.need(forPartials, 2*int64(w.Packed)) // as they come, of a checkpoint in BF16
	d.need(forResults, 4*int64(w.Packed))  // and widened
}

// layer does the products of weights that share their input, forward and backward.
func (d *Device) layer(w *kernels.Work, rows int, group []kernels.Shape) {
	var to []kernels.Product
	var dw []kernels.Tensor
	x, op, columns := d.f32Of(rows, group[0].K), w.Type, 0
	if op == kernels.Q8 {
		op = kernels.BF16
	}
	for _, s := range group {
		p := kernels.Product{Y: d.f32Of(rows, s.N), W: d.weightOf(s, w.Type)}
		if w.Rank > 0 {
			p.LoRA = kernels.LoRA{U: d.f32Of(rows, w.Rank), A: d.weightOf(kernels.Shape{N: w.Rank, K: s.K}, w.LoRAType),
				B: d.weightOf(kernels.Shape{N: s.N, K: w.Rank}, w.LoRAType)}
		}
		to, columns = append(to, p), columns+s.N
		dw = append(dw, d.f32Of(s.N, s.K))
	}
	d.MatMuls(x, to)
	if !w.Backward {
		return
	}
	for i, p := range to {
		if w.Rank > 0 {
			d.MatMulDXLoRA(x, p.Y, p.W, true, p.LoRA)
			d.MatMulDW(d.f32Of(group[i].N, w.Rank), p.Y, p.LoRA.U, w.LoRAType)
		} else {
			d.MatMulDX(x, p.Y, p.W, true, 1)
		}
		if w.Weights {
			d.MatMulDW(dw[i], p.Y, x, op)
		}
	}
	if w.Rank > 0 {
		all := make([]kernels.Tensor, len(group))
		for i := range all {
			all[i] = d.f32Of(w.Rank, group[0].K)
		}
		d.MatMulDWs(all, d.f32Of(rows, w.Rank*len(group)), x, w.LoRAType)
	}
}

// memory is a buffer that is large enough for anything.
func (d *Device) memory() *buffer { return &buffer{d, 1 << 40, 1 << 62} }

func (d *Device) tensorOf(t kernels.DType, rows, cols int) kernels.Tensor {
	return kernels.Mat(d.memory(), t, 0, rows, cols)
}

func (d *Device) f32Of(rows, cols int) kernels.Tensor { return d.tensorOf(kernels.F32, rows, cols) }

func (d *Device) weightOf(s kernels.Shape, t kernels.DType) kernels.Weight {
	return &weight{d: d, n: s.N, k: s.K, ld: ceil(s.K, kStep) * kStep, t: t, p: 1 << 40, scales: 1 << 40,
		store: &store{}}
}

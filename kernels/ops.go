// Package kernels is the interface between models and devices (CPUs, GPUs): a Device and its operations, in the order
// in which the forward pass calls them, each with its backward. There is no autograd tape and no graph. Package ref is
// the specification in plain Go, cpu and cuda are fast implementations, kerneltest is the test suite that all of them
// pass.
//
// Letters used for shapes in all packages:
//
//	T  tokens (rows) of a batch          L  layers
//	C  width of the residual stream      F  width of the MLP
//	H  query heads   G  key/value heads  D  head dimension
//	V  vocabulary                        B  rows that are sampled
//	N  outputs of a matmul  K  inputs    R  rank of a LoRA adapter
//	P  tokens in a KV page               S  slots of a KV cache
//
// Numbers. Activations and gradients are F32, except matmul operands on devices that want them in BF16
// (Device.Operand). A matmul rounds its operands to the type of its weight (F32: no rounding; BF16: to nearest, ties to
// even; Q8 and Q4: activations to 8 bits in groups of 32 along k) and accumulates in F32.
//
// The chain. Every output element of a matmul is one chain of fused multiply-adds over k, ascending, starting from zero
// (or from the old value where an operation "adds by chain"). So it depends on its row and column only: not on the
// batch, on chunking or on the number of threads. For BF16 the chain is that of VDPBF16PS, which takes k in pairs, the
// odd one first, and flushes denormals. On processors with AMX, BF16 matmuls take 32 k at a time: one chain over the
// even and one over the odd k, both from zero, whose sum is added to the element (num.DotAMX). The result depends on
// the row and column only, too. The matmuls of attention do the same there if D is a multiple of 32.
package kernels

// Epilogue is applied by MatMul to the finished chain c: y = Scale*c + Bias (+ y if Add), rounding each step. Scale 0
// means 1. Bias is F32 [1, N] or none.
type Epilogue struct {
	Bias  Tensor
	Add   bool
	Scale float32
}

// LoRA is an adapter (arXiv 2106.09685) beside a weight. Forward it adds U = Scale x A^T, y += U B^T; backward U =
// Scale dy B, dx += U A. A [R, K] and B [N, R] have the same type, F32 or BF16, which may differ from the weight's; all
// adapters of one call have the same type. U, F32 [T, R], is an output too. Scale 0 means 1.
type LoRA struct {
	A, B  Weight
	U     Tensor
	Scale float32
}

// Product is y = x w^T with an epilogue, followed by an adapter unless LoRA.A is nil. MatMuls computes several products
// with the same x.
type Product struct {
	Y Tensor
	W Weight
	Epilogue
	LoRA LoRA
}

// LogProbs is the result of scoring T targets, all of them ids below V: three F32 tensors [T, 1]. Any may be none.
//
//	Logp[t] = z[target] - LSE, Entropy[t] = -sum_v p_v ln p_v, LSE[t] = ln sum_v exp z_v, with z = logits * invTemp.
//
// Keep tells LogProb that LogProbBackward follows, with the same h and w, which do not change until then. A device may
// keep logits for it instead of computing them twice. The results are the same.
type LogProbs struct {
	Logp, Entropy, LSE Tensor
	Keep               bool
}

// Sampling says how the next id of one row is drawn. Never, top-k, top-p and min-p truncate the distribution, after
// temperature, in this order. Each is applied to the renormalised result of the one before; on ties the lower id is
// kept. The drawn id is the first whose cumulative probability, in ascending id order and renormalised, exceeds
// num.Uniform(Stream, Pos).
type Sampling struct {
	Greedy  bool    // the largest logit, the lowest id on ties; InvTemp then only scales the log-prob
	InvTemp float32 // 1/temperature
	TopK    int     // 0: off
	TopP    float32 // 0 or >= 1: off
	MinP    float32 // 0: off
	Stream  uint64  // the random stream: see num.Stream
	Pos     int32   // position of the drawn id in its sequence
	Never   []int32 // ids that must not be drawn: distinct, and not the whole vocabulary

	// Adjust changes logits before the draw, each id at most once. The log-prob is still that of the unchanged logits.
	Adjust []Adjustment
}

// Adjustment changes the logit z of an id before it is drawn, rounding each step:
//
//	z += Add;  z *= Scale where z < 0, z /= Scale elsewhere;  z -= Sub
//
// Scale is the repetition penalty of CTRL (arXiv 1909.05858), 0 means 1. An Add of -Inf forbids the id.
type Adjustment struct {
	ID              int32
	Add, Scale, Sub float32
}

// Apply is the adjusted z.
func (a Adjustment) Apply(z float32) float32 {
	z = float32(z + a.Add)
	switch {
	case a.Scale == 0:
	case z < 0:
		z = float32(z * a.Scale)
	default:
		z = float32(z / a.Scale)
	}
	return float32(z - a.Sub)
}

// AdamWStep is one step of AdamW (Loshchilov & Hutter, arXiv 1711.05101, as torch computes it): with g' = GradScale*g,
//
//	p *= 1 - LR*WeightDecay;  m = Beta1*m + (1-Beta1)*g';  v = Beta2*v + (1-Beta2)*g'^2
//	p -= LR/(1-Beta1^t) * m / (sqrt(v)/sqrt(1-Beta2^t) + Eps)
//
// Step is t, counted from 1. Betas and hyper-parameters are float64, their products are rounded to F32 once.
type AdamWStep struct {
	LR, Beta1, Beta2, Eps, WeightDecay float64
	GradScale                          float32
	Step                               int
}

// Ops are the operations, in the order in which a forward pass calls them. "=" in a comment overwrites, "+=" adds.
// Tensors are F32 unless said; y of RMSNorm and SwiGLU and x of a product of BF16 operands may be BF16, if
// Device.Operand says so; outputs do not overlap inputs unless said.
type Ops interface {
	// Embed: y[T,C] = the rows of w[V,C] that b's ids name, widened. CUDA: a gather kernel, a warp a row.
	Embed(y Tensor, w Weight, b Batch)
	// EmbedBackward: dw[V,C] += dy[T,C] at the rows that b's ids name, tokens ascending. CUDA: a block a column range,
	// serial over tokens.
	EmbedBackward(dw, dy Tensor, b Batch)

	// RMSNorm: y[T,C] = x * rstd * w[1,C], rstd[T,1] = 1/sqrt(mean(x^2) + eps), kept unless none (arXiv 1910.07467).
	// With w[1,D] of a divisor of C every head of D elements has a norm of its own, and rstd is [T, C/D]. CUDA: a block
	// a row, fixed-tree sum.
	RMSNorm(y, x, w Tensor, eps float32, rstd Tensor)
	// RMSNormBackward: dx[T,C] = or += (add) rstd*(w*dy - x*rstd^2*mean(w*dy*x)); dw[1,C] += sum_t dy*x*rstd unless
	// none, in blocks of 64 norms merged in order. CUDA: two kernels, rows for dx, column strips for dw.
	RMSNormBackward(dx, dw, dy, x, w, rstd Tensor, add bool)

	// MatMul: y[T,N] = x[T,K] w[N,K]^T with epilogue e. CUDA: cublasLt, bf16 operands after a cast kernel, F32
	// accumulation.
	MatMul(y, x Tensor, w Weight, e Epilogue)
	// MatMuls gives the same bits as a MatMul of x with each of several weights of one type, each followed by the two
	// matmuls of its adapter. A device may compute all of them at once. CUDA: one by one.
	MatMuls(x Tensor, to []Product)
	// MatMulDX: dx[T,K] = or += (add) scale * dy[T,N] w[N,K]; the chain runs over n. scale 0 means 1. CUDA: cublasLt,
	// no transpose.
	MatMulDX(dx, dy Tensor, w Weight, add bool, scale float32)
	// MatMulDXLoRA gives the same bits as MatMulDX of w, scale 1, followed by the two matmuls of its adapter. CUDA: one
	// by one.
	MatMulDXLoRA(dx, dy Tensor, w Weight, add bool, low LoRA)
	// MatMulDW: dw[N,K] += dy[T,N]^T x[T,K], adding by chain over t ascending; operands rounded to op (F32 or BF16;
	// BF16 pairs are tokens 2i, 2i+1 of this call; on AMX blocks are its tokens 32i to 32i+31). CUDA: cublasLt with
	// beta 1.
	MatMulDW(dw, dy, x Tensor, op DType)
	// MatMulDWs gives the same bits as MatMulDW for each of several dw[N,K] with the same x. Their dy are columns of
	// one tensor, dy[T, sum of N]. CUDA: one by one.
	MatMulDWs(dw []Tensor, dy, x Tensor, op DType)
	// BiasBackward: db[1,N] += sum_t dy[T,N], in blocks of 64 rows merged in order. CUDA: column strips.
	BiasBackward(db, dy Tensor)

	// RoPE rotates x[T, heads*D] in place, or back (inverse: the backward), by b's positions: pair (i, i+D/2) of a head
	// by the angle whose cosine and sine are table[pos, i] and table[pos, D/2+i] (arXiv 2104.09864, rotate-half form).
	// CUDA: elementwise.
	RoPE(x Tensor, heads int, b Batch, table Tensor, inverse bool)

	// KVWrite stores k and v [T, G*D], rounded to the cache's type, in b's slots of layer. CUDA: a scatter kernel.
	KVWrite(kv KV, layer int, k, v Tensor, b Batch)
	// KVCopy copies whole pages, all layers: copy on write. No page is both source and destination. CUDA: one kernel
	// over (page, layer).
	KVCopy(kv KV, dst, src []int32)
	// Attention: y[T,H*D] = softmax(scale * q k^T) v over the pages of each of b's segments, causal; slots after a
	// row's position are masked, whatever they hold; query head h reads kv head h*G/H. Keys are processed in partitions
	// of 256 at absolute positions. Each gives (max, sum, output), and partitions are merged in ascending order, so
	// that chunking changes no bit. lse[T,H] = max + ln(sum), kept unless none. q, and the probabilities that v is
	// multiplied with, are rounded to the cache's type. CUDA: flash kernel a (segment, head, 64 rows); decode: split-KV
	// by the same partitions.
	Attention(y, q, lse Tensor, kv KV, layer int, b Batch, scale float32)
	// AttentionBackward: dq[T,H*D] =; dk and dv [S, G*D], one row a slot of the cache, += . delta = sum(dy*y) is
	// recomputed, probabilities come from lse. Contributions of several segments to one slot are added in the order of
	// the segments, query heads ascending, rows ascending. CUDA: a block a (page group, kv head), looping over segments
	// in order.
	AttentionBackward(dq, dk, dv, dy, y, q, lse Tensor, kv KV, layer int, b Batch, scale float32)

	// SwiGLU: y[T,F] = gate*sigmoid(gate)*up (arXiv 2002.05202). CUDA: elementwise.
	SwiGLU(y, gate, up Tensor)
	// SwiGLUBackward: dgate, dup [T,F] = from dy; dgate may be gate, dup may be up. CUDA: elementwise.
	SwiGLUBackward(dgate, dup, dy, gate, up Tensor)

	// Gather: dst[B,C] = src rows idx[B,1] (I32). CUDA: a warp a row.
	Gather(dst, src, idx Tensor)
	// ScatterAdd: dst rows idx[B,1] += src[B,C], rows ascending. CUDA: idx is distinct in every use of ours; a warp a
	// row.
	ScatterAdd(dst, src, idx Tensor)

	// LogProb scores targets[T,1] (I32) given final hidden states h[T,C] and the output matrix w[V,C], in chunks:
	// logits [T,V] exist at once only where they are few (see LogProbs.Keep). The reduction over v has the fixed order
	// of Sample, so both give the same bits. CUDA: matmul of 1k rows x vocabulary chunk into scratch, online reduction.
	LogProb(out LogProbs, h Tensor, w Weight, targets Tensor, invTemp float32)
	// LogProbBackward: dh[T,C] = and dw[V,C] += (unless none, adding by chain, operands rounded to w's type, F32 for
	// Q8 and Q4) for dz_v = invTemp * (dlogp*([v=target] - p_v) - dentropy*p_v*(ln p_v + entropy)), recomputed in
	// chunks. dentropy may be none. CUDA: the same chunks as LogProb.
	LogProbBackward(dh, dw, h Tensor, w Weight, targets Tensor, lp LogProbs, dlogp, dentropy Tensor, invTemp float32)
	// Sample draws ids[B,1] (I32) from logits[B,V] (kept as they are, adjustments too) by b's draws [first, first+B)
	// and scores them: out as LogProb's, over the whole vocabulary, after temperature, before adjustments and
	// truncation. CUDA: a block a row; top-k by radix selection.
	Sample(ids Tensor, out LogProbs, logits Tensor, b Batch, first int)

	// SumSquares: dst[1,1] (F64) = or += (add) sum x^2. The ranges of the dense tensor x are summed one after the
	// other, each in blocks of 4096 elements merged in order, so that the sum of many parameters in one tensor is that
	// of the parameters one by one. Elements outside the ranges must be 0: a device may sum them too and use other
	// blocks. nil: one range, all of x, which then need not be dense. CUDA: two-pass reduction over all of x.
	SumSquares(dst, x Tensor, ranges []Range, add bool)
	// AdamW updates p, m, v from g: four dense tensors of one shape. CUDA: elementwise.
	AdamW(p, g, m, v Tensor, s AdamWStep)
	// Axpy: y += a*x, elementwise. CUDA: elementwise.
	Axpy(y Tensor, a float32, x Tensor)
	// Copy: dst = src of the same shape, converting between F32 and BF16. CUDA: elementwise.
	Copy(dst, src Tensor)
	// Zero clears t. CUDA: memset.
	Zero(t Tensor)
}

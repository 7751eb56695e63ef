package kerneltest

import (
	"slices"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// The operations of a Queued device: each is that of the device behind it, later. Lists are copied when they are
// called.

type (
	tensor = kernels.Tensor
	weight = kernels.Weight
)

func (q *queued) scores(lp kernels.LogProbs) kernels.LogProbs {
	return kernels.LogProbs{Logp: q.in(lp.Logp), Entropy: q.in(lp.Entropy), LSE: q.in(lp.LSE)}
}

func (q *queued) lowRank(l kernels.LoRA) kernels.LoRA {
	if l.A != nil {
		l.A, l.B = innerWeight(l.A), innerWeight(l.B)
	}
	l.U = q.in(l.U)
	return l
}

func (q *queued) Embed(y tensor, w weight, b kernels.Batch) {
	q.op("Embed", func() { q.inner.Embed(q.in(y), innerWeight(w), innerBatch(b)) }, y, w, b)
}

func (q *queued) EmbedBackward(dw, dy tensor, b kernels.Batch) {
	q.op("EmbedBackward", func() { q.inner.EmbedBackward(q.in(dw), q.in(dy), innerBatch(b)) }, dw, dy, b)
}

func (q *queued) RMSNorm(y, x, w tensor, eps float32, rstd tensor) {
	q.op("RMSNorm", func() { q.inner.RMSNorm(q.in(y), q.in(x), q.in(w), eps, q.in(rstd)) }, y, x, w, rstd)
}

func (q *queued) RMSNormBackward(dx, dw, dy, x, w, rstd tensor, add bool) {
	q.op("RMSNormBackward", func() {
		q.inner.RMSNormBackward(q.in(dx), q.in(dw), q.in(dy), q.in(x), q.in(w), q.in(rstd), add)
	}, dx, dw, dy, x, w, rstd)
}

func (q *queued) MatMul(y, x tensor, w weight, e kernels.Epilogue) {
	q.op("MatMul", func() {
		e := e
		e.Bias = q.in(e.Bias)
		q.inner.MatMul(q.in(y), q.in(x), innerWeight(w), e)
	}, y, x, w, e.Bias)
}

func (q *queued) MatMuls(x tensor, to []kernels.Product) {
	to = slices.Clone(to)
	args := []any{x}
	for _, p := range to {
		args = append(args, p.Y, p.W, p.Bias, p.LoRA.U)
		if p.LoRA.A != nil {
			args = append(args, p.LoRA.A, p.LoRA.B)
		}
	}
	q.op("MatMuls", func() {
		inner := slices.Clone(to)
		for i := range inner {
			p := &inner[i]
			p.Y, p.W, p.Bias, p.LoRA = q.in(p.Y), innerWeight(p.W), q.in(p.Bias), q.lowRank(p.LoRA)
		}
		q.inner.MatMuls(q.in(x), inner)
	}, args...)
}

func (q *queued) MatMulDX(dx, dy tensor, w weight, add bool, scale float32) {
	q.op("MatMulDX", func() { q.inner.MatMulDX(q.in(dx), q.in(dy), innerWeight(w), add, scale) }, dx, dy, w)
}

func (q *queued) MatMulDXLoRA(dx, dy tensor, w weight, add bool, low kernels.LoRA) {
	q.op("MatMulDXLoRA", func() {
		q.inner.MatMulDXLoRA(q.in(dx), q.in(dy), innerWeight(w), add, q.lowRank(low))
	}, dx, dy, w, low.A, low.B, low.U)
}

func (q *queued) MatMulDW(dw, dy, x tensor, op kernels.DType) {
	q.op("MatMulDW", func() { q.inner.MatMulDW(q.in(dw), q.in(dy), q.in(x), op) }, dw, dy, x)
}

func (q *queued) MatMulDWs(dw []tensor, dy, x tensor, op kernels.DType) {
	dw = slices.Clone(dw)
	q.op("MatMulDWs", func() { q.inner.MatMulDWs(q.each(dw), q.in(dy), q.in(x), op) }, dw, dy, x)
}

func (q *queued) BiasBackward(db, dy tensor) {
	q.op("BiasBackward", func() { q.inner.BiasBackward(q.in(db), q.in(dy)) }, db, dy)
}

func (q *queued) RoPE(x tensor, heads int, b kernels.Batch, table tensor, inverse bool) {
	q.op("RoPE", func() { q.inner.RoPE(q.in(x), heads, innerBatch(b), q.in(table), inverse) }, x, b, table)
}

func (q *queued) KVWrite(kv kernels.KV, layer int, k, v tensor, b kernels.Batch) {
	q.op("KVWrite", func() { q.inner.KVWrite(innerKV(kv), layer, q.in(k), q.in(v), innerBatch(b)) }, kv, k, v, b)
}

func (q *queued) KVCopy(kv kernels.KV, dst, src []int32) {
	dst, src = slices.Clone(dst), slices.Clone(src)
	q.op("KVCopy", func() { q.inner.KVCopy(innerKV(kv), dst, src) }, kv)
}

func (q *queued) Attention(y, x, lse tensor, kv kernels.KV, layer int, b kernels.Batch, scale float32) {
	q.op("Attention", func() {
		q.inner.Attention(q.in(y), q.in(x), q.in(lse), innerKV(kv), layer, innerBatch(b), scale)
	}, y, x, lse, kv, b)
}

func (q *queued) AttentionBackward(dq, dk, dv, dy, y, x, lse tensor, kv kernels.KV, layer int, b kernels.Batch,
	scale float32) {
	q.op("AttentionBackward", func() {
		q.inner.AttentionBackward(q.in(dq), q.in(dk), q.in(dv), q.in(dy), q.in(y), q.in(x), q.in(lse), innerKV(kv),
			layer,
			innerBatch(b), scale)
	}, dq, dk, dv, dy, y, x, lse, kv, b)
}

func (q *queued) SwiGLU(y, gate, up tensor) {
	q.op("SwiGLU", func() { q.inner.SwiGLU(q.in(y), q.in(gate), q.in(up)) }, y, gate, up)
}

func (q *queued) SwiGLUBackward(dgate, dup, dy, gate, up tensor) {
	q.op("SwiGLUBackward", func() {
		q.inner.SwiGLUBackward(q.in(dgate), q.in(dup), q.in(dy), q.in(gate), q.in(up))
	}, dgate, dup, dy, gate, up)
}

func (q *queued) Gather(dst, src, idx tensor) {
	q.op("Gather", func() { q.inner.Gather(q.in(dst), q.in(src), q.in(idx)) }, dst, src, idx)
}

func (q *queued) ScatterAdd(dst, src, idx tensor) {
	q.op("ScatterAdd", func() { q.inner.ScatterAdd(q.in(dst), q.in(src), q.in(idx)) }, dst, src, idx)
}

func (q *queued) LogProb(out kernels.LogProbs, h tensor, w weight, targets tensor, invTemp float32) {
	q.op("LogProb", func() {
		q.inner.LogProb(q.scores(out), q.in(h), innerWeight(w), q.in(targets), invTemp)
	}, out.Logp, out.Entropy, out.LSE, h, w, targets)
}

func (q *queued) LogProbBackward(dh, dw, h tensor, w weight, targets tensor, lp kernels.LogProbs, dlogp,
	dentropy tensor,
	invTemp float32) {
	q.op("LogProbBackward", func() {
		q.inner.LogProbBackward(q.in(dh), q.in(dw), q.in(h), innerWeight(w), q.in(targets), q.scores(lp), q.in(dlogp),
			q.in(dentropy), invTemp)
	}, dh, dw, h, w, targets, lp.Logp, lp.Entropy, lp.LSE, dlogp, dentropy)
}

func (q *queued) Sample(ids tensor, out kernels.LogProbs, logits tensor, b kernels.Batch, first int) {
	q.op("Sample", func() {
		q.inner.Sample(q.in(ids), q.scores(out), q.in(logits), innerBatch(b), first)
	}, ids, out.Logp, out.Entropy, out.LSE, logits, b)
}

func (q *queued) SumSquares(dst, x tensor, ranges []kernels.Range, add bool) {
	ranges = slices.Clone(ranges)
	q.op("SumSquares", func() { q.inner.SumSquares(q.in(dst), q.in(x), ranges, add) }, dst, x)
}

func (q *queued) AdamW(p, g, m, v tensor, s kernels.AdamWStep) {
	q.op("AdamW", func() { q.inner.AdamW(q.in(p), q.in(g), q.in(m), q.in(v), s) }, p, g, m, v)
}

func (q *queued) Axpy(y tensor, a float32, x tensor) {
	q.op("Axpy", func() { q.inner.Axpy(q.in(y), a, q.in(x)) }, y, x)
}

func (q *queued) Copy(dst, src tensor) {
	q.op("Copy", func() { q.inner.Copy(q.in(dst), q.in(src)) }, dst, src)
}

func (q *queued) Zero(t tensor) {
	q.op("Zero", func() { q.inner.Zero(q.in(t)) }, t)
}

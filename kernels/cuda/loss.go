package cuda

import (
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
)

// Log-probs reduce the vocabulary in chunks of chunkIDs from id 0 on, merged in their order: see scan.h. A chunk is
// what a block takes.
const (
	chunkIDs  = 4096
	partBytes = 16 // what is kept of a chunk
)

// logitRows is the number of rows for which logits exist at a time, with as many columns as fit into 64 MiB, a multiple
// of chunkIDs.
// A variable for tests.
var logitRows = 4096

// chunkThreads is the size of a block that reduces a chunk of a vocabulary of v ids.
func chunkThreads(v int) int {
	if v <= 512 {
		return 32
	}
	return 256
}

// chunkGrid is a block for each chunk of each of rows.
func chunkGrid(rows, cols, threads int) gpu.Grid { return line(rows*ceil(cols, chunkIDs), threads) }

// scores are the addresses of a LogProbs; 0 is none.
type scores struct{ logp, entropy, lse gpu.Ptr }

func (d *Device) scores(op string, o kernels.LogProbs, rows int) scores {
	return scores{
		logp:    d.maybe(op, "Logp", o.Logp, rows, 1),
		entropy: d.maybe(op, "Entropy", o.Entropy, rows, 1),
		lse:     d.maybe(op, "LSE", o.LSE, rows, 1),
	}
}

// ids is the address of a dense I32 [rows, 1].
func (d *Device) ids(op, what string, t kernels.Tensor, rows int) gpu.Ptr {
	if !t.Dense() {
		fail(op, "%s, %v, is not dense", what, t)
	}
	return d.tensor(op, what, t, kernels.I32, rows, 1)
}

// row is the address of 4-byte element i of a vector; that of none is none.
func row(p gpu.Ptr, i int) gpu.Ptr {
	if p == 0 {
		return 0
	}
	return p + gpu.Ptr(4*i)
}

func (s scores) from(i int) scores { return scores{row(s.logp, i), row(s.entropy, i), row(s.lse, i)} }

// rows is rows [n0, n0+n) of w, in its memory.
func (w *weight) rows(n0, n int) *weight {
	x := *w
	x.n = n
	if w.t == kernels.Q8 {
		x.p += gpu.Ptr(n0 * w.ld)
		x.scales += gpu.Ptr(2 * n0 * w.ld / 32)
	} else {
		x.p += gpu.Ptr(int64(n0) * rowBytes(w.t, w.ld))
	}
	return &x
}

// temporary is a tensor in scratch memory.
func (d *Device) temporary(purpose int, t kernels.DType, rows, cols int) kernels.Tensor {
	bytes := int64(rows) * int64(cols) * int64(t.Size())
	return kernels.Mat(&buffer{d, d.need(purpose, bytes), bytes}, t, 0, rows, cols)
}

// logits calls f with rows [r0, r0+rows) of h, the columns [n0, n0+cols) of w and their logits, in scratch memory:
// columns ascending, then rows; and end after each block of rows. Where there are few rows, more columns exist at a
// time, unless they are to be the same for any number of rows (fixed). h may come in BF16, as the products take it.
func (d *Device) logits(h kernels.Tensor, w *weight, fixed bool, f func(h, z kernels.Tensor, r0, n0 int),
	end func(r0, rows int)) {
	if h.Rows == 0 {
		return
	}
	rows, cols := min(logitRows, h.Rows), chunkIDs
	if !fixed {
		cols *= logitRows / rows
	}
	cols = min(cols, w.n)
	logits := d.temporary(forLogits, kernels.F32, rows, cols)
	var half kernels.Tensor
	if w.t == kernels.BF16 && cols < w.n {
		half = d.temporary(forHidden, kernels.BF16, rows, unitsOf(w.k)).ColRange(0, w.k)
	}
	for r0 := 0; r0 < h.Rows && d.err == nil; r0 += rows {
		x := h.RowRange(r0, min(rows, h.Rows-r0))
		if !half.IsZero() {
			d.Copy(half.RowRange(0, x.Rows), x)
			x = half.RowRange(0, x.Rows)
		}
		for n0 := 0; n0 < w.n; n0 += cols {
			part := w.rows(n0, min(cols, w.n-n0))
			z := kernels.Mat(logits.Buf, kernels.F32, 0, x.Rows, part.n)
			d.MatMul(z, x, part, kernels.Epilogue{})
			f(x, z, r0, n0)
		}
		if end != nil {
			end(r0, x.Rows)
		}
	}
}

// LogProb scores targets: the parts of all chunks of a block of rows first, then the rows.
func (d *Device) LogProb(out kernels.LogProbs, h kernels.Tensor, kw kernels.Weight, targets kernels.Tensor,
	invTemp float32) {
	const op = "LogProb"
	w := d.weight(op, kw)
	d.f32(op, "h", h, -1, w.k)
	ids, o := d.ids(op, "targets", targets, h.Rows), d.scores(op, out, h.Rows)
	chunks, threads := ceil(w.n, chunkIDs), chunkThreads(w.n)
	rows := min(logitRows, h.Rows)
	parts := d.need(forResults, int64(rows)*int64(chunks*partBytes+4))
	z := parts + gpu.Ptr(rows*chunks*partBytes)
	d.logits(h, w, false, func(_, logits kernels.Tensor, r0, n0 int) {
		a := d.arg().Ptr(parts).Int(chunks).Ptr(z)
		a = addr(a, d.at(op, "logits", logits), logits).Ptr(row(ids, r0)).Int(n0).Int(logits.Cols).Int(w.n).
			Float(invTemp)
		d.launch("scoreChunks", chunkGrid(logits.Rows, logits.Cols, threads), a)
	}, func(r0, rows int) {
		o := o.from(r0)
		a := d.arg().Ptr(o.logp).Ptr(o.entropy).Ptr(o.lse).Ptr(parts).Int(chunks).Ptr(z).Int(rows)
		d.launch("scoreRows", line(ceil(rows, 4), 128), a)
	})
}

// LogProbBackward computes the logits again, turns them into dz in place, and multiplies: dh = dz w, dw += dz^T h.
func (d *Device) LogProbBackward(dh, dw, h kernels.Tensor, kw kernels.Weight, targets kernels.Tensor,
	lp kernels.LogProbs, dlogp, dentropy kernels.Tensor, invTemp float32) {
	const op = "LogProbBackward"
	w := d.weight(op, kw)
	d.f32(op, "h", h, -1, w.k)
	d.f32(op, "dh", dh, h.Rows, w.k)
	if !dw.IsZero() {
		d.f32(op, "dw", dw, w.n, w.k)
	}
	ids, lse := d.ids(op, "targets", targets, h.Rows), d.vector(op, "LSE", lp.LSE, h.Rows, 1)
	dl, de, entropy := d.vector(op, "dlogp", dlogp, h.Rows, 1), d.maybe(op, "dentropy", dentropy, h.Rows, 1), gpu.Ptr(0)
	if de != 0 {
		entropy = d.vector(op, "Entropy", lp.Entropy, h.Rows, 1)
	}
	t := w.t
	if t == kernels.Q8 {
		t = kernels.F32
	}
	d.logits(h, w, true, func(x, z kernels.Tensor, r0, n0 int) {
		a := addr(d.arg(), d.at(op, "logits", z), z).Int(n0).Int(z.Cols)
		a = a.Ptr(row(ids, r0)).Ptr(row(lse, r0)).Ptr(row(entropy, r0)).Ptr(row(dl, r0)).Ptr(row(de, r0)).Float(invTemp)
		d.launch("logitGradient", chunkGrid(z.Rows, z.Cols, 256), a)
		d.MatMulDX(dh.RowRange(r0, z.Rows), z, w.rows(n0, z.Cols), n0 > 0, 1)
		if !dw.IsZero() {
			d.MatMulDW(dw.RowRange(n0, z.Cols), z, x, t)
		}
	}, nil)
}

package cpu

import (
	"math"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// lossChunk is the number of columns of the vocabulary that are reduced together. Every reduction over the vocabulary,
// LogProb's as Sample's, takes chunks from column 0 and merges them ascending, so that the same logits give the same
// bits.
const lossChunk = 1024

// scan is a softmax over the columns seen so far: m = max z, sum = sum exp(z-m), dot = sum (z-m) exp(z-m), z =
// logits*invTemp. Shifted by m, the entropy ln(sum) - dot/sum loses nothing where logits are large.
type scan struct{ m, sum, dot float64 }

// lossPart is the scan of one chunk, and its largest logit as it came.
type lossPart struct{ m, sum, dot, top float32 }

// scanChunk reduces at most 1024 logits. If one is NaN and none is above -Inf the result is NaN; if all are -Inf the
// chunk has no weight.
func (k *rowKernels) scanChunk(logits []float32, invTemp float32) lossPart {
	top := k.maximum(logits)
	c := lossPart{m: float32(top * invTemp), top: top} // rounding keeps order, so this is the largest z
	if invTemp < 0 {
		c.m = negInf
		for _, z := range logits {
			c.m = max(c.m, float32(z*invTemp))
		}
	}
	if c.m != c.m || c.m == negInf && !hasNaN(logits) {
		return c
	}
	c.sum, c.dot = k.scanExp(logits, c.m, invTemp)
	return c
}

func hasNaN(x []float32) bool {
	for _, v := range x {
		if v != v {
			return true
		}
	}
	return false
}

// scanExp returns the sums of e and d*e by 16 lanes, with d = max(z - most, -104) and e = exp(d). For smaller z, -Inf
// included, e is 0.
func scanExp(logits []float32, most, invTemp float32) (sum, dot float32) {
	var a, b lanes16
	for i, z := range logits {
		d := float32(z*invTemp) - most
		if d < expLeast {
			d = expLeast
		}
		e := exp(d)
		a[i%16] += e
		b[i%16] += float32(d * e)
	}
	return a.sum(), b.sum()
}

// merge adds the next chunk.
func (s *scan) merge(c lossPart) {
	if c.m == negInf && c.sum == 0 {
		return
	}
	m, sum, dot := float64(c.m), float64(c.sum), float64(c.dot)
	if s.sum == 0 {
		*s = scan{m, sum, dot}
		return
	}
	most := max(s.m, m)
	old, new := float64(exp(float32(s.m-most))), float64(exp(float32(m-most)))
	// (z-M) exp(z-M) = exp(m-M) ((z-m) exp(z-m) + (m-M) exp(z-m)); a chunk without weight left adds nothing.
	was, is := 0.0, 0.0
	if old != 0 {
		was = float64(old * (s.dot + float64((s.m-most)*s.sum)))
	}
	if new != 0 {
		is = float64(new * (dot + float64((m-most)*sum)))
	}
	*s = scan{most, float64(s.sum*old) + float64(sum*new), was + is}
}

// end makes the result NaN if the row has no weight at all.
func (s *scan) end() {
	if s.sum == 0 {
		*s = scan{math.NaN(), math.NaN(), math.NaN()}
	}
}

func (s *scan) lse() float32     { return float32(s.m + ln(s.sum)) }
func (s *scan) entropy() float32 { return float32(ln(s.sum) - s.dot/s.sum) }

// logp is the log-probability of a column with z.
func (s *scan) logp(z float32) float32 { return float32(float64(z) - s.m - ln(s.sum)) }

// scores are the vectors of a LogProbs; nil is none.
type scores struct{ logp, entropy, lse []float32 }

func scoresOf(op string, o kernels.LogProbs, rows int) scores {
	return scores{optional(op, "Logp", o.Logp, rows, 1), optional(op, "Entropy", o.Entropy, rows, 1),
		optional(op, "LSE", o.LSE, rows, 1)}
}

// store writes row t, whose id has z.
func (o scores) store(t int, s *scan, z float32) {
	if o.logp != nil {
		o.logp[t] = s.logp(z)
	}
	if o.entropy != nil {
		o.entropy[t] = s.entropy()
	}
	if o.lse != nil {
		o.lse[t] = s.lse()
	}
}

// lossBlock is the number of rows and columns whose logits exist at a time: about 4 MB.
const (
	lossRows = 1024
	lossCols = lossChunk
)

// logitBlock is how many rows and columns of [rows, v] logits exist at a time.
func logitBlock(all, v int) (rows, cols int) {
	rows = min(lossRows, all)
	cols = min(roundUp(v, lossCols), max(1, lossRows*lossCols/max(rows, 1)/lossCols)*lossCols)
	return rows, min(cols, 16*lossCols)
}

// logitBlockCount is the number of blocks of [all, v] logits, keptBlocks how many of them are kept.
func logitBlockCount(all, v int) int {
	rows, cols := logitBlock(all, v)
	if rows*cols == 0 {
		return 0
	}
	return (all + rows - 1) / rows * ((v + cols - 1) / cols)
}

func (b *bounds) keptBlocks(all, v int) int {
	rows, cols := logitBlock(all, v)
	return min(logitBlockCount(all, v), b.logits/max(rows*cols, 1))
}

// blocksInMemory is how many blocks of [all, v] logits there is memory for if the first kept ones are kept: the others
// share a place behind those.
func blocksInMemory(all, v, kept int) int { return min(logitBlockCount(all, v), kept+1) }

// keptLogits are the first blocks of the logits of h and w, in slotLoss. No blocks: none are kept.
type keptLogits struct {
	h      kernels.Tensor
	w      *weight
	blocks int
}

// takeKept returns how many blocks of logits of h and w are kept; from then on none are.
func (d *Device) takeKept(h kernels.Tensor, w *weight) int {
	k := d.kept
	d.kept = keptLogits{}
	if k.h != h || k.w != w {
		return 0
	}
	return k.blocks
}

// logitBlocks calls f with logits [rows, cols] of rows [r0, r0+rows) of h and columns [n0, n0+cols) of w: columns
// ascending within a block of rows, blocks ascending. cols is a multiple of 1024 except at the end; with few rows a
// block has more columns. The first kept blocks have places of their own, the others one for all. Blocks from number
// from on are computed by MatMul, those before lie in their places.
func (d *Device) logitBlocks(h kernels.Tensor, w *weight, from, kept int, f func(r0, n0 int, logits kernels.Tensor)) {
	rows, cols := logitBlock(h.Rows, w.n)
	z, i := &buffer{mem: d.scratch(slotLoss, 4*rows*cols*blocksInMemory(h.Rows, w.n, kept))}, 0
	for r0 := 0; r0 < h.Rows; r0 += rows {
		hr := h.RowRange(r0, min(rows, h.Rows-r0))
		for n0 := 0; n0 < w.n; n0 += cols {
			part := w.rows(n0, min(cols, w.n-n0))
			logits := kernels.Mat(z, kernels.F32, min(i, kept)*rows*cols, hr.Rows, part.n)
			if i >= from {
				d.MatMul(logits, hr, part, kernels.Epilogue{})
			}
			f(r0, n0, logits)
			i++
		}
	}
}

// rows is rows [n0, n0+n) of w, sharing its memory; n0 is a multiple of 32.
func (w *weight) rows(n0, n int) *weight {
	size := w.steps * w.stepBytes()
	p := &weight{n: n, k: w.k, t: w.t, steps: w.steps}
	p.buf = &buffer{mem: w.buf.mem[n0/panelCols*size:][:p.panels()*size]}
	return p
}

// LogProb scores targets given h and the output matrix.
func (d *Device) LogProb(out kernels.LogProbs, h kernels.Tensor, kw kernels.Weight, targets kernels.Tensor,
	invTemp float32) {
	const op = "LogProb"
	w, k := asWeight(op, kw), d.rows()
	shape(op, "h", h, h.Rows, w.k)
	target, o := indices(op, "targets", targets, h.Rows, w.n), scoresOf(op, out, h.Rows)
	scans, zs := make([]scan, h.Rows), make([]float32, h.Rows)
	d.takeKept(h, w)
	kept := 0
	if out.Keep {
		kept = d.gemm.bounds.keptBlocks(h.Rows, w.n)
	}
	d.logitBlocks(h, w, 0, kept, func(r0, n0 int, logits kernels.Tensor) {
		z, n := f32(logits), logits.Cols
		d.forRows(logits.Rows, n, func(lo, hi int) {
			for i := lo; i < hi; i++ {
				row := z[i*n:][:n]
				for c := 0; c < n; c += lossChunk {
					scans[r0+i].merge(k.scanChunk(row[c:min(c+lossChunk, n)], invTemp))
				}
				if v := int(target[r0+i]) - n0; v >= 0 && v < n {
					zs[r0+i] = row[v] * invTemp
				}
			}
		})
	})
	for t := range scans {
		scans[t].end()
		o.store(t, &scans[t], zs[t])
	}
	if out.Keep {
		d.kept = keptLogits{h, w, kept}
	}
}

// logitGradient are the scalars of a row of LogProbBackward: dz = invTemp * (dlogp*([v=target] - p) - dentropy*p*(ln p
// + entropy)), without the target.
type logitGradient struct{ invTemp, lse, dlogp, dentropy, entropy float32 }

// gradient makes dz of logits z, in place if dz is z.
func gradient(dz, z []float32, g *logitGradient) {
	for i, x := range z {
		ln := float32(x*g.invTemp) - g.lse
		if ln < expLeast {
			ln = expLeast // p is 0 and must stay so when multiplied
		}
		dz[i] = -g.invTemp * (exp(ln) * (g.dlogp + float32(g.dentropy*(ln+g.entropy))))
	}
}

// LogProbBackward takes the logits that were kept and computes the others again, block by block. It turns them into dz
// and multiplies: dh = dz w, dw += dz^T h.
func (d *Device) LogProbBackward(dh, dw, h kernels.Tensor, kw kernels.Weight, targets kernels.Tensor,
	lp kernels.LogProbs, dlogp, dentropy kernels.Tensor, invTemp float32) {
	const op = "LogProbBackward"
	w, k := asWeight(op, kw), d.rows()
	shape(op, "h", h, h.Rows, w.k)
	shape(op, "dh", dh, h.Rows, w.k)
	if !dw.IsZero() {
		shape(op, "dw", dw, w.n, w.k)
	}
	target, lse := indices(op, "targets", targets, h.Rows, w.n), vector(op, "LSE", lp.LSE, h.Rows, 1)
	dl, de := vector(op, "dlogp", dlogp, h.Rows, 1), optional(op, "dentropy", dentropy, h.Rows, 1)
	var entropy []float32
	if de != nil {
		entropy = vector(op, "Entropy", lp.Entropy, h.Rows, 1)
	}
	t := w.t
	if t.Quantised() {
		t = kernels.F32
	}
	kept := d.takeKept(h, w)
	d.logitBlocks(h, w, kept, kept, func(r0, n0 int, logits kernels.Tensor) {
		z, n := f32(logits), logits.Cols
		d.forRows(logits.Rows, n, func(lo, hi int) {
			for i := lo; i < hi; i++ {
				r, row := r0+i, z[i*n:][:n]
				g := logitGradient{invTemp: invTemp, lse: lse[r], dlogp: dl[r]}
				if de != nil {
					g.dentropy, g.entropy = de[r], entropy[r]
				}
				k.gradient(row, row, &g)
				if v := int(target[r]) - n0; v >= 0 && v < n {
					row[v] += float32(invTemp * dl[r])
				}
			}
		})
		d.productDX(dh.RowRange(r0, logits.Rows), logits, w.rows(n0, n), n0 > 0, kernels.Epilogue{})
		if !dw.IsZero() {
			d.MatMulDW(dw.RowRange(n0, n), logits, h.RowRange(r0, logits.Rows), t)
		}
	})
}

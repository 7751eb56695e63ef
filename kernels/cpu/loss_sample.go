package cpu

import (
	"fmt"
	"slices"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// Sample draws an id for each row of logits and scores it by the whole distribution.
func (d *Device) Sample(ids kernels.Tensor, out kernels.LogProbs, logits kernels.Tensor, rows []kernels.Sampling) {
	const op = "Sample"
	n := logits.Cols
	shape(op, "logits", logits, len(rows), n)
	if n == 0 && len(rows) > 0 {
		panic(fmt.Sprintf("cpu: Sample: logits is %v: nothing to draw from", logits))
	}
	shape(op, "ids", ids, len(rows), 1)
	z, id, o, k := f32(logits), i32(ids), scoresOf(op, out, len(rows)), d.rows()
	per := (n + lossChunk - 1) / lossChunk
	chunks := make([]lossPart, len(rows)*per)
	d.forRows(len(chunks), lossChunk, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			r, c := i/per, i%per*lossChunk
			chunks[i] = k.scanChunk(z[r*logits.Stride:][c:min(c+lossChunk, n)], rows[r].InvTemp)
		}
	})
	d.pool.Run(len(rows), func(r int) {
		w := draw{Sampling: rows[r], rowKernels: k, logits: z[r*logits.Stride:][:n], chunks: chunks[r*per:][:per]}
		for _, c := range w.chunks {
			w.all.merge(c)
		}
		w.all.end()
		v := w.id()
		id[r*ids.Stride] = int32(v)
		o.store(r, &w.all, w.z(v))
	})
}

// draw is one row.
type draw struct {
	kernels.Sampling
	*rowKernels
	logits []float32
	chunks []lossPart
	all    scan
}

func (w *draw) z(v int) float32 { return w.logits[v] * w.InvTemp }

// id draws. Of NaN it is the lowest id.
func (w *draw) id() int {
	switch {
	case w.Greedy:
		return w.largest()
	case w.all.sum != w.all.sum:
		return 0
	case w.TopK > 0 || w.nucleus() || w.MinP > 0:
		return w.truncated()
	}
	return w.any()
}

// largest is the lowest id with the largest logit.
func (w *draw) largest() int {
	best := 0
	for c := range w.chunks {
		if w.chunks[c].top > w.chunks[best].top {
			best = c
		}
	}
	lo := best * lossChunk
	for v, x := range w.logits[lo:min(lo+lossChunk, len(w.logits))] {
		if x == w.chunks[best].top && x > negInf {
			return lo + v
		}
	}
	return 0
}

// any draws from the whole distribution: the chunk first, by the sums that the scan left, then the id.
func (w *draw) any() int {
	left := w.U * w.all.sum
	best, scale := -1, 0.0
	for c, x := range w.chunks {
		s := float64(exp(float32(float64(x.m) - w.all.m)))
		mass := float64(float64(x.sum) * s)
		if !(mass > 0) {
			continue
		}
		best, scale = c, s
		if left < mass {
			break
		}
		left -= mass
	}
	x, lo := w.chunks[best], best*lossChunk
	var scratch [lossChunk]float32
	e := w.weights(&scratch, best, x.m)
	sum := 0.0
	for _, v := range e {
		sum += float64(v)
	}
	left = left / scale * (sum / float64(x.sum)) // the scan's sum is rounded otherwise
	last := lo
	for i, v := range e {
		if v == 0 {
			continue
		}
		if last = lo + i; left < float64(v) {
			break
		}
		left -= float64(v)
	}
	return last
}

// weights is exp(z - m) for chunk c.
func (w *draw) weights(scratch *[lossChunk]float32, c int, m float32) []float32 {
	e := scratch[:min(lossChunk, len(w.logits)-c*lossChunk)]
	for i, x := range w.logits[c*lossChunk:][:len(e)] {
		e[i] = float32(x*w.InvTemp) - m
	}
	w.exps(e, e)
	return e
}

// candidate is an id that may be kept: e = exp(z - max).
type candidate struct {
	z, e float32
	id   int32
}

// truncated draws from what top-k, top-p and min-p leave. In the order of falling z, then rising id, each of them keeps a prefix, and so
// do all together.
func (w *draw) truncated() int {
	c := w.candidates()
	order := append([]candidate(nil), c...)
	total := w.all.sum
	if w.TopK > 0 {
		order = order[:nth(order, float64(w.TopK), func(candidate) float64 { return 1 })+1]
		total = mass(order)
	}
	if w.nucleus() {
		order = order[:nth(order, float64(w.TopP)*total, func(x candidate) float64 { return float64(x.e) })+1]
	}
	least := candidate{z: negInf}
	if len(order) < len(c) {
		least = order[len(order)-1] // nth leaves it there
	}
	kept := c[:0]
	for _, x := range c {
		if !least.before(x) && x.e >= w.MinP {
			kept = append(kept, x)
		}
	}
	left := w.U * mass(kept)
	for _, x := range kept {
		if left < float64(x.e) {
			return int(x.id)
		}
		left -= float64(x.e)
	}
	return int(kept[len(kept)-1].id)
}

func mass(c []candidate) (sum float64) {
	for _, x := range c {
		sum += float64(x.e)
	}
	return sum
}

// candidates are ids with weight, ascending: the most probable ones, as few as will do, but at least those that are kept.
func (w *draw) candidates() []candidate {
	var c []candidate
	for _, least := range w.thresholds() {
		c = w.atLeast(c[:0], least)
		switch {
		case w.TopK > 0 && len(c) >= w.TopK:
			return c
		case w.TopK == 0 && w.nucleus() && mass(c) >= (float64(w.TopP)+1e-6)*w.all.sum:
			return c
		case w.TopK == 0 && !w.nucleus() && w.MinP > exp(least-float32(w.all.m)):
			return c
		}
	}
	return c
}

// nucleus reports whether top-p is on.
func (w *draw) nucleus() bool { return w.TopP > 0 && w.TopP < 1 }

// thresholds are values of z to be tried for the least candidate, the last of them below all with weight. Of the largest z of the
// chunks, the k-th largest is one that k ids reach at least.
func (w *draw) thresholds() []float32 {
	m := float32(w.all.m)
	all := []float32{m - 3, m - 6, m - 12, m + 2*expLeast}
	if w.TopK > 0 && w.TopK <= len(w.chunks) {
		tops := make([]float32, len(w.chunks))
		for i, x := range w.chunks {
			tops[i] = x.m
		}
		slices.Sort(tops)
		return []float32{tops[len(tops)-w.TopK], all[3]}
	}
	return all
}

// atLeast appends the candidates with z >= least.
func (w *draw) atLeast(c []candidate, least float32) []candidate {
	var scratch [lossChunk]float32
	for i, x := range w.chunks {
		if !(x.m >= least) {
			continue
		}
		e := w.weights(&scratch, i, float32(w.all.m))
		for j, v := range e {
			if v > 0 {
				if z := w.z(i*lossChunk + j); z >= least {
					c = append(c, candidate{z, v, int32(i*lossChunk + j)})
				}
			}
		}
	}
	return c
}

// before is the order of the truncations.
func (x candidate) before(y candidate) bool { return x.z > y.z || x.z == y.z && x.id < y.id }

// nth reorders c and returns the place of the first candidate, in the order of before, at which the weights of those up to it reach
// need; those before it lie before it. If all together do not, it is the last one.
func nth(c []candidate, need float64, weight func(candidate) float64) int {
	lo, hi := 0, len(c)
	for hi-lo > 1 {
		pivot := median(c[lo], c[lo+(hi-lo)/2], c[hi-1])
		// [lo, i) before the pivot, i the pivot, (i, hi) after it
		i, sum := lo, 0.0
		for j := lo; j < hi; j++ {
			if !pivot.before(c[j]) {
				c[i], c[j] = c[j], c[i]
				i++
			}
		}
		i--
		for j := lo; j <= i; j++ {
			if c[j].id == pivot.id {
				c[j], c[i] = c[i], c[j]
			}
		}
		for _, x := range c[lo:i] {
			sum += weight(x)
		}
		switch {
		case need <= sum && i > lo:
			hi = i
		case need <= sum+weight(pivot) || i == hi-1:
			return i
		default:
			need -= sum + weight(pivot)
			lo = i + 1
		}
	}
	return lo
}

func median(a, b, c candidate) candidate {
	if b.before(a) {
		a, b = b, a
	}
	if c.before(b) {
		b = c
		if b.before(a) {
			b = a
		}
	}
	return b
}

package cpu

import (
	"fmt"
	"slices"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
)

// Sample draws an id for each row of logits and scores it over the whole vocabulary.
func (d *Device) Sample(ids kernels.Tensor, out kernels.LogProbs, logits kernels.Tensor, kb kernels.Batch, first int) {
	const op = "Sample"
	n, draws := logits.Cols, asBatch(op, kb).Draws
	if first < 0 || first+logits.Rows > len(draws) {
		panic(fmt.Sprintf("cpu: Sample: draws [%d, %d) of %d", first, first+logits.Rows, len(draws)))
	}
	rows := draws[first : first+logits.Rows]
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
		w.merge()
		full := w.all
		v := w.change()
		id[r*ids.Stride] = int32(v)
		o.store(r, &full, w.z(v))
	})
}

// draw is the sampling of one row.
type draw struct {
	kernels.Sampling
	*rowKernels
	logits []float32
	chunks []lossPart
	all    scan
}

// merge makes the scan of all chunks.
func (w *draw) merge() {
	w.all = scan{}
	for _, c := range w.chunks {
		w.all.merge(c)
	}
	w.all.end()
}

// change draws with Adjust and Never applied. They are applied to the row in place and undone afterwards, and only the
// chunks that they touch are scanned again.
func (w *draw) change() (id int) {
	if len(w.Adjust)+len(w.Never) == 0 {
		return w.id()
	}
	var was []float32
	touched := make([]bool, len(w.chunks))
	set := func(v int32, z float32) {
		was = append(was, w.logits[v])
		w.logits[v], touched[v/lossChunk] = z, true
	}
	for _, x := range w.Adjust {
		set(x.ID, x.Apply(w.logits[x.ID]))
	}
	for _, v := range w.Never {
		set(v, negInf)
	}
	for c, t := range touched {
		if lo := c * lossChunk; t {
			w.chunks[c] = w.scanChunk(w.logits[lo:min(lo+lossChunk, len(w.logits))], w.InvTemp)
		}
	}
	w.merge()
	id = w.id()
	for i, v := range slices.Backward(w.Never) { // in reverse, so that an id in both lists gets its first value back
		w.logits[v] = was[len(w.Adjust)+i]
	}
	for i, x := range w.Adjust {
		w.logits[x.ID] = was[i]
	}
	return id
}

func (w *draw) uniform() float64 { return num.Uniform(w.Stream, int(w.Pos)) }

func (w *draw) z(v int) float32 { return w.logits[v] * w.InvTemp }

// id draws. If the logits contain NaN it is the lowest id.
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

// any draws from the whole distribution: first the chunk, by the sums of the scan, then the id within it.
func (w *draw) any() int {
	left := w.uniform() * w.all.sum
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
	left = left / scale * (sum / float64(x.sum)) // the scan's sum is rounded in another order
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

// truncated draws from the ids that top-k, top-p and min-p keep. Sorted by descending z, then ascending id, each of
// them keeps a prefix, and so does their combination.
func (w *draw) truncated() int {
	var kept []candidate
	total := w.all.sum
	switch {
	case w.TopK > 0:
		kept = w.upTo(w.histogram().reach(float64(w.TopK), func(b bucket) float64 { return float64(b.ids) }), 0)
		kept = prefix(kept, float64(w.TopK), func(candidate) float64 { return 1 })
		total = mass(kept)
	case w.nucleus():
		kept = w.upTo(w.histogram().reach(float64(w.TopP)*total, func(b bucket) float64 { return b.mass }), 0)
	default:
		kept = w.upTo(buckets-1, w.MinP)
	}
	if w.nucleus() {
		kept = prefix(kept, float64(w.TopP)*total, func(x candidate) float64 { return float64(x.e) })
	}
	kept = slices.DeleteFunc(kept, func(x candidate) bool { return x.e < w.MinP })
	left := w.uniform() * mass(kept)
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

// nucleus reports whether top-p is on.
func (w *draw) nucleus() bool { return w.TopP > 0 && w.TopP < 1 }

// Ids with weight fall into buckets by z: bucket i has those whose z is i/16 to (i+1)/16 below the largest, and the
// last bucket has all others.
const (
	buckets       = 512
	bucketsPerNat = 16
)

type bucket struct {
	mass float64
	ids  int32
}

type histogram [buckets]bucket

// bucketOf is the bucket of z = max + d, d > -Inf.
func bucketOf(d float32) int { return min(int(d*-bucketsPerNat), buckets-1) }

func (w *draw) histogram() *histogram {
	var h histogram
	w.weigh(func(_ int, d, e []float32) {
		for i, v := range e {
			if v > 0 {
				b := &h[bucketOf(d[i])&(buckets-1)]
				b.mass += float64(v)
				b.ids++
			}
		}
	})
	return &h
}

// reach returns the first bucket at which the sum of measure over the buckets up to it reaches need, with a margin for
// rounding, or the last bucket.
func (h *histogram) reach(need float64, measure func(bucket) float64) int {
	sum := 0.0
	for i, b := range h {
		if sum += measure(b); sum >= need*(1+1e-9) {
			return i
		}
	}
	return buckets - 1
}

// upTo returns the candidates in buckets 0 to last with e >= least, ids ascending.
func (w *draw) upTo(last int, least float32) (c []candidate) {
	from := float32(negInf) // d of the last bucket, about
	if last < buckets-1 {
		from = -float32(last+2) / bucketsPerNat
	}
	w.weigh(func(id int, d, e []float32) {
		for i, v := range e {
			if d[i] > from && v > 0 && v >= least && bucketOf(d[i]) <= last {
				c = append(c, candidate{w.z(id + i), v, int32(id + i)})
			}
		}
	})
	return c
}

// weigh calls f for every chunk with its first id, d = z - max and e = exp(d).
func (w *draw) weigh(f func(id int, d, e []float32)) {
	var scratch, weights [lossChunk]float32
	m := float32(w.all.m)
	for lo := 0; lo < len(w.logits); lo += lossChunk {
		d := scratch[:min(lossChunk, len(w.logits)-lo)]
		e := weights[:len(d)]
		for i, x := range w.logits[lo:][:len(d)] {
			d[i] = float32(x*w.InvTemp) - m
		}
		w.exps(e, d)
		f(lo, d, e)
	}
}

// prefix returns the shortest prefix of c, sorted by before, whose weights sum to need, or all of c if they do not. The
// result keeps the order of c.
func prefix(c []candidate, need float64, weight func(candidate) float64) []candidate {
	order := slices.Clone(c)
	if n := nth(order, need, weight); n < len(c)-1 {
		least := order[n] // nth leaves it there
		return slices.DeleteFunc(c, func(x candidate) bool { return least.before(x) })
	}
	return c
}

// before is the order in which truncations keep candidates.
func (x candidate) before(y candidate) bool { return x.z > y.z || x.z == y.z && x.id < y.id }

// nth is a quickselect: it reorders c and returns the index of the first candidate, in the order of before, at which
// the sum of weights up to it reaches need. The candidates before it are at lower indices. If the sum never reaches
// need, the index is the last one.
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

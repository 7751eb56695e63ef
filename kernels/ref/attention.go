package ref

import (
	"math"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
)

// partition is the number of keys, at absolute positions, that are reduced to (max, sum, output) before they are merged
// with earlier keys.
const partition = 256

// attend is what forward and backward share: the checked arguments of one call.
type attend struct {
	c     call
	x     *kv
	layer int
	scale float32
	heads int // H
	rows  int // T
	segs  []kernels.Segment
}

// attention checks the cache, the width of q and that the batch's segments have its rows.
func (c call) attention(cache kernels.KV, layer int, qt kernels.Tensor, kb kernels.Batch, scale float32) (attend,
	mat[float32]) {
	x, b := c.kv(cache, layer), c.batch(kb)
	q := c.f32("q", qt, -1, -1)
	if q.cols%x.spec.HeadDim != 0 || q.cols/x.spec.HeadDim%x.spec.KVHeads != 0 {
		c.fail("q is %v, its heads no multiple of %d x %d", qt, x.spec.KVHeads, x.spec.HeadDim)
	}
	c.rows("q", q.rows, b)
	if q.rows > 0 && len(b.Segs) == 0 {
		c.fail("the batch has no segments")
	}
	for _, s := range b.Segs {
		for _, p := range s.Pages {
			c.page(x, p)
		}
	}
	return attend{c, x, layer, scale, q.cols / x.spec.HeadDim, q.rows, b.Segs}, q
}

// slot is where position p of s lives.
func slot(s kernels.Segment, p int) int {
	return int(s.Pages[p/kernels.PageSize])*kernels.PageSize + p%kernels.PageSize
}

// head is columns of query head h in a row of H*D, kvHead the cache's head that it reads.
func (a attend) head(row []float32, h int) []float32 {
	return row[h*a.x.spec.HeadDim:][:a.x.spec.HeadDim]
}
func (a attend) kvHead(h int) int { return h * a.x.spec.KVHeads / a.heads }

// score = scale * chain_d(q, k), q rounded to the cache's type.
func (a attend) score(q []float32, s kernels.Segment, p, h int) float32 {
	return float32(a.scale * chain(a.x.spec.Type, 0, q, a.x.key(a.layer, slot(s, p), a.kvHead(h))))
}

// Attention: y = softmax(scale * q k^T) v, keys in partitions of 256; lse = ln sum exp.
func (d *device) Attention(yt, qt, lt kernels.Tensor, cache kernels.KV, layer int, b kernels.Batch, scale float32) {
	c := d.begin("Attention")
	defer c.end()
	a, q := c.attention(cache, layer, qt, b, scale)
	y := c.f32("y", yt, q.rows, q.cols)
	c.apart("y", yt, qt, lt)
	c.apart("lse", lt, qt)
	lse := mat[float32]{}
	if !lt.IsZero() {
		lse = c.f32("lse", lt, q.rows, a.heads)
	}
	for _, s := range a.segs {
		for i := range s.Len {
			for h := range a.heads {
				out, l := a.forward(rounded(a.x.spec.Type, a.head(q.row(s.Row+i), h)), s, s.Start+i, h)
				copy(a.head(y.row(s.Row+i), h), out)
				if !lt.IsZero() {
					lse.row(s.Row + i)[h] = l
				}
			}
		}
	}
}

// forward is one query q[D] of head h at position pos: partitions of keys merged in ascending order. Merging (m, l, o)
// with (m', l', o'):
//
//	M = max(m, m'), L = l exp(m-M) + l' exp(m'-M), O = o exp(m-M) + o' exp(m'-M)
func (a attend) forward(q []float32, s kernels.Segment, pos, h int) (out []float32, lse float32) {
	most, sum := math.Inf(-1), 0.0
	o := make([]float64, len(q))
	for from := 0; from <= pos; from += partition {
		m, l, part := a.partition(q, s, from, min(from+partition, pos+1), h)
		next := max(most, m)
		old, new := math.Exp(most-next), math.Exp(m-next)
		if from == 0 {
			old, new = 0, 1 // nothing before it: also when m is infinite
		}
		most, sum = next, sum*old+l*new
		for i := range o {
			o[i] = o[i]*old + float64(part[i])*new
		}
	}
	out = make([]float32, len(q))
	for i := range out {
		out[i] = float32(o[i] / sum)
	}
	return out, float32(most + math.Log(sum))
}

// partition is keys [from, to): their largest score m, l = sum exp(score-m), and o = chain over keys of exp(score-m),
// rounded to the cache's type, with v. Keys after the query's position are excluded, whatever their slots hold.
func (a attend) partition(q []float32, s kernels.Segment, from, to, h int) (m, l float64, o []float32) {
	scores := make([]float64, to-from)
	m = math.Inf(-1)
	for j := range scores {
		scores[j] = float64(a.score(q, s, from+j, h))
		m = max(m, scores[j])
	}
	p := make([]float32, len(scores))
	for j, x := range scores {
		e := math.Exp(x - m)
		l += e
		p[j] = round(a.x.spec.Type, float32(e))
	}
	o = make([]float32, len(q))
	column := make([]float32, len(p))
	for i := range o {
		for j := range column {
			column[j] = a.x.value(a.layer, slot(s, from+j), a.kvHead(h))[i]
		}
		o[i] = chain(a.x.spec.Type, 0, p, column)
	}
	return m, l, o
}

// AttentionBackward, for each query row and key with p = exp(score - lse) and delta = sum_d dy*y:
//
//	dv += p*dy,  ds = scale * p*(dy.v - delta),  dq = sum_keys ds*k,  dk += ds*q
//
// q as rounded for the scores, everything else unrounded.
func (d *device) AttentionBackward(dqt, dkt, dvt, dyt, yt, qt, lt kernels.Tensor, cache kernels.KV, layer int,
	b kernels.Batch, scale float32) {
	c := d.begin("AttentionBackward")
	defer c.end()
	a, q := c.attention(cache, layer, qt, b, scale)
	y := c.f32("y", yt, q.rows, q.cols)
	dy := c.f32("dy", dyt, q.rows, q.cols)
	dq := c.f32("dq", dqt, q.rows, q.cols)
	lse := c.f32("lse", lt, q.rows, a.heads)
	dk := c.f32("dk", dkt, a.x.slots(), a.x.width())
	dv := c.f32("dv", dvt, a.x.slots(), a.x.width())
	c.apart("dq", dqt, dkt, dvt, dyt, yt, qt, lt)
	c.apart("dk", dkt, dvt, dyt, yt, qt, lt)
	c.apart("dv", dvt, dyt, yt, qt, lt)
	for _, s := range a.segs {
		for h := range a.heads {
			for i := range s.Len {
				r, at := s.Row+i, a.kvHead(h)*a.x.spec.HeadDim
				a.backward(backwardRow{
					q: rounded(a.x.spec.Type, a.head(q.row(r), h)), y: a.head(y.row(r), h), dy: a.head(dy.row(r), h),
					dq:  a.head(dq.row(r), h),
					lse: lse.row(r)[h],
					dk:  func(slot int) []float32 { return dk.row(slot)[at:][:a.x.spec.HeadDim] },
					dv:  func(slot int) []float32 { return dv.row(slot)[at:][:a.x.spec.HeadDim] },
				}, s, s.Start+i, h)
			}
		}
	}
}

// backwardRow holds one query's vectors [D], and functions that return the gradients of a slot's key and value.
type backwardRow struct {
	q, y, dy, dq []float32
	lse          float32
	dk, dv       func(slot int) []float32
}

func (a attend) backward(b backwardRow, s kernels.Segment, pos, h int) {
	delta := dot(b.dy, b.y)
	dq := make([]float64, len(b.q))
	for j := range pos + 1 {
		sl := slot(s, j)
		k, v := a.x.key(a.layer, sl, a.kvHead(h)), a.x.value(a.layer, sl, a.kvHead(h))
		p := math.Exp(float64(a.score(b.q, s, j, h)) - float64(b.lse))
		ds := float64(a.scale) * p * (dot(b.dy, v) - delta)
		dk, dv := b.dk(sl), b.dv(sl)
		for i := range dq {
			dq[i] += ds * float64(k[i])
			dk[i] = num.FMA32(float32(ds), b.q[i], dk[i])
			dv[i] = num.FMA32(float32(p), b.dy[i], dv[i])
		}
	}
	for i := range dq {
		b.dq[i] = float32(dq[i])
	}
}

// dot is sum_i a[i]*b[i] in float64.
func dot(a, b []float32) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

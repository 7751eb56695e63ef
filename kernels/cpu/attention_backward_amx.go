package cpu

import (
	"unsafe"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// amxBlockRows is the number of query rows of a block on AMX: a multiple of maxAttnTile, large enough that loading and
// storing the gradients takes little of the time.
const amxBlockRows = 128

// attnBackAMX is the additional state of attnBack on AMX. Probabilities and ds exist as BF16 only, in chunks of
// maxAttnTile rows.
type attnBackAMX struct {
	panelP, panelDS []uint32 // [pages][chunks][16 pairs of rows][32 keys]
	grads           [backPages]unsafe.Pointer
	product         attnTile
	pair            attnPairs
	over            attnOver
}

// attnPairs turns two rows of scores into probabilities and ds: see probs. Assembly refers to the fields by name.
type attnPairs struct {
	s, dp unsafe.Pointer // scores and dy.v of two rows, float32, ld bytes apart
	ld    int
	p, ds unsafe.Pointer // where these two rows' step is in the panels of p and ds; page bytes from page to page
	page  int
	a     unsafe.Pointer // ds as two rows of A, lda bytes apart
	lda   int
	pages int
	// number of keys that each row sees; p and ds of the others are zero
	sees, sees1                     int
	scale, lse, lse1, delta, delta1 float32
}

// attnOver is C += A^T B for n pages: C is [dim][32 keys], A is dim/32 tiles of blocks of 16 pairs of rows, B is panels
// of as many blocks.
type attnOver struct {
	c      *unsafe.Pointer // of n pages
	n      int
	a      unsafe.Pointer
	lda    int // bytes from tile to tile
	b      unsafe.Pointer
	page   int // bytes from page to page
	dim    int
	blocks int
}

// carveAMX is the part of carve for AMX.
func (b *attnBack) carveAMX(take func(n int) []byte) {
	panels := 4 * backPages * panelCols * amxBlockRows / 2
	b.panelP, b.panelDS = elems[uint32](take(panels)), elems[uint32](take(panels))
	n := 4 * b.amxTileWords() * (b.x.spec.HeadDim / maxAttnTile)
	b.qt, b.dyt = elems[uint32](take(n)), elems[uint32](take(n))
	b.s, b.dp = elems[float32](take(4*maxAttnTile*backKeys)), elems[float32](take(4*maxAttnTile*backKeys))
}

// amxTileWords is the number of words of a tile of A with all rows of a block.
func (b *attnBack) amxTileWords() int { return amxBlockRows / 2 * maxAttnTile }

// blockAMX is block on AMX. The chain over rows takes 32 rows at a time, from lo on.
func (b *attnBack) blockAMX(s *kernels.Segment, local []int, h, lo, hi int) {
	rows, dim := hi-lo, b.x.spec.HeadDim
	b.rows(s, h, lo, rows)
	for i := range dim / maxAttnTile {
		b.k.columns(b.qt[i*b.amxTileWords():], b.q[(s.Row+lo)*b.stride+h*dim+i*maxAttnTile:], b.stride, rows)
		b.k.columns(b.dyt[i*b.amxTileWords():], b.dy[(s.Row+lo)*b.lddy+h*dim+i*maxAttnTile:], b.lddy, rows)
	}
	last := (s.Start+hi-1)/pageSize + 1
	for p := 0; p < last; p += backPages {
		b.partAMX(s, local[p:min(p+backPages, last)], h, lo, p*pageSize, rows)
	}
	for i := range rows {
		copy(b.dq[(s.Row+lo+i)*b.ldq+h*dim:][:dim], b.sum[i*b.width:])
	}
}

// partAMX computes a block with pages that begin at key k0.
func (b *attnBack) partAMX(s *kernels.Segment, pages []int, h, lo, k0, rows int) {
	for i, p := range pages {
		k, _ := b.x.head(b.layer, int(b.group.pages[p]), b.g)
		b.cached[i], b.transposedV[i], b.transposed[i] = ptr(k), ptr(b.values[p*b.x.keys:]),
			ptr(b.keys[p*b.x.valueWords():])
	}
	chunks := (rows + maxAttnTile - 1) / maxAttnTile
	seen := func(c int) int { // pages that chunk c sees
		at := s.Start + lo + min((c+1)*maxAttnTile, rows) - 1
		if at < k0 {
			return 0
		}
		return min(len(pages), (at-k0)/pageSize+1)
	}
	for c := range chunks {
		if n := seen(c); n > 0 {
			b.chunk(s, h, lo, k0, c*maxAttnTile, min((c+1)*maxAttnTile, rows), n)
		}
	}
	i := 0
	for c := range chunks {
		if n := seen(c); n > i {
			b.overRowsAMX(pages[i:n], i, c, chunks)
			i = n
		}
	}
}

// chunk computes rows [from, to) of a block with the first n pages of a part.
func (b *attnBack) chunk(s *kernels.Segment, h, lo, k0, from, to, n int) {
	t := &b.product
	*t = attnTile{
		rows: to - from, a: ptr(b.qa[from*b.lda:]), lda: b.lda, b: &b.cached[0], n: n,
		steps: chainSteps(kernels.BF16, b.x.spec.HeadDim), c: ptr(b.s), ldc: 4 * backKeys,
		ahead: &b.cached[0],
	}
	b.k.scores[t.rows](t)
	t.a, t.b, t.c = ptr(b.dya[from*b.lda:]), &b.transposedV[0], ptr(b.dp)
	b.k.scores[t.rows](t)
	x := &b.pair
	*x = attnPairs{
		ld: 4 * backKeys, page: 4 * panelCols * amxBlockRows / 2, lda: backKeys * b.k.size, pages: n, scale: b.scale,
	}
	for i := from; i < from+maxAttnTile; i += 2 {
		x.s, x.dp = ptr(b.s[(i-from)*backKeys:]), ptr(b.dp[(i-from)*backKeys:])
		x.p, x.ds, x.a = ptr(b.panelP[i/2*panelCols:]), ptr(b.panelDS[i/2*panelCols:]), ptr(b.dsa[i*x.lda:])
		x.sees, x.sees1 = 0, 0
		if i < to {
			x.sees, x.lse, x.delta = min(n*pageSize, max(0, s.Start+lo+i+1-k0)), b.lse[(s.Row+lo+i)*b.ldlse+h],
				b.delta[i]
		}
		if i+1 < to {
			x.sees1, x.lse1, x.delta1 = min(n*pageSize, max(0, s.Start+lo+i+2-k0)), b.lse[(s.Row+lo+i+1)*b.ldlse+h],
				b.delta[i+1]
		}
		b.k.pairs(x)
	}
	*t = attnTile{
		rows: to - from, a: ptr(b.dsa[from*x.lda:]), lda: x.lda, b: &b.transposed[0], n: n, steps: b.x.steps,
		last: b.x.steps, ldc: 4 * b.width,
		ahead: &b.transposed[0],
	}
	if k0 > 0 {
		t.chain = 1
	}
	for c := 0; c < b.width; c += panelCols {
		t.off, t.c = 4*c*b.x.steps, ptr(b.sum[from*b.width+c:])
		b.k.values[t.rows](t)
	}
}

// overRowsAMX: dv += p^T dy, dk += ds^T q over chunks [from, to), for the given pages, the first of which is page i of
// the part.
func (b *attnBack) overRowsAMX(pages []int, i, from, to int) {
	const block = maxAttnTile / 2 * panelCols
	size, at := b.x.spec.HeadDim*pageSize, i*panelCols*amxBlockRows/2+from*block
	for x, acc := range [][]float32{b.dvT, b.dkT} {
		for j, p := range pages {
			b.grads[j] = ptr(acc[p*size:])
		}
		b.over = attnOver{
			c: &b.grads[0], n: len(pages), a: ptr([][]uint32{b.dyt, b.qt}[x][from*block:]), lda: 4 * b.amxTileWords(),
			b: ptr([][]uint32{b.panelP, b.panelDS}[x][at:]), page: 4 * panelCols * amxBlockRows / 2,
			dim: b.x.spec.HeadDim, blocks: to - from,
		}
		b.k.over(&b.over)
	}
}

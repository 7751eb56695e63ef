package cpu

import (
	"unsafe"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// AttentionBackward recomputes the probabilities block by block from lse. For query row r and key j of one head:
//
//	p = exp(scale*q.k - lse), ds = scale*p*(dy.v - delta), delta = dy.y
//	dv_j += sum_r p*dy_r     dk_j += sum_r ds*q_r     dq_r = sum_j ds*k_j
//
// All five products are chains, over d, d, r, r and j, whose operands are rounded to the cache's type. The chains of dk
// and dv start from the old dk and dv: segments in order, query heads ascending, rows ascending. On AMX (num.DotAMX) a
// chain takes 32 products at a time; the rows of a head are counted from the segment's first. A task is one kv head of
// a group of segments that share pages, directly or through other segments. So no two tasks write the same slots.
func (d *Device) AttentionBackward(dq, dk, dv, dy, y, q, lse kernels.Tensor, c kernels.KV, layer int, kb kernels.Batch,
	scale float32) {
	const op = "AttentionBackward"
	a, of := d.attend(op, q, c, layer, kb, scale)
	g, dim := a.x.spec.KVHeads, a.x.spec.HeadDim
	slots := a.x.spec.Pages * pageSize
	shape(op, "dq", dq, q.Rows, q.Cols)
	shape(op, "dy", dy, q.Rows, q.Cols)
	shape(op, "y", y, q.Rows, q.Cols)
	shape(op, "lse", lse, q.Rows, q.Cols/dim)
	shape(op, "dk", dk, slots, g*dim)
	shape(op, "dv", dv, slots, g*dim)
	b := attnBack{
		attend: a, gemm: d.gemm.attention(a.x.spec.Type), dq: f32(dq), dk: f32(dk), dv: f32(dv), dy: f32(dy), y: f32(y),
		lse: f32(lse),
		ldq: dq.Stride, ldk: dk.Stride, ldv: dv.Stride, lddy: dy.Stride, ldy: y.Stride, ldlse: lse.Stride,
	}
	if of.groups == nil {
		of.groups = shareGroups(of.Segs, a.x.spec.Pages)
	}
	groups, pages := of.groups, 0
	for _, x := range groups {
		pages = max(pages, len(x.pages))
	}
	size := b.carve(nil, pages)
	mem := d.scratch(slotAttn, size*d.pool.threads)
	d.pool.RunWorker(len(groups)*g, func(w, task int) {
		t := b // a copy that gets the worker's scratch
		t.carve(mem[w*size:][:size], pages)
		t.run(of.Segs, &groups[task/g], task%g)
	})
}

// shareGroup is a group of segments that share pages, ascending, and the pages that they use. index gives the position
// of a page in pages.
type shareGroup struct {
	segs  []int
	pages []int32
	index map[int32]int
}

// shareGroups divides the segments into groups without common pages.
func shareGroups(segs []kernels.Segment, pages int) []shareGroup {
	owner := make([]int, pages) // 1 + the first segment that uses the page
	root := make([]int, len(segs))
	find := func(i int) int {
		for root[i] != i {
			root[i] = root[root[i]]
			i = root[i]
		}
		return i
	}
	for i, s := range segs {
		root[i] = i
		for _, p := range usedPages(s) {
			if owner[p] == 0 {
				owner[p] = i + 1
			} else if a, b := find(owner[p]-1), find(i); a != b {
				root[max(a, b)] = min(a, b)
			}
		}
	}
	at := map[int]int{}
	var groups []shareGroup
	for i, s := range segs {
		if s.Len == 0 {
			continue
		}
		n, ok := at[find(i)]
		if !ok {
			n = len(groups)
			at[find(i)] = n
			groups = append(groups, shareGroup{index: map[int32]int{}})
		}
		x := &groups[n]
		x.segs = append(x.segs, i)
		for _, p := range usedPages(s) {
			if _, ok := x.index[p]; !ok {
				x.index[p] = len(x.pages)
				x.pages = append(x.pages, p)
			}
		}
	}
	return groups
}

// usedPages are the pages that the rows of s see.
func usedPages(s kernels.Segment) []int32 {
	if s.Len == 0 {
		return nil
	}
	return s.Pages[:(s.Start+s.Len-1)/pageSize+1]
}

const (
	backRows  = 64 // query rows of a block, even: pairs of BF16 do not cross blocks
	backPages = partitionPages
	backKeys  = backPages * pageSize
)

// attnBack is the state of a task.
type attnBack struct {
	attend
	gemm                            *gemmKernels
	dq, dk, dv, dy, y, lse          []float32
	ldq, ldk, ldv, lddy, ldy, ldlse int
	group                           *shareGroup
	g                               int // kv head

	// for each page of the group, in panels: keys with the chain over keys, values with the chain over d
	keys   []uint32  // [pages][width/32][steps of 32][32 d]
	values []uint32  // [pages][steps of D][32 keys]
	dkT    []float32 // [pages][D][32 keys]: gradients, going on from those in dk
	dvT    []float32
	// for a block of rows
	qa, dya []byte    // [rows][lda]
	qt, dyt []uint32  // packed A with the chain over rows, for dk and dv
	sum     []float32 // [rows][width]: dq
	delta   []float32 // [rows]
	s, dp   []float32 // [rows][keys]: scores, then probabilities; dy.v, then ds
	panel   []uint32  // [steps of rows][32 keys] of a page: p or ds with the chain over rows
	dsa     []byte    // [rows][keys]: ds as A, if that is not dp
	ds      unsafe.Pointer
	ldds    int // bytes from row to row of ds
	prob    attnProbs
	// pointers to the pages of a block
	cached, transposed, transposedV [backPages]unsafe.Pointer
	tile                            tile
	attnBackAMX
}

// carve divides mem into scratch for groups of that many pages and returns the size.
func (b *attnBack) carve(mem []byte, pages int) int {
	used := 0
	take := func(n int) []byte {
		lo := used
		used += roundUp(n, align)
		if mem == nil {
			return nil
		}
		return mem[lo:][:n]
	}
	dim, size := b.x.spec.HeadDim, b.k.size
	b.keys = elems[uint32](take(4 * pages * b.x.valueWords()))
	b.values = elems[uint32](take(4 * pages * b.x.keys))
	b.dkT = elems[float32](take(4 * pages * dim * pageSize))
	b.dvT = elems[float32](take(4 * pages * dim * pageSize))
	rows := b.blockRows()
	b.qa, b.dya = take(rows*b.lda), take(rows*b.lda)
	b.sum = elems[float32](take(4 * rows * b.width))
	b.delta = elems[float32](take(4 * rows))
	if size == 2 || b.k.amx {
		b.dsa = take(rows * backKeys * size)
		b.ds, b.ldds = ptr(b.dsa), backKeys*size
	}
	if b.k.amx {
		b.carveAMX(take)
		return used
	}
	n := 4 * b.tileCount() * b.tileWords()
	b.qt, b.dyt = elems[uint32](take(n)), elems[uint32](take(n))
	b.s, b.dp = elems[float32](take(4*backRows*backKeys)), elems[float32](take(4*backRows*backKeys))
	if size == 4 {
		b.ds, b.ldds = ptr(b.dp), 4*backKeys
	}
	b.panel = elems[uint32](take(4 * panelCols * b.gemm.steps(backRows)))
	return used
}

// blockRows is the number of query rows of a block.
func (b *attnBack) blockRows() int {
	if b.k.amx {
		return amxBlockRows
	}
	return backRows
}

// tileCount is the number of tiles of A in D rows, tileWords the size of one. Packers may write 64 bytes past its end.
func (b *attnBack) tileCount() int { return (b.x.spec.HeadDim + b.gemm.mr - 1) / b.gemm.mr }
func (b *attnBack) tileWords() int {
	return b.gemm.steps(backRows)*b.gemm.format.words()*b.gemm.mr + 16
}

// run computes kv head g of the segments x.
func (b *attnBack) run(segs []kernels.Segment, x *shareGroup, g int) {
	b.group, b.g = x, g
	for i, p := range x.pages {
		b.load(i, int(p), g)
	}
	for _, i := range x.segs {
		s := &segs[i]
		local := make([]int, 0, len(s.Pages))
		for _, p := range usedPages(*s) {
			local = append(local, x.index[p])
		}
		for h := g * b.heads; h < (g+1)*b.heads; h++ {
			for lo := 0; lo < s.Len; lo += b.blockRows() {
				if hi := min(lo+b.blockRows(), s.Len); b.k.amx {
					b.blockAMX(s, local, h, lo, hi)
				} else {
					b.block(s, local, h, lo, hi)
				}
			}
		}
	}
	for i, p := range x.pages {
		b.store(i, int(p), g)
	}
}

// load transposes the keys and values of a page, and loads its gradients.
func (b *attnBack) load(i, page, g int) {
	dim := b.x.spec.HeadDim
	k, v := b.x.head(b.layer, page, g)
	keys, values := b.keys[i*len(v):][:len(v)], b.values[i*len(k):][:len(k)]
	if !b.x.nonFinite[page].Load() && b.k.transposePage != nil && dim%panelCols == 0 {
		b.k.transposePage(keys, values, k, v, dim)
	} else {
		transposePage(b.x.spec.Type, keys, values, k, v, dim, b.x.steps)
	}
	for x, of := range [][]float32{b.dk, b.dv} {
		ld, acc := []int{b.ldk, b.ldv}[x], [][]float32{b.dkT, b.dvT}[x][i*dim*pageSize:][:dim*pageSize]
		b.k.transpose(acc, pageSize, of[page*pageSize*ld+g*dim:], ld, pageSize, dim)
	}
}

// store writes the gradients of a page back.
func (b *attnBack) store(i, page, g int) {
	dim := b.x.spec.HeadDim
	for x, of := range [][]float32{b.dk, b.dv} {
		ld, acc := []int{b.ldk, b.ldv}[x], [][]float32{b.dkT, b.dvT}[x][i*dim*pageSize:][:dim*pageSize]
		b.k.transpose(of[page*pageSize*ld+g*dim:], ld, acc, pageSize, dim, pageSize)
	}
}

// transpose: dst[c][r] = src[r][c] for rows x cols elements of src.
func transpose(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	for r := range rows {
		for c, x := range src[r*lds:][:cols] {
			dst[c*ldd+r] = x
		}
	}
}

// transposePage transposes k and v of a page to keys, with the chain over keys, and values, with the chain over d.
// Infinite and NaN keys become 0: if a query sees such a key, its probabilities are NaN already; if no query sees it,
// it must not turn the zeros of ds into NaN.
func transposePage(t kernels.DType, keys, values, k, v []uint32, dim, steps int) {
	clear(keys) // the columns beyond D
	if t == kernels.F32 {
		for c := range dim {
			for j := range pageSize {
				keys[c/panelCols*steps*panelCols+j*panelCols+c%panelCols] = finite(k[c*panelCols+j], 0x7f800000)
				values[c*panelCols+j] = v[c/panelCols*steps*panelCols+j*panelCols+c%panelCols]
			}
		}
		return
	}
	half := func(u uint32, odd int) uint32 { return u >> (16 * odd) & 0xffff }
	for c := range dim {
		for j := 0; j < pageSize; j += 2 {
			at := c/panelCols*steps*panelCols + j/2*panelCols + c%panelCols
			even, odd := half(k[c/2*panelCols+j], c%2), half(k[c/2*panelCols+j+1], c%2)
			keys[at] = finite(even, 0x7f80) | finite(odd, 0x7f80)<<16
			for o := range 2 {
				w := &values[c/2*panelCols+j+o]
				if c%2 == 0 {
					*w = half(v[at], o)
				} else {
					*w |= half(v[at], o) << 16
				}
			}
		}
	}
}

// finite is u, or 0 if all bits of the exponent are set.
func finite(u, exponent uint32) uint32 {
	if u&exponent == exponent {
		return 0
	}
	return u
}

// block computes rows [lo, hi) of query head h with all keys that they see. Pages that all rows see are computed
// together; the pages after them one by one, with the rows that see them.
func (b *attnBack) block(s *kernels.Segment, local []int, h, lo, hi int) {
	rows, dim := hi-lo, b.x.spec.HeadDim
	b.rows(s, h, lo, rows)
	b.transposeRows(s, h, lo, rows)
	start := s.Start + lo
	all, last := start/pageSize+1, (start+rows-1)/pageSize+1
	for p := 0; p < last; {
		n, from := min(backPages, all-p), 0
		if p >= all {
			n, from = 1, (p*pageSize-start)&^1
		}
		b.part(s, local[p:p+n], h, lo, p*pageSize, from, rows)
		p += n
	}
	for i := range rows {
		copy(b.dq[(s.Row+lo+i)*b.ldq+h*dim:][:dim], b.sum[i*b.width:])
	}
}

// part computes rows [from, rows) of a block with pages that begin at key k0.
func (b *attnBack) part(s *kernels.Segment, pages []int, h, lo, k0, from, rows int) {
	b.scores(pages, from, rows)
	x := &b.prob
	*x = attnProbs{
		rows: rows - from, n: len(pages) * pageSize, s: ptr(b.s[from*backKeys:]), dp: ptr(b.dp[from*backKeys:]),
		ld: 4 * backKeys,
		a:  unsafe.Add(b.ds, from*b.ldds), lda: b.ldds, scale: b.scale, delta: &b.delta[from],
	}
	for i := range x.rows {
		x.sees[i] = max(0, min(x.n, s.Start+lo+from+i+1-k0))
		x.lse[i] = b.lse[(s.Row+lo+from+i)*b.ldlse+h]
	}
	x.run(b.k, b.rowKernels, b.x.spec.Type)
	b.gradients(pages, from, rows, k0 > 0)
}

// attnProbs turns rows of scores into probabilities, and rows of dy.v into ds: see probs. Both are zero for keys that
// the row does not see. a receives ds rounded to the element type of A; if that is float32, a is dp. Rows have room for
// multiples of 64 elements. Assembly refers to the fields by name.
type attnProbs struct {
	rows, n int
	s, dp   unsafe.Pointer // float32, ld bytes from row to row
	ld      int
	a       unsafe.Pointer // lda bytes from row to row
	lda     int
	scale   float32
	delta   *float32      // [rows]
	sees    [backRows]int // the keys that each row sees
	lse     [backRows]float32
}

// run computes probabilities and ds.
func (t *attnProbs) run(k *attnKernels, r *rowKernels, kt kernels.DType) {
	if k.probsRows != nil {
		k.probsRows(t)
		return
	}
	delta := unsafe.Slice(t.delta, t.rows)
	for i := range t.rows {
		s, dp := unsafe.Slice((*float32)(unsafe.Add(t.s, i*t.ld)), t.n),
			unsafe.Slice((*float32)(unsafe.Add(t.dp, i*t.ld)), t.n)
		sees := t.sees[i]
		k.probs(s[:sees], dp[:sees], t.scale, t.lse[i], delta[i])
		clear(s[sees:])
		clear(dp[sees:])
		if k.size == 2 || kt == kernels.BF16 {
			k.row(r, unsafe.Add(t.a, i*t.lda), kt, t.n, dp)
		}
	}
}

// rows packs q and dy of a block and computes delta.
func (b *attnBack) rows(s *kernels.Segment, h, lo, rows int) {
	dim, n, t := b.x.spec.HeadDim, b.lda/b.k.size, b.x.spec.Type
	for i := range rows {
		r := s.Row + lo + i
		q, dy, y := b.q[r*b.stride+h*dim:][:dim], b.dy[r*b.lddy+h*dim:][:dim], b.y[r*b.ldy+h*dim:][:dim]
		b.k.row(b.rowKernels, ptr(b.qa[i*b.lda:]), t, n, q)
		b.k.row(b.rowKernels, ptr(b.dya[i*b.lda:]), t, n, dy)
		b.delta[i] = b.dot(dy, y)
	}
}

// transposeRows packs q and dy of a block with the chain over rows.
func (b *attnBack) transposeRows(s *kernels.Segment, h, lo, rows int) {
	dim := b.x.spec.HeadDim
	nt, r := b.tileCount(), s.Row+lo
	for i := range nt {
		c0, c1 := dim*i/nt, dim*(i+1)/nt
		b.gemm.columns(b.gemm.format, b.qt[i*b.tileWords():], c1-c0, b.q[r*b.stride+h*dim+c0:], b.stride, c1-c0, rows)
		b.gemm.columns(b.gemm.format, b.dyt[i*b.tileWords():], c1-c0, b.dy[r*b.lddy+h*dim+c0:], b.lddy, c1-c0, rows)
	}
}

// scores: s = q k^T, dp = dy v^T of rows [from, rows) with the given pages.
func (b *attnBack) scores(pages []int, from, rows int) {
	for i, p := range pages {
		k, _ := b.x.head(b.layer, int(b.group.pages[p]), b.g)
		b.cached[i], b.transposedV[i], b.transposed[i] = ptr(k), ptr(b.values[p*b.x.keys:]),
			ptr(b.keys[p*b.x.valueWords():])
	}
	t := attnTile{
		rows: rows - from, a: ptr(b.qa[from*b.lda:]), lda: b.lda, b: &b.cached[0], n: len(pages),
		steps: chainSteps(b.x.spec.Type, b.x.spec.HeadDim),
		c:     ptr(b.s[from*backKeys:]), ldc: 4 * backKeys, ahead: &b.cached[0],
	}
	t.run(b.k.mr, &b.k.scores)
	t.a, t.b, t.c = ptr(b.dya[from*b.lda:]), &b.transposedV[0], ptr(b.dp[from*backKeys:])
	t.run(b.k.mr, &b.k.scores)
}

// gradients: dv += p^T dy, dk += ds^T q, dq += ds k.
func (b *attnBack) gradients(pages []int, from, rows int, chain bool) {
	size := b.x.spec.HeadDim * pageSize
	for i, p := range pages {
		b.overRows(b.dvT[p*size:][:size], b.dyt, b.s[i*pageSize:], from, rows)
		b.overRows(b.dkT[p*size:][:size], b.qt, b.dp[i*pageSize:], from, rows)
	}
	t := attnTile{
		rows: rows - from, a: unsafe.Add(b.ds, from*b.ldds), lda: b.ldds, b: &b.transposed[0], n: len(pages),
		steps: b.x.steps, last: b.x.steps, ldc: 4 * b.width,
		ahead: &b.transposed[0],
	}
	if chain {
		t.chain = 1
	}
	for c := 0; c < b.width; c += panelCols {
		t.off, t.c = 4*c*b.x.steps, ptr(b.sum[from*b.width+c:])
		t.run(b.k.mr, &b.k.values)
	}
}

// overRows: acc [D][32 keys] += A^T x over rows [from, rows) of x [rows][32 keys], backKeys elements from row to row.
// from is even.
func (b *attnBack) overRows(acc []float32, a []uint32, x []float32, from, rows int) {
	b.gemm.columns(b.gemm.panelFormat(), b.panel, panelCols, x[from*backKeys:], backKeys, panelCols, rows-from)
	nt, dim := b.tileCount(), b.x.spec.HeadDim
	skip := b.gemm.steps(from) * b.gemm.format.words()
	t := &b.tile
	*t = tile{
		steps: b.gemm.steps(rows - from), b: ptr(b.panel), ldc: 4 * pageSize, bias: ptr(noBias[:]), scale: 1,
		mode:  modeChain,
		ahead: uintptr(ptr(b.panel)), nextC: uintptr(ptr(acc)),
	}
	for i := range nt {
		c0, c1 := dim*i/nt, dim*(i+1)/nt
		t.mr, t.a, t.c = c1-c0, ptr(a[i*b.tileWords()+skip*(c1-c0):]), ptr(acc[c0*pageSize:])
		b.gemm.run[t.mr](t)
	}
}

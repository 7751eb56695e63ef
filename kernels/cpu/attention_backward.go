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
// All five products are chains, over d, d, r, r and j, whose operands are rounded to the cache's type; those of dk and dv go on from
// what is there: segments in order, query heads ascending, rows ascending. A task is a kv head of the segments that share pages,
// directly or through others, so nobody else writes its slots.
func (d *Device) AttentionBackward(dq, dk, dv, dy, y, q, lse kernels.Tensor, c kernels.KV, layer int, segs []kernels.Segment, scale float32) {
	const op = "AttentionBackward"
	a := d.attend(op, q, c, layer, segs, scale)
	g, dim := a.x.spec.KVHeads, a.x.spec.HeadDim
	slots := a.x.spec.Pages * pageSize
	shape(op, "dq", dq, q.Rows, q.Cols)
	shape(op, "dy", dy, q.Rows, q.Cols)
	shape(op, "y", y, q.Rows, q.Cols)
	shape(op, "lse", lse, q.Rows, q.Cols/dim)
	shape(op, "dk", dk, slots, g*dim)
	shape(op, "dv", dv, slots, g*dim)
	b := attnBack{
		attend: a, dq: f32(dq), dk: f32(dk), dv: f32(dv), dy: f32(dy), y: f32(y), lse: f32(lse),
		ldq: dq.Stride, ldk: dk.Stride, ldv: dv.Stride, lddy: dy.Stride, ldy: y.Stride, ldlse: lse.Stride,
	}
	groups := shareGroups(segs, a.x.spec.Pages)
	pages := 0
	for _, x := range groups {
		pages = max(pages, len(x.pages))
	}
	size := b.carve(nil, pages)
	mem := d.scratch(slotAttn, size*d.pool.threads)
	d.pool.RunWorker(len(groups)*g, func(w, task int) {
		t := b // a copy with scratch of its own
		t.carve(mem[w*size:][:size], pages)
		t.group(segs, &groups[task/g], task%g)
	})
}

// shareGroup is segments that share pages, ascending, and the pages that they use. index is a page's place in pages.
type shareGroup struct {
	segs  []int
	pages []int32
	index map[int32]int
}

// shareGroups partitions the segments.
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
	backPages = 4  // pages of a block
	backKeys  = backPages * pageSize
)

// attnBack is a task at work.
type attnBack struct {
	attend
	pages                           []int32 // of the group
	g                               int     // kv head
	dq, dk, dv, dy, y, lse          []float32
	ldq, ldk, ldv, lddy, ldy, ldlse int

	// for each page of the group, in panels: keys with the chain over keys, values with the chain over d
	keys   []uint32  // [pages][width/32][steps of 32][32 d]
	values []uint32  // [pages][steps of D][32 keys]
	dkT    []float32 // [pages][D][32 keys]: gradients, on from those in dk
	dvT    []float32
	// for a block of rows
	qa, dya []byte    // [rows][lda]
	qt, dyt []byte    // [D][rows]: A for dk and dv
	sum     []float32 // [rows][width]: dq
	delta   []float32 // [rows]
	s, dp   []float32 // [rows][keys]: scores, then probabilities; dy.v, then ds
	pp, dsp []uint32  // [steps of rows][32 keys] of a page: p and ds with the chain over rows
	dsa     []byte    // [rows][keys]: ds as A
}

// carve lays scratch out in mem for groups of that many pages and returns the bytes it takes.
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
	b.keys = elems[uint32](take(4 * pages * (b.x.words - b.x.keys)))
	b.values = elems[uint32](take(4 * pages * b.x.keys))
	b.dkT = elems[float32](take(4 * pages * dim * pageSize))
	b.dvT = elems[float32](take(4 * pages * dim * pageSize))
	b.qa, b.dya = take(backRows*b.lda), take(backRows*b.lda)
	b.qt, b.dyt = take(dim*backRows*size), take(dim*backRows*size)
	b.sum = elems[float32](take(4 * backRows * b.width))
	b.delta = elems[float32](take(4 * backRows))
	b.s, b.dp = elems[float32](take(4*backRows*backKeys)), elems[float32](take(4*backRows*backKeys))
	panels := 4 * panelCols * chainSteps(b.x.spec.Type, backRows)
	b.pp, b.dsp = elems[uint32](take(panels)), elems[uint32](take(panels))
	b.dsa = take(backRows * backKeys * size)
	return used
}

// group runs kv head g of the segments x.
func (b *attnBack) group(segs []kernels.Segment, x *shareGroup, g int) {
	b.pages, b.g = x.pages, g
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
			for lo := 0; lo < s.Len; lo += backRows {
				b.block(s, local, h, lo, min(lo+backRows, s.Len))
			}
		}
	}
	for i, p := range x.pages {
		b.store(i, int(p), g)
	}
}

// load turns a page's keys and values round, and takes over its gradients.
func (b *attnBack) load(i, page, g int) {
	dim, steps := b.x.spec.HeadDim, b.x.steps
	k, v := b.x.head(b.layer, page, g)
	turnPage(b.x.spec.Type, b.keys[i*len(v):][:len(v)], b.values[i*len(k):][:len(k)], k, v, dim, steps)
	b.gradients(i, page, g, func(slot, acc *float32) { *acc = *slot })
}

// store gives the gradients back.
func (b *attnBack) store(i, page, g int) {
	b.gradients(i, page, g, func(slot, acc *float32) { *slot = *acc })
}

func (b *attnBack) gradients(i, page, g int, f func(slot, acc *float32)) {
	dim := b.x.spec.HeadDim
	for place := range pageSize {
		slot := page*pageSize + place
		for c := range dim {
			at := (i*dim+c)*pageSize + place
			f(&b.dk[slot*b.ldk+g*dim+c], &b.dkT[at])
			f(&b.dv[slot*b.ldv+g*dim+c], &b.dvT[at])
		}
	}
}

// turnPage makes keys and values of a page with their chains over the other index. A key that is infinite or NaN becomes 0: if a query
// sees it, its probabilities are NaN already; if none does, the zeros of ds must keep it out.
func turnPage(t kernels.DType, keys, values, k, v []uint32, dim, steps int) {
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
			keys[at] = finite(half(k[c/2*panelCols+j], c%2), 0x7f80) | finite(half(k[c/2*panelCols+j+1], c%2), 0x7f80)<<16
			for odd := range 2 {
				w := &values[c/2*panelCols+j+odd]
				if c%2 == 0 {
					*w = half(v[at], odd)
				} else {
					*w |= half(v[at], odd) << 16
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

// block is rows [lo, hi) of query head h with all keys that they see.
func (b *attnBack) block(s *kernels.Segment, local []int, h, lo, hi int) {
	rows, dim := hi-lo, b.x.spec.HeadDim
	b.rows(s, h, lo, rows)
	last := s.Start + hi - 1
	for p0 := 0; p0*pageSize <= last; p0 += backPages {
		pages := min(backPages, last/pageSize+1-p0)
		b.scores(local[p0:][:pages], rows)
		for i := range rows {
			sees := max(0, min(pages*pageSize, s.Start+lo+i+1-p0*pageSize))
			sr, dr := b.s[i*backKeys:][:pages*pageSize], b.dp[i*backKeys:][:pages*pageSize]
			b.k.probs(sr[:sees], dr[:sees], b.scale, b.lse[(s.Row+lo+i)*b.ldlse+h], b.delta[i])
			clear(sr[sees:])
			clear(dr[sees:])
		}
		b.gradient(local[p0:][:pages], rows, p0 > 0)
	}
	for i := range rows {
		copy(b.dq[(s.Row+lo+i)*b.ldq+h*dim:][:dim], b.sum[i*b.width:])
	}
}

// rows prepares q, dy and delta of a block.
func (b *attnBack) rows(s *kernels.Segment, h, lo, rows int) {
	dim, n := b.x.spec.HeadDim, b.lda/b.k.size
	for i := range rows {
		r := s.Row + lo + i
		q, dy, y := b.q[r*b.stride+h*dim:][:dim], b.dy[r*b.lddy+h*dim:][:dim], b.y[r*b.ldy+h*dim:][:dim]
		b.k.pack(ptr(b.qa[i*b.lda:]), n, q)
		b.k.pack(ptr(b.dya[i*b.lda:]), n, dy)
		b.delta[i] = b.rowKernels.dot(dy, y)
	}
	even := roundUp(rows, 2)
	b.turnRows(b.qt, b.qa, rows, even)
	b.turnRows(b.dyt, b.dya, rows, even)
}

// turnRows makes dst [D][even] of A's elements src [rows][lda].
func (b *attnBack) turnRows(dst, src []byte, rows, even int) {
	if b.k.size == 2 {
		turn(elems[uint16](dst), elems[uint16](src), b.lda/2, b.x.spec.HeadDim, rows, even)
		return
	}
	turn(elems[uint32](dst), elems[uint32](src), b.lda/4, b.x.spec.HeadDim, rows, even)
}

func turn[E uint16 | uint32](dst, src []E, ld, dim, rows, even int) {
	for c := range dim {
		y := dst[c*backRows:][:even]
		for i := range rows {
			y[i] = src[i*ld+c]
		}
		clear(y[rows:])
	}
}

// multiply is matmul for any number of rows.
func (k *attnKernels) multiply(rows, steps int, a unsafe.Pointer, lda int, b, c unsafe.Pointer, ldc int, chain bool) {
	nt := (rows + k.mr - 1) / k.mr
	for t := range nt {
		lo, hi := rows*t/nt, rows*(t+1)/nt
		k.matmul(hi-lo, steps, unsafe.Add(a, lo*lda), lda, b, unsafe.Add(c, lo*ldc), ldc, chain)
	}
}

// scores: s = q k^T, dp = dy v^T with some pages.
func (b *attnBack) scores(pages []int, rows int) {
	steps := chainSteps(b.x.spec.Type, b.x.spec.HeadDim)
	for i, p := range pages {
		k, _ := b.x.head(b.layer, int(b.pages[p]), b.g)
		b.k.multiply(rows, steps, ptr(b.qa), b.lda, ptr(k), ptr(b.s[i*pageSize:]), 4*backKeys, false)
		b.k.multiply(rows, steps, ptr(b.dya), b.lda, ptr(b.values[p*b.x.keys:]), ptr(b.dp[i*pageSize:]), 4*backKeys, false)
	}
}

// gradient: dv += p^T dy, dk += ds^T q, dq += ds k for some pages.
func (b *attnBack) gradient(pages []int, rows int, chain bool) {
	t, dim := b.x.spec.Type, b.x.spec.HeadDim
	steps := chainSteps(t, rows)
	lda, ldt, panel := backKeys*b.k.size, backRows*b.k.size, steps*panelCols
	for i := range rows {
		b.k.pack(ptr(b.dsa[i*lda:]), len(pages)*pageSize, b.dp[i*backKeys:][:len(pages)*pageSize])
	}
	for i, p := range pages {
		b.panel(b.pp[:panel], b.s[i*pageSize:], rows)
		b.panel(b.dsp[:panel], b.dp[i*pageSize:], rows)
		b.k.multiply(dim, steps, ptr(b.dyt), ldt, ptr(b.pp), ptr(b.dvT[p*dim*pageSize:]), 4*pageSize, true)
		b.k.multiply(dim, steps, ptr(b.qt), ldt, ptr(b.dsp), ptr(b.dkT[p*dim*pageSize:]), 4*pageSize, true)
		keys := b.keys[p*(b.x.words-b.x.keys):]
		for c := 0; c < b.width; c += panelCols {
			b.k.multiply(rows, b.x.steps, ptr(b.dsa[i*pageSize*b.k.size:]), lda, ptr(keys[c*b.x.steps:]), ptr(b.sum[c:]), 4*b.width, chain || i > 0)
		}
	}
}

// panel makes a panel of 32 columns whose chain runs over the rows of x.
func (b *attnBack) panel(dst []uint32, x []float32, rows int) {
	if b.x.spec.Type == kernels.F32 {
		packColumns(single, dst, panelCols, x, backKeys, panelCols, rows)
		return
	}
	packColumns(pairs, dst, panelCols, x, backKeys, panelCols, rows)
}

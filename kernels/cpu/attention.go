package cpu

import (
	"fmt"
	"unsafe"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// partition is the number of keys, at absolute positions, that are reduced to one (max, sum, output).
const (
	partition      = 256
	partitionPages = partition / pageSize
)

// attend is what forward and backward share: the checked arguments of one call. The query heads of a kv head are
// stacked: row r of a segment and kv head g is head g*heads + r%heads of token r/heads, so that a key that is loaded
// serves all of them.
type attend struct {
	*rowKernels
	x      *kv
	k      *attnKernels
	layer  int
	scale  float32
	heads  int // H/G
	lda    int // bytes of a packed row of q (or of dy)
	width  int // D rounded up to full panels
	q      []float32
	stride int
}

func (d *Device) attend(op string, q kernels.Tensor, c kernels.KV, layer int, kb kernels.Batch, scale float32) (attend,
	*batch) {
	x, b := asKV(op, c, layer), sameRows(op, kb, q.Rows)
	dim, g := x.spec.HeadDim, x.spec.KVHeads
	if q.Cols%dim != 0 || q.Cols/dim%g != 0 {
		panic(fmt.Sprintf("cpu: %s: q is %v, its heads no multiple of %d of %d", op, q, g, dim))
	}
	if b.checkCache(op, x); q.Rows > 0 && len(b.Segs) == 0 {
		panic(fmt.Sprintf("cpu: %s: the batch has no segments", op))
	}
	a := d.attention(x, q.Cols/dim)
	a.rowKernels, a.layer, a.scale, a.q, a.stride = d.rows(), layer, scale, f32(q), q.Stride
	return a, b
}

// attention sets the fields that depend on the cache and on the number of heads only.
func (d *Device) attention(x *kv, heads int) attend {
	k := d.attn(x.spec)
	return attend{x: x, k: k, heads: heads / x.spec.KVHeads, lda: roundUp(x.spec.HeadDim, 2) * k.size,
		width: x.panels() * panelCols}
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }

// attnJob is a block of stacked rows [r0, r1) of a segment for kv head g.
type attnJob struct {
	seg    *kernels.Segment
	g      int
	r0, r1 int
	// if partitions are computed in parallel: their results, [partitions][r1-r0][2+width] of (max, sum, output)
	parts []float32
}

// last is the position of the last query among the stacked rows before r.
func (a *attend) last(j *attnJob, r int) int { return j.seg.Start + (r-1)/a.heads }

func (a *attend) partitions(j *attnJob) int { return a.last(j, j.r1)/partition + 1 }

// attnOut holds the outputs.
type attnOut struct {
	y, lse     []float32
	ldy, ldlse int
}

// Attention: y = softmax(scale * q k^T) v over the pages of each segment, lse = max + ln(sum).
func (d *Device) Attention(y, q, lse kernels.Tensor, c kernels.KV, layer int, kb kernels.Batch, scale float32) {
	const op = "Attention"
	shape(op, "y", y, q.Rows, q.Cols)
	a, b := d.attend(op, q, c, layer, kb, scale)
	out := attnOut{y: f32(y), ldy: y.Stride}
	if !lse.IsZero() {
		shape(op, "lse", lse, q.Rows, q.Cols/a.x.spec.HeadDim)
		out.lse, out.ldlse = f32(lse), lse.Stride
	}
	p := b.jobs(&a, d.pool.threads)
	size := a.scratch()
	mem := d.scratch(slotAttn, size*d.pool.threads+4*p.split)
	if p.split == 0 {
		d.pool.RunWorker(len(p.jobs), func(w, task int) {
			b := a.block(d, w, mem, size, &p.jobs[task])
			if task+1 < len(p.jobs) {
				b.after = &p.jobs[task+1]
			}
			for part := range a.partitions(b.job) {
				b.partition(part)
			}
			b.finish(out)
		})
		return
	}
	a.splitPartitions(d, p, mem, size)
	d.pool.RunWorker(len(p.jobs), func(w, task int) {
		b := a.block(d, w, mem, size, &p.jobs[task])
		b.merge()
		b.finish(out)
	})
}

// attnPlan is how the attention of a batch is divided, the same for all layers.
type attnPlan struct {
	jobs   []attnJob
	split  int         // floats for the results of all partitions if they are computed in parallel, else 0
	pieces []attnPiece // tasks, if partitions are computed in parallel
}

// attnPiece is partitions [from, to) of a job.
type attnPiece struct{ job, from, to int }

// jobs returns the plan for the heads of a. The first layer of a pass computes it.
func (b *batch) jobs(a *attend, threads int) *attnPlan {
	p := &b.forward
	if h := (attnHeads{a.heads, a.x.spec.KVHeads, a.width}); b.forwardHeads != h {
		b.forwardHeads = h
		p.jobs = a.jobs(p.jobs[:0], b.Segs)
		p.split = a.split(p.jobs, threads)
		p.pieces = p.pieces[:0]
		if p.split > 0 {
			p.pieces = a.pieces(p.pieces, p.jobs, threads)
		}
	}
	return p
}

// pieces divides the partitions of jobs into tasks of consecutive partitions.
func (a *attend) pieces(pieces []attnPiece, jobs []attnJob, threads int) []attnPiece {
	all := 0
	for i := range jobs {
		all += a.partitions(&jobs[i])
	}
	per := max(1, all/(4*threads))
	for i := range jobs {
		n := a.partitions(&jobs[i])
		for p := 0; p < n; p += per {
			pieces = append(pieces, attnPiece{i, p, min(p+per, n)})
		}
	}
	return pieces
}

// splitPartitions computes the partitions of all jobs in parallel (split-KV), for few rows with many keys. merge then
// gives the same bits as one job after the other.
func (a *attend) splitPartitions(d *Device, p *attnPlan, mem []byte, size int) {
	parts := elems[float32](mem[size*d.pool.threads:])
	for i := range p.jobs {
		n := a.partitions(&p.jobs[i]) * a.partSize(&p.jobs[i])
		p.jobs[i].parts, parts = parts[:n], parts[n:]
	}
	d.pool.RunWorker(len(p.pieces), func(w, task int) {
		x := p.pieces[task]
		b := a.block(d, w, mem, size, &p.jobs[x.job])
		for part := x.from; part < x.to; part++ {
			b.partition(part)
		}
	})
}

// jobRows is the approximate number of stacked rows of a job: enough rows to share each loaded key and value, few
// enough to stay in the cache.
const jobRows = 128

// jobs divides the segments into jobs. Within a segment, the rows that see the most keys come first.
func (a *attend) jobs(jobs []attnJob, segs []kernels.Segment) []attnJob {
	per := max(1, jobRows/a.heads) * a.heads
	for i := range segs {
		s := &segs[i]
		n := s.Len * a.heads
		for hi := n; hi > 0; hi -= min(hi, per) {
			for g := range a.x.spec.KVHeads {
				jobs = append(jobs, attnJob{seg: s, g: g, r0: max(0, hi-per), r1: hi})
			}
		}
	}
	return jobs
}

// partSize is the number of floats of a partition's results.
func (a *attend) partSize(j *attnJob) int { return (j.r1 - j.r0) * (2 + a.width) }

// split returns the number of floats for the results of all partitions if there are too few jobs to keep all threads
// busy, else 0.
func (a *attend) split(jobs []attnJob, threads int) int {
	if threads == 1 || len(jobs) >= 4*threads {
		return 0
	}
	n, long := 0, false
	for i := range jobs {
		p := a.partitions(&jobs[i])
		long = long || p > 1
		n += p * a.partSize(&jobs[i])
	}
	if !long {
		return 0
	}
	return n
}

// attnBlock is the state of a job that is being computed. A worker has one for all of its jobs: what is not set by
// block may hold values of an earlier job.
type attnBlock struct {
	*attend
	job   *attnJob
	after *attnJob  // the job that the worker probably gets next, for prefetching; nil: unknown
	q     []byte    // [rows][lda]
	s     []float32 // [mr][256]
	p     []byte    // [mr][256] elements of A
	part  []float32 // [mr][width]: outputs of a partition
	o     []float32 // [rows][width]
	m, l  []float32 // [rows]
	page  []uint32  // copy of the values of a page, with masked values set to 0
	zeros []float32 // [width]
	// factors of fold
	factors [2 * maxAttnTile]float32
	tile    attnTile
	soft    attnSoftmax
	merged  attnFold
	// pointers to the keys and values of the pages of this partition, and of the next one
	keys, values, nextKeys, nextValues [partitionPages]unsafe.Pointer
}

// maxJob is the largest number of rows of a job.
func (a *attend) maxJob() int { return max(jobRows, a.heads) }

// scratch is the number of bytes that a worker needs.
func (a *attend) scratch() int {
	b := attnBlock{attend: a}
	return b.carve(nil)
}

// carve divides mem into the scratch slices, each aligned to 64 bytes, and returns the total size.
func (b *attnBlock) carve(mem []byte) int {
	used := 0
	take := func(n int) []byte {
		lo := used
		used += roundUp(n, align)
		if mem == nil {
			return nil
		}
		return mem[lo:][:n]
	}
	rows, mr := b.maxJob(), b.k.mr
	b.q = take(rows * b.lda)
	b.s = elems[float32](take(4 * mr * partition))
	b.p = take(mr * partition * b.k.size)
	b.part = elems[float32](take(4 * mr * b.width))
	b.o = elems[float32](take(4 * rows * b.width))
	b.m, b.l = elems[float32](take(4*rows)), elems[float32](take(4*rows))
	b.page = elems[uint32](take(4 * b.x.valueWords()))
	if b.k.amx {
		b.zeros = elems[float32](take(4 * b.width))
		clear(b.zeros)
	}
	return used
}

// block begins job j of worker w of d, in the worker's part of mem: size bytes.
func (a *attend) block(d *Device, w int, mem []byte, size int, j *attnJob) *attnBlock {
	b := &d.blocks[w]
	b.attend, b.job, b.after = a, j, nil
	b.carve(mem[w*size:][:size])
	dim := a.x.spec.HeadDim
	for r := j.r0; r < j.r1; r++ {
		a.k.row(a.rowKernels, ptr(b.q[(r-j.r0)*a.lda:]), a.x.spec.Type, a.lda/a.k.size,
			a.row(a.q, a.stride, j, r)[:dim])
	}
	return b
}

// row is the part of a matrix x [T, H*D] that begins at the head and token of stacked row r.
func (a *attend) row(x []float32, stride int, j *attnJob, r int) []float32 {
	return x[(j.seg.Row+r/a.heads)*stride+(j.g*a.heads+r%a.heads)*a.x.spec.HeadDim:]
}

func ptr[E any](x []E) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(x)) }

// partition computes partition p for all rows that see any of its keys, in tiles.
func (b *attnBlock) partition(p int) {
	j, k0 := b.job, p*partition
	first := max(j.r0, min((k0-j.seg.Start)*b.heads, j.r1))
	if first >= j.r1 {
		return
	}
	b.pages(p, j, func(i int, k, v []uint32) { b.keys[i], b.values[i] = ptr(k), ptr(v) })
	following, from := j, p+1
	if b.after != nil && from == b.partitions(j) {
		following, from = b.after, 0
	}
	b.pages(from, following, func(i int, k, v []uint32) { b.nextKeys[i], b.nextValues[i] = ptr(k), ptr(v) })
	rows := j.r1 - first
	nt := (rows + b.k.mr - 1) / b.k.mr
	for t := range nt {
		lo, hi := first+rows*t/nt, first+rows*(t+1)/nt
		if !b.mustMask(p, lo, hi) {
			b.rows(p, lo, hi)
			continue
		}
		for r := lo; r < hi; r += b.heads - r%b.heads { // token by token
			b.oneToken(p, r, min(hi, r+b.heads-r%b.heads))
		}
	}
}

// pages calls f with the keys and values of the pages of partition p of job j. Missing pages are replaced by the last
// one.
func (b *attnBlock) pages(p int, j *attnJob, f func(i int, k, v []uint32)) {
	last := b.last(j, j.r1) / pageSize
	for i := range partitionPages {
		k, v := b.x.head(b.layer, int(j.seg.Pages[min(p*partitionPages+i, last)]), j.g)
		f(i, k, v)
	}
}

// mustMask reports whether a value that some of the rows [lo, hi) must not see may be infinite or NaN: multiplied by
// its probability of 0 it would give NaN.
func (b *attnBlock) mustMask(p, lo, hi int) bool {
	from := max(p*partition, b.last(b.job, lo+1)+1) / pageSize
	// the key after the last one may be in the same BF16 pair
	to := min((p+1)*partition-1, b.last(b.job, hi)+1) / pageSize
	for i := from; i <= to && i < len(b.job.seg.Pages); i++ {
		if b.x.nonFinite[b.job.seg.Pages[i]].Load() {
			return true
		}
	}
	return false
}

// rows computes stacked rows [lo, hi) with the keys of partition p: at most mr rows, each of which sees at least one
// key.
func (b *attnBlock) rows(p, lo, hi int) {
	j, k0, rows, t := b.job, p*partition, hi-lo, b.x.spec.Type
	n := min(partition, b.last(j, hi)+1-k0) // keys that the last row sees
	pages := (n + pageSize - 1) / pageSize
	y := &b.tile // field by field: see chunk.run
	y.rows, y.a, y.lda, y.b, y.off, y.n, y.steps = rows, ptr(b.q[(lo-j.r0)*b.lda:]), b.lda, &b.keys[0], 0, pages,
		chainSteps(t, b.x.spec.HeadDim)
	y.c, y.ldc, y.ahead, y.aheadOff = ptr(b.s), 4*partition, &b.nextKeys[0], 0
	b.k.scores[rows](y)
	x := &b.soft
	x.rows, x.s, x.lds, x.p, x.ldp, x.n, x.scale = rows, ptr(b.s), 4*partition, ptr(b.p), partition*b.k.size,
		roundUp(n, b.valuesAtOnce()), b.scale
	for i, at, head := 0, b.last(j, lo+1)+1-k0, lo%b.heads; i < rows; i++ {
		x.sees[i] = min(partition, at)
		if head++; head == b.heads {
			at, head = at+1, 0
		}
	}
	x.run(b.k, &b.nextKeys)
	to, ldo := b.outputs(p, lo-j.r0)
	y.a, y.lda, y.b, y.steps, y.last, y.ldc, y.ahead = x.p, x.ldp, &b.values[0], b.x.steps,
		chainSteps(t, n-(pages-1)*pageSize), ldo, &b.nextValues[0]
	for c := 0; c < b.width; c += panelCols {
		y.off, y.c = 4*c*b.x.steps, unsafe.Add(to, 4*c)
		y.aheadOff = y.off
		b.k.values[rows](y)
	}
	b.keep(p, lo-j.r0, rows)
}

// oneToken is rows for the rows of one token. Values after the token's position, in the same pair or page, are masked:
// they are set to 0 in a copy of the page.
func (b *attnBlock) oneToken(p, lo, hi int) {
	n := b.last(b.job, hi) + 1 - p*partition
	if n >= partition || n%b.valuesAtOnce() == 0 {
		b.rows(p, lo, hi)
		return
	}
	v := &b.values[n/pageSize]
	was := *v
	copy(b.page, unsafe.Slice((*uint32)(was), len(b.page)))
	for c := 0; c < b.width; c += panelCols {
		steps := b.page[c*b.x.steps:][:b.x.steps*panelCols]
		if b.k.amx {
			clear(steps[(n%pageSize+1)/2*panelCols:])
		}
		if n%2 == 1 {
			for i := range panelCols {
				steps[n%pageSize/2*panelCols+i] &= 0xffff
			}
		}
	}
	*v = ptr(b.page)
	b.rows(p, lo, hi)
	*v = was
}

// valuesAtOnce is the number of values that are multiplied at a time: those of a BF16 pair, or, on AMX, of a page.
func (a *attend) valuesAtOnce() int {
	switch {
	case a.k.amx:
		return pageSize
	case a.x.spec.Type == kernels.BF16:
		return 2
	}
	return 1
}

// outputs returns where the outputs of partition p, from row r on, are written, and the bytes from row to row. The
// first partition writes to o directly; later ones write to part and are merged.
func (b *attnBlock) outputs(p, r int) (unsafe.Pointer, int) {
	switch {
	case b.job.parts != nil:
		return ptr(b.results(p, r)[2:]), 4 * (2 + b.width)
	case p == 0:
		return ptr(b.o[r*b.width:]), 4 * b.width
	}
	return ptr(b.part), 4 * b.width
}

// keep merges the results of partition p with those of earlier partitions, or stores them. Outputs that need no merging
// are in place already.
func (b *attnBlock) keep(p, r, rows int) {
	x := &b.soft
	switch {
	case b.job.parts != nil:
		for i := range rows {
			to := b.results(p, r+i)
			to[0], to[1] = x.m[i], x.l[i]
		}
	case p == 0:
		copy(b.m[r:], x.m[:rows])
		copy(b.l[r:], x.l[:rows])
	default:
		b.fold(r, rows, &x.m, &x.l, ptr(b.part), 4*b.width)
	}
}

// results is where the results of partition p are stored, from row r on.
func (b *attnBlock) results(p, r int) []float32 {
	return b.job.parts[p*b.partSize(b.job)+r*(2+b.width):]
}

// fold merges (m, l, o) of rows from r with (m', l', o'), rows of o' ld bytes apart: M = max(m, m'), L = l exp(m-M) +
// l' exp(m'-M), O likewise.
func (b *attnBlock) fold(r, rows int, m, l *[maxAttnTile]float32, part unsafe.Pointer, ld int) {
	f := b.factors[:2*rows] // of old and new
	for i := range rows {
		most := max(b.m[r+i], m[i])
		f[2*i], f[2*i+1] = b.m[r+i]-most, m[i]-most
		b.m[r+i] = most
	}
	b.exps(f, f)
	for i := range rows {
		b.l[r+i] = float32(b.l[r+i]*f[2*i]) + float32(l[i]*f[2*i+1])
	}
	b.merged = attnFold{rows: rows, cols: b.width, o: ptr(b.o[r*b.width:]), part: part, ldo: 4 * b.width, ldpart: ld,
		factors: &f[0]}
	b.merged.run(b.k)
}

// merge folds the partitions that were computed in parallel.
func (b *attnBlock) merge() {
	for lo := b.job.r0; lo < b.job.r1; lo += maxAttnTile {
		hi := min(lo+maxAttnTile, b.job.r1)
		for p := range b.last(b.job, hi)/partition + 1 {
			first := max(lo, min((p*partition-b.job.seg.Start)*b.heads, hi)) // the first row that sees it
			var m, l [maxAttnTile]float32
			for r := first; r < hi; r++ {
				x := b.results(p, r-b.job.r0)
				m[r-first], l[r-first] = x[0], x[1]
				if p == 0 {
					i := r - b.job.r0
					b.m[i], b.l[i] = x[0], x[1]
					copy(b.o[i*b.width:][:b.width], x[2:])
				}
			}
			if p > 0 {
				b.fold(first-b.job.r0, hi-first, &m, &l, ptr(b.results(p, first-b.job.r0)[2:]), 4*(2+b.width))
			}
		}
	}
}

// finish stores output and lse.
func (b *attnBlock) finish(out attnOut) {
	dim, j := b.x.spec.HeadDim, b.job
	for r := j.r0; r < j.r1; r++ {
		i := r - j.r0
		if b.k.amx { // adding 0 makes -0 to 0: masked values may have changed the sign of a zero
			b.k.fold(b.o[i*b.width:][:dim], b.zeros[:dim], 1, 1)
		}
		b.k.divide(b.row(out.y, out.ldy, j, r)[:dim], b.o[i*b.width:][:dim], b.l[i])
		if out.lse != nil {
			out.lse[(j.seg.Row+r/b.heads)*out.ldlse+j.g*b.heads+r%b.heads] = float32(float64(b.m[i]) +
				ln(float64(b.l[i])))
		}
	}
}

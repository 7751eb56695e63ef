package cpu

import (
	"unsafe"
)

// tile holds the arguments of one microkernel call, which computes mr rows x 32 columns of C. Assembly refers to the
// fields by name.
type tile struct {
	steps     int
	a         unsafe.Pointer // [steps][mr] words, [steps][2][mr] where widened
	b         unsafe.Pointer // [steps][32] words
	c         unsafe.Pointer // mr rows of 32 float32
	ldc       int            // bytes from row to row of c
	bias      unsafe.Pointer // 32 float32; -0 where there is none: x + -0 is x, for every x
	ahead     uintptr        // address to prefetch into the cache during the call ...
	aheadStep int            // ... which advances by this many bytes each step
	nextC     uintptr        // C of the next tile, prefetched too
	mode      int
	mr        int
	scale     float32
	// scratch of the worker, maxTile rows of 32 float32, for kernels that cannot apply the epilogue in registers
	stage unsafe.Pointer
}

// Modes of a tile: where the chains start and how they are stored.
const (
	modeChain    = 1 << iota // they start from C instead of 0
	modeEpilogue             // C = scale*chain + bias
	modeAdd                  // C = scale*chain + bias + C
)

const (
	maxTile      = 48 // rows
	amxTileSteps = 16 // steps in a row of an AMX tile register
	// fetchAhead is the prefetch distance in bytes for the panel of a single tile (Xeon, one row of BF16 widened to
	// F32, share of the memory bandwidth: 0.78 at 1 KiB, 0.86 at 2, 0.93 at 4, 0.91 at 8, 0.83 at 16).
	fetchAhead = 4096
	// fetchAheadAVX2 is the distance of AVX2 for BF16 and Q8. Their loops are longer for each byte than that of F32, so
	// that fewer loads are under way (Zen 3, two threads, one row, GB/s without, 1, 2, 4, 8 KiB ahead: Q8 12.9, 16.1,
	// 16.9, 15.0, 15.6; BF16 14.3, 16.6, 16.0, 15.1, 14.5; F32 18.1 without, at most 17.2 with).
	fetchAheadAVX2 = 2048
	// fewRows is the largest number of rows for which software prefetching is off on AMD, whose hardware prefetchers
	// are better there (Zen 4 with software prefetching: 22 GB/s instead of 32 for one row, but 29 instead of 20 for
	// six). Intel profits already with one row: F32 is read 1.05, Q8 1.1 and BF16 1.3 times as fast.
	fewRows = 2
	// q8ManyRows is the number of rows from which Q8 uses gemmState.q8Many. With AMX, for which panels are converted
	// first, 512 rows are 1.5 to 1.65 times as fast as with VNNI, 64 rows 1.03 to 1.3 times, 32 rows 0.86 to 0.98 times
	// (Xeon; k and n from 576 to 8192).
	q8ManyRows = 48
)

// multiply computes p in chunks of rows and of panels, so that packed A, packed panels and partial sums fit into
// bounded scratch memory.
func (d *Device) multiply(p *product) {
	if p.m == 0 {
		return
	}
	c := chunk{product: p}
	for c.row0 = 0; c.row0 < p.m; c.row0 += c.rows {
		c.takeRows(&d.gemm.bounds)
		c.a = elems[uint32](d.scratch(slotA, 4*c.stride*c.nt))
		if p.steps > 0 { // empty chains have nothing to pack
			d.each(c.nt, p.steps*c.rows, func(t int) { p.packA(c.a[t*c.stride:], c.at(t), c.at(t+1)-c.at(t)) })
		}
		c.rhs = p.before
		d.panels(&c)
		c.rhs = p.rhs
		d.packAdapters(&c)
		d.panels(&c)
	}
}

// takeRows gives c as many rows from row0 on as fit.
func (c *chunk) takeRows(b *bounds) {
	k := c.kernels
	c.stride = c.steps*k.format.words()*k.mr + k.format.beyond(k.mr)
	c.rows = min(max(b.rows/c.stride, 1)*k.mr, c.m-c.row0)
	c.nt = (c.rows + k.mr - 1) / k.mr
}

// planPanels returns the number of panels of c's right-hand sides (all) and how many of them are computed at a time,
// which is as many as fit (panels). made: panels have to be packed or transposed, panelWords each. chains: the number
// of words for partial sums outside of C, 0 if none are needed.
func (c *chunk) planPanels(b *bounds, threads int) (all, panels int, made bool, chains int) {
	wait := false
	for i := range c.rhs {
		s := &c.rhs[i]
		all, wait, made = all+s.panels(), wait || s.hasEpilogue(), made || s.panel == nil
	}
	panels = all
	if made {
		c.panelWords = madeWords(c.steps)
		panels = min(all, max(b.made/c.panelWords, 1)*threads)
	}
	if c.piece = b.pieceOf(c.product, wait); wait && c.piece < c.steps {
		tile := c.nt * c.kernels.mr * panelCols
		panels = min(panels, max(b.rows/tile, 1))
		chains = panels * tile
	}
	return all, panels, made, chains
}

// panels multiplies the rows of c with all panels of its right-hand sides.
func (d *Device) panels(c *chunk) {
	np, panels, made, chains := c.planPanels(&d.gemm.bounds, d.pool.threads)
	if c.chains = nil; chains > 0 {
		c.chains = elems[float32](d.scratch(slotChains, 4*chains))
	}
	for c.panel0 = 0; c.panel0 < np; c.panel0 += panels {
		c.np = min(panels, np-c.panel0)
		if made && c.steps > 0 {
			c.b = elems[uint32](d.scratch(slotB, 4*c.panelWords*c.np))
			d.each(c.np, c.panelWords*c.np, func(i int) {
				s, p := c.rhsAt(i)
				s.makePanel(c.b[i*c.panelWords:], p)
			})
		}
		d.runTiles(c)
	}
}

// madeWords is the size of a packed or transposed panel. Packers may write 64 bytes past its end, and transposed blocks
// have up to 32 steps.
func madeWords(steps int) int { return (steps+31)/32*32*panelCols + 16 }

// bounds of the scratch, in words. Tests make them small.
type bounds struct {
	rows  int // for packed rows, and for partial sums
	made  int // per thread, for packed panels, which are used at once
	group int // for the packed rows of a task: they stay in the L2 cache
	piece int // per row, for a piece of a long chain
	dw    int // tokens of dW at a time, an even number; the next tokens continue the chains from dw
	// for logits that LogProb keeps for LogProbBackward: computing them again takes a fifteenth of the multiplications
	// of a training step of SmolLM2-135M
	logits int
}

var usualBounds = bounds{rows: 4 << 20, made: 1 << 20, group: 128 << 10, piece: 1024, dw: 1024, logits: 64 << 20}

// pieceOf is the number of steps in a piece of p's chains. Long chains are computed in pieces, so that the packed rows
// of a group and a piece of a panel stay in the cache. Pieces have about equal length, a multiple of amxTileSteps.
func (b *bounds) pieceOf(p *product, hasEpilogue bool) int {
	limit := max(b.piece/p.kernels.format.words(), 1)
	if p.kernels.format >= q8Bytes || p.steps <= limit || p.chain && hasEpilogue {
		return max(p.steps, 1)
	}
	pieces := (p.steps + limit - 1) / limit
	return ((p.steps+pieces-1)/pieces + amxTileSteps - 1) / amxTileSteps * amxTileSteps
}

// chunk is a piece of a product whose operands are packed.
type chunk struct {
	*product
	rhs                []rhs // the right-hand sides that are being computed
	a, b               []uint32
	row0, rows, nt     int    // nt tiles of A: rows [row0, row0+rows)
	panel0, np         int    // np panels
	stride, panelWords int    // words of a packed tile of A, and of a packed panel
	ready              []byte // converted panels, one per worker
	readyBytes         int    // size of a converted panel
	piece              int    // steps of a piece of the chains
	// Partial sums between the pieces of chains, [panel][tile][mr][32]; nil: they are kept in C.
	chains []float32
}

// rhsAt returns the right-hand side that panel i of the chunk belongs to, and the panel's number within it.
func (c *chunk) rhsAt(i int) (s *rhs, panel int) {
	panel = c.panel0 + i
	for j := range c.rhs {
		s = &c.rhs[j]
		if panel < s.panels() {
			break
		}
		panel -= s.panels()
	}
	return s, panel
}

// at is the first row of tile t. Tiles differ by at most one row.
func (c *chunk) at(t int) int { return c.row0 + c.rows*t/c.nt }

// each is pool.Run, but runs all tasks in the caller if work, in words, is too small for a fork.
func (d *Device) each(n, work int, f func(task int)) {
	if work < 8192 {
		for i := range n {
			f(i)
		}
		return
	}
	d.pool.Run(n, f)
}

// runTiles computes the tiles of a chunk. A task is a group of rows, small enough to stay in the cache, times a group
// of panels.
func (d *Device) runTiles(c *chunk) {
	rowGroups, colGroups := d.grid(c)
	if c.kernels.panel != nil {
		c.readyBytes = c.kernels.readyBytes(c.steps)
		c.ready = d.scratch(slotPanels, c.readyBytes*d.pool.threads)
	}
	d.pool.RunWorker(rowGroups*colGroups, func(w, task int) {
		rg, cg := task%rowGroups, task/rowGroups
		t0, t1 := rg*c.nt/rowGroups, (rg+1)*c.nt/rowGroups
		for s := 0; s == 0 || s < c.steps; s += c.piece {
			for i := cg * c.np / colGroups; i < (cg+1)*c.np/colGroups; i++ {
				c.usePanel(&d.gemm, w, i)
				for t := t0; t < t1; t++ {
					c.run(&d.gemm, w, i, t, t0, t1, s)
				}
			}
		}
	})
}

// grid splits a chunk into tasks.
func (d *Device) grid(c *chunk) (rowGroups, colGroups int) {
	const (
		minimum = 1 << 20   // a task has at least so many multiplications,
		stream  = 128 << 10 // or bytes of B: reading B takes the time when there are few rows
	)
	f := c.kernels.format
	perGroup := max(d.gemm.bounds.group/(c.piece*f.words()*c.kernels.mr), 4)
	rowGroups = (c.nt + perGroup - 1) / perGroup
	colGroups = 1
	if n := d.pool.threads; n > 1 {
		work := c.rows * c.np * panelCols * c.steps
		tasks := min(4*n, max(work/minimum, c.np*c.steps*c.kernels.stepBytes()/stream, 1))
		colGroups = (tasks + rowGroups - 1) / rowGroups
		if rowGroups > 1 || colGroups > n { // every thread gets the same number of column groups
			colGroups = roundUp(colGroups, n)
		}
		colGroups = min(c.np, colGroups)
	}
	return rowGroups, colGroups
}

// usePanel sets panel i as the B of the worker's tiles.
func (c *chunk) usePanel(g *gemmState, worker, i int) {
	w := &g.workers[worker]
	w.source = unsafe.Pointer(unsafe.SliceData(c.panelAt(i)))
	w.b = w.source
	if c.kernels.panel != nil && c.steps > 0 {
		w.b = unsafe.Pointer(&c.ready[worker*c.readyBytes])
		c.kernels.panel(w.b, w.source, c.steps)
	}
}

// run computes steps [s, s+piece) of tile t of panel i.
func (c *chunk) run(g *gemmState, worker, i, t, t0, t1, s int) {
	w := &g.workers[worker]
	b, panel := c.rhsAt(i)
	steps := min(c.piece, c.steps-s)
	x := c.set(w, b, panel, t, t0, t1, s, steps)
	n, adapter := b.n-panel*panelCols, b.adapter
	if s+steps < c.steps {
		adapter = nil
	}
	if c.chains == nil { // partial sums are kept in C
		if s > 0 {
			x.mode |= modeChain
		}
		b.edgeTile(w, n, func() { adapter.after(x, t, panel, c.kernels.run[x.mr]) })
		return
	}
	y, ldc, mode, chains := x.c, x.ldc, x.mode, unsafe.Pointer(&c.chains[(i*c.nt+t)*c.kernels.mr*panelCols])
	x.c, x.ldc, x.mode = chains, 4*panelCols, 0
	if s > 0 {
		x.mode = modeChain
	}
	c.kernels.run[x.mr](x)
	if s+steps == c.steps {
		x.c, x.ldc, x.mode = y, ldc, mode
		b.edgeTile(w, n, func() { adapter.after(x, t, panel, func(x *tile) { g.finish(x, chains) }) })
	}
}

// set fills w's tile for steps [s, s+steps) of tile t and a panel of b: pointers to the operands and to C, and the
// epilogue.
func (c *chunk) set(w *gemmWorker, b *rhs, panel, t, t0, t1, s, steps int) *tile {
	row, mr, col := c.at(t), c.at(t+1)-c.at(t), panel*panelCols
	f := c.kernels.format
	from := 4 * s * f.panelWords()
	x := &w.tile
	// Field by field: a literal would be stored on the stack and copied by wider loads, each of which waits until those
	// stores, and all of the tile of C before them, have reached the cache. That took a fifth of the time of q8.
	x.steps, x.mr, x.mode, x.scale, x.ldc = steps, mr, 0, 1, 4*b.ldc
	x.a, x.b = unsafe.Pointer(&c.a[t*c.stride+s*f.words()*mr]), unsafe.Add(w.b, from)
	x.c, x.bias, x.stage = unsafe.Pointer(&b.c[row*b.ldc+col]), unsafe.Pointer(&noBias), unsafe.Pointer(&w.stage)
	c.setPrefetch(x, uintptr(w.source)+uintptr(from), t, t0, t1, row)
	if c.chain {
		x.mode |= modeChain
	}
	b.setEpilogue(w, col)
	return x
}

// setPrefetch sets the addresses that x prefetches: a part of the panel that follows the current one, at b, in memory,
// and the next tile of C. Tiles [t0, t1) use a panel one after the other.
func (c *chunk) setPrefetch(x *tile, b uintptr, t, t0, t1, row int) {
	k, n := c.kernels, t1-t0
	step := k.stepBytes()
	switch {
	case n >= k.sharePrefetch:
		x.aheadStep = (step + n - 1) / n
		x.ahead = b + uintptr(c.steps*step+x.steps*(t-t0)*x.aheadStep)
	case t > t0 || x.mr <= k.noPrefetchRows:
		x.ahead, x.aheadStep = b, 0
	default:
		x.ahead, x.aheadStep = b+uintptr(k.prefetchBytes), step
	}
	if t+1 < t1 {
		x.nextC = uintptr(x.c) + uintptr(x.mr*x.ldc)
	} else {
		x.nextC = uintptr(x.c) + 4*panelCols - uintptr((row-c.at(t0))*x.ldc)
	}
}

// setEpilogue sets the epilogue of w's tile.
func (s *rhs) setEpilogue(w *gemmWorker, col int) {
	t, e := &w.tile, s.epilogue
	if !s.hasEpilogue() {
		return
	}
	t.mode |= modeEpilogue
	if e.Scale != 0 {
		t.scale = e.Scale
	}
	if e.Add {
		t.mode |= modeAdd
	}
	if s.bias != nil {
		copy(w.bias[:], s.bias[col:])
		t.bias = unsafe.Pointer(&w.bias)
	}
}

// edgeTile runs w's tile. If only n < 32 of its columns exist, it is computed in w.edge and copied to C.
func (s *rhs) edgeTile(w *gemmWorker, n int, run func()) {
	if n >= panelCols {
		run()
		return
	}
	t := &w.tile
	c := unsafe.Slice((*float32)(t.c), (t.mr-1)*s.ldc+n)
	for i := range t.mr {
		copy(w.edge[i*panelCols:][:n], c[i*s.ldc:])
	}
	t.c, t.ldc = unsafe.Pointer(&w.edge), 4*panelCols
	run()
	for i := range t.mr {
		copy(c[i*s.ldc:][:n], w.edge[i*panelCols:])
	}
}

// finish is gemmState.finish in plain Go.
func finish(t *tile, chains unsafe.Pointer) {
	for i := range t.mr {
		t.end(i, *at[[panelCols]float32](chains, 4*panelCols*i))
	}
}

var noBias = func() (z [panelCols]float32) {
	for i := range z {
		z[i] = float(1 << 31)
	}
	return
}()

// panelAt is panel i of the chunk.
func (c *chunk) panelAt(i int) []uint32 {
	if c.steps == 0 {
		return nil
	}
	if s, p := c.rhsAt(i); s.panel != nil {
		return s.panel(p)
	}
	return c.b[i*c.panelWords:]
}

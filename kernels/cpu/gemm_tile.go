package cpu

import (
	"unsafe"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// tile is one call of a microkernel: mr rows x 32 columns of C. Assembly reads it by the names of its fields.
type tile struct {
	steps     int
	a         unsafe.Pointer // [steps][mr] words, [steps][2][mr] where widened
	b         unsafe.Pointer // [steps][32] words
	c         unsafe.Pointer // mr rows of 32 float32
	ldc       int            // bytes from row to row of c
	bias      unsafe.Pointer // 32 float32; -0 where there is none: x + -0 is x, for every x
	ahead     uintptr        // memory that is needed next, fetched into the cache ...
	aheadStep int            // ... this many bytes further each step
	nextC     uintptr        // C of the next tile, likewise
	mode      int
	mr        int
	scale     float32
	stage     unsafe.Pointer // of a worker: maxTile rows of 32 float32, for kernels that cannot finish in registers
}

// Modes of a tile: what becomes of the chains.
const (
	modeChain    = 1 << iota // they start from C instead of 0
	modeEpilogue             // C = scale*chain + bias
	modeAdd                  // C = scale*chain + bias + C
)

const (
	maxTile      = 48 // rows
	amxTileSteps = 16 // steps that an AMX tile holds
	// fetchAhead is how far ahead, in bytes, a tile alone fetches its panel (Xeon, one row of BF16 widened to F32,
	// share of what memory gives: 0.78 at 1 KiB, 0.86 at 2, 0.93 at 4, 0.91 at 8, 0.83 at 16).
	fetchAhead = 4096
	// fewRows is up to how many rows AMD's processors look far enough ahead by themselves; asking for more slows them
	// down (Zen 4: 22 GB/s instead of 32 for one row, 29 instead of 20 for six). Intel's want to be asked: one row of
	// F32 reads 1.05, of Q8 1.1, of BF16 1.3 times as fast.
	fewRows = 2
	// q8ManyRows is from how many rows on Q8 takes gemmState.q8Many. By AMX tiles, to which panels are widened first,
	// 512 rows are 1.5 to 1.65 times as fast as by VNNI, 64 rows 1.03 to 1.3 times, 32 rows 0.86 to 0.98 times (Xeon; k
	// and n from 576 to 8192).
	q8ManyRows = 48
)

// gemmKernels are the microkernels of one type of operands on one path, and the packers that feed them.
type gemmKernels struct {
	mr     int // rows of the largest tile
	format format
	run    [maxTile + 1]func(*tile) // by rows; they leave the tile as it is
	// rows packs mr rows of a matrix, k columns, as a tile of A.
	rows func(dst []uint32, src []float32, ld, mr, k int)
	// columns packs t rows of a matrix, transposed: its columns become the rows of a tile of A (stride mr), or a panel
	// (32).
	columns func(f format, dst []uint32, stride int, src []float32, ld, width, t int)
	// panel makes of so many steps of a panel of a weight what run takes as B, panelBytes a step; nil: they are the
	// same.
	panel      func(dst, src unsafe.Pointer, steps int)
	panelBytes int
	// share is the number of tiles of a group from which on they share the fetching of the panel that follows. Fewer
	// are too short for that: the first one fetches what is ahead bytes further, unless it has at most alone rows and
	// the processor itself looks far enough.
	sharePrefetch, noPrefetchRows, prefetchBytes int
}

type gemmState struct {
	f32, bf16, q8 gemmKernels
	q8Many        gemmKernels // of Q8 where rows are many: the same bits, faster
	pairs         gemmKernels // of BF16 for attention: bf16 where that follows the chain
	workers       []gemmWorker
	bounds        bounds
	// transpose makes panel p of the transposed weight from all panels of w.
	transpose func(dst []uint32, w *weight, p int)
	// packBlock packs 16 rows of w from row r, as many steps as it can, and returns how many.
	packBlock func(w *weight, dst []uint32, r int, row func(r int) rowSource) int
	// finish stores finished chains [mr][32] as t's epilogue says.
	finish func(t *tile, chains unsafe.Pointer)
	// packQ8 quantises row r of w, x [k], as many groups as it can, and returns how many.
	packQ8 func(w *weight, r int, x []float32) int
}

// gemmWorker is what a worker needs to run tiles.
type gemmWorker struct {
	tile tile
	// the panel in use: as the microkernel takes it, and where it lies in the weight
	b, source unsafe.Pointer
	edge      [maxTile * panelCols]float32
	stage     [maxTile * panelCols]float32
	bias      [panelCols]float32
	_         [64]byte
}

func (g *gemmState) init(d *Device) {
	g.workers, g.bounds = make([]gemmWorker, d.pool.threads), usualBounds
	g.transpose, g.finish = transposePanel, finish
	g.packBlock = func(*weight, []uint32, int, func(int) rowSource) int { return 0 }
	g.packQ8 = func(*weight, int, []float32) int { return 0 }
	for f, k := range map[format]*gemmKernels{single: &g.f32, pairsWide: &g.bf16, q8Words: &g.q8} {
		*k = gemmKernels{mr: genericTile, format: f, rows: rowPacker(f), columns: packColumns,
			sharePrefetch: 2, noPrefetchRows: fewRows, prefetchBytes: fetchAhead}
	}
	for i := range genericTile + 1 {
		g.f32.run[i], g.bf16.run[i], g.q8.run[i] = tileF32, tileBF16, tileQ8
	}
	g.choose(d.isa)
	if g.pairs.mr == 0 {
		g.pairs = g.bf16
	}
	if g.q8Many.mr == 0 {
		g.q8Many = g.q8
	}
}

func (g *gemmState) of(t kernels.DType) *gemmKernels {
	switch t {
	case kernels.F32:
		return &g.f32
	case kernels.Q8:
		return &g.q8
	}
	return &g.bf16
}

// forward is of for the product of so many rows with a weight.
func (g *gemmState) forward(t kernels.DType, rows int) *gemmKernels {
	if t == kernels.Q8 && rows >= q8ManyRows {
		return &g.q8Many
	}
	return g.of(t)
}

// attention is of for the products of attention, which follow the chain on every path.
func (g *gemmState) attention(t kernels.DType) *gemmKernels {
	if t == kernels.BF16 {
		return &g.pairs
	}
	return &g.f32
}

// steps is the number of steps of a chain of length k.
func (k *gemmKernels) steps(n int) int {
	switch k.format {
	case single:
		return n
	case amxPairs:
		return (n + amxTileSteps*2 - 1) / (amxTileSteps * 2) * amxTileSteps
	case q8Bytes, q8Words, q8AMX:
		return (n + q8Group - 1) / q8Group
	}
	return (n + 1) / 2
}

// readyBytes is room for a panel as run takes it: microkernels read two steps past the end.
func (k *gemmKernels) readyBytes(steps int) int { return (steps + 2) * k.panelBytes }

// panelFormat is that of B: weights are never held widened.
func (k *gemmKernels) panelFormat() format {
	if k.format == single {
		return single
	}
	return pairs
}

// multiply computes p in chunks of rows and of panels, so that packed A, panels that have to be made and chains that
// wait fit a bounded scratch.
func (d *Device) multiply(p *product) {
	if p.m == 0 {
		return
	}
	c := chunk{product: p}
	for c.row0 = 0; c.row0 < p.m; c.row0 += c.rows {
		c.takeRows(&d.gemm.bounds)
		c.a = elems[uint32](d.scratch(slotA, 4*c.stride*c.nt))
		if p.steps > 0 { // a chain of nothing has nothing to pack
			d.each(c.nt, p.steps*c.rows, func(t int) { p.packA(c.a[t*c.stride:], c.at(t), c.at(t+1)-c.at(t)) })
		}
		c.rhs = p.before
		d.panels(&c)
		c.rhs = p.rhs
		d.packAdapters(&c)
		d.panels(&c)
	}
}

// takeRows makes the rows from row0 on those of c, as many as fit.
func (c *chunk) takeRows(b *bounds) {
	k := c.kernels
	c.stride = c.steps*k.format.words()*k.mr + k.format.beyond(k.mr)
	c.rows = min(max(b.rows/c.stride, 1)*k.mr, c.m-c.row0)
	c.nt = (c.rows + k.mr - 1) / k.mr
}

// planPanels says how many panels the right-hand sides of c have, and how many of them c takes at a time on so many
// threads: as many as fit. made: they have to be made, of panelWords each; chains: words for chains that wait, 0 where
// none do.
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

// madeWords is room for a panel that is made: packers may write 64 bytes past the end, and transposed blocks are of up
// to 32 steps.
func madeWords(steps int) int { return (steps+31)/32*32*panelCols + 16 }

// bounds of the scratch, in words. Tests make them small.
type bounds struct {
	rows  int // for packed rows, and for chains that wait
	made  int // a thread, for panels that are made: they are used at once
	group int // for the packed rows of a task: they stay in the second level cache
	piece int // of a row, for a piece of a long chain
	dw    int // tokens of dW at a time, an even number; the chain goes on through the old dw
}

var usualBounds = bounds{rows: 4 << 20, made: 1 << 20, group: 128 << 10, piece: 1024, dw: 1024}

// pieceOf is the number of steps after which p's chains pause, so that the packed rows of a group and a panel stay in
// the cache however long the chains are: all of them, or equal multiples of a tile's. hasEpilogue: more becomes of the
// chains than being stored.
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
	rhs                []rhs // those of the product that are under way
	a, b               []uint32
	row0, rows, nt     int    // nt tiles of A: rows [row0, row0+rows)
	panel0, np         int    // np panels
	stride, panelWords int    // words of a tile of A, of a panel that was made
	ready              []byte // panels as the microkernel wants them, one a worker
	readyBytes         int    // of one
	piece              int    // steps of a piece of the chains
	// chains wait here between their pieces, [panel][tile][mr][32], where they cannot in C; nil: they can.
	chains []float32
}

// rhsAt is the right-hand side that panel i of the chunk belongs to, and which one of its panels it is.
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

// at is the first row of tile t: tiles are as equal as can be.
func (c *chunk) at(t int) int { return c.row0 + c.rows*t/c.nt }

// each is pool.Run, in the caller where work, in words, is less than a fork is worth.
func (d *Device) each(n, work int, f func(task int)) {
	if work < 8192 {
		for i := range n {
			f(i)
		}
		return
	}
	d.pool.Run(n, f)
}

// runTiles computes the runTiles of a chunk. A task is a group of rows, small enough to stay in the cache, times a
// group of panels.
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
		minimum = 1 << 20   // multiplications that are worth a task,
		stream  = 128 << 10 // or bytes of B, which is what takes the time where rows are few
	)
	f := c.kernels.format
	perGroup := max(d.gemm.bounds.group/(c.piece*f.words()*c.kernels.mr), 4)
	rowGroups = (c.nt + perGroup - 1) / perGroup
	colGroups = 1
	if n := d.pool.threads; n > 1 {
		work := c.rows * c.np * panelCols * c.steps
		tasks := min(4*n, max(work/minimum, c.np*c.steps*4*f.panelWords()/stream, 1))
		colGroups = (tasks + rowGroups - 1) / rowGroups
		if rowGroups > 1 { // shares of equal size, each of columns of its own
			colGroups = roundUp(colGroups, n)
		}
		colGroups = min(c.np, colGroups)
	}
	return rowGroups, colGroups
}

// usePanel makes panel i the one that the worker's tiles are multiplied with.
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
	if c.chains == nil { // the chains wait in C between their pieces
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

// set makes w's tile steps [s, s+steps) of tile t of a panel of b: where its operands, its C and its epilogue are.
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

// setPrefetch sets what x fetches: of the panel that follows in memory the one in use, at b, and the next tile of C.
// Tiles [t0, t1) use a panel one after the other.
func (c *chunk) setPrefetch(x *tile, b uintptr, t, t0, t1, row int) {
	k, n := c.kernels, t1-t0
	step := 4 * k.format.panelWords()
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

// setEpilogue sets what becomes of the chains of w's tile.
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

// edgeTile runs w's tile; one of which only n < 32 columns exist, beside C.
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

package cpu

import (
	"unsafe"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// tile is one call of a microkernel: mr rows x 32 columns of C. Assembly reads it by the names of its fields.
type tile struct {
	steps int
	a     unsafe.Pointer // [steps][mr] words, [steps][2][mr] where widened
	b     unsafe.Pointer // [steps][32] words
	c     unsafe.Pointer // mr rows of 32 float32
	ldc   int            // bytes from row to row of c
	bias  unsafe.Pointer // 32 float32; -0 where there is none: x + -0 is x, for every x
	ahead unsafe.Pointer // the memory that is needed next, to be fetched
	mode  int
	mr    int
	scale float32
}

// Modes of a tile: what becomes of the chains.
const (
	modeChain    = 1 << iota // they start from C instead of 0
	modeEpilogue             // C = scale*chain + bias
	modeAdd                  // C = scale*chain + bias + C
)

const maxTile = 16 // rows

// gemmKernels are the microkernels of one type of operands on one path, and the packers that feed them.
type gemmKernels struct {
	mr     int // rows of the largest tile
	format format
	run    [maxTile + 1]func(*tile) // by rows
	// rows packs mr rows of a matrix, k columns, as a tile of A.
	rows func(dst []uint32, src []float32, ld, mr, k int)
	// columns packs t rows of a matrix, transposed: its columns become the rows of a tile of A (stride mr), or a panel (32).
	columns func(f format, dst []uint32, stride int, src []float32, ld, width, t int)
}

type gemmState struct {
	f32, bf16 gemmKernels
	workers   []gemmWorker
	// turn makes panel p of the transposed weight from all panels of w.
	turn func(dst []uint32, w *weight, p int)
	// packBlock packs 16 rows of w from row r, as many steps as it can, and returns how many.
	packBlock func(w *weight, dst []uint32, r int, row func(r int) rowSource) int
}

// gemmWorker is what a worker needs to run tiles.
type gemmWorker struct {
	tile tile
	edge [maxTile * panelCols]float32
	bias [panelCols]float32
	_    [64]byte
}

func (g *gemmState) init(d *Device) {
	g.workers = make([]gemmWorker, d.pool.threads)
	g.turn, g.packBlock = turnPanel, func(*weight, []uint32, int, func(int) rowSource) int { return 0 }
	g.f32 = gemmKernels{mr: genericTile, format: single, rows: rowPacker(single), columns: packColumns}
	g.bf16 = gemmKernels{mr: genericTile, format: pairsWide, rows: rowPacker(pairsWide), columns: packColumns}
	for i := range genericTile + 1 {
		g.f32.run[i], g.bf16.run[i] = tileF32, tileBF16
	}
	g.choose(d.isa)
}

func (g *gemmState) of(t kernels.DType) *gemmKernels {
	if t == kernels.F32 {
		return &g.f32
	}
	return &g.bf16
}

// steps is the number of steps of a chain of length k.
func (k *gemmKernels) steps(n int) int {
	if k.format == single {
		return n
	}
	return (n + 1) / 2
}

// words is the number of words of A for a step and a row.
func (k *gemmKernels) words() int {
	if k.format == pairsWide {
		return 2
	}
	return 1
}

// panelFormat is that of B: weights are never held widened.
func (k *gemmKernels) panelFormat() format {
	if k.format == single {
		return single
	}
	return pairs
}

// multiply computes p: A in chunks of rows, each packed by all threads, then multiplied by all threads.
func (d *Device) multiply(p *product) {
	if p.m == 0 || p.n == 0 {
		return
	}
	k := p.kernels
	chunk := chunkRows(p)
	stride := p.steps*k.words()*k.mr + align/4 // words of a tile; packers may write up to 64 bytes past its end
	for lo := 0; lo < p.m; lo += chunk {
		rows := min(chunk, p.m-lo)
		nt := (rows + k.mr - 1) / k.mr
		at := func(t int) int { return lo + rows*t/nt } // rows [at(t), at(t+1)) are tile t: as equal as can be
		a := elems[uint32](d.scratch(slotA, 4*stride*nt))
		d.each(nt, p.steps*rows, func(t int) { p.packA(a[t*stride:], at(t), at(t+1)-at(t)) })
		d.tiles(p, a, stride, nt, at)
	}
}

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

// chunkRows bounds the scratch for A.
func chunkRows(p *product) int {
	const words = 4 << 20
	mr := p.kernels.mr
	return max(words/max(1, p.steps*p.kernels.words())/mr, 16) * mr
}

// tiles runs all tiles of a chunk of rows.
func (d *Device) tiles(p *product, a []uint32, stride, nt int, at func(t int) int) {
	np := (p.n + panelCols - 1) / panelCols
	rowGroups, colGroups := grid(p, nt, np, d.pool.threads)
	var made []uint32
	if p.made {
		made = elems[uint32](d.scratch(slotB, 4*p.steps*panelCols*d.pool.threads))
	}
	d.pool.RunWorker(rowGroups*colGroups, func(w, task int) {
		rg, cg := task%rowGroups, task/rowGroups
		var scratch []uint32
		if p.made {
			scratch = made[w*p.steps*panelCols:][:p.steps*panelCols]
		}
		for i := cg * np / colGroups; i < (cg+1)*np/colGroups; i++ {
			b := p.panel(i, scratch)
			for t := rg * nt / rowGroups; t < (rg+1)*nt/rowGroups; t++ {
				p.tile(&d.gemm.workers[w], a[t*stride:], b, at(t), at(t+1)-at(t), i*panelCols)
			}
		}
	})
}

// grid splits nt tiles x np panels into tasks.
func grid(p *product, nt, np, threads int) (rowGroups, colGroups int) {
	if threads == 1 {
		return 1, 1
	}
	return 1, min(np, 4*threads)
}

// tile computes rows [row, row+mr) of the panel of C at column col.
func (p *product) tile(w *gemmWorker, a, b []uint32, row, mr, col int) {
	t := &w.tile
	*t = tile{
		steps: p.steps, mr: mr, a: unsafe.Pointer(unsafe.SliceData(a)), b: unsafe.Pointer(unsafe.SliceData(b)),
		bias: unsafe.Pointer(&noBias), scale: 1, ahead: unsafe.Pointer(unsafe.SliceData(b)),
	}
	if p.chain {
		t.mode |= modeChain
	}
	if e := p.epilogue; e.Add || p.bias != nil || e.Scale != 0 && e.Scale != 1 {
		t.mode |= modeEpilogue
		if e.Scale != 0 {
			t.scale = e.Scale
		}
		if e.Add {
			t.mode |= modeAdd
		}
		if p.bias != nil {
			copy(w.bias[:], p.bias[col:])
			t.bias = unsafe.Pointer(&w.bias)
		}
	}
	c := p.c[row*p.ldc+col:]
	if n := p.n - col; n < panelCols {
		p.edgeTile(w, c, mr, n)
		return
	}
	t.c, t.ldc = unsafe.Pointer(unsafe.SliceData(c)), 4*p.ldc
	p.kernels.run[mr](t)
}

// edgeTile computes a tile of which only n columns exist, beside C.
func (p *product) edgeTile(w *gemmWorker, c []float32, mr, n int) {
	for i := range mr {
		copy(w.edge[i*panelCols:][:n], c[i*p.ldc:])
	}
	w.tile.c, w.tile.ldc = unsafe.Pointer(&w.edge), 4*panelCols
	p.kernels.run[mr](&w.tile)
	for i := range mr {
		copy(c[i*p.ldc:][:n], w.edge[i*panelCols:])
	}
}

var noBias = func() (z [panelCols]float32) {
	for i := range z {
		z[i] = float(1 << 31)
	}
	return
}()

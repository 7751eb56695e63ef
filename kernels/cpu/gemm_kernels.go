package cpu

import (
	"unsafe"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// gemmKernels are the microkernels for one operand type on one path, and the packers of their operands.
type gemmKernels struct {
	mr     int // rows of the largest tile
	format format
	run    [maxTile + 1]func(*tile) // run[mr] computes a tile of mr rows and does not change its arguments
	// rows packs mr rows of a matrix, k columns, as a tile of A.
	rows func(dst []uint32, src []float32, ld, mr, k int)
	// columns packs t rows of a matrix, transposed: its columns become the rows of a tile of A (stride mr), or a panel
	// (32).
	columns func(f format, dst []uint32, stride int, src []float32, ld, width, t int)
	// panel converts steps of a weight's panel into the B of run, panelBytes per step. nil: run takes the weight's
	// panel as it is.
	panel       func(dst, src unsafe.Pointer, steps int)
	panelBytes  int
	sourceBytes int // a step of the weight's panel; 0: that of format
	// A group of at least sharePrefetch tiles divides the prefetching of the next panel among its tiles. In a smaller
	// group the first tile prefetches its own panel, prefetchBytes ahead, unless it has at most noPrefetchRows rows.
	sharePrefetch, noPrefetchRows, prefetchBytes int
}

type gemmState struct {
	f32, bf16, q8, q4 gemmKernels
	q8Many, q4Many    gemmKernels // with many rows: the same bits, faster
	pairs             gemmKernels // BF16 in the order of the chain, for attention; the same as bf16 except on AMX
	workers           []gemmWorker
	bounds            bounds
	// transpose makes panel p of the transposed weight from all panels of w.
	transpose func(dst []uint32, w *weight, p int)
	// packBlock packs the first steps of 16 rows of w, from row r, and returns how many steps it packed.
	packBlock func(w *weight, dst []uint32, r int, row func(r int) rowSource) int
	// finish applies t's epilogue to finished chains [mr][32] and stores them.
	finish func(t *tile, chains unsafe.Pointer)
	// packQ8 quantises the first groups of x [k] into row r of w and returns how many groups it quantised.
	packQ8 func(w *weight, r int, x []float32) int
	// q4Panel is q4Panel as the path has it.
	q4Panel func(dst, src unsafe.Pointer, steps int)
}

// gemmWorker is what a worker needs to run tiles.
type gemmWorker struct {
	tile tile
	// the panel in use: as the microkernel reads it, and in the weight
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
	g.q4Panel = q4Panel
	for f, k := range map[format]*gemmKernels{single: &g.f32, pairsWide: &g.bf16, q8Bytes: &g.q8} {
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
	if g.q4.mr != 0 && g.q8Many.format == g.q8.format {
		g.q4Many = g.q4
	}
	g.widenQ4()
}

func (g *gemmState) of(t kernels.DType) *gemmKernels {
	switch t {
	case kernels.F32:
		return &g.f32
	case kernels.Q8:
		return &g.q8
	case kernels.Q4:
		return &g.q4
	}
	return &g.bf16
}

// forward returns the kernels for a product of so many rows with a weight of type t.
func (g *gemmState) forward(t kernels.DType, rows int) *gemmKernels {
	switch {
	case t == kernels.Q8 && rows >= q8ManyRows:
		return &g.q8Many
	case t == kernels.Q4 && rows >= q8ManyRows:
		return &g.q4Many
	}
	return g.of(t)
}

// attention returns the kernels for the matmuls of attention, which follow the chain on every path.
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
	case q8Bytes, q8AMX, q4Bytes:
		return (n + q8Group - 1) / q8Group
	}
	return (n + 1) / 2
}

// stepBytes is the size of a step of the weight's panel.
func (k *gemmKernels) stepBytes() int {
	if k.sourceBytes != 0 {
		return k.sourceBytes
	}
	return 4 * k.format.panelWords()
}

// readyBytes is the size of a converted panel: microkernels read two steps past its end.
func (k *gemmKernels) readyBytes(steps int) int { return (steps + 2) * k.panelBytes }

// panelFormat is the format of B. Weights are never stored widened.
func (k *gemmKernels) panelFormat() format {
	if k.format == single {
		return single
	}
	return pairs
}

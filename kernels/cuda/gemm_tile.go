package cuda

import (
	"math"
)

// tile is a kernel, and the part of a product that one of its blocks computes, for products of least to most rows.
type tile struct {
	kernel                string
	m, n, threads, stages int
	least, most           int
}

// Kernels of products on tensor cores, the larger tiles first. All give the same bits.
var (
	products = []tile{
		{"gemm_128x128", 128, 128, 256, 3, 65, math.MaxInt}, {"gemm_64x64", 64, 64, 128, 4, 17, math.MaxInt},
		{"gemm_64x32", 64, 32, 128, 6, 17, math.MaxInt},
		{"gemm_16x64", 16, 64, 128, 8, 0, 16}, {"gemm_16x32", 16, 32, 64, 12, 0, 16},
		{"gemm_16x16", 16, 16, 32, 12, 0, 16},
	}
	backProducts = []tile{
		{"gemm_dx_128x128", 128, 128, 256, 3, 65, math.MaxInt}, {"gemm_dx_64x64", 64, 64, 128, 4, 17, math.MaxInt},
		{"gemm_dx_16x64", 16, 64, 128, 8, 0, 16},
	}
	outerProducts = []tile{{"gemm_dw_128x128", 128, 128, 256, 3, 65, math.MaxInt},
		{"gemm_dw_64x64", 64, 64, 128, 4, 0, math.MaxInt}}
)

// Kernels of products in F32: for a matrix w as it is, for dx and for dw.
var products32, backProducts32, outerProducts32 = tiles32(""), tiles32("dx_"), tiles32("dw_")

func tiles32(what string) []tile {
	return []tile{
		{"gemm32_" + what + "64x64", 64, 64, 256, 0, 49, math.MaxInt},
		{"gemm32_" + what + "16x64", 16, 64, 64, 0, 0, math.MaxInt},
		{"gemm32_" + what + "16x16", 16, 16, 32, 0, 0, math.MaxInt},
	}
}

// Kernels of products with Q8 weights.
var products8 = []tile{
	{"gemm8_64x64", 64, 64, 128, 5, 17, math.MaxInt}, {"gemm8_64x32", 64, 32, 128, 8, 17, math.MaxInt},
	{"gemm8_16x64", 16, 64, 128, 12, 0, 16}, {"gemm8_16x32", 16, 32, 64, 16, 0, 16},
	{"gemm8_16x16", 16, 16, 32, 16, 0, 16},
}

// pick is the first tile for this number of rows that gives every multiprocessor a block, or the last one.
func pick(from []tile, rows, cols, sms int) (t tile) {
	for _, next := range from {
		if rows < next.least || rows > next.most {
			continue
		}
		if t = next; t.blocks(rows, cols) >= sms {
			break
		}
	}
	return t
}

// blocks is the number of tiles of a product.
func (t tile) blocks(rows, cols int) int { return ceil(rows, t.m) * ceil(cols, t.n) }

// tiles launches the kernel among from that pick chooses for o, on a and b.
func (d *Device) tiles(from []tile, a, b matrix, o *target) {
	if o.rows == 0 || o.cols == 0 {
		return
	}
	d.tile(pick(from, o.rows, o.cols, d.props.SMs), a, b, o)
}

func (d *Device) tile(t tile, a, b matrix, o *target) {
	g := line(t.blocks(o.rows, o.cols), t.threads)
	if g.Dynamic = t.stages * (t.m + t.n) * 2 * kStep; t.stages == 0 { // F32
		g.Dynamic = 4 * max(2*16*(t.m+t.n+8), t.m*(t.n+8))
	}
	d.launch(t.kernel, g, o.args(b.args(a.args(d.arg()))))
}

// tiles8 is tiles for a Q8 weight b.
func (d *Device) tiles8(a, b groups, o *target) {
	if o.rows == 0 || o.cols == 0 {
		return
	}
	d.tile8(pick(products8, o.rows, o.cols, d.props.SMs), a, b, o)
}

func (d *Device) tile8(t tile, a, b groups, o *target) {
	g := line(t.blocks(o.rows, o.cols), t.threads)
	g.Dynamic = t.stages * ceil(t.m*72+t.n*68, 128) * 128
	d.launch(t.kernel, g, o.args(b.args(a.args(d.arg()))))
}

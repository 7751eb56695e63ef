package cuda

import (
	"fmt"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
)

// each is the grid of the kernels that work on neighbours of a row: see each in gpu.h.
func each(rows, cols int) gpu.Grid {
	threads := 32
	for threads < 256 && 4*threads < cols {
		threads *= 2
	}
	return line(rows*ceil(cols, 4*threads), threads)
}

// flat sees dense tensors of one shape as one row.
func flat(ts ...*kernels.Tensor) {
	for _, t := range ts {
		if !t.Dense() {
			return
		}
	}
	for _, t := range ts {
		*t = t.Reshape(min(1, t.Len()), t.Len())
	}
}

// addr adds the address of t's first element and its stride.
func addr(a *gpu.Args, p gpu.Ptr, t kernels.Tensor) *gpu.Args { return a.Ptr(p).Long(int64(t.Stride)) }

// suffix is the name of a type in the names of kernels.
func suffix(t kernels.DType) string { return "_" + t.String() }

// result is the address of an output that may be F32 or BF16.
func (d *Device) result(op string, y kernels.Tensor, rows, cols int) gpu.Ptr {
	if y.Type == kernels.BF16 {
		return d.tensor(op, "y", y, kernels.BF16, rows, cols)
	}
	return d.f32(op, "y", y, rows, cols)
}

// normThreads is the size of a block for a norm of n elements.
func normThreads(n int) int { return min(256, max(32, ceil(n, 128)*32)) }

// Embed is a gather from a weight.
func (d *Device) Embed(y kernels.Tensor, kw kernels.Weight, kb kernels.Batch) {
	const op = "Embed"
	w, b := d.weight(op, kw), d.rowsOf(op, kb, y.Rows)
	d.below(op, b, "id", b.lastID, w.n)
	d.rowsOfWeight(op, y, w, b.p, 0)
}

// Unpack widens rows of a weight.
func (d *Device) Unpack(dst kernels.Tensor, kw kernels.Weight, row0 int) {
	const op = "Unpack"
	w := d.weight(op, kw)
	w.has(op, row0, dst.Rows)
	d.rowsOfWeight(op, dst, w, 0, row0)
}

func (d *Device) rowsOfWeight(op string, y kernels.Tensor, w *weight, ids gpu.Ptr, row0 int) {
	a := addr(d.arg(), d.f32(op, "y", y, -1, w.k), y).Ptr(w.p).Ptr(w.scales).Long(int64(w.ld))
	d.launch("rows_of"+suffix(w.t), each(y.Rows, w.k), a.Ptr(ids).Long(int64(row0)).Long(int64(w.k)))
}

// EmbedBackward adds rows of one id in the order of the tokens.
func (d *Device) EmbedBackward(dw, dy kernels.Tensor, kb kernels.Batch) {
	const op = "EmbedBackward"
	b := d.rowsOf(op, kb, dy.Rows)
	d.below(op, b, "id", b.lastID, dw.Rows)
	d.scatterAdd(op, dw, dy, b.p)
}

// ScatterAdd adds rows, those of one index in their order.
func (d *Device) ScatterAdd(dst, src, idx kernels.Tensor) {
	const op = "ScatterAdd"
	d.scatterAdd(op, dst, src, d.tensor(op, "idx", idx, kernels.I32, src.Rows, 1))
}

func (d *Device) scatterAdd(op string, dst, src kernels.Tensor, idx gpu.Ptr) {
	a := addr(d.arg(), d.f32(op, "dst", dst, -1, src.Cols), dst)
	d.launch("scatter_add", line(src.Rows, 256), addr(a, d.f32(op, "src", src, -1, -1),
		src).Ptr(idx).Int(src.Rows).Long(int64(src.Cols)))
}

// Gather copies rows.
func (d *Device) Gather(dst, src, idx kernels.Tensor) {
	const op = "Gather"
	a := addr(d.arg(), d.f32(op, "dst", dst, -1, src.Cols), dst)
	addr(a, d.f32(op, "src", src, -1, -1), src).Ptr(d.tensor(op, "idx", idx, kernels.I32, dst.Rows, 1))
	d.launch("gather", each(dst.Rows, src.Cols), a.Long(int64(src.Cols)))
}

// norms is the number of norms in a row of x, each as long as w, and that length.
func (d *Device) norms(op string, x, w kernels.Tensor) (heads, n int) {
	if x.Cols == w.Cols {
		return 1, x.Cols
	}
	if w.Cols == 0 || x.Cols%w.Cols != 0 {
		fail(op, "x is %v, w is %v: its width is not a multiple of that", x, w)
	}
	return x.Cols / w.Cols, w.Cols
}

// RMSNorm gives each norm a block.
func (d *Device) RMSNorm(y, x, w kernels.Tensor, eps float32, rstd kernels.Tensor) {
	const op = "RMSNorm"
	heads, n := d.norms(op, x, w)
	a := addr(d.arg(), d.result(op, y, x.Rows, x.Cols), y)
	addr(a, d.f32(op, "x", x, -1, -1), x).Ptr(d.vector(op, "w", w, 1, n))
	r := gpu.Ptr(0)
	if !rstd.IsZero() {
		r = d.f32(op, "rstd", rstd, x.Rows, heads)
	}
	if n > 0 {
		d.launch("rmsnorm"+suffix(y.Type), line(x.Rows*heads, normThreads(n)),
			addr(a, r, rstd).Int(heads).Int(n).Float(eps))
	}
}

// RMSNormBackward gives each norm a block for dx; dw is summed in blocks of 64 norms.
func (d *Device) RMSNormBackward(dx, dw, dy, x, w, rstd kernels.Tensor, add bool) {
	const op = "RMSNormBackward"
	heads, n := d.norms(op, x, w)
	if n == 0 {
		return
	}
	r := d.f32(op, "rstd", rstd, x.Rows, heads)
	if !dw.IsZero() {
		d.columns(d.vector(op, "dw", dw, 1, n), d.f32(op, "dy", dy, x.Rows, x.Cols), dy, d.f32(op, "x", x, -1, -1), x,
			r, rstd, heads, n)
	}
	a := addr(d.arg(), d.f32(op, "dx", dx, x.Rows, x.Cols), dx)
	addr(a, d.f32(op, "dy", dy, x.Rows, x.Cols), dy)
	addr(a, d.f32(op, "x", x, -1, -1), x).Ptr(d.vector(op, "w", w, 1, n))
	d.launch("rmsnorm_backward", line(x.Rows*heads, normThreads(n)), addr(a, r, rstd).Int(heads).Int(n).Int(toInt(add)))
}

// BiasBackward sums columns in blocks of 64 rows.
func (d *Device) BiasBackward(db, dy kernels.Tensor) {
	const op = "BiasBackward"
	d.columns(d.vector(op, "db", db, 1, dy.Cols), d.f32(op, "dy", dy, -1, -1), dy, 0, kernels.Tensor{}, 0,
		kernels.Tensor{}, 1, dy.Cols)
}

// columns adds to y[n] the sums over norms of dy, or of dy * x * rstd.
func (d *Device) columns(y, dyp gpu.Ptr, dy kernels.Tensor, xp gpu.Ptr, x kernels.Tensor, rp gpu.Ptr,
	rstd kernels.Tensor, heads, n int) {
	norms := dy.Rows * heads
	blocks, strips := ceil(norms, 64), ceil(n, 256)
	if blocks*n == 0 {
		return
	}
	part := d.need(forPartials, int64(4*blocks*n))
	a := addr(d.arg().Ptr(part), dyp, dy)
	d.launch("column_sums", line(blocks*strips, 256), addr(addr(a, xp, x), rp, rstd).Int(norms).Int(heads).Int(n))
	d.launch("add_columns", line(strips, 256), d.arg().Ptr(y).Ptr(part).Int(blocks).Int(n))
}

func toInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// RoPE turns a pair of elements a thread.
func (d *Device) RoPE(x kernels.Tensor, heads int, kb kernels.Batch, table kernels.Tensor, inverse bool) {
	const op = "RoPE"
	b, dim := d.rowsOf(op, kb, x.Rows), table.Cols
	if dim%2 != 0 || heads < 0 {
		fail(op, "%d heads of %d", heads, dim)
	}
	d.below(op, b, "position", b.lastPos, table.Rows)
	a := addr(d.arg(), d.f32(op, "x", x, -1, heads*dim), x)
	addr(a, d.f32(op, "table", table, -1, -1), table).Ptr(b.word(b.posAt()))
	d.launch("rope", each(x.Rows, heads*dim/2), a.Int(heads).Int(dim).Int(toInt(inverse)))
}

// KVWrite scatters keys and values into the pages.
func (d *Device) KVWrite(c kernels.KV, layer int, k, v kernels.Tensor, kb kernels.Batch) {
	const op = "KVWrite"
	x := d.kv(op, c, layer)
	b, s := d.over(op, kb, k.Rows, x), x.spec
	a := addr(d.arg().Ptr(x.keys(layer)).Ptr(x.values(layer)), d.f32(op, "k", k, -1, s.KVHeads*s.HeadDim), k)
	addr(a, d.f32(op, "v", v, k.Rows, k.Cols), v).Ptr(b.word(b.slotsAt()))
	d.launch("kv_write"+suffix(s.Type), each(k.Rows, k.Cols), a.Int(s.KVHeads).Int(s.HeadDim))
}

// KVCopy copies pages, a block for each of them and layer.
func (d *Device) KVCopy(c kernels.KV, dst, src []int32) {
	const op = "KVCopy"
	d.outside(op)
	x := d.kv(op, c, 0)
	if len(dst) != len(src) {
		fail(op, "%d pages to %d", len(src), len(dst))
	}
	pairs := make([]uint32, 0, 2*len(dst))
	for i := range dst {
		for _, p := range [2]int32{dst[i], src[i]} {
			if p < 0 || int(p) >= x.spec.Pages {
				fail(op, "page %d of %d", p, x.spec.Pages)
			}
			pairs = append(pairs, uint32(p))
		}
	}
	if len(pairs) == 0 {
		return
	}
	p := d.need(forPartials, int64(4*len(pairs)))
	if d.err != nil {
		return
	}
	d.note(d.gpu.Upload(p, bytesOf(pairs)))
	a := d.arg().Ptr(x.p).Ptr(p).Int(2 * x.spec.Layers).Long(x.layerBytes() / 16).Int(int(x.pageBytes() / 16))
	d.launch("kv_copy", line(2*x.spec.Layers*len(dst), 256), a)
}

// SwiGLU is elementwise.
func (d *Device) SwiGLU(y, gate, up kernels.Tensor) {
	const op = "SwiGLU"
	yp := d.result(op, y, gate.Rows, gate.Cols)
	gp, upp := d.f32(op, "gate", gate, -1, -1), d.f32(op, "up", up, gate.Rows, gate.Cols)
	flat(&y, &gate, &up)
	a := addr(addr(addr(d.arg(), yp, y), gp, gate), upp, up)
	d.launch("swiglu"+suffix(y.Type), each(y.Rows, y.Cols), a.Long(int64(y.Cols)))
}

// SwiGLUBackward is elementwise.
func (d *Device) SwiGLUBackward(dgate, dup, dy, gate, up kernels.Tensor) {
	const op = "SwiGLUBackward"
	ts := []*kernels.Tensor{&dgate, &dup, &dy, &gate, &up}
	var ps [5]gpu.Ptr
	for i, t := range ts {
		ps[i] = d.f32(op, fmt.Sprintf("tensor %d", i), *t, dy.Rows, dy.Cols)
	}
	flat(ts...)
	a := d.arg()
	for i, t := range ts {
		addr(a, ps[i], *t)
	}
	d.launch("swiglu_backward", each(dy.Rows, dy.Cols), a.Long(int64(dy.Cols)))
}

package cpu

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
)

// panelCols is the number of columns of y, rows of a weight, in a panel.
const panelCols = 32

// weight is a matrix [n, k] in panels of 32 rows, the last one padded with zeros. A panel is a sequence of steps, in
// the order in which a chain consumes k, each of 32 columns:
//
//	F32   [n/32][k]   [32]     a step is one k
//	BF16  [n/32][k/2] [32][2]  a step is two k; k is padded with zeros to a multiple of 32, so that blocks of 32 x 32 are full
//	Q8    [n/32][k/32]         a step is a group of 32 k: see q8.go
//	Q4    [n/32][k/32]         the same: see q4.go
type weight struct {
	n, k  int
	t     kernels.DType
	steps int
	buf   *buffer
}

func (w *weight) Shape() (n, k int)   { return w.n, w.k }
func (w *weight) Type() kernels.DType { return w.t }
func (w *weight) Bytes() int64        { return w.buf.Bytes() }
func (w *weight) Free()               { w.buf.Free() }
func (w *weight) String() string      { return fmt.Sprintf("weight %v[%d, %d]", w.t, w.n, w.k) }

func (w *weight) panels() int { return (w.n + panelCols - 1) / panelCols }

// stepBytes is the size of a step of 32 columns.
func (w *weight) stepBytes() int {
	switch w.t {
	case kernels.Q8:
		return q8Block
	case kernels.Q4:
		return q4Block
	}
	return 4 * panelCols
}

// panel is panel p in words of 4 bytes: [steps][32] of an F32 or BF16 weight.
func (w *weight) panel(p int) []uint32 {
	size := w.steps * w.stepBytes() / 4
	return elems[uint32](w.buf.mem)[p*size:][:size:size]
}

// newWeight computes the layout of a weight without allocating it.
func newWeight(n, k int, t kernels.DType) (*weight, error) {
	w := &weight{n: n, k: k, t: t}
	switch {
	case n < 0 || k < 0:
		return nil, fmt.Errorf("cpu: weight [%d, %d]: negative shape", n, k)
	case t == kernels.F32:
		w.steps = k
	case t == kernels.BF16:
		w.steps = (k + panelCols - 1) / panelCols * panelCols / 2
	case t.Quantised():
		w.steps = (k + q8Group - 1) / q8Group
	default:
		return nil, fmt.Errorf("cpu: weight of type %v: use f32, bf16, q8 or q4", t)
	}
	return w, nil
}

// size is the bytes that w takes.
func (w *weight) size() int64 { return int64(w.panels()) * int64(w.steps) * int64(w.stepBytes()) }

// NewWeight makes room for a weight [n, k], zeroed.
func (d *Device) NewWeight(n, k int, t kernels.DType) (kernels.Weight, error) {
	w, err := newWeight(n, k, t)
	if err != nil {
		return nil, err
	}
	if w.buf, err = d.slabs.alloc(w.size()); err != nil {
		return nil, fmt.Errorf("%v: %w", w, err)
	}
	return w, nil
}

// asWeight converts w to a weight of this package, or panics.
func asWeight(op string, w kernels.Weight) *weight {
	c, ok := w.(*weight)
	if !ok {
		panic(fmt.Sprintf("cpu: %s: a weight of another device: %T", op, w))
	}
	return c
}

// PackHost packs rows of w from host bytes.
func (d *Device) PackHost(kw kernels.Weight, row0 int, rows []byte, src kernels.DType) {
	w := asWeight("PackHost", kw)
	size := src.Size() * w.k
	switch {
	case src == kernels.F32 || src == kernels.BF16 || src == kernels.F16:
	case src == kernels.Q8 && w.t == kernels.Q8:
		size = kernels.Q8RowBytes(w.k)
	case src == kernels.Q4 && w.t == kernels.Q4:
		size = kernels.Q4RowBytes(w.k)
	default:
		panic(fmt.Sprintf("cpu: PackHost: rows of type %v for %v", src, w))
	}
	if size == 0 || len(rows) == 0 {
		return
	}
	n := len(rows) / size
	if len(rows)%size != 0 || row0 < 0 || row0+n > w.n {
		panic(fmt.Sprintf("cpu: PackHost: %d bytes of %v at row %d of %v", len(rows), src, row0, w))
	}
	d.packPanels(w, row0, n, func(r int) rowSource { return rowSource{rows[(r-row0)*size:][:size], src} })
}

// Pack packs all of w from master.
func (d *Device) Pack(kw kernels.Weight, row0 int, rows kernels.Tensor) {
	w, m := asWeight("Pack", kw), f32(rows)
	shape("Pack", "rows", rows, rows.Rows, w.k)
	if row0 < 0 || row0+rows.Rows > w.n {
		panic(fmt.Sprintf("cpu: Pack: rows [%d, %d) of %v", row0, row0+rows.Rows, w))
	}
	if w.k == 0 {
		return
	}
	d.packPanels(w, row0, rows.Rows, func(r int) rowSource { return floatRow(m[(r-row0)*rows.Stride:][:w.k]) })
}

// rowSource is a row of a matrix as bytes of type t. A Q8 or Q4 row has the layout that PackHost describes.
type rowSource struct {
	b []byte
	t kernels.DType
}

func floatRow(x []float32) rowSource { return rowSource{asBytes(x), kernels.F32} }

// packPanels writes rows [row0, row0+n) of w, one task per panel.
func (d *Device) packPanels(w *weight, row0, n int, row func(r int) rowSource) {
	if n == 0 {
		return
	}
	first, last := row0/panelCols, (row0+n-1)/panelCols
	d.pool.Run(last-first+1, func(task int) {
		p := first + task
		d.packRows(w, p, max(row0, p*panelCols), min(row0+n, (p+1)*panelCols), row)
	})
}

// packRows writes rows [lo, hi) of w, all in panel p. F32 and BF16 rows are packed by blocks of 16 x 16 words where
// possible.
func (d *Device) packRows(w *weight, p, lo, hi int, row func(r int) rowSource) {
	if w.t.Quantised() {
		d.gemm.quantiseRows(w, lo, hi, row)
		return
	}
	dst := w.panel(p)
	for r := lo; r < hi; {
		if r%16 == 0 && hi-r >= 16 {
			done := d.gemm.packBlock(w, dst[r%panelCols:], r, row)
			for i := range 16 {
				packRow(w, dst, r+i, row(r+i), done)
			}
			r += 16
			continue
		}
		packRow(w, dst, r, row(r), 0)
		r++
	}
}

// packRow writes steps [from, w.steps) of row r.
func packRow(w *weight, panel []uint32, r int, src rowSource, from int) {
	col := r % panelCols
	if w.t == kernels.F32 {
		for s := from; s < w.steps; s++ {
			panel[s*panelCols+col] = src.f32bits(s)
		}
		return
	}
	full := w.k / 2
	switch src.t {
	case kernels.F32:
		for s := from; s < full; s++ {
			panel[s*panelCols+col] = uint32(num.BF16FromF32(float(src.u32(2*s)))) | uint32(
				num.BF16FromF32(float(src.u32(2*s+1))))<<16
		}
	case kernels.BF16:
		for s := from; s < full; s++ {
			panel[s*panelCols+col] = src.u32(s)
		}
	default:
		for s := from; s < full; s++ {
			panel[s*panelCols+col] = uint32(src.bf16bits(2*s)) | uint32(src.bf16bits(2*s+1))<<16
		}
	}
	if w.k%2 == 1 {
		panel[full*panelCols+col] = uint32(src.bf16bits(w.k - 1))
	}
}

func (r rowSource) u16(i int) uint16 { return binary.LittleEndian.Uint16(r.b[2*i:]) }
func (r rowSource) u32(i int) uint32 { return binary.LittleEndian.Uint32(r.b[4*i:]) }

// aligned reports whether the row can be seen as float32 in place.
func (r rowSource) aligned() bool { return uintptr(unsafe.Pointer(unsafe.SliceData(r.b)))%4 == 0 }

func (r rowSource) floats() []float32 { return elems[float32](r.b) }

// widen copies the row to x.
func (r rowSource) widen(x []float32) {
	for i := range x {
		x[i] = float(r.f32bits(i))
	}
}

func (r rowSource) f32bits(i int) uint32 {
	switch r.t {
	case kernels.F32:
		return r.u32(i)
	case kernels.BF16:
		return uint32(r.u16(i)) << 16
	}
	return bits(num.F32FromF16(r.u16(i)))
}

func (r rowSource) bf16bits(i int) uint16 {
	if r.t == kernels.BF16 {
		return r.u16(i)
	}
	return num.BF16FromF32(float(r.f32bits(i)))
}

// Unpack widens rows [row0, row0+dst.Rows) of w to dst.
func (d *Device) Unpack(dst kernels.Tensor, kw kernels.Weight, row0 int) {
	w, y := asWeight("Unpack", kw), f32(dst)
	if dst.Cols != w.k || row0 < 0 || row0+dst.Rows > w.n {
		panic(fmt.Sprintf("cpu: Unpack: rows at %d of %v to %v", row0, w, dst))
	}
	d.pool.Run(dst.Rows, func(r int) {
		if w.k > 0 {
			w.row(y[r*dst.Stride:][:w.k], row0+r)
		}
	})
}

// row widens row r to y [k].
func (w *weight) row(y []float32, r int) {
	col := r % panelCols
	switch w.t {
	case kernels.Q8, kernels.Q4:
		q8Row(y, w, r)
	case kernels.F32:
		p := w.panel(r / panelCols)
		for s := range y {
			y[s] = float(p[s*panelCols+col])
		}
	default:
		p := w.panel(r / panelCols)
		for i := 0; i+1 < len(y); i += 2 {
			u := p[i/2*panelCols+col]
			y[i], y[i+1] = float(u<<16), float(u&0xffff0000)
		}
		if n := len(y); n%2 == 1 {
			y[n-1] = float(p[n/2*panelCols+col] << 16)
		}
	}
}

package cuda

import (
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
	"github.com/zerosearch-go/zerosearch/num"
)

// packChunk bounds what is uploaded at once when a weight is loaded. A variable for tests.
var packChunk = 32 << 20

// has panics unless w has rows [row0, row0+n).
func (w *weight) has(op string, row0, n int) {
	if row0 < 0 || row0+n > w.n {
		fail(op, "rows [%d, %d) of %v[%d, %d]", row0, row0+n, w.t, w.n, w.k)
	}
}

// PackHost uploads rows in chunks and converts them on the GPU.
func (d *Device) PackHost(kw kernels.Weight, row0 int, rows []byte, src kernels.DType) {
	const op = "PackHost"
	d.outside(op)
	w := d.weight(op, kw)
	stride := w.k * src.Size()
	switch {
	case src == kernels.F32 || src == kernels.BF16 || src == kernels.F16:
	case src == kernels.Q8 && w.t == kernels.Q8:
		stride = kernels.Q8RowBytes(w.k)
	default:
		fail(op, "rows of type %v into %v", src, w.t)
	}
	n := len(rows) / stride
	if len(rows)%stride != 0 {
		fail(op, "%d bytes of %v are no rows of %d", len(rows), src, w.k)
	}
	w.has(op, row0, n)
	per := max(1, packChunk/stride)
	for at := 0; at < n && d.err == nil; at += per {
		d.packRows(w, row0+at, rows[at*stride:min(at+per, n)*stride], src, min(per, n-at))
	}
}

// packRows uploads n rows and packs them.
func (d *Device) packRows(w *weight, row0 int, rows []byte, src kernels.DType, n int) {
	raw := d.need(forPartials, int64(len(rows)))
	if d.err != nil {
		return
	}
	d.note(d.gpu.Upload(raw, rows))
	if src == kernels.Q8 {
		d.launch("pack_raw_q8", line(n, 256), d.arg().Ptr(w.p).Ptr(w.scales).Long(int64(w.ld)).Long(int64(row0)).
			Ptr(raw).Int(w.k))
		return
	}
	if src != kernels.F32 {
		wide := d.need(forResults, int64(4*n*w.k))
		d.launch("copy_f32"+suffix(src), each(1, n*w.k), d.arg().Ptr(wide).Long(0).Ptr(raw).Long(0).Long(int64(n*w.k)))
		raw = wide
	}
	if d.err == nil {
		d.packF32(w, row0, kernels.Tensor{Rows: n, Cols: w.k, Stride: w.k}, raw)
	}
}

// Pack converts an F32 tensor.
func (d *Device) Pack(kw kernels.Weight, row0 int, rows kernels.Tensor) {
	const op = "Pack"
	w := d.weight(op, kw)
	w.has(op, row0, rows.Rows)
	d.packF32(w, row0, rows, d.f32(op, "rows", rows, -1, w.k))
}

// packF32 packs F32 rows at p into w, rounding.
func (d *Device) packF32(w *weight, row0 int, rows kernels.Tensor, p gpu.Ptr) {
	if w.t == kernels.Q8 {
		a := addr(d.arg().Ptr(w.p).Ptr(w.scales).Long(int64(w.ld)).Long(int64(row0)), p, rows)
		groups := ceil(w.k, num.Q8Group)
		warps := min(groups, 8)
		d.launch("pack_q8", line(rows.Rows*ceil(groups, warps), 32*warps), a.Int(w.k))
		return
	}
	to := w.p + gpu.Ptr(row0*w.ld*w.t.Size())
	a := addr(d.arg().Ptr(to).Long(int64(w.ld)), p, rows)
	d.launch("copy"+suffix(w.t)+"_f32", each(rows.Rows, w.k), a.Long(int64(w.k)))
}

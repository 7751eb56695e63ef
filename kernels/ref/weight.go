package ref

import (
	"encoding/binary"
	"math"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
)

// weight holds [N, K] row-major: values rounded to its type; for Q8 and Q4 also the groups that the values were
// widened from.
type weight struct {
	owned
	n, k int
	t    kernels.DType
	data []float32
	q    []groups // one a row
}

func (d *device) NewWeight(n, k int, t kernels.DType) (kernels.Weight, error) {
	c := d.begin("NewWeight")
	defer c.end()
	if n < 0 || k < 0 || t != kernels.F32 && t != kernels.BF16 && !t.Quantised() {
		c.fail("%v[%d, %d]", t, n, k)
	}
	w := &weight{n: n, k: k, t: t, data: make([]float32, n*k)}
	if t.Quantised() {
		w.q = make([]groups, n)
		for i := range w.q {
			w.q[i] = newGroups(k)
		}
	}
	d.own(w, &w.owned)
	return w, nil
}

func (w *weight) Shape() (n, k int)   { return w.n, w.k }
func (w *weight) Type() kernels.DType { return w.t }

func (w *weight) Bytes() int64 { return kernels.DenseWeightBytes(w.n, w.k, w.t) }

func (w *weight) Free() {
	w.d.disown(w, &w.owned)
	w.data, w.q = nil, nil
}

// weight checks that w is a live weight of this device.
func (c call) weight(w kernels.Weight) *weight {
	r, ok := w.(*weight)
	if !ok {
		c.fail("weight is a %T", w)
	}
	c.alive("weight", &r.owned)
	return r
}

// row is row n of w, widened.
func (w *weight) row(n int) []float32 { return w.data[n*w.k:][:w.k] }

// set rounds values to the type of w and stores them in its row n.
func (w *weight) set(n int, values []float32) {
	switch w.t {
	case kernels.Q8:
		w.q[n] = quantizeWeight(values)
	case kernels.Q4:
		w.q[n] = quantizeWeight4(values)
	default:
		copy(w.row(n), rounded(w.t, values))
		return
	}
	copy(w.row(n), w.q[n].widen())
}

// setQ8 sets row n from a quantised row: k signed bytes, then the scales.
func (w *weight) setQ8(n int, row []byte) {
	for k, b := range row[:w.k] {
		w.q[n].q[k] = int32(int8(b))
	}
	for i := range w.q[n].scale {
		w.q[n].scale[i] = num.F32FromF16(binary.LittleEndian.Uint16(row[w.k+2*i:]))
	}
	copy(w.row(n), w.q[n].widen())
}

// setQ4 sets row n from a quantised row: 16 bytes for each group, then the heads.
func (w *weight) setQ4(n int, row []byte) {
	heads := row[16*len(w.q[n].scale):]
	for i := range w.q[n].scale {
		var q [groupSize]uint8
		for j, b := range row[16*i:][:16] {
			q[j], q[16+j] = b&15, b>>4
		}
		w.q[n].set4(i, binary.LittleEndian.Uint16(heads[2*i:]), q[:])
	}
	copy(w.row(n), w.q[n].widen())
}

func (d *device) PackHost(wt kernels.Weight, row0 int, rows []byte, src kernels.DType) {
	c := d.begin("PackHost")
	defer c.end()
	w := c.weight(wt)
	stride := w.k * src.Size()
	switch {
	case src == kernels.F32 || src == kernels.BF16 || src == kernels.F16:
	case src == kernels.Q8 && w.t == kernels.Q8:
		stride = kernels.Q8RowBytes(w.k)
	case src == kernels.Q4 && w.t == kernels.Q4:
		stride = kernels.Q4RowBytes(w.k)
	default:
		c.fail("rows of type %v into %v", src, w.t)
	}
	if stride == 0 {
		return
	}
	if row0 < 0 || len(rows)%stride != 0 || row0+len(rows)/stride > w.n {
		c.fail("%d bytes of %v from row %d into %v[%d, %d]", len(rows), src, row0, w.t, w.n, w.k)
	}
	for i := range len(rows) / stride {
		row := rows[i*stride:][:stride]
		switch src {
		case kernels.Q8:
			w.setQ8(row0+i, row)
		case kernels.Q4:
			w.setQ4(row0+i, row)
		default:
			w.set(row0+i, widenBytes(row, src))
		}
	}
}

// widenBytes reads little-endian elements of type src.
func widenBytes(b []byte, src kernels.DType) []float32 {
	v := make([]float32, len(b)/src.Size())
	for i := range v {
		switch at := b[i*src.Size():]; src {
		case kernels.F32:
			v[i] = math.Float32frombits(binary.LittleEndian.Uint32(at))
		case kernels.BF16:
			v[i] = num.F32FromBF16(binary.LittleEndian.Uint16(at))
		case kernels.F16:
			v[i] = num.F32FromF16(binary.LittleEndian.Uint16(at))
		}
	}
	return v
}

func (d *device) Pack(wt kernels.Weight, row0 int, rows kernels.Tensor) {
	c := d.begin("Pack")
	defer c.end()
	w := c.weight(wt)
	m := c.f32("rows", rows, -1, w.k)
	c.within(w, row0, m.rows)
	for n := range m.rows {
		w.set(row0+n, m.row(n))
	}
}

func (d *device) Unpack(dst kernels.Tensor, wt kernels.Weight, row0 int) {
	c := d.begin("Unpack")
	defer c.end()
	w := c.weight(wt)
	y := c.f32("dst", dst, -1, w.k)
	c.within(w, row0, y.rows)
	for i := range y.rows {
		copy(y.row(i), w.row(row0+i))
	}
}

package cuda

import (
	"errors"
	"fmt"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
	"github.com/zerosearch-go/zerosearch/num"
)

// kStep is what K is padded to: a tile of a product takes that many at once, and never looks whether they are there.
const kStep = 64

// weight is a matrix [N, K], row-major, each row padded with zeros to ld elements. Of Q8 the groups' scales, F16 [N,
// ld/32], follow the bytes. Weights of one group lie in one store, one after the other by rows, so that a product of
// all of them is one.
type weight struct {
	d      *Device
	n, k   int
	ld     int
	t      kernels.DType
	p      gpu.Ptr // of row 0
	scales gpu.Ptr // of row 0, of Q8
	store  *store
}

// store is the memory of a group of weights; who is freed last frees it.
type store struct {
	*buffer
	rows  int // of all weights together
	users int
}

func (w *weight) Shape() (n, k int)   { return w.n, w.k }
func (w *weight) Type() kernels.DType { return w.t }
func (w *weight) Bytes() int64        { return int64(w.n) * rowBytes(w.t, w.ld) }

// Free frees the memory with the last weight of a group.
func (w *weight) Free() {
	if w.d == nil {
		panic("cuda: second Free of a weight")
	}
	w.d = nil
	if w.store.users--; w.store.users == 0 {
		w.store.Free()
	}
}

// rowBytes is the size of a row of ld elements.
func rowBytes(t kernels.DType, ld int) int64 {
	if t == kernels.Q8 {
		return int64(kernels.Q8RowBytes(ld))
	}
	return int64(ld * t.Size())
}

// NewWeight makes room for one weight.
func (d *Device) NewWeight(n, k int, t kernels.DType) (kernels.Weight, error) {
	ws, err := d.NewWeights(k, t, n)
	if err != nil {
		return nil, err
	}
	return ws[0], nil
}

// ErrQ4 is the error of NewWeights for weights of type Q4.
var ErrQ4 = errors.New("q4 is not available on CUDA: use q8 or bf16")

// NewWeights makes room for weights that share their input.
func (d *Device) NewWeights(k int, t kernels.DType, n ...int) ([]kernels.Weight, error) {
	if t == kernels.Q4 {
		return nil, ErrQ4
	}
	if k < 1 || t != kernels.F32 && t != kernels.BF16 && t != kernels.Q8 {
		fail("NewWeights", "%v of %d columns", t, k)
	}
	rows := 0
	for _, x := range n {
		if x < 1 {
			fail("NewWeights", "%v of %v rows", t, n)
		}
		rows += x
	}
	ld := ceil(k, kStep) * kStep
	buf, err := d.alloc(int64(rows) * rowBytes(t, ld))
	if err != nil {
		return nil, fmt.Errorf("a weight [%d, %d] of %v: %w", rows, k, t, err)
	}
	s := &store{buf, rows, len(n)}
	var all []kernels.Weight
	row := 0
	for _, x := range n {
		w := &weight{d: d, n: x, k: k, ld: ld, t: t, store: s}
		if t == kernels.Q8 {
			w.p = buf.p + gpu.Ptr(row*ld)
			w.scales = buf.p + gpu.Ptr(rows*ld+2*row*ld/num.Q8Group)
		} else {
			w.p = buf.p + gpu.Ptr(row*ld*t.Size())
		}
		all = append(all, w)
		row += x
	}
	return all, nil
}

// weight is w as one of d.
func (d *Device) weight(op string, w kernels.Weight) *weight {
	x, ok := w.(*weight)
	if !ok || x.d != d {
		fail(op, "a %T that is not, or no longer, a weight of %s", w, d.name)
	}
	return x
}

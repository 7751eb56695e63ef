package cuda

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"unsafe"

	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
)

// Before the library computes products of a shape, it is tried on random numbers. An algorithm for many rows is chosen
// once; row 0 of y must have the same bits with any number of rows below it and in a product with a part of the
// weight's rows; and the numbers must be those of our own kernel, but for rounding. Smaller numbers of rows get an
// algorithm of their own where that gives the same bits. A shape that fails is left to our own kernels.

// checkRows are the numbers of rows that are compared. A variable for tests.
var checkRows = []int{1, 16, 64, 320, 1024, 8192}

const (
	checkBytes = 64 << 20 // what a matrix takes at most: less of the weight, or fewer rows, are tried
	dwRows     = 2048     // for which an algorithm of dw is chosen
	ownRows    = 16       // that are compared with our own kernel
	ownShare   = 1e-3     // of the largest element that they may differ
)

// trial is memory for products of a shape.
type trial struct {
	d       *Device
	s       shape
	n       int // of the rows of a weight that take part in products
	rows    int // at most
	ld      int // of matrices with k columns
	a, b, y gpu.Ptr
	all     []gpu.Ptr
}

// try chooses algorithms for s.
func (d *Device) try(s shape) *plan {
	p := &plan{}
	if s.op == opDX && s.n%8 != 0 {
		p.why = "its sums run over a number of rows that is no multiple of 8"
		return p
	}
	t := &trial{d: d, s: s, ld: ceil(s.k, kStep) * kStep}
	defer t.free()
	if err := t.choose(p); err != nil {
		p.why = err.Error()
	}
	return p
}

func (t *trial) choose(p *plan) error {
	if err := t.prepare(); err != nil {
		return err
	}
	large := rowLimits[len(rowLimits)-1]
	if t.s.op == opDW {
		large = dwRows
	}
	main, err := t.algorithm(large, t.counts())
	if err != nil {
		return err
	}
	for i := range p.algorithms {
		p.algorithms[i] = main
	}
	if err := t.compareOwn(&main); err != nil {
		return err
	}
	if t.s.op != opY { // the same bits for any number of rows are asked of y alone
		return nil
	}
	want, err := t.invariant(&main, t.counts(), nil)
	if err != nil {
		return err
	}
	for i, most := range rowLimits[:len(rowLimits)-1] {
		few := []int{1, most}
		if i > 0 {
			few[0] = rowLimits[i-1] + 1
		}
		few = slices.DeleteFunc(few, func(rows int) bool { return rows > t.rows })
		own, err := t.algorithm(most, few)
		if err != nil || own == main || len(few) == 0 {
			continue
		}
		if _, err := t.invariant(&own, few, want); err == nil {
			p.algorithms[i] = own
		}
	}
	return nil
}

// counts are the numbers of rows that fit.
func (t *trial) counts() (all []int) {
	for _, rows := range checkRows {
		if rows <= t.rows {
			all = append(all, rows)
		}
	}
	return all
}

// prepare fills memory with random numbers.
func (t *trial) prepare() (err error) {
	t.n = max(8, min(t.s.n, checkBytes/(4*t.ld)/8*8))
	t.n = min(t.n, t.s.n)
	t.rows = max(ownRows, min(slices.Max(checkRows), checkBytes/max(4*t.n, 2*t.ld)))
	a, b, y := t.operands(t.rows, t.n)
	width := t.n
	if t.s.op == opY {
		width = t.s.k
	}
	if t.a, err = t.random(a, width, 1); err == nil {
		if t.b, err = t.random(b, t.s.k, 2); err == nil {
			t.y, err = t.alloc(4 * int64(y.rows) * int64(y.pieces[0].ld))
		}
	}
	return err
}

// operands are the matrices of a product with so many rows of x and n rows of a weight, and where it goes.
func (t *trial) operands(rows, n int) (a, b matrix, o target) {
	k := t.s.k
	dy := matrix{t.a, unitsOf(n), rows, unitsOf(n)}
	w := matrix{t.b, t.ld, n, t.ld}
	o = target{rows: rows, scale: 1}
	cols := k
	switch t.s.op {
	case opY:
		a, b, cols = matrix{t.a, t.ld, rows, unitsOf(k)}, w, n
	case opDX:
		a, b = dy, w
	case opDW:
		a, b, o.rows = dy, matrix{t.b, t.ld, rows, unitsOf(k)}, n
	}
	o.piece(t.y, 0, ceil(cols, 4)*4, cols)
	return a, b, o
}

func (t *trial) alloc(bytes int64) (gpu.Ptr, error) {
	p, err := t.d.gpu.Alloc(bytes)
	if err == nil {
		t.all = append(t.all, p)
	}
	return p, err
}

func (t *trial) free() {
	for _, p := range t.all {
		t.d.note(t.d.gpu.Free(p))
	}
}

// random is a matrix of BF16, zeros from column width on, in which few rows repeat: they come from the host.
func (t *trial) random(m matrix, width int, seed uint64) (gpu.Ptr, error) {
	row := 2 * int64(m.ld)
	p, err := t.alloc(row * int64(m.rows))
	if err != nil {
		return 0, err
	}
	r, have := rand.New(rand.NewPCG(seed, uint64(m.ld))), min(m.rows, 64)
	host := make([]byte, int64(have)*row)
	for i := range have {
		for c := range width {
			x := float32(r.Float64()*2 - 1)
			binary.LittleEndian.PutUint16(host[int64(i)*row+2*int64(c):], uint16(math.Float32bits(x)>>16))
		}
	}
	if err := t.d.gpu.Upload(p, host); err != nil {
		return 0, err
	}
	for have < m.rows {
		n := min(have, m.rows-have)
		if err := t.d.gpu.Copy(p+gpu.Ptr(int64(have)*row), p, int64(n)*row); err != nil {
			return 0, err
		}
		have += n
	}
	return p, nil
}

// algorithm is the best one for the largest number of rows that can compute all products with these numbers of rows.
func (t *trial) algorithm(most int, counts []int) (gpu.Algorithm, error) {
	a, b, o := t.operands(most, t.s.n)
	m := mul(t.s.op, a, b, &o)
	kept := t.d.library.choices
	if one, ok := kept.get(t.s, most); ok && t.makes(&one, counts) == nil {
		return one, nil
	}
	all, err := t.d.library.Algorithms(&m)
	if err != nil {
		return gpu.Algorithm{}, err
	}
	for i := range all {
		if err = t.makes(&all[i], counts); err == nil {
			kept.put(t.s, most, all[i])
			return all[i], nil
		}
	}
	return gpu.Algorithm{}, err
}

func (t *trial) makes(algorithm *gpu.Algorithm, counts []int) error {
	for _, rows := range counts {
		a, b, o := t.operands(rows, t.s.n)
		m := mul(t.s.op, a, b, &o)
		if err := t.d.library.Check(&m, algorithm); err != nil {
			return err
		}
	}
	return nil
}

// run computes a product and returns that many rows of it, without padding.
func (t *trial) run(o *target, rows int, product func() error) ([]float32, error) {
	ld := o.pieces[0].ld
	if err := t.d.gpu.Zero(t.y, 4*int64(o.rows)*int64(ld)); err != nil {
		return nil, err
	}
	if err := product(); err != nil {
		return nil, err
	}
	got := make([]float32, rows*ld)
	e, err := t.d.gpu.Download(unsafe.Slice((*byte)(unsafe.Pointer(&got[0])), 4*len(got)), t.y)
	if err == nil {
		err = e.Wait()
	}
	for r := 1; r < rows; r++ {
		copy(got[r*o.cols:(r+1)*o.cols], got[r*ld:])
	}
	return got[:rows*o.cols], err
}

// library runs an algorithm of the library.
func (t *trial) library(algorithm *gpu.Algorithm, a, b matrix, o *target, rows int) ([]float32, error) {
	return t.run(o, rows, func() error {
		m := mul(t.s.op, a, b, o)
		return t.d.library.Multiply(&m, algorithm)
	})
}

// invariant compares row 0 of products with different numbers of rows, and with the second half of the weight's rows.
// want is row 0, or nil: any.
func (t *trial) invariant(algorithm *gpu.Algorithm, counts []int, want []float32) ([]float32, error) {
	for _, rows := range counts {
		a, b, o := t.operands(rows, t.n)
		got, err := t.library(algorithm, a, b, &o, 1)
		if err != nil {
			return nil, err
		}
		if want == nil {
			want = got
		}
		if i := differ(want, got); i >= 0 {
			return nil, fmt.Errorf("with %d rows column %d of row 0 has other bits: %v, %v", rows, i, got[i], want[i])
		}
	}
	half := t.n / 2
	if half == 0 {
		return want, nil
	}
	a, b, _ := t.operands(counts[len(counts)/2], t.n)
	b.p += gpu.Ptr(2 * half * b.ld)
	b.rows = t.n - half
	o := target{rows: a.rows, scale: 1}
	o.piece(t.y, 0, ceil(b.rows, 4)*4, b.rows)
	got, err := t.library(algorithm, a, b, &o, 1)
	if err != nil {
		return nil, err
	}
	if i := differ(want[half:], got); i >= 0 {
		return nil, fmt.Errorf("in a part of the weight column %d of row 0 has other bits: %v, %v", half+i, got[i],
			want[half+i])
	}
	return want, nil
}

// differ is the first index at which the bits differ, or -1.
func differ(x, y []float32) int {
	for i := range x {
		if math.Float32bits(x[i]) != math.Float32bits(y[i]) {
			return i
		}
	}
	return -1
}

// compareOwn compares a product with that of our own kernel.
func (t *trial) compareOwn(algorithm *gpu.Algorithm) error {
	a, b, o := t.operands(ownRows, t.n)
	got, err := t.library(algorithm, a, b, &o, o.rows)
	if err != nil {
		return err
	}
	want, err := t.run(&o, o.rows, func() error {
		t.d.tiles([][]tile{products, backProducts, outerProducts}[t.s.op], a, b, &o)
		return t.d.err
	})
	if err != nil {
		return err
	}
	most := 0.0
	for _, x := range want {
		most = max(most, math.Abs(float64(x)))
	}
	for i, x := range want {
		if diff := math.Abs(float64(got[i]) - float64(x)); !(diff <= ownShare*most) {
			return fmt.Errorf("element %d is %v, and the program's own kernel computes %v", i, got[i], x)
		}
	}
	return nil
}

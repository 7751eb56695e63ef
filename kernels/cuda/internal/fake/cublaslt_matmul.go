//go:build !nogpu && linux

package fake

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"
)

// product is a cublasLtMatmul whose descriptors fit together: D [m, n] = alpha op(A) op(B) + beta D.
type product struct {
	transA, transB bool
	m, n, k        int
	lda, ldb, ldd  int
}

const (
	blasF32, blasBF16 = 0, 14
	blasCompute32     = 68
)

// product puts descriptors together as the library does.
func (b *BLAS) product(h, desc, la, lb, lc, ld uintptr) (p product, status uintptr) {
	d, a, bb := object[blasDesc](b, desc), object[blasLayout](b, la), object[blasLayout](b, lb)
	c, o := object[blasLayout](b, lc), object[blasLayout](b, ld)
	if object[blasHandle](b, h) == nil {
		return p, b.refuse(BLASNotInitialised, "no handle")
	}
	if d == nil || a == nil || bb == nil || c == nil || o == nil {
		return p, b.refuse(BLASInvalidValue, "a descriptor is missing")
	}
	types := [5]uint32{uint32(d.compute), uint32(d.scale), a.kind, bb.kind, o.kind}
	if types != [5]uint32{blasCompute32, blasF32, blasBF16, blasBF16, blasF32} {
		return p, b.refuse(BLASNotSupported, "types of computing, scales, A, B and D: %d", types)
	}
	if uint32(d.transA) > 1 || uint32(d.transB) > 1 || *c != *o {
		return p, b.refuse(BLASInvalidValue, "transpositions %d and %d, C %v, D %v", d.transA, d.transB, *c, *o)
	}
	for _, l := range []*blasLayout{a, bb, o} {
		if l.rows == 0 || l.cols == 0 || l.ld < int64(l.rows) {
			return p, b.refuse(BLASInvalidValue, "a matrix [%d, %d] with %d elements a column", l.rows, l.cols, l.ld)
		}
	}
	am, ak, bk, bn := a.rows, a.cols, bb.rows, bb.cols
	if d.transA == 1 {
		am, ak = ak, am
	}
	if d.transB == 1 {
		bk, bn = bn, bk
	}
	if am != o.rows || bn != o.cols || ak != bk {
		return p, b.refuse(BLASInvalidValue, "[%d, %d] x [%d, %d] is not [%d, %d]", am, ak, bk, bn, o.rows, o.cols)
	}
	return product{d.transA == 1, d.transB == 1, int(am), int(bn), int(ak), int(a.ld), int(bb.ld), int(o.ld)}, 0
}

// aligned reports whether leading dimensions are those of an algorithm for operands aligned to 16 bytes.
func (p product) aligned() bool { return p.lda%8 == 0 && p.ldb%8 == 0 && p.ldd%4 == 0 }

// best is what the heuristic thinks of first: it depends on the number of columns.
func (b *BLAS) best(p product) blasAlgorithm {
	a := blasAlgorithm{magic: blasMagic, id: 66, splits: 1, workspace: 1 << 20}
	if p.n <= 16 {
		a.id = 68
		if b.Orders {
			a.order = 1
		}
	}
	return a
}

func ltHeuristic(h, desc, la, lb, lc, ld, pref, want uintptr, results *blasResult, n *int32) uintptr {
	return blas("MatmulAlgoGetHeuristic", func(m *Machine, b *BLAS) uintptr {
		p, status := b.product(h, desc, la, lb, lc, ld)
		if status != 0 {
			return status
		}
		x := object[blasPreference](b, pref)
		if x == nil || want < 1 {
			return b.refuse(BLASInvalidValue, "preferences %#x, %d algorithms", pref, want)
		}
		for _, a := range x.align {
			if a < 16 || !p.aligned() {
				return b.refuse(BLASNotSupported, "operands aligned to %d bytes: %+v", a, p)
			}
		}
		list := []blasResult{
			{algorithm: blasAlgorithm{magic: blasMagic, id: 70, splits: 1, workspace: 1 << 40}}, // more than there is
			{algorithm: b.best(p)},
			{algorithm: blasAlgorithm{magic: blasMagic, id: 67, splits: 2}}, // its splits are to be set to 1
		}
		if b.OnlySplit {
			list = list[2:]
		}
		if x.reductions&2 != 0 { // of the compute type: the best is one with split sums
			split := blasAlgorithm{magic: blasMagic, id: 21, splits: 4, reduction: 2}
			list = append([]blasResult{{algorithm: split}}, list...)
		}
		out := unsafe.Slice(results, want)
		*n = int32(copy(out, list))
		for i := range out[:*n] {
			if out[i].workspace = out[i].algorithm.workspace; out[i].workspace > x.workspace {
				out[i].state = BLASNotSupported
			}
		}
		return 0
	})
}

func ltCheck(h, desc, la, lb, lc, ld uintptr, a *blasAlgorithm, r *blasResult) uintptr {
	return blas("MatmulAlgoCheck", func(m *Machine, b *BLAS) uintptr {
		_, status := b.product(h, desc, la, lb, lc, ld)
		if status == 0 && (a.magic != blasMagic || a.splits < 1) {
			status = b.refuse(BLASInvalidValue, "an algorithm %+v", *a)
		}
		r.workspace, r.state = a.workspace, int32(status)
		return status
	})
}

func ltMatmul(h, desc uintptr, alpha *float32, a, la, bb, lb uintptr, beta *float32, c, lc, d, ld uintptr,
	algo *blasAlgorithm, workspace, bytes, stream uintptr) uintptr {
	return blas("Matmul", func(m *Machine, b *BLAS) uintptr {
		p, status := b.product(h, desc, la, lb, lc, ld)
		if status != 0 {
			return status
		}
		g := object[blasHandle](b, h).gpu
		switch {
		case m.gpu() != g:
			return b.refuse(BLASExecutionFailed, "the context of another GPU, or none, is current")
		case alpha == nil || beta == nil || algo == nil || algo.magic != blasMagic || c != d,
			uint64(bytes) < algo.workspace:
			return b.refuse(BLASInvalidValue, "an argument is missing, or %d bytes of workspace are not enough", bytes)
		case a%16 != 0 || bb%16 != 0 || d%16 != 0 || workspace%16 != 0 || !p.aligned():
			return b.refuse(BLASNotSupported, "operands are not aligned to 16 bytes: %#x, %#x, %#x, %+v", a, bb, d, p)
		}
		if _, err := g.mem.Bytes(uint64(workspace), int(bytes)); err != nil {
			return b.refuse(BLASInvalidValue, "workspace: %v", err)
		}
		x := *algo
		if b.Splits && p.n > 100 {
			x.splits = 2
		}
		b.Products = append(b.Products, fmt.Sprintf("%dx%dx%d by %d in %d", p.m, p.n, p.k, x.id, x.splits))
		al, be, lose := *alpha, *beta, b.Loses
		r := m.inStream(stream, func(g *GPU) int {
			return m.result(p.run(g, x, al, be, uint64(a), uint64(bb), uint64(d), lose))
		})
		if r != 0 {
			return b.refuse(BLASExecutionFailed, "the stream: %d", r)
		}
		return 0
	})
}

// span is how many elements a column-major matrix has from its first to its last.
func span(rows, cols, ld int) int { return (cols-1)*ld + rows }

// run multiplies.
func (p product) run(g *GPU, algo blasAlgorithm, alpha, beta float32, a, b, d uint64, lose bool) error {
	ar, ac, br, bc := p.m, p.k, p.k, p.n
	if p.transA {
		ar, ac = ac, ar
	}
	if p.transB {
		br, bc = bc, br
	}
	ab, err := g.mem.Bytes(a, 2*span(ar, ac, p.lda))
	if err != nil {
		return fmt.Errorf("matrix A: %w", err)
	}
	bb, err := g.mem.Bytes(b, 2*span(br, bc, p.ldb))
	if err != nil {
		return fmt.Errorf("matrix B: %w", err)
	}
	db, err := g.mem.Bytes(d, 4*span(p.m, p.n, p.ldd))
	if err != nil {
		return fmt.Errorf("matrix D: %w", err)
	}
	// Rows of op(A) and columns of op(B) as they are summed.
	rows, cols := gather(ab, p.m, p.k, p.lda, p.transA), gather(bb, p.n, p.k, p.ldb, !p.transB)
	k := p.k
	if lose && k > 1 {
		k--
	}
	for j := range p.n {
		for i := range p.m {
			sum := algo.sum(rows[i*p.k:][:k], cols[j*p.k:][:k])
			at := db[4*(j*p.ldd+i):]
			y := float32(alpha * sum)
			if beta != 0 {
				y += float32(beta * math.Float32frombits(binary.LittleEndian.Uint32(at)))
			}
			binary.LittleEndian.PutUint32(at, math.Float32bits(y))
		}
	}
	return nil
}

// sum is one chain over k, ascending; from the other end in another order; or the sum of two halves.
func (a blasAlgorithm) sum(x, y []float32) (sum float32) {
	if n := len(x) / 2; a.splits > 1 {
		a.splits = 1
		return a.sum(x[:n], y[:n]) + a.sum(x[n:], y[n:])
	}
	if a.order > 0 {
		for i := len(x) - 1; i >= 0; i-- {
			sum += float32(x[i] * y[i])
		}
		return sum
	}
	for i := range x {
		sum += float32(x[i] * y[i])
	}
	return sum
}

// gather copies n vectors of k elements out of a BF16 matrix, in which the elements of a vector follow each other
// (inner) or lie a column apart.
func gather(from []byte, n, k, ld int, inner bool) []float32 {
	to := make([]float32, n*k)
	for i := range n {
		for j := range k {
			at := j*ld + i
			if inner {
				at = i*ld + j
			}
			to[i*k+j] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(from[2*at:])) << 16)
		}
	}
	return to
}

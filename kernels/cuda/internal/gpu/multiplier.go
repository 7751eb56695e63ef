package gpu

import (
	"errors"
	"fmt"
)

// Mul is a product D = Alpha op(A) op(B) + Beta D of column-major matrices, as BLAS defines it: op(A) [M, K] and
// op(B) [K, N] of BF16, D [M, N] of F32. LDA, LDB and LDD are the elements from one column to the next. Sums are F32.
type Mul struct {
	TransA, TransB bool
	M, N, K        int
	A, B, D        Ptr
	LDA, LDB, LDD  int
	Alpha, Beta    float32
}

func (m *Mul) String() string {
	op := func(t bool) string {
		if t {
			return "^T"
		}
		return ""
	}
	return fmt.Sprintf("A%s B%s, [%d, %d] x [%d, %d]", op(m.TransA), op(m.TransB), m.M, m.K, m.K, m.N)
}

// Algorithm is one of the ways in which a library makes a product, in the library's own encoding.
type Algorithm [8]uint64

// Multiplier is what a GPU implements that has a library of products (cuBLAS).
type Multiplier interface {
	// Library names the library's file and its version; Version is "cuBLAS 13.10.0".
	Library() string
	Version() string
	// Algorithms are those that the library estimates to be the fastest for m, the best first. None of them splits a
	// sum over k.
	Algorithms(m *Mul) ([]Algorithm, error)
	// Check says why a cannot make m; nil: it can.
	Check(m *Mul, a *Algorithm) error
	// Multiply queues m by a. It allocates nothing on the GPU and does not wait. If the error is ErrRefused, nothing
	// was queued and the GPU goes on.
	Multiply(m *Mul, a *Algorithm) error
}

// ErrRefused is in errors of products that the library does not make.
var ErrRefused = errors.New("refused")

package gpu

import (
	"errors"
	"fmt"
)

// Mul is a matrix product (GEMM) D = Alpha op(A) op(B) + Beta D of column-major matrices, as BLAS defines it: op(A)
// [M, K] and op(B) [K, N] in BF16, D [M, N] in F32, sums in F32. The leading dimensions LDA, LDB and LDD are the
// numbers of elements from one column to the next.
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

// Algorithm is one of a library's algorithms for a product, in the library's own encoding.
type Algorithm [8]uint64

// Multiplier is implemented by a GPU that has a library of matrix products (cuBLAS).
type Multiplier interface {
	// Library returns the library's file and its version; Version returns its name and version, such as "cuBLAS
	// 13.10.0".
	Library() string
	Version() string
	// Algorithms returns the algorithms that the library estimates to be the fastest for m, the fastest first. None of
	// them uses split-K.
	Algorithms(m *Mul) ([]Algorithm, error)
	// Check returns nil if the algorithm a can compute m, else an error with the reason.
	Check(m *Mul, a *Algorithm) error
	// Multiply queues m with the algorithm a. It allocates nothing on the GPU and does not wait. If the error is
	// ErrRefused, nothing was queued and the GPU stays usable.
	Multiply(m *Mul, a *Algorithm) error
}

// ErrRefused is wrapped by errors about products that the library does not support.
var ErrRefused = errors.New("refused")

package kernels

import (
	"fmt"

	"github.com/zerosearch-go/zerosearch/num"
)

// DType is how the elements of a Tensor or a Weight are held.
type DType uint8

const (
	F32  DType = iota + 1 // IEEE binary32
	BF16                  // upper half of an F32
	F64                   // IEEE binary64: sums only
	I32                   // ids, positions, slots
	U8                    // raw bytes
	F16                   // IEEE binary16: in checkpoints only, never used to compute
	Q8                    // weights only: 8-bit integers with an F16 scale for each group of 32 along k
	Q4                    // weights only: 4-bit integers with a head (num.QuantizeQ4) for each group of 32 along k
)

var dtypes = [...]struct {
	name string
	size int
}{F32: {"f32", 4}, BF16: {"bf16", 2}, F64: {"f64", 8}, I32: {"i32", 4}, U8: {"u8", 1}, F16: {"f16", 2}, Q8: {"q8", 0},
	Q4: {"q4", 0}}

// String is the name used by flags and files: "f32", "bf16", "q8", "q4".
func (t DType) String() string {
	if int(t) < len(dtypes) && t != 0 {
		return dtypes[t].name
	}
	return fmt.Sprintf("dtype(%d)", uint8(t))
}

// Size is the number of bytes of one element; 0 for Q8 and Q4, whose elements cannot be addressed one by one.
func (t DType) Size() int { return dtypes[t].size }

// Q8RowBytes is the size of a row of k elements in Q8: the elements, and a scale for each group.
func Q8RowBytes(k int) int { return k + 2*((k+num.Q8Group-1)/num.Q8Group) }

// Q4RowBytes is the size of a row of k elements in Q4: 16 bytes and a head for each group.
func Q4RowBytes(k int) int { return 18 * ((k + num.Q4Group - 1) / num.Q4Group) }

// Quantised reports whether weights of type t are integers, which are not trained.
func (t DType) Quantised() bool { return t == Q8 || t == Q4 }

// ParseDType reads a name as flags spell it.
func ParseDType(s string) (DType, error) {
	for t, d := range dtypes {
		if d.name == s && s != "" {
			return DType(t), nil
		}
	}
	return 0, fmt.Errorf("unknown dtype %q: use f32, bf16, q8 or q4", s)
}

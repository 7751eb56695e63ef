package safetensors

import (
	"fmt"
	"math/bits"
)

// DType is the type of a tensor's elements, spelled as in the header.
type DType string

// The types of the format. F8_E4M3 has no infinities; FNUZ types have neither infinities nor a negative zero; F8_E8M0
// are powers of two; F4 is E2M1. C64 is two float32. Elements of F4 and F6 share bytes.
const (
	Bool       DType = "BOOL"
	F4         DType = "F4"
	F6E2M3     DType = "F6_E2M3"
	F6E3M2     DType = "F6_E3M2"
	U8         DType = "U8"
	I8         DType = "I8"
	F8E5M2     DType = "F8_E5M2"
	F8E4M3     DType = "F8_E4M3"
	F8E8M0     DType = "F8_E8M0"
	F8E4M3FNUZ DType = "F8_E4M3FNUZ"
	F8E5M2FNUZ DType = "F8_E5M2FNUZ"
	I16        DType = "I16"
	U16        DType = "U16"
	F16        DType = "F16"
	BF16       DType = "BF16"
	I32        DType = "I32"
	U32        DType = "U32"
	F32        DType = "F32"
	C64        DType = "C64"
	F64        DType = "F64"
	I64        DType = "I64"
	U64        DType = "U64"
)

var bitsOf = map[DType]int{
	F4: 4, F6E2M3: 6, F6E3M2: 6,
	Bool: 8, U8: 8, I8: 8, F8E5M2: 8, F8E4M3: 8, F8E8M0: 8, F8E4M3FNUZ: 8, F8E5M2FNUZ: 8,
	I16: 16, U16: 16, F16: 16, BF16: 16,
	I32: 32, U32: 32, F32: 32,
	C64: 64, F64: 64, I64: 64, U64: 64,
}

// Bits is the size of one element in bits, 0 for a type that the format does not know.
func (d DType) Bits() int { return bitsOf[d] }

// byteSize returns the number of bytes that a tensor occupies. As in the reference library the sizes are multiplied
// from left to right, so that a 0 saves only what follows it from overflow.
func byteSize(d DType, shape []int) (uint64, error) {
	n := uint64(1)
	for _, s := range append(shape[:len(shape):len(shape)], d.Bits()) {
		hi, lo := bits.Mul64(n, uint64(s))
		if hi != 0 {
			return 0, fmt.Errorf("shape %v of %s overflows 64 bits", shape, d)
		}
		n = lo
	}
	if n%8 != 0 {
		return 0, fmt.Errorf("shape %v of %s ends inside a byte", shape, d)
	}
	return n / 8, nil
}

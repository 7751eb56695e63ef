package safetensors

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/zerosearch-go/zerosearch/num"
)

// EncodeFloat32 writes src to w as elements of type d, one of F32, F64, BF16 and F16, rounded to nearest even where
// narrower. It may be called for one piece of a tensor after the other.
func EncodeFloat32(w io.Writer, d DType, src []float32) error {
	put := fromFloat32[d]
	if put == nil {
		return fmt.Errorf("float32 cannot be converted to %s", d)
	}
	const piece = 4096
	buffer := make([]byte, 0, piece*d.Bits()/8)
	for len(src) > 0 {
		n := min(piece, len(src))
		buffer = buffer[:0]
		for _, x := range src[:n] {
			buffer = put(buffer, x)
		}
		if _, err := w.Write(buffer); err != nil {
			return err
		}
		src = src[n:]
	}
	return nil
}

var fromFloat32 = map[DType]func(b []byte, x float32) []byte{
	F32: func(b []byte, x float32) []byte { return binary.LittleEndian.AppendUint32(b, math.Float32bits(x)) },
	F64: func(b []byte, x float32) []byte {
		return binary.LittleEndian.AppendUint64(b, math.Float64bits(float64(x)))
	},
	BF16: func(b []byte, x float32) []byte { return binary.LittleEndian.AppendUint16(b, num.BF16FromF32(x)) },
	F16:  func(b []byte, x float32) []byte { return binary.LittleEndian.AppendUint16(b, num.F16FromF32(x)) },
}

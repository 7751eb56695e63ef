package model

import (
	"encoding/binary"
	"math"

	"github.com/zerosearch-go/zerosearch/internal/gguf"
	"github.com/zerosearch-go/zerosearch/num"
)

// dequantizers turn the blocks of a row into numbers: the inverse of ggml's quantisation, with its float32 operations
// in its order (ggml-quants.c). len(out) is a whole number of blocks. float32 around a product keeps a compiler from
// fusing it with a sum.
var dequantizers = map[gguf.Type]func(out []float32, b []byte){
	gguf.F32: func(out []float32, b []byte) {
		for i := range out {
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		}
	},
	gguf.F16: func(out []float32, b []byte) {
		for i := range out {
			out[i] = half(b[2*i:])
		}
	},
	gguf.BF16: func(out []float32, b []byte) {
		for i := range out {
			out[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(b[2*i:])) << 16)
		}
	},
	gguf.Q8_0: eachBlock(gguf.Q8_0, dequantQ80),
	gguf.Q4_0: eachBlock(gguf.Q4_0, func(y []float32, b []byte) { dequant32(y, half(b), noMinimum, -8, nil, b[2:]) }),
	gguf.Q4_1: eachBlock(gguf.Q4_1, func(y []float32, b []byte) { dequant32(y, half(b), half(b[2:]), 0, nil, b[4:]) }),
	gguf.Q5_0: eachBlock(gguf.Q5_0, func(y []float32, b []byte) {
		dequant32(y, half(b), noMinimum, -16, b[2:6], b[6:])
	}),
	gguf.Q5_1: eachBlock(gguf.Q5_1, func(y []float32, b []byte) {
		dequant32(y, half(b), half(b[2:]), 0, b[4:8], b[8:])
	}),
	gguf.Q4_K: eachBlock(gguf.Q4_K, func(y []float32, b []byte) { dequantK(y, b[:16], nil, b[16:]) }),
	gguf.Q5_K: eachBlock(gguf.Q5_K, func(y []float32, b []byte) { dequantK(y, b[:16], b[16:48], b[48:]) }),
	gguf.Q6_K: eachBlock(gguf.Q6_K, dequantQ6K),
}

// noMinimum is the minimum of formats without one: adding -0 changes nothing, not even the sign of a zero.
var noMinimum = float32(math.Copysign(0, -1))

// eachBlock is a dequantizer out of one for a block.
func eachBlock(t gguf.Type, block func(y []float32, b []byte)) func(out []float32, b []byte) {
	elements, bytes := t.Block()
	return func(out []float32, b []byte) {
		for ; len(out) > 0; out, b = out[elements:], b[bytes:] {
			block(out[:elements], b[:bytes])
		}
	}
}

// half is the F16 at the beginning of b.
func half(b []byte) float32 { return num.F32FromF16(binary.LittleEndian.Uint16(b)) }

// dequantQ80: d F16, 32 elements of 8 bits.
func dequantQ80(y []float32, b []byte) {
	d := half(b)
	for i, q := range b[2:] {
		y[i] = d * float32(int8(q))
	}
}

// dequant32 are the formats of 32 elements of 4 bits, the low ones first, or of 5 bits with the fifth in high:
// d*(q+shift) + m.
func dequant32(y []float32, d, m float32, shift int, high, low []byte) {
	var h uint32
	if high != nil {
		h = binary.LittleEndian.Uint32(high)
	}
	for i := range 16 {
		for part, q := range [2]int{int(low[i] & 15), int(low[i] >> 4)} {
			q |= int(h>>(i+16*part)&1) << 4
			y[i+16*part] = float32(d*float32(q+shift)) + m
		}
	}
}

// dequantK are Q4_K and Q5_K: 256 elements in 8 groups, each with a scale and a minimum of 6 bits. head is d F16, dmin
// F16 and 12 bytes of scales and minima; the fifth bits of the elements are in high.
func dequantK(y []float32, head, high, low []byte) {
	d, dmin, packed := half(head), half(head[2:]), head[4:]
	for g := range 8 {
		scale, minimum := sixBits(packed, g)
		d1, m1 := d*float32(scale), dmin*float32(minimum)
		for i := range 32 {
			q := low[g/2*32+i] >> (g % 2 * 4) & 15
			if high != nil {
				q |= high[i] >> g & 1 << 4
			}
			y[g*32+i] = float32(d1*float32(q)) - m1
		}
	}
}

// sixBits are the scale and the minimum of group g: of the first four groups in the low bits of a byte each, of the
// others half in a byte of their own and half above those.
func sixBits(p []byte, g int) (scale, minimum byte) {
	if g < 4 {
		return p[g] & 63, p[g+4] & 63
	}
	return p[g+4]&15 | p[g-4]>>6<<4, p[g+4]>>4 | p[g]>>6<<4
}

// dequantQ6K: 256 elements of 6 bits, in two halves: 4 low bits, 2 high ones; 16 scales of 8 bits; d F16.
func dequantQ6K(y []float32, b []byte) {
	low, high, scales, d := b[:128], b[128:192], b[192:208], half(b[208:])
	for h := range 2 {
		for i := range 128 {
			part, at := i/32, i%32 // quarters of a half: their low bits lie in bytes at and at+32, low nibbles first
			q := low[64*h+at+part%2*32]>>(part/2*4)&15 | high[32*h+at]>>(2*part)&3<<4
			y[128*h+i] = d * float32(int8(scales[8*h+i/16])) * float32(int(q)-32)
		}
	}
}

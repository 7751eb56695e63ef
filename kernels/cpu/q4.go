package cpu

import (
	"encoding/binary"
	"unsafe"

	"github.com/zerosearch-go/zerosearch/num"
)

// The numbers of Q4. A weight of Q4 is one of Q8 whose q are 8*q4 - zero and whose scale is step/8 (see
// num.QuantizeQ4): q is within [-127, 120], and step/8 is an F16. Activations, MatMul and MatMulDX are
// those of Q8 with these q and scales, so every path may widen blocks to those of Q8 first.
//
// Kernels that read Q4 as it is compute the same integers: with qx the activations of a group,
//
//	sum(qx * (8*q4 - zero)) = 8 * sum(qx*q4) - zero * sum(qx)
//
// A block holds one group of a panel: 32 heads, then 4 times 32 columns x 4 bytes. Byte i of a column's bytes j holds
// q4 of k = 4j+i in its lower half and of k = 16+4j+i in its upper one.
const q4Block = 2*panelCols + panelCols*num.Q4Group/2

// q4At is the place of the byte of (column, k) in a block, k < 16.
func q4At(col, k int) int { return 2*panelCols + k/4*(4*panelCols) + 4*col + k%4 }

func q4Head(block []byte, col int) uint16 { return binary.LittleEndian.Uint16(block[2*col:]) }

// q4PackRow quantises x [k] into row r.
func q4PackRow(w *weight, r int, x []float32) {
	for i := range w.steps {
		var q [num.Q4Group]uint8
		part := x[i*num.Q4Group : min((i+1)*num.Q4Group, w.k)]
		b, col := w.block(r/panelCols, i), r%panelCols
		binary.LittleEndian.PutUint16(b[2*col:], num.QuantizeQ4(q[:len(part)], part))
		for k := range num.Q4Group / 2 {
			b[q4At(col, k)] = q[k] | q[num.Q4Group/2+k]<<4
		}
	}
}

// q4PlaceRow copies the quantised row src, 16 bytes for each group and then the heads, to row r.
func q4PlaceRow(w *weight, r int, src []byte) {
	const half = num.Q4Group / 2
	col, heads := r%panelCols, src[half*w.steps:]
	for g := range w.steps {
		b := w.block(r/panelCols, g)
		copy(b[2*col:][:2], heads[2*g:])
		for k := 0; k < half; k += 4 {
			copy(b[q4At(col, k):][:4], src[half*g+k:])
		}
	}
}

// q4Row widens row r to y [k].
func q4Row(y []float32, w *weight, r int) {
	col := r % panelCols
	for g := range w.steps {
		b := w.block(r/panelCols, g)
		head := q4Head(b, col)
		scale, zero := num.StepQ4(head)/8, num.ZeroQ4(head)
		part := y[g*num.Q4Group : min((g+1)*num.Q4Group, w.k)]
		for k := range part {
			q := b[q4At(col, k%16)] >> (k / 16 * 4) & 15
			part[k] = float32(8*int(q)-zero) * scale
		}
	}
}

// q4Widen makes a block of Q8 from one of Q4.
func q4Widen(dst, src []byte) {
	for col := range panelCols {
		head := q4Head(src, col)
		binary.LittleEndian.PutUint16(dst[2*col:], num.F16FromF32(num.StepQ4(head)/8))
		bias := uint32(128-num.ZeroQ4(head)) * 0x01010101 // for four bytes at once; no sum exceeds a byte
		for k := 0; k < num.Q4Group/2; k += 4 {
			q := binary.LittleEndian.Uint32(src[q4At(col, k):])
			binary.LittleEndian.PutUint32(dst[q8At(col, k):], q&0x0f0f0f0f<<3+bias)
			binary.LittleEndian.PutUint32(dst[q8At(col, num.Q4Group/2+k):], q>>4&0x0f0f0f0f<<3+bias)
		}
	}
}

// q4Panel makes steps of a panel of Q8 from those of one of Q4.
func q4Panel(dst, src unsafe.Pointer, steps int) {
	for i := range steps {
		q4Widen(at[[q8Block]byte](dst, i*q8Block)[:], at[[q4Block]byte](src, i*q4Block)[:])
	}
}

// widenQ4 sets the kernels of Q4 that a path lacks: those of Q8, for which panels are widened.
func (g *gemmState) widenQ4() {
	widen := g.q4Panel
	for _, k := range []struct{ q4, q8 *gemmKernels }{{&g.q4, &g.q8}, {&g.q4Many, &g.q8Many}} {
		if k.q4.mr != 0 {
			continue
		}
		*k.q4 = *k.q8
		k.q4.sourceBytes, k.q4.panel, k.q4.panelBytes = q4Block, widen, q8Block
		if ready := k.q8.panel; ready != nil {
			size := k.q8.panelBytes
			k.q4.panelBytes = size
			k.q4.panel = func(dst, src unsafe.Pointer, steps int) {
				var block [q8Block]byte
				for i := range steps {
					widen(unsafe.Pointer(&block), unsafe.Add(src, i*q4Block), 1)
					ready(unsafe.Add(dst, i*size), unsafe.Pointer(&block), 1)
				}
			}
		}
	}
}

package cpu

import (
	"unsafe"

	"github.com/zerosearch-go/zerosearch/num"
)

const genericTile = 4 // rows

// at is a pointer to an array, off bytes from p.
func at[E any](p unsafe.Pointer, off int) *E { return (*E)(unsafe.Add(p, off)) }

// tileF32 is the microkernel of F32 in plain Go.
func tileF32(t *tile) {
	for i := range t.mr {
		c := t.begin(i)
		for s := range t.steps {
			x := *at[float32](t.a, 4*(s*t.mr+i))
			for j, w := range at[[panelCols]float32](t.b, 4*panelCols*s) {
				c[j] = num.FMA32(x, w, c[j])
			}
		}
		t.end(i, c)
	}
}

// tileBF16 is the microkernel of BF16 in plain Go. The product of two bf16 is exact in F32, so the rounded sum is a
// fused multiply-add; the conversion keeps the compiler from changing that where the product under- or overflows.
func tileBF16(t *tile) {
	for i := range t.mr {
		c := t.begin(i)
		for s := range t.steps {
			odd, even := *at[float32](t.a, 8*s*t.mr+4*i), *at[float32](t.a, 8*s*t.mr+4*(t.mr+i))
			for j, u := range at[[panelCols]uint32](t.b, 4*panelCols*s) {
				v := float32(odd*float(u&0xffff0000)) + c[j]
				c[j] = float32(even*float(u<<16)) + v
			}
		}
		t.end(i, c)
	}
}

func (t *tile) row(i int) *[panelCols]float32 { return at[[panelCols]float32](t.c, i*t.ldc) }

// begin returns the values that the chains of row i start from.
func (t *tile) begin(i int) (c [panelCols]float32) {
	if t.mode&modeChain != 0 {
		c = *t.row(i)
	}
	return c
}

// end stores row i.
func (t *tile) end(i int, c [panelCols]float32) {
	y := t.row(i)
	if t.mode&modeEpilogue != 0 {
		bias := at[[panelCols]float32](t.bias, 0)
		for j := range c {
			c[j] = float32(c[j]*t.scale) + bias[j]
			if t.mode&modeAdd != 0 {
				c[j] += y[j]
			}
		}
	}
	*y = c
}

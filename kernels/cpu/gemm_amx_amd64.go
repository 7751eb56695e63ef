//go:build !noasm

package cpu

import "unsafe"

// tileBF16AMX is the microkernel of BF16 by tiles. Of each block of 32 k, TDPBF16PS makes one chain of the even and one
// of the odd k, both from zero, and adds their sum to c (Intel SDM volume 2); it neither reads nor makes denormals.
func tileBF16AMX(t *tile) {
	if t.mode&modeEpilogue == 0 {
		tileAMX(t)
		return
	}
	c, ldc := t.c, t.ldc
	t.c, t.ldc = t.stage, 4*panelCols
	tileAMX(t)
	t.c, t.ldc = c, ldc
	finishAVX512(t, t.stage)
}

// rowsAMX packs rows as they are, rounded.
func rowsAMX(dst []uint32, src []float32, ld, mr, k int) {
	const block = 2 * amxTileSteps
	full, size := k/block, mr*amxTileSteps
	for i := range mr {
		x := src[i*ld:][:k]
		if full > 0 {
			tileRow(unsafe.Pointer(&dst[i*amxTileSteps]), unsafe.Pointer(&x[0]), 4*size, full)
		}
		if k%block != 0 {
			var rest [block]float32
			copy(rest[:], x[full*block:])
			tileRow(unsafe.Pointer(&dst[full*size+i*amxTileSteps]), unsafe.Pointer(&rest), 4*size, 1)
		}
	}
}

// columnsAMX packs columns, transposed for A. What is left of a block of rows is zero there.
func columnsAMX(f format, dst []uint32, stride int, src []float32, ld, width, t int) {
	const block = 2 * amxTileSteps
	if f == pairs {
		columnsBF16(f, dst, stride, src, ld, width, t)
		return
	}
	full, size := t/block, stride*amxTileSteps
	// descending: the rows of 16 columns reach into the block that follows
	for c := (width - 1) / 16 * 16; c >= 0; c -= 16 {
		n := min(16, width-c)
		a := columns16{src: unsafe.Pointer(&src[c]), dst: unsafe.Pointer(&dst[c*amxTileSteps]), ld: 4 * ld,
			stride: 4 * size, steps: full, mask: 1<<n - 1}
		if full > 0 {
			tileColumns(&a)
		}
		if t%block != 0 {
			var rest [block * 16]float32
			for i := full * block; i < t; i++ {
				copy(rest[i%block*16:][:n], src[i*ld+c:])
			}
			a.src, a.dst, a.ld, a.steps = unsafe.Pointer(&rest), unsafe.Pointer(&dst[full*size+c*amxTileSteps]), 64, 1
			tileColumns(&a)
		}
	}
}

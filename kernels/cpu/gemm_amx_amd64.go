//go:build !noasm

package cpu

import "unsafe"

// tileBF16AMX is the BF16 microkernel for AMX. For each block of 32 k, TDPBF16PS accumulates one chain over the even k
// and one over the odd k, both from zero, and adds their sum to c (Intel SDM volume 2). It treats denormal inputs and
// results as zero.
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

// rowsAMX packs rows as a tile of A, rounded to BF16.
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

// columnsAMX packs columns, transposed, as a tile of A. The last block is padded with zero rows.
func columnsAMX(f format, dst []uint32, stride int, src []float32, ld, width, t int) {
	const block = 2 * amxTileSteps
	if f == pairs {
		columnsBF16(f, dst, stride, src, ld, width, t)
		return
	}
	full, size := t/block, stride*amxTileSteps
	// from the last to the first: packing 16 columns also writes into the block after them
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

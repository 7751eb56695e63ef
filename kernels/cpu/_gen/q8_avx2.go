package main

import "fmt"

// q8NarrowRows is the number of rows of the largest Q8 tile of AVX2: each takes a register for its sums.
const q8NarrowRows = 10

// narrowTile is the microkernel of Q8 for AVX2, on bytes. VPMADDUBSW multiplies unsigned by signed bytes and adds the
// products of neighbours in 16 bits, saturated. Of a weight w and an activation x it gets |w| and x with the sign of w:
// |w| is at most 128 and |x| at most 127, so that a sum of two products, at most 32,512, is never saturated.
//
// A group of 32 k is computed 8 columns at a time, so that the panel is read once, from its start to its end. The
// chains are in the stage between groups: the registers hold the sums of the group.
//
// Registers: DI tile, AX a, BX b, CX groups left, R8 ahead, R12 its step, R9 stage; R10 scales, R11 bytes and R13
// stage of the 8 columns, DX columns left. Vectors: sums of row i in i, then passing, w, |w|, words of 1, bytes of 128.
func (k q8Kind) narrowTile(f *file, mr int) {
	const t, w, abs, ones, flip = "Y11", "Y12", "Y13", "Y14", "Y15"
	f.text(fmt.Sprintf("%s%d", k.name, mr), "(t *tile)", "", 8)
	f.p("MOVQ t+0(FP), DI")
	f.fields("tile", "DI", "a=AX b=BX steps=CX ahead=R8 aheadStep=R12 stage=R9")
	f.p("VPXOR Y0, Y0, Y0")
	for i := range 4 * mr {
		f.p("VMOVUPS Y0, %d(R9)", 32*i)
	}
	f.p("TESTQ CX, CX")
	f.p("JEQ done")
	f.p("VPCMPEQW %s, %s, %s", flip, flip, flip)
	f.p("VPSRLW $15, %s, %s", flip, ones)
	f.p("VPABSB %s, %s", flip, flip) // bytes of 1
	f.p("VPSLLW $7, %s, %s", flip, flip)
	f.p("loop:")
	f.p("MOVQ BX, R10")
	f.p("LEAQ 64(BX), R11")
	f.p("MOVQ R9, R13")
	f.p("MOVQ $4, DX")
	f.p("columns:")
	for j := range 8 {
		if j%2 == 0 {
			f.p("PREFETCHT1 %d(R8)", 32*j) // spread out: a burst would keep all miss buffers from the loads
		}
		f.p("VPXOR %d(R11), %s, %s", 128*j, flip, w)
		f.p("VPABSB %s, %s", w, abs)
		for i := range mr {
			f.p("VPBROADCASTD %d(AX), %s", 32*i+4*j, t)
			f.p("VPSIGNB %s, %s, %s", w, t, t)
			f.p("VPMADDUBSW %s, %s, %s", t, abs, t)
			if j == 0 {
				f.p("VPMADDWD %s, %s, Y%d", ones, t, i)
				continue
			}
			f.p("VPMADDWD %s, %s, %s", ones, t, t)
			f.p("VPADDD %s, Y%d, Y%d", t, i, i)
		}
	}
	f.p("VCVTPH2PS (R10), %s", w)
	for i := range mr {
		stagedStep(f, mr, i, t, w)
	}
	stagedLoops(f, mr, 256, mr*k.rowBytes(), 1088)
}

// stagedStep continues the chain of row i in the stage, at R13, with the sum of a group, integers in Y i. Its scales
// are those of the columns, in a register, and of the row, at AX.
func stagedStep(f *file, mr, i int, t, scales string) {
	f.p("VCVTDQ2PS Y%d, Y%d", i, i)
	f.p("VBROADCASTSS %d(AX), %s", 32*mr+4*i, t)
	f.p("VMULPS %s, Y%d, Y%d", t, i, i)
	f.p("VFMADD213PS %d(R13), %s, Y%d", 128*i, scales, i)
	f.p("VMOVUPS Y%d, %d(R13)", i, 128*i)
}

// stagedLoops ends a kernel whose chains are in the stage: the loop over four times 8 columns, each of which prefetches
// so many bytes, the loop over groups, of so many bytes in a tile of A and in B, and the epilogue.
func stagedLoops(f *file, mr, prefetched, tile, block int) {
	f.p("ADDQ $%d, R8", prefetched)
	f.p("ADDQ $16, R10")
	f.p("ADDQ $32, R11")
	f.p("ADDQ $32, R13")
	f.p("DECQ DX")
	f.p("JNE columns")
	f.p("PREFETCHT1 (R8)")
	f.p("LEAQ -%d(R8)(R12*1), R8", 4*prefetched)
	f.p("ADDQ $%d, AX", tile)
	f.p("ADDQ $%d, BX", block)
	f.p("DECQ CX")
	f.p("JNE loop")
	f.p("done:")
	stagedEpilogue(f, mr)
	f.end()
}

// stagedEpilogue stores chains that are in the stage, at R9, as the mode of the tile at DI says.
func stagedEpilogue(f *file, mr int) {
	f.fields("tile", "DI", "mode=AX c=DX ldc=SI bias=R10")
	f.p("MOVQ $%d, CX", mr)
	f.p("VBROADCASTSS tile_scale(DI), Y8")
	f.p("row:")
	for j := range 4 {
		f.p("VMOVUPS %d(R9), Y%d", 32*j, j)
	}
	f.p("TESTQ $const_modeEpilogue, AX")
	f.p("JEQ store")
	for j := range 4 {
		f.p("VMULPS Y8, Y%d, Y%d", j, j)
		f.p("VADDPS %d(R10), Y%d, Y%d", 32*j, j, j)
	}
	f.p("TESTQ $const_modeAdd, AX")
	f.p("JEQ store")
	for j := range 4 {
		f.p("VADDPS %d(DX), Y%d, Y%d", 32*j, j, j)
	}
	f.p("store:")
	for j := range 4 {
		f.p("VMOVUPS Y%d, %d(DX)", j, 32*j)
	}
	f.p("ADDQ $128, R9")
	f.p("ADDQ SI, DX")
	f.p("DECQ CX")
	f.p("JNE row")
}

// quantiseNarrow emits the quantiser of activations for AVX2: whole groups of one row.
func quantiseNarrow(f *file) {
	f.text("quantiseAVX2", "(q *quantiser)", "", 8)
	f.p("MOVQ q+0(FP), DI")
	f.fields("quantiser", "DI", "src=SI q=AX scale=BX minus=DX stride=R8 step=R12 groups=CX")
	f.p("VPCMPEQD Y15, Y15, Y15")
	f.p("VPSRLW $15, Y15, Y13") // words of 1
	f.p("VPABSB Y15, Y14")      // bytes of 1
	f.p("VPSRLD $1, Y15, Y15")  // |x|
	f.p("MOVL $0x42fe0000, R9") // 127
	f.p("VMOVD R9, X12")
	f.p("VMOVDQU q8Order<>(SB), Y11")
	f.p("loop:")
	groupNarrow(f, "Y15")
	f.p("VMOVD X4, R9")
	f.p("LEAL -0x0d800000(R9), R10") // 2^-100 <= a < infinity, by the bits
	f.p("CMPL R10, $0x72000000")
	f.p("JCC special")
	f.p("VDIVSS X12, X4, X5") // a / 127
	f.p("VMOVSS X5, (BX)")
	f.p("VDIVSS X4, X12, X5") // 127 / a
	f.p("VBROADCASTSS X5, Y5")
	for i := range 4 {
		f.p("VMULPS Y5, Y%d, Y%d", i, i)
		f.p("VCVTPS2DQ Y%d, Y%d", i, i)
	}
	packNarrow(f)
	f.p("VPERMD Y0, Y11, Y0") // packing is by halves
	f.p("VMOVDQU Y0, (AX)")
	f.p("VPMADDUBSW Y0, Y14, Y0")
	f.p("VPMADDWD Y13, Y0, Y0")
	f.p("VEXTRACTI128 $1, Y0, X1")
	f.p("VPADDD X1, X0, X0")
	f.p("VPSHUFD $0x4e, X0, X1")
	f.p("VPADDD X1, X0, X0")
	f.p("VPSHUFD $0xb1, X0, X1")
	f.p("VPADDD X1, X0, X0")
	f.p("VMOVD X0, R9")
	f.p("SHLL $7, R9")
	f.p("NEGL R9")
	f.p("MOVL R9, (DX)")
	quantiserEnd(f)
	f.asm.WriteString("\n")
	for i, at := range []int{0, 4, 1, 5, 2, 6, 3, 7} {
		fmt.Fprintf(&f.asm, "DATA q8Order<>+%d(SB)/4, $%d\n", 4*i, at)
	}
	f.asm.WriteString("GLOBL q8Order<>(SB), RODATA|NOPTR, $32\n\n")
}

// quantiseWeightNarrow emits the quantiser of weights for AVX2: whole groups of one row into its column of a panel.
func quantiseWeightNarrow(f *file) {
	weightStart(f, "q8WeightAVX2")
	f.p("MOVL $0x42fe0000, R9") // 127
	f.p("VMOVD R9, X14")
	for i, x := range []string{"0x81818181", "0x80808080", "0x7fffffff"} { // bytes of -127, of 128, |x|
		f.p("MOVL $%s, R9", x)
		f.p("VMOVD R9, X%d", 11+i)
		f.p("VPBROADCASTD X%d, Y%d", 11+i, 11+i)
	}
	f.p("VMOVDQU q8Order<>(SB), Y10")
	f.p("VPXOR Y9, Y9, Y9")
	f.p("loop:")
	groupNarrow(f, "Y13")
	f.p("VDIVSS X14, X4, X4")
	f.p("VCVTPS2PH $0, X4, X4")
	f.p("VPEXTRW $0, X4, (BX)")
	f.p("VCVTPH2PS X4, X4")
	f.p("VBROADCASTSS X4, Y4")
	f.p("VCMPPS $4, Y9, Y4, Y5") // a scale of zero, or a quotient that is none, gives zero
	for i := range 4 {
		f.p("VDIVPS Y4, Y%d, Y%d", i, i)
		f.p("VCMPPS $7, Y%d, Y%d, Y6", i, i)
		f.p("VCVTPS2DQ Y%d, Y%d", i, i)
		f.p("VPAND Y5, Y%d, Y%d", i, i)
		f.p("VPAND Y6, Y%d, Y%d", i, i)
	}
	packNarrow(f)
	f.p("VPMAXSB Y11, Y0, Y0")
	f.p("VPXOR Y12, Y0, Y0")
	f.p("VPERMD Y0, Y10, Y0") // packing is by halves
	f.p("VEXTRACTI128 $1, Y0, X1")
	for i := range 8 {
		f.p("VPEXTRD $%d, X%d, %d(AX)", i%4, i/4, 128*i)
	}
	weightEnd(f)
}

// groupNarrow loads a group into Y0 to Y3 and leaves its largest |x| in the lowest of X4. abs holds the mask of |x|.
func groupNarrow(f *file, abs string) {
	for i := range 4 {
		f.p("VMOVUPS %d(SI), Y%d", 32*i, i)
		f.p("VPAND %s, Y%d, Y%d", abs, i, 4+i)
	}
	f.p("VPMAXUD Y5, Y4, Y4")
	f.p("VPMAXUD Y7, Y6, Y6")
	f.p("VPMAXUD Y6, Y4, Y4")
	f.p("VEXTRACTI128 $1, Y4, X5")
	f.p("VPMAXUD X5, X4, X4")
	f.p("VPSHUFD $0x4e, X4, X5")
	f.p("VPMAXUD X5, X4, X4")
	f.p("VPSHUFD $0xb1, X4, X5")
	f.p("VPMAXUD X5, X4, X4")
}

// packNarrow packs the words of Y0 to Y3 as bytes of Y0, with signed saturation, by halves.
func packNarrow(f *file) {
	f.p("VPACKSSDW Y1, Y0, Y0")
	f.p("VPACKSSDW Y3, Y2, Y2")
	f.p("VPACKSSWB Y2, Y0, Y0")
}

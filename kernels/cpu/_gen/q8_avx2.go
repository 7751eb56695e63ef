package main

import "fmt"

const (
	q8NarrowRows  = 10 // rows of the largest Q8 tile of AVX2
	q8NarrowBlock = 5  // rows at a time: each takes two registers for its sums
)

// narrowTile is the microkernel of Q8 for AVX2, on bytes. VPMADDUBSW multiplies bytes of a weight, unsigned, by those
// of activations, signed, and adds the products of neighbours in 16 bits: see q8.go for why that does not overflow.
//
// A group of 32 k is computed for 16 columns and a block of rows at a time, so that the panel is read once, from its
// start to its end, and an activation that was broadcast is used twice. The chains are in the stage between groups: the
// registers hold the sums of the group.
//
// Registers: DI tile, AX a, BX b, CX groups left, R8 ahead, R12 its step, R9 stage; R10 scales, R11 bytes and R13
// stage of the 16 columns, DX 16 columns left. Vectors: sums of row i of the block in 2i, 2i+1, then activations,
// two passing, two of weights (later of scales), words of 1.
func (k q8Kind) narrowTile(f *file, mr int) {
	const x, t, w, ones = 10, 11, 13, "Y15"
	stagedStart(f, fmt.Sprintf("%s%d", k.name, mr), mr)
	f.p("VPCMPEQW %s, %s, %s", ones, ones, ones)
	f.p("VPSRLW $15, %s, %s", ones, ones)
	stagedColumns(f, 2)
	blocks := (mr + q8NarrowBlock - 1) / q8NarrowBlock
	for b := range blocks {
		from, to := mr*b/blocks, mr*(b+1)/blocks
		sum := func(i, h int) int { return 2*(i-from) + h }
		for i := from; i < to; i++ {
			f.p("VPBROADCASTD %d(AX), Y%d", 36*mr+4*i, sum(i, 0)) // -128*sum
			f.p("VMOVDQA Y%d, Y%d", sum(i, 0), sum(i, 1))
		}
		for j := range 8 {
			if b == 0 {
				f.p("PREFETCHT1 %d(R8)", 64*j) // spread out: a burst would keep all miss buffers from the loads
			}
			for h := range 2 {
				f.p("VMOVDQU %d(R11), Y%d", 128*j+32*h, w+h)
			}
			for i := from; i < to; i++ {
				f.p("VPBROADCASTD %d(AX), Y%d", 32*i+4*j, x)
				for h := range 2 {
					f.p("VPMADDUBSW Y%d, Y%d, Y%d", x, w+h, t+h)
				}
				for h := range 2 {
					f.p("VPMADDWD %s, Y%d, Y%d", ones, t+h, t+h)
				}
				for h := range 2 {
					f.p("VPADDD Y%d, Y%d, Y%d", t+h, sum(i, h), sum(i, h))
				}
			}
		}
		for h := range 2 {
			f.p("VCVTPH2PS %d(R10), Y%d", 16*h, w+h)
		}
		for i := from; i < to; i++ {
			f.p("VBROADCASTSS %d(AX), Y%d", 32*mr+4*i, x)
			for h := range 2 {
				stagedStep(f, i, h, sum(i, h), fmt.Sprint("Y", x), fmt.Sprint("Y", w+h))
			}
		}
	}
	stagedLoops(f, mr, 2, 1088)
}

// stagedStart begins a kernel whose chains are in the stage: they are set to 0.
func stagedStart(f *file, name string, mr int) {
	f.text(name, "(t *tile)", "", 8)
	f.p("MOVQ t+0(FP), DI")
	f.fields("tile", "DI", "a=AX b=BX steps=CX ahead=R8 aheadStep=R12 stage=R9")
	f.p("VPXOR Y0, Y0, Y0")
	for i := range 4 * mr {
		f.p("VMOVUPS Y0, %d(R9)", 32*i)
	}
	f.p("TESTQ CX, CX")
	f.p("JEQ done")
}

// stagedColumns begins the loop over groups and in it the one over so many vectors of columns at a time.
func stagedColumns(f *file, vectors int) {
	f.p("loop:")
	f.p("MOVQ BX, R10")
	f.p("LEAQ 64(BX), R11")
	f.p("MOVQ R9, R13")
	f.p("MOVQ $%d, DX", 4/vectors)
	f.p("columns:")
}

// stagedStep continues the chain of vector h of row i in the stage, at R13, with the sum of a group, integers in
// register sum. Its scales are those of the row and of the columns.
func stagedStep(f *file, i, h, sum int, row, columns string) {
	at := fmt.Sprintf("%d(R13)", 128*i+32*h)
	f.p("VCVTDQ2PS Y%d, Y%d", sum, sum)
	f.p("VMULPS %s, Y%d, Y%d", row, sum, sum)
	f.p("VFMADD213PS %s, %s, Y%d", at, columns, sum)
	f.p("VMOVUPS Y%d, %s", sum, at)
}

// stagedLoops ends the loops of stagedColumns, over groups, in B blocks of so many bytes, and the kernel.
// Each round of columns has prefetched its share of a block but for the last line.
func stagedLoops(f *file, mr, vectors, block int) {
	prefetched := (block - 64) / 4 * vectors
	f.p("ADDQ $%d, R8", prefetched)
	f.p("ADDQ $%d, R10", 16*vectors)
	f.p("ADDQ $%d, R11", 32*vectors)
	f.p("ADDQ $%d, R13", 32*vectors)
	f.p("DECQ DX")
	f.p("JNE columns")
	f.p("PREFETCHT1 (R8)")
	f.p("LEAQ -%d(R8)(R12*1), R8", 4/vectors*prefetched)
	f.p("ADDQ $%d, AX", mr*q8RowBytes)
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
	groupNarrow(f, "Y15", true)
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
	groupNarrow(f, "Y13", false)
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

// groupNarrow loads a group into Y0 to Y3 and leaves its largest |x| in the lowest of X4, or that of sums of neighbours
// too. abs holds the mask of |x|.
func groupNarrow(f *file, abs string, sums bool) {
	for i := range 4 {
		f.p("VMOVUPS %d(SI), Y%d", 32*i, i)
		f.p("VPAND %s, Y%d, Y%d", abs, i, 4+i)
	}
	for i := 0; i < 4 && sums; i += 2 {
		f.p("VHADDPS Y%d, Y%d, Y8", i+1, i)
		f.p("VPAND %s, Y8, Y8", abs)
		f.p("VPMAXUD Y8, Y%d, Y%d", 4+i, 4+i)
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

package main

import "fmt"

// pack emits the transposers that feed the microkernels.
//
// Sixteen rows of words become steps of sixteen words: a 16 x 16 transpose in registers. What a word is differs:
//
//	transposeWords      the word itself (F32, or a pair of BF16 that is one already)
//	transposePairs      two F32 rounded to BF16 by VCVTNE2PS2BF16, which flushes denormals as the products will
//	transposeRounded    two F32 rounded to BF16 by integer arithmetic, denormals and NaN as num.BF16FromF32 has them
//	transposeWide       the same, each pair stored as two steps of F32, the odd ones first
func pack(f *file) {
	const sig = "(t *transpose16)"
	for _, x := range []struct {
		name string
		load func(f *file, row int)
		wide bool
		step int // bytes of a row in a block
	}{
		{"transposeWords", func(f *file, i int) { f.p("VMOVUPS (R8)(CX*1), Z%d", i) }, false, 64},
		{"transposePairs", loadPairs, false, 128},
		{"transposeRounded", loadRounded, false, 128},
		{"transposeWide", loadRounded, true, 128},
	} {
		f.text(x.name, sig, "", 8)
		f.p("MOVQ t+0(FP), SI")
		f.fields("transpose16", "SI", "dst=DI stride=DX blocks=BX")
		f.p("XORQ CX, CX")
		f.p("TESTQ BX, BX")
		f.p("JEQ done")
		if x.step == 128 {
			f.p("MOVL $0x7fff, AX")
			f.p("MOVL $1, R9")
			f.p("MOVL $0x40, R10")
		}
		if x.wide {
			f.p("MOVL $0xffff0000, R11")
		}
		f.p("loop:")
		for i := range 16 {
			f.p("MOVQ (transpose16_rows+%d)(SI), R8", 8*i)
			x.load(f, i)
		}
		transpose16(f)
		for i := range 16 {
			if x.wide {
				f.p("VPANDD.BCST evenMask<>(SB), Z%d, Z16", i)
				f.p("VMOVDQU32 Z16, (DI)")
				f.p("ADDQ DX, DI")
				f.p("VPSLLD $16, Z%d, Z%d", i, i)
			}
			f.p("VMOVDQU32 Z%d, (DI)", i)
			f.p("ADDQ DX, DI")
		}
		f.p("ADDQ $%d, CX", x.step)
		f.p("DECQ BX")
		f.p("JNE loop")
		f.p("done:")
		f.end()
	}
	transposeWeight(f)
	transposeWeightF32(f)
	columns(f)
	packAVX2(f)
	f.asm.WriteString("DATA evenMask<>+0(SB)/4, $0xffff0000\nGLOBL evenMask<>(SB), RODATA|NOPTR, $4\n")
}

func loadPairs(f *file, i int) {
	f.p("VMOVUPS (R8)(CX*1), Z30")
	f.p("VMOVUPS 64(R8)(CX*1), Z31")
	f.p("%s", vcvtne2ps2bf16(i, 31, 30))
}

// loadRounded: b + 0x7fff + (b>>16 & 1), upper half; for a NaN b>>16 | 0x40.
func loadRounded(f *file, i int) {
	for h := range 2 {
		f.p("VMOVUPS %d(R8)(CX*1), Z%d", 64*h, 24+h)
		round(f, 24+h)
		f.p("VPMOVDW Z%d, Y%d", 24+h, 24+h)
	}
	f.p("VINSERTI64X4 $1, Y25, Z24, Z%d", i)
}

// round leaves the BF16 of each float32 of Z[x] in the lower halves of its words. Uses Z28-Z31, K1, and the constants
// AX, R9, R10.
func round(f *file, x int) {
	f.p("VPBROADCASTD AX, Z31")
	f.p("VPBROADCASTD R9, Z30")
	f.p("VPBROADCASTD R10, Z29")
	f.p("VCMPPS $3, Z%d, Z%d, K1", x, x)
	f.p("VPSRLD $16, Z%d, Z28", x)
	f.p("VPANDD Z30, Z28, Z30")
	f.p("VPORD Z29, Z28, Z29")
	f.p("VPADDD Z31, Z%d, Z%d", x, x)
	f.p("VPADDD Z30, Z%d, Z%d", x, x)
	f.p("VPSRLD $16, Z%d, Z%d", x, x)
	f.p("VMOVDQA32 Z29, K1, Z%d", x)
}

// transpose16 transposes the words of Z0-Z15 in place, by way of Z16-Z31.
func transpose16(f *file) {
	for i := 0; i < 16; i += 2 { // pairs of rows
		f.p("VPUNPCKLDQ Z%d, Z%d, Z%d", i+1, i, 16+i)
		f.p("VPUNPCKHDQ Z%d, Z%d, Z%d", i+1, i, 17+i)
	}
	for i := 0; i < 16; i += 4 { // fours: Z[i+j] holds column j of each 128-bit lane
		for j := range 2 {
			f.p("VPUNPCKLQDQ Z%d, Z%d, Z%d", 16+i+2+j, 16+i+j, i+2*j)
			f.p("VPUNPCKHQDQ Z%d, Z%d, Z%d", 16+i+2+j, 16+i+j, i+2*j+1)
		}
	}
	lanes4x4(f, func(j int) [4]int { return [4]int{j, 4 + j, 8 + j, 12 + j} },
		func(j, lane int) int { return j + 4*lane }, 4)
}

// lanes4x4 transposes the four 128-bit lanes of groups of four registers: lane l of source s becomes lane s of the
// result l.
func lanes4x4(f *file, src func(j int) [4]int, dst func(j, lane int) int, groups int) {
	for j := range groups {
		s := src(j)
		t := 16 + 4*j
		f.p("VSHUFI32X4 $0x44, Z%d, Z%d, Z%d", s[1], s[0], t)   // s0: 0 1, s1: 0 1
		f.p("VSHUFI32X4 $0xee, Z%d, Z%d, Z%d", s[1], s[0], t+1) // s0: 2 3, s1: 2 3
		f.p("VSHUFI32X4 $0x44, Z%d, Z%d, Z%d", s[3], s[2], t+2)
		f.p("VSHUFI32X4 $0xee, Z%d, Z%d, Z%d", s[3], s[2], t+3)
	}
	for j := range groups {
		t := 16 + 4*j
		f.p("VSHUFI32X4 $0x88, Z%d, Z%d, Z%d", t+2, t, dst(j, 0))
		f.p("VSHUFI32X4 $0xdd, Z%d, Z%d, Z%d", t+2, t, dst(j, 1))
		f.p("VSHUFI32X4 $0x88, Z%d, Z%d, Z%d", t+3, t+1, dst(j, 2))
		f.p("VSHUFI32X4 $0xdd, Z%d, Z%d, Z%d", t+3, t+1, dst(j, 3))
	}
}

// transposeWeight emits transposeBF16: blocks of [16 pairs of k][32 n][2 k] become [16 pairs of n][32 k][2 n].
//
// Within a row the pairs of n = 2i, 2i+1 are made neighbours by swapping the middle words of every 8 bytes; what is
// left is to transpose a 16 x 16 matrix of 8-byte elements: rows are pairs of k, columns pairs of n, four quarters of 8
// x 8.
func transposeWeight(f *file) {
	f.text("transposeBF16", "(dst, src unsafe.Pointer, stride, blocks int)",
		"transposeBF16 transposes blocks of 2 KiB, stride bytes apart in src, dense in dst.", 32)
	f.p("MOVQ dst+0(FP), DI")
	f.p("MOVQ src+8(FP), SI")
	f.p("MOVQ stride+16(FP), DX")
	f.p("MOVQ blocks+24(FP), BX")
	f.p("VBROADCASTI32X4 middle<>(SB), Z31")
	f.p("LEAQ (SI)(DX*2), R8") // two blocks ahead: too far apart for the processor to guess
	f.p("loop:")
	for i := range 32 {
		f.p("PREFETCHT0 %d(R8)", 64*i)
	}
	f.p("ADDQ DX, R8")
	for q := range 4 { // quarter: rows 8*(q/2).., columns 8*(q%2)..
		for i := range 8 {
			f.p("VMOVDQU32 %d(SI), Z%d", (8*(q/2)+i)*128+q%2*64, i)
			f.p("VPSHUFB Z31, Z%d, Z%d", i, i)
		}
		for i := 0; i < 8; i += 2 {
			f.p("VPUNPCKLQDQ Z%d, Z%d, Z%d", i+1, i, 8+i) // columns 0 2 4 6 of rows i, i+1
			f.p("VPUNPCKHQDQ Z%d, Z%d, Z%d", i+1, i, 9+i) // columns 1 3 5 7
		}
		for j := range 2 {
			s := [4]int{8 + j, 10 + j, 12 + j, 14 + j}
			t := 16 + 4*j
			f.p("VSHUFI64X2 $0x44, Z%d, Z%d, Z%d", s[1], s[0], t)
			f.p("VSHUFI64X2 $0xee, Z%d, Z%d, Z%d", s[1], s[0], t+1)
			f.p("VSHUFI64X2 $0x44, Z%d, Z%d, Z%d", s[3], s[2], t+2)
			f.p("VSHUFI64X2 $0xee, Z%d, Z%d, Z%d", s[3], s[2], t+3)
			for l, x := range [][3]int{{0x88, t + 2, t}, {0xdd, t + 2, t}, {0x88, t + 3, t + 1}, {0xdd, t + 3, t + 1}} {
				f.p("VSHUFI64X2 $%#x, Z%d, Z%d, Z%d", x[0], x[1], x[2], 24+l)
				f.p("VMOVDQU32 Z%d, %d(DI)", 24+l, (8*(q%2)+2*l+j)*128+q/2*64)
			}
		}
	}
	f.p("ADDQ $2048, DI")
	f.p("ADDQ DX, SI")
	f.p("DECQ BX")
	f.p("JNE loop")
	f.end()
	// Words 0 1 2 3 of each 8 bytes become 0 2 1 3.
	f.asm.WriteString("DATA middle<>+0(SB)/8, $0x0706030205040100\nDATA middle<>+8(SB)/8, $0x0f0e0b0a0d0c0908\nGLOBL " +
		"middle<>(SB), RODATA|NOPTR, $16\n\n")
}

// transposeWeightF32 emits transposeF32: blocks of [32 k][32 n] become [32 n][32 k].
func transposeWeightF32(f *file) {
	f.text("transposeF32", "(dst, src unsafe.Pointer, stride, blocks int)",
		"transposeF32 transposes blocks of 4 KiB, stride bytes apart in src, dense in dst.", 32)
	f.p("MOVQ dst+0(FP), DI")
	f.p("MOVQ src+8(FP), SI")
	f.p("MOVQ stride+16(FP), DX")
	f.p("MOVQ blocks+24(FP), BX")
	f.p("LEAQ (SI)(DX*1), R8")
	f.p("loop:")
	for q := range 4 {
		for i := range 16 {
			f.p("PREFETCHT0 %d(R8)", 64*(16*q+i))
			f.p("VMOVUPS %d(SI), Z%d", (16*(q/2)+i)*128+q%2*64, i)
		}
		transpose16(f)
		for i := range 16 {
			f.p("VMOVUPS Z%d, %d(DI)", i, (16*(q%2)+i)*128+q/2*64)
		}
	}
	f.p("ADDQ DX, R8")
	f.p("ADDQ $4096, DI")
	f.p("ADDQ DX, SI")
	f.p("DECQ BX")
	f.p("JNE loop")
	f.end()
}

// columns emits the packers of up to 16 columns: two rows of float32 become one step of pairs.
func columns(f *file) {
	f.text("columnsWords", "(c *columns16)", "", 8)
	f.p("MOVQ c+0(FP), SI")
	f.fields("columns16", "SI", "dst=DI stride=DX steps=CX ld=BX mask=AX src=SI")
	f.p("KMOVW AX, K2")
	f.p("loop:")
	f.p("VMOVUPS.Z (SI), K2, Z0")
	f.p("VMOVUPS Z0, (DI)")
	f.p("ADDQ BX, SI")
	f.p("ADDQ DX, DI")
	f.p("DECQ CX")
	f.p("JNE loop")
	f.end()
	for _, name := range []string{"columnsPairs", "columnsRounded", "columnsWide"} {
		f.text(name, "(c *columns16)", "", 8)
		f.p("MOVQ c+0(FP), SI")
		f.fields("columns16", "SI", "dst=DI stride=DX steps=CX ld=BX mask=AX src=SI")
		f.p("KMOVW AX, K2")
		if name == "columnsPairs" {
			f.p("VMOVDQU32 zip<>(SB), Z31")
		} else {
			f.p("MOVL $0x7fff, AX")
			f.p("MOVL $1, R9")
			f.p("MOVL $0x40, R10")
		}
		f.p("loop:")
		f.p("VMOVUPS.Z (SI), K2, Z0")
		f.p("VMOVUPS.Z (SI)(BX*1), K2, Z1")
		f.p("LEAQ (SI)(BX*2), SI")
		switch name {
		case "columnsPairs":
			f.p("%s", vcvtne2ps2bf16(2, 1, 0))
			f.p("VPERMW Z2, Z31, Z2")
		default:
			round(f, 0)
			round(f, 1)
			f.p("VPSLLD $16, Z1, Z1")
			if name == "columnsWide" {
				f.p("VMOVDQU32 Z1, (DI)")
				f.p("ADDQ DX, DI")
				f.p("VPSLLD $16, Z0, Z2")
			} else {
				f.p("VPORD Z0, Z1, Z2")
			}
		}
		f.p("VMOVDQU32 Z2, (DI)")
		f.p("ADDQ DX, DI")
		f.p("DECQ CX")
		f.p("JNE loop")
		f.end()
	}
	zip(f)
}

// zip emits the order that puts word i of the upper half after word i of the lower.
func zip(f *file) {
	for i := range 8 { // words 0 16 1 17 2 18 ...
		lo, hi := 2*i, 2*i+1
		f.asm.WriteString(fmt.Sprintf("DATA zip<>+%d(SB)/8, $%#04x%04x%04x%04x\n", 8*i, 16+hi, hi, 16+lo, lo))
	}
	f.asm.WriteString("GLOBL zip<>(SB), RODATA|NOPTR, $64\n\n")
}

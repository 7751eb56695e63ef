package main

import "fmt"

// packAVX2 emits the packers of pack for AVX2. Eight rows of words become steps of eight words: an 8 x 8 transpose in
// registers. All round as num.BF16FromF32 does.
func packAVX2(f *file) {
	const sig = "(t *transpose8)"
	for _, x := range []struct {
		name    string
		rounded bool // a word is two float32 rounded to BF16, else the word itself
		wide    bool // each pair is stored as two steps of float32, the odd ones first
	}{{"transposeWordsAVX2", false, false}, {"transposeRoundedAVX2", true, false}, {"transposeWideAVX2", true, true}} {
		f.text(x.name, sig, "", 8)
		f.p("MOVQ t+0(FP), SI")
		f.fields("transpose8", "SI", "dst=DI stride=DX blocks=BX")
		rows := []string{"R8", "R9", "R10", "R11", "R12", "R13", "AX", "SI"}
		f.p("XORQ CX, CX")
		for i, r := range rows {
			f.p("MOVQ (transpose8_rows+%d)(SI), %s", 8*i, r)
		}
		f.p("TESTQ BX, BX")
		f.p("JEQ done")
		f.p("loop:")
		for i, r := range rows {
			if x.rounded {
				f.p("VMOVUPS (%s)(CX*1), Y8", r)
				f.p("VMOVUPS 32(%s)(CX*1), Y9", r)
				roundAVX2(f, [][2]int{{8, 10}, {9, 11}})
				f.p("VPSRLD $16, Y8, Y8")
				f.p("VPSRLD $16, Y9, Y9")
				f.p("VPACKUSDW Y9, Y8, Y%d", i) // words 0 1 4 5 of the row, then 2 3 6 7
			} else {
				f.p("VMOVUPS (%s)(CX*1), Y%d", r, i)
			}
		}
		transpose8(f)
		at := []int{0, 1, 2, 3, 4, 5, 6, 7} // where the words of a row are
		if x.rounded {
			at = []int{0, 1, 4, 5, 2, 3, 6, 7}
		}
		for _, i := range at {
			if x.wide {
				f.p("VPAND wideMask<>(SB), Y%d, Y0", 8+i)
				f.p("VMOVDQU Y0, (DI)")
				f.p("ADDQ DX, DI")
				f.p("VPSLLD $16, Y%d, Y%d", 8+i, 8+i)
			}
			f.p("VMOVDQU Y%d, (DI)", 8+i)
			f.p("ADDQ DX, DI")
		}
		f.p("ADDQ $%d, CX", map[bool]int{false: 32, true: 64}[x.rounded])
		f.p("DECQ BX")
		f.p("JNE loop")
		f.p("done:")
		f.end()
	}
	columnsAVX2(f)
	transposeWeightsAVX2(f)
	for _, c := range []struct {
		name  string
		value uint32
	}{{"roundHalf", 0x7fff}, {"roundOne", 1}, {"roundQuiet", 0x400000}, {"wideMask", 0xffff0000}} {
		f.repeat8(c.name, c.value)
	}
}

// repeat8 emits a constant of 8 equal words.
func (f *file) repeat8(name string, value uint32) {
	for i := range 8 {
		fmt.Fprintf(&f.asm, "DATA %s<>+%d(SB)/4, $0x%08x\n", name, 4*i, value)
	}
	fmt.Fprintf(&f.asm, "GLOBL %s<>(SB), RODATA|NOPTR, $32\n\n", name)
}

// roundAVX2 rounds the float32 of the first registers to BF16 in the upper halves of their words; what is left in the
// lower halves has no meaning. The second registers are scratch, and so is Y15.
func roundAVX2(f *file, of [][2]int) {
	for _, r := range of {
		x, t := r[0], r[1]
		f.p("VPSRLD $16, Y%d, Y%d", x, t)
		f.p("VCMPPS $3, Y%d, Y%d, Y15", x, x)
		f.p("VPAND roundOne<>(SB), Y%d, Y%d", t, t)
		f.p("VPADDD Y%d, Y%d, Y%d", t, x, t)
		f.p("VPADDD roundHalf<>(SB), Y%d, Y%d", t, t)
		f.p("VPOR roundQuiet<>(SB), Y%d, Y%d", x, x)
		f.p("VBLENDVPS Y15, Y%d, Y%d, Y%d", x, t, x)
	}
}

// transpose8 transposes the words of Y0-Y7 into Y8-Y15.
func transpose8(f *file) {
	for i := 0; i < 8; i += 2 { // pairs of rows
		f.p("VPUNPCKLDQ Y%d, Y%d, Y%d", i+1, i, 8+i)
		f.p("VPUNPCKHDQ Y%d, Y%d, Y%d", i+1, i, 9+i)
	}
	for i := 0; i < 8; i += 4 { // fours: Y[i+j] holds columns j and j+4
		for j := range 2 {
			f.p("VPUNPCKLQDQ Y%d, Y%d, Y%d", 10+i+j, 8+i+j, i+2*j)
			f.p("VPUNPCKHQDQ Y%d, Y%d, Y%d", 10+i+j, 8+i+j, i+2*j+1)
		}
	}
	for j := range 4 {
		f.p("VPERM2I128 $0x20, Y%d, Y%d, Y%d", 4+j, j, 8+j)
		f.p("VPERM2I128 $0x31, Y%d, Y%d, Y%d", 4+j, j, 12+j)
	}
}

// columnsAVX2 emits the packers of up to 8 columns, and of whole panels of 32 columns.
func columnsAVX2(f *file) {
	begin := func(name string, mask bool) {
		f.text(name, "(c *columns8)", "", 8)
		f.p("MOVQ c+0(FP), R8")
		f.fields("columns8", "R8", "dst=DI stride=DX steps=CX ld=BX src=SI")
		if mask {
			f.p("VMOVDQU columns8_mask(R8), Y14")
		}
		f.p("LEAQ (BX)(BX*2), R9")
		f.p("SHLQ $2, R9") // bytes of 12 rows
		f.p("loop:")
	}
	end := func(rows string) {
		f.p("LEAQ (SI)(BX*%s), SI", rows)
		f.p("ADDQ DX, DI")
		f.p("DECQ CX")
		f.p("JNE loop")
		f.end()
	}
	begin("columnsWordsAVX2", true)
	f.p("VMASKMOVPS (SI), Y14, Y0")
	f.p("VMOVUPS Y0, (DI)")
	end("1")
	begin("panelWordsAVX2", false)
	f.p("PREFETCHT0 (SI)(R9*1)")
	f.p("PREFETCHT0 64(SI)(R9*1)")
	for i := range 4 {
		f.p("VMOVUPS %d(SI), Y%d", 32*i, i)
	}
	for i := range 4 {
		f.p("VMOVUPS Y%d, %d(DI)", i, 32*i)
	}
	end("1")
	pair := func(wide bool) { // Y0 and Y1, even and odd, are rounded: one step of pairs, or two of float32
		roundAVX2(f, [][2]int{{0, 2}, {1, 3}})
		if !wide {
			f.p("VPSRLD $16, Y0, Y0")
			f.p("VPBLENDW $0xaa, Y1, Y0, Y0")
			return
		}
		f.p("VPAND wideMask<>(SB), Y1, Y1")
		f.p("VPAND wideMask<>(SB), Y0, Y0")
		f.p("VMOVDQU Y1, (DI)")
		f.p("ADDQ DX, DI")
	}
	for _, name := range []string{"columnsRoundedAVX2", "columnsWideAVX2"} {
		begin(name, true)
		f.p("VMASKMOVPS (SI), Y14, Y0")
		f.p("VMASKMOVPS (SI)(BX*1), Y14, Y1")
		pair(name == "columnsWideAVX2")
		f.p("VMOVDQU Y0, (DI)")
		end("2")
	}
	begin("panelRoundedAVX2", false)
	for i := range 2 {
		f.p("PREFETCHT0 %d(SI)(R9*1)", 64*i)
		f.p("LEAQ (SI)(BX*1), R8")
		f.p("PREFETCHT0 %d(R8)(R9*1)", 64*i)
	}
	for i := range 4 {
		f.p("VMOVUPS %d(SI), Y0", 32*i)
		f.p("VMOVUPS %d(SI)(BX*1), Y1", 32*i)
		pair(false)
		f.p("VMOVDQU Y0, %d(DI)", 32*i)
	}
	end("2")
}

// transposeWeightsAVX2 emits transposeBF16 and transposeF32 for AVX2.
func transposeWeightsAVX2(f *file) {
	begin := func(name string) {
		f.text(name, "(dst, src unsafe.Pointer, stride, blocks int)", "", 32)
		f.p("MOVQ dst+0(FP), DI")
		f.p("MOVQ src+8(FP), SI")
		f.p("MOVQ stride+16(FP), DX")
		f.p("MOVQ blocks+24(FP), BX")
	}
	end := func(size int) {
		f.p("ADDQ $%d, DI", size)
		f.p("ADDQ DX, SI")
		f.p("DECQ BX")
		f.p("JNE loop")
		f.end()
	}
	begin("transposeBF16AVX2")
	f.p("VBROADCASTI128 middle<>(SB), Y15")
	f.p("LEAQ (SI)(DX*2), R8")
	f.p("loop:")
	for i := range 32 {
		f.p("PREFETCHT0 %d(R8)", 64*i)
	}
	f.p("ADDQ DX, R8")
	for r := 0; r < 16; r += 4 { // 4 x 4 of 8 bytes: pairs of k from r, pairs of n from c
		for c := 0; c < 16; c += 4 {
			for i := range 4 {
				f.p("VMOVDQU %d(SI), Y%d", (r+i)*128+8*c, i)
				f.p("VPSHUFB Y15, Y%d, Y%d", i, i)
			}
			for i := 0; i < 4; i += 2 {
				f.p("VPUNPCKLQDQ Y%d, Y%d, Y%d", i+1, i, 4+i) // columns 0 2 of rows i, i+1
				f.p("VPUNPCKHQDQ Y%d, Y%d, Y%d", i+1, i, 5+i) // columns 1 3
			}
			for i, x := range [][2]int{{0x20, 4}, {0x20, 5}, {0x31, 4}, {0x31, 5}} {
				f.p("VPERM2I128 $%#x, Y%d, Y%d, Y%d", x[0], x[1]+2, x[1], 8+i)
				f.p("VMOVDQU Y%d, %d(DI)", 8+i, (c+i)*128+8*r)
			}
		}
	}
	end(2048)
	begin("transposeF32AVX2")
	f.p("LEAQ (SI)(DX*1), R8")
	f.p("loop:")
	for r := 0; r < 32; r += 8 {
		for c := 0; c < 32; c += 8 {
			for i := range 8 {
				if c%16 == 0 {
					f.p("PREFETCHT0 %d(R8)", (r+i)*128+4*c)
				}
				f.p("VMOVUPS %d(SI), Y%d", (r+i)*128+4*c, i)
			}
			transpose8(f)
			for i := range 8 {
				f.p("VMOVUPS Y%d, %d(DI)", 8+i, (c+i)*128+4*r)
			}
		}
	}
	f.p("ADDQ DX, R8")
	end(4096)
}

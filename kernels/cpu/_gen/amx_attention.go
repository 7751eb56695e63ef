package main

import "fmt"

// amxAttention emits the matmuls of attention on AMX: see attnTile. A is rows of memory, panels are blocks of 16
// steps.
func amxAttention(f *file) {
	amxAttnTile(f, "scoresAMX", false)
	amxAttnTile(f, "valuesAMX", true)
	amxOver(f)
}

// Registers: DI attnTile, AX rows 0-15 of A, R8 the others, R12 lda, BX b, R9 bytes from step to step, DX rows 0-15 of
// C, R14 the others, SI ldc, CX blocks left, R13 where b's pointers are, R15 panels left, R10 where the pointers to
// what is needed next are, R11 the place in it.
func amxAttnTile(f *file, name string, values bool) {
	f.text(name, "(t *attnTile)", "", 8)
	f.p("MOVQ t+0(FP), DI")
	f.p("MOVQ attnTile_rows(DI), CX")
	f.p("MOVQ CX, R11")
	f.p("SHLQ $6, R11")
	f.p("LEAQ tiles<>(SB), AX")
	f.p("ADDQ R11, AX")
	f.p("%s", ldtilecfg("AX"))
	f.fields("attnTile", "DI", "a=AX lda=R12 c=DX ldc=SI b=R13 n=R15 ahead=R10")
	f.p("MOVQ $128, R9")
	f.p("CMPQ CX, $16")
	f.p("JHI two")
	amxAttnRows(f, 1, values)
	f.p("two:")
	for _, x := range [][3]string{{"R12", "AX", "R8"}, {"SI", "DX", "R14"}} {
		f.p("MOVQ %s, %s", x[0], x[2])
		f.p("SHLQ $4, %s", x[2])
		f.p("ADDQ %s, %s", x[1], x[2])
	}
	amxAttnRows(f, 2, values)
	f.asm.WriteString("\n")
}

// amxAttnRows is the body for n tiles of rows. A single one is few rows, which wait for memory: it asks for what is
// needed next.
func amxAttnRows(f *file, n int, values bool) {
	label := func(s string) string { return s + string(rune('0'+n)) }
	as, cs := []string{"AX", "R8"}[:n], []string{"DX", "R14"}[:n]
	clear := func() {
		for i := range 2 * n {
			f.p("%s", tilezero(i))
		}
	}
	if values {
		f.p("TESTQ $1, attnTile_chain(DI)")
		f.p("JNE %s", label("chain"))
		clear()
		f.p("JMP %s", label("panels"))
		f.p("%s:", label("chain"))
		f.amxC(cs, func(disp int, base string, t int) string { return tileload(disp, base, "SI", t) })
	}
	f.p("%s:", label("panels"))
	f.p("MOVQ (R13), BX")
	f.p("ADDQ attnTile_off(DI), BX")
	f.p("ADDQ $8, R13")
	if n == 1 {
		f.p("MOVQ (R10), R11")
		f.p("ADDQ attnTile_aheadOff(DI), R11")
		f.p("ADDQ $8, R10")
	}
	if !values {
		clear()
		f.p("MOVQ attnTile_steps(DI), CX")
		f.p("SHRQ $4, CX")
		f.p("%s:", label("blocks"))
	}
	fetch := func(half int) {
		if n == 1 {
			for line := range 16 {
				f.p("PREFETCHT1 %d(R11)", 64*(16*half+line))
			}
		}
	}
	f.p("%s", tileload(0, "BX", "R9", 6))
	for i, a := range as {
		f.p("%s", tileload(0, a, "R12", 4+i))
	}
	fetch(0)
	for i := range as {
		f.p("%s", tdpbf16ps(2*i, 4+i, 6))
	}
	f.p("%s", tileload(64, "BX", "R9", 7))
	fetch(1)
	for i, a := range as {
		f.p("%s", tdpbf16ps(2*i+1, 4+i, 7))
		f.p("ADDQ $64, %s", a)
	}
	if !values {
		f.p("ADDQ $2048, BX")
		if n == 1 {
			f.p("ADDQ $2048, R11")
		}
		f.p("DECQ CX")
		f.p("JNE %s", label("blocks"))
		f.amxC(cs, func(disp int, base string, t int) string { return tilestore(t, disp, base, "SI") })
		f.p("MOVQ attnTile_steps(DI), CX")
		f.p("SHLQ $2, CX")
		for i := range as {
			f.p("SUBQ CX, %s", as[i])
			f.p("ADDQ $128, %s", cs[i])
		}
	}
	f.p("DECQ R15")
	f.p("JNE %s", label("panels"))
	if values {
		f.amxC(cs, func(disp int, base string, t int) string { return tilestore(t, disp, base, "SI") })
	}
	f.p("%s", tilerelease())
	f.p("RET")
}

// amxOver emits C += A^T B: see attnOver. Registers: DI attnOver, AX a, BX b, R9 and R10 the strides of A and C, and of
// B, DX and R14 the halves of C, CX blocks left, R8 the tile of A, R11 tiles left, R13 where c's pointers are, R12 b of
// the page, R15 pages left.
func amxOver(f *file) {
	f.text("overAMX", "(t *attnOver)", "", 8)
	f.p("MOVQ t+0(FP), DI")
	f.p("LEAQ tiles<>+2048(SB), AX")
	f.p("%s", ldtilecfg("AX"))
	f.fields("attnOver", "DI", "c=R13 n=R15 b=R12")
	f.p("MOVQ $64, R9")
	f.p("MOVQ $128, R10")
	f.p("pages:")
	f.p("MOVQ (R13), DX")
	f.p("ADDQ $8, R13")
	f.p("MOVQ attnOver_a(DI), R8")
	f.p("MOVQ attnOver_dim(DI), R11")
	f.p("columns:")
	f.p("LEAQ 2048(DX), R14")
	f.p("MOVQ R8, AX")
	f.p("MOVQ R12, BX")
	f.p("MOVQ attnOver_blocks(DI), CX")
	cs := []string{"DX", "R14"}
	f.amxC(cs, func(disp int, base string, t int) string { return tileload(disp, base, "R10", t) })
	f.p("blocks:")
	f.p("%s", tileload(0, "BX", "R10", 6))
	f.p("%s", tileload(0, "AX", "R9", 4))
	f.p("%s", tdpbf16ps(0, 4, 6))
	f.p("%s", tileload(1024, "AX", "R9", 5))
	f.p("%s", tdpbf16ps(2, 5, 6))
	f.p("%s", tileload(64, "BX", "R10", 7))
	f.p("%s", tdpbf16ps(1, 4, 7))
	f.p("%s", tdpbf16ps(3, 5, 7))
	f.p("ADDQ $2048, AX")
	f.p("ADDQ $2048, BX")
	f.p("DECQ CX")
	f.p("JNE blocks")
	f.amxC(cs, func(disp int, base string, t int) string { return tilestore(t, disp, base, "R10") })
	f.p("ADDQ $4096, DX")
	f.p("ADDQ attnOver_lda(DI), R8")
	f.p("SUBQ $32, R11")
	f.p("JNE columns")
	f.p("ADDQ attnOver_page(DI), R12")
	f.p("DECQ R15")
	f.p("JNE pages")
	f.p("%s", tilerelease())
	f.p("RET")
	f.asm.WriteString("\n")
}

// softmaxTiles emits softmax of one row with probabilities as BF16 and by a shorter power of two: see attnKernels. It
// reads and writes whole blocks of 32 elements, for which scores and probabilities have room; n is a multiple of 2. 512
// bytes a block are fetched from ahead.
func (x *vector) softmaxTiles() {
	x.text("softmaxTiles",
		"(p unsafe.Pointer, n int, s []float32, ahead unsafe.Pointer, scale float32) (m, sum float32)", "", 64)
	x.args = 56
	x.regs = []string{"SI"}
	x.p("MOVQ s_base+16(FP), SI")
	x.p("MOVQ s_len+24(FP), CX")
	x.p("VBROADCASTSS scale+48(FP), %s", x.number(0))
	for i := range 4 {
		x.p("VBROADCASTSS negInf<>(SB), %s", x.r(i))
	}
	x.p("VMOVAPS %s, %s", x.r(0), x.r(9))
	x.loop(64, func() {
		for v := range 4 {
			x.load(0, v, x.r(8))
			x.o("MUL", x.r(8), x.r(8), x.number(0))
			x.fill(v, x.r(9), x.r(8))
			x.o("MAX", x.r(v), x.r(8), x.r(v))
		}
	})
	x.fold("MAX", 4)
	x.result("m", 0)
	// scale and -m in base 2
	x.p("VMULSS expLog2e<>(SB), X0, X0")
	x.p("VXORPS X1, X1, X1")
	x.p("VSUBSS X0, X1, X0")
	x.p("VMULPS.BCST expLog2e<>(SB), %s, %s", x.number(0), x.number(0))
	x.p("VBROADCASTSS X0, %s", x.number(1))

	powers := []string{"exp2C4", "exp2C3", "exp2C2", "exp2C1", "one"}
	x.p("VBROADCASTSS exp2C5<>(SB), Z16")
	for i, c := range powers {
		x.p("VBROADCASTSS %s<>(SB), Z%d", c, 17+i)
	}
	x.p("MOVQ p+0(FP), DI")
	x.p("MOVQ n+8(FP), DX")
	x.p("MOVQ ahead+40(FP), R8")
	x.p("MOVQ s_base+16(FP), SI")
	x.p("MOVQ s_len+24(FP), CX")
	x.zero(0)
	block := func(tail bool) {
		for i := range 8 {
			x.p("PREFETCHT1 %d(R8)", 64*i)
		}
		x.p("ADDQ $512, R8")
		for v := range 2 {
			i := 2 + 3*v // 2 and 5
			e := x.r(i)
			x.p("VMOVUPS %d(SI), %s", v*x.bytes(), e)
			// y = s*scale - m; 2^y is 2^floor(y) times a polynomial of y - floor(y)
			x.p("VFMADD213PS %s, %s, %s", x.number(1), x.number(0), e)
			x.p("VREDUCEPS $9, %s, %s", e, x.r(i+1))
			x.p("VMOVAPS Z16, %s", x.r(i+2))
			for j := range powers {
				x.p("VFMADD213PS Z%d, %s, %s", 17+j, x.r(i+1), x.r(i+2))
			}
			x.p("VSCALEFPS %s, %s, %s", e, x.r(i+2), e)
			x.tail = tail
			x.clear(v, e)
			x.tail = false
			x.o("ADD", x.r(0), x.r(0), e)
		}
		x.p("%s", vcvtne2ps2bf16(2, 5, 2))
		x.p("VMOVUPS Z2, (DI)")
		x.p("ADDQ $64, DI")
		x.p("ADDQ $128, SI")
		x.p("SUBQ $32, DX")
	}
	x.p("SUBQ $32, CX")
	x.p("JLT tail2")
	x.p("PCALIGN $32")
	x.p("loop2:")
	block(false)
	x.p("SUBQ $32, CX")
	x.p("JGE loop2")
	x.p("tail2:")
	x.p("ADDQ $32, CX")
	x.p("JEQ zeros")
	x.masks(2)
	block(true)
	x.p("zeros:")
	x.zero(3)
	x.p("TESTQ DX, DX")
	x.p("JLE done2")
	x.p("zero:")
	x.p("VMOVUPS Z3, 0(DI)")
	x.p("ADDQ $64, DI")
	x.p("SUBQ $32, DX")
	x.p("JGT zero")
	x.p("done2:")
	x.fold("ADD", 1)
	x.result("sum", 1)
	x.end()
}

// probsPairs emits probs of two rows to BF16: see attnPairs. A page is four vectors of scores.
func (x *vector) probsPairs() {
	x.text("probsPairs", "(t *attnPairs)", "", 8)
	x.p("MOVQ t+0(FP), DI")
	sees := []string{"R13", "R14"}
	x.fields("attnPairs", "DI", "s=SI dp=DX ld=BX p=R8 ds=R9 page=R10 a=R11 lda=R12 pages=CX sees=R13 sees1=R14")
	scale, zip, lse, delta := "Z28", "Z29", []string{"Z30", "Z31"}, []string{"Z14", "Z15"}
	for i, n := range []string{"", "1"} {
		x.p("VBROADCASTSS attnPairs_lse%s(DI), %s", n, lse[i])
		x.p("VBROADCASTSS attnPairs_delta%s(DI), %s", n, delta[i])
	}
	x.p("VBROADCASTSS attnPairs_scale(DI), %s", scale)
	x.p("VMOVDQU32 zip<>(SB), %s", zip)
	x.hold(12)
	x.p("MOVQ $-1, AX")
	x.p("loop:")
	for i, n := range sees { // masks 1 2 and 3 4
		x.p("MOVQ $32, R15")
		x.p("CMPQ %s, R15", n)
		x.p("CMOVQLT %s, R15", n)
		x.p("XORQ DI, DI")
		x.p("TESTQ R15, R15")
		x.p("CMOVQLT DI, R15")
		x.p("BZHIQ R15, AX, R15")
		x.p("KMOVW R15, K%d", 1+2*i)
		x.p("SHRQ $16, R15")
		x.p("KMOVW R15, K%d", 2+2*i)
		x.p("SUBQ $32, %s", n)
	}
	for v := range 2 {
		for i, row := range []string{"", "(BX*1)"} {
			p, ds, mask := 3*i, 6+2*i+v, fmt.Sprintf("K%d", 1+2*i+v)
			x.p("VMULPS %d(SI)%s, %s, %s", 64*v, row, scale, x.r(p))
			x.o("SUB", x.r(p), x.r(p), lse[i])
			x.exp(p, p+1, p+2, true)
			x.p("VMOVAPS.Z %s, %s, %s", x.r(p), mask, x.r(p))
			x.o("MUL", x.r(p+1), scale, x.r(p))
			x.p("VMOVUPS %d(DX)%s, %s", 64*v, row, x.r(ds))
			x.o("SUB", x.r(ds), x.r(ds), delta[i])
			x.p("VMULPS.Z %s, %s, %s, %s", x.r(ds), x.r(p+1), mask, x.r(ds))
		}
		for _, to := range []struct {
			even, odd int
			at        string
		}{{0, 3, "R8"}, {6 + v, 8 + v, "R9"}} {
			x.p("%s", vcvtne2ps2bf16(10, to.odd, to.even))
			x.p("VPERMW Z10, %s, Z10", zip)
			x.p("VMOVDQU32 Z10, %d(%s)", 64*v, to.at)
		}
	}
	for i, row := range []string{"", "(R12*1)"} {
		x.p("%s", vcvtne2ps2bf16(11, 7+2*i, 6+2*i))
		x.p("VMOVDQU32 Z11, (R11)%s", row)
	}
	x.p("ADDQ $128, SI")
	x.p("ADDQ $128, DX")
	x.p("ADDQ R10, R8")
	x.p("ADDQ R10, R9")
	x.p("ADDQ $64, R11")
	x.p("DECQ CX")
	x.p("JNE loop")
	x.end()
}

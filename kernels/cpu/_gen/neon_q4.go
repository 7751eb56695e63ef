package main

// neonQ4 emits the microkernels of Q4 for machines with SDOT, and the search of its quantiser.
func neonQ4(f *file) {
	x := &neon{file: f}
	x.tiles("tileQ4sdot", x.tileQ4)
	x.errorsQ4()
}

// halves is an instruction with a shift by n bits of 8 words of 16 bits, or for bytes of 16 of 8.
func (x *neon) halves(op string, d, a, n int) {
	code := map[string]int{"shl": 0x4f005400 | (16+n)<<16, "ushr": 0x6f000400 | (32-n)<<16}[op]
	x.word(uint32(code|a<<5|d), "%s v%d.8h, v%d.8h, #%d", op, d, a, n)
}

// tileQ4: loops, registers and chains are those of tileQ8; here 26 holds bytes of 15, 24 and 25 the lower halves of
// bytes, later zeros, 30 and 31 the upper ones, later -128 times the sums of A.
func (x *neon) tileQ4(name string, mr int) {
	const nj = q8Columns
	sum := func(i, j int) int { return 8 + i*nj + j }
	acc := func(i, j int) int { return 16 + i*nj + j }
	x.tileStart(name, mr, "15", 2, acc)
	for g := range 4 {
		x.p("FLDPQ %d(R2), (F24, F25)", 128*g)
		for j := range nj {
			x.word(uint32(0x6f0c0400|(24+j)<<5|30+j), "ushr v%d.16b, v%d.16b, #4", 30+j, 24+j)
			x.o("and", 24+j, 24+j, 26)
		}
		for i := range mr {
			for j := range nj {
				x.sdot(sum(i, j), 24+j, 2*i, g)
				x.sdot(sum(i, j), 30+j, 2*i+1, g)
			}
		}
	}
	x.p("FMOVQ (R13), F30")
	x.halves("shl", 31, 30, 9)
	x.halves("ushr", 31, 31, 9)
	x.of("ushll", 24, 31)
	x.of("ushll2", 25, 31)
	x.halves("ushr", 30, 30, 7)
	x.halves("shl", 30, 30, 6)
	x.of("fcvtl/h", 27, 30)
	x.of("fcvtl2/h", 28, 30)
	x.word(0x4f02f41f, "fmov v31.4s, #0.125")
	x.o("fmul", 27, 27, 31)
	x.o("fmul", 28, 28, 31)
	x.p("FMOVQ %d(R1), F29", 32*mr)
	x.p("FMOVQ %d(R1), F31", 36*mr)
	x.shift("sshr", 31, 31, 7)
	for i := range mr {
		for j := range nj {
			x.shift("shl", sum(i, j), sum(i, j), 3)
			x.mlaWord(sum(i, j), 24+j, 31, i)
			x.of("scvtf", 30, sum(i, j))
			x.mulLane(30, 30, 29, i)
			x.o("fmla", acc(i, j), 30, 27+j)
		}
	}
	x.tileEnd(mr, 3, q4Block, acc)
}

// mlaWord: d += b * lane i of a, integers of 32 bits.
func (x *neon) mlaWord(d, b, a, i int) {
	code := 0x6f800000 | (i&1)<<21 | a<<16 | (i>>1)<<11 | b<<5 | d
	x.word(uint32(code), "mla v%d.4s, v%d.4s, v%d.s[%d]", d, b, a, i)
}

// errorsQ4 emits a num.Q4Errors: a zero is a lane, so that sums are in the order of x.
//
// Registers: R0 sums, R1 x, R2 values left, R3 inverse, R4 zeros. Vectors: sums in 0-3, zeros in 4-7, the inverses in
// 16 and 17, 0 in 18, 15 in 19, a value in 20, passing from 21.
func (x *neon) errorsQ4() {
	x.text("q4ErrorsNEON", "(sums *[2][8]float32, x *float32, n int, inverse *[2]float32, zeros *[2][8]float32)",
		"q4ErrorsNEON is a num.Q4Errors of n values of x.", 40)
	for i, name := range []string{"sums", "x", "n", "inverse", "zeros"} {
		x.p("MOVD %s+%d(FP), R%d", name, 8*i, i)
	}
	for i := range 4 {
		x.zero(i)
		x.p("FMOVQ %d(R4), F%d", 16*i, 4+i)
	}
	for s := range 2 {
		x.p("FMOVS %d(R3), F%d", 4*s, 16+s)
		x.dup(16 + s)
	}
	x.zero(18)
	x.p("MOVD $0x41700000, R5") // 15
	x.p("VDUP R5, V19.S4")
	x.p("CBZ R2, done")
	x.p("loop:")
	x.p("FMOVS.P 4(R1), F20")
	x.dup(20)
	steps := []func(t, u, i int){
		func(t, _, i int) { x.o("fmul", t, 20, 16+i/2) },
		func(t, _, i int) { x.o("fadd", t, t, 4+i) },
		func(t, u, _ int) { x.o("fmax", u, t, 18) },
		func(_, u, _ int) { x.o("fmin", u, u, 19) },
		func(_, u, _ int) { x.of("frintn", u, u) },
		func(t, u, _ int) { x.o("fsub", t, t, u) },
		func(t, _, _ int) { x.o("fmul", t, t, t) },
		func(t, _, i int) { x.o("fadd", i, i, t) },
	}
	for _, step := range steps {
		for i := range 4 {
			step(21+i, 25+i, i)
		}
	}
	x.p("SUB $1, R2")
	x.p("CBNZ R2, loop")
	x.p("done:")
	for i := range 4 {
		x.p("FMOVQ F%d, %d(R0)", i, 16*i)
	}
	x.ret()
}

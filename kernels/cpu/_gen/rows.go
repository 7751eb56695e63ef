package main

// rows emits the inner loops of row operations. Each is described by its plain Go twin in package cpu, whose order of
// operations it follows exactly.
func rows(f *file) {
	for _, wide := range []bool{true, false} {
		x := &vector{file: f, wide: wide}
		x.norms()
		x.elementwise()
		x.swiglu()
		x.adamw()
		x.sums()
		x.losses()
		x.bf16()
	}
	f.data()
}

// lanes64 emits a sum over 64 lanes of what term leaves in register t for vector v.
func (x *vector) lanes64(t int, term func(v int)) {
	n := 64 / x.lanes()
	for i := range n {
		x.zero(i)
	}
	x.loop(64, func() {
		for v := range n {
			term(v)
			x.o("ADD", x.r(v), x.r(v), x.r(t))
		}
	})
	x.fold("ADD", n)
	x.result("sum", 0)
	x.end()
}

func (x *vector) norms() {
	x.begin("sumSquares", "x", "float32", "", "sum")
	x.lanes64(8, func(v int) {
		x.load(0, v, x.r(8))
		x.o("MUL", x.r(8), x.r(8), x.r(8))
	})

	x.begin("dot", "x y", "float32", "", "sum")
	x.lanes64(8, func(v int) {
		x.load(0, v, x.r(8))
		x.load(1, v, x.r(9))
		x.o("MUL", x.r(8), x.r(8), x.r(9))
	})

	x.begin("normDot", "w dy x", "float32", "", "sum")
	x.lanes64(8, func(v int) {
		x.load(0, v, x.r(8))
		x.load(1, v, x.r(9))
		x.load(2, v, x.r(10))
		x.o("MUL", x.r(8), x.r(8), x.r(9))
		x.o("MUL", x.r(8), x.r(8), x.r(10))
	})

	x.begin("scaleRow", "y x w", "float32", "r", "")
	x.each(func(v int) {
		x.load(1, v, x.r(0))
		x.load(2, v, x.r(1))
		x.o("MUL", x.r(0), x.r(0), x.number(0))
		x.o("MUL", x.r(0), x.r(0), x.r(1))
		x.store(x.r(0), 0, v)
	})

	for _, add := range []bool{false, true} {
		name := map[bool]string{false: "normBack", true: "normBackAdd"}[add]
		x.begin(name, "dx dy x w", "float32", "r c", "")
		x.each(func(v int) {
			x.load(1, v, x.r(0))
			x.load(2, v, x.r(1))
			x.load(3, v, x.r(2))
			x.o("MUL", x.r(0), x.r(2), x.r(0))
			x.o("MUL", x.r(1), x.r(1), x.number(1))
			x.o("SUB", x.r(0), x.r(0), x.r(1))
			x.o("MUL", x.r(0), x.number(0), x.r(0))
			if add {
				x.load(0, v, x.r(1))
				x.o("ADD", x.r(0), x.r(1), x.r(0))
			}
			x.store(x.r(0), 0, v)
		})
	}

	x.begin("normWeight", "sum dy x", "float32", "r", "")
	x.each(func(v int) {
		x.load(1, v, x.r(0))
		x.load(2, v, x.r(1))
		x.load(0, v, x.r(2))
		x.o("MUL", x.r(0), x.r(0), x.r(1))
		x.o("MUL", x.r(0), x.r(0), x.number(0))
		x.o("ADD", x.r(0), x.r(2), x.r(0))
		x.store(x.r(0), 0, v)
	})
}

// each ends a function that treats elements one by one, in blocks of 2 vectors.
func (x *vector) each(body func(v int)) {
	x.loop(2*x.lanes(), func() { body(0); body(1) })
	x.end()
}

func (x *vector) elementwise() {
	for _, back := range []bool{false, true} {
		name, first, second := "rotate", "SUB", "ADD"
		if back {
			name, first, second = "rotateBack", "ADD", "SUB"
		}
		x.begin(name, "a b cos sin", "float32", "", "")
		x.each(func(v int) {
			for i := range 4 {
				x.load(i, v, x.r(i))
			}
			x.o("MUL", x.r(4), x.r(0), x.r(2)) // a cos
			x.o("MUL", x.r(5), x.r(1), x.r(3)) // b sin
			x.o("MUL", x.r(6), x.r(1), x.r(2)) // b cos
			x.o("MUL", x.r(7), x.r(0), x.r(3)) // a sin
			x.o(first, x.r(4), x.r(4), x.r(5))
			x.o(second, x.r(6), x.r(6), x.r(7))
			x.store(x.r(4), 0, v)
			x.store(x.r(6), 1, v)
		})
	}

	x.begin("add", "y x", "float32", "", "")
	x.each(func(v int) {
		x.load(0, v, x.r(0))
		x.load(1, v, x.r(1))
		x.o("ADD", x.r(0), x.r(0), x.r(1))
		x.store(x.r(0), 0, v)
	})

	x.begin("axpy", "y x", "float32", "a", "")
	x.each(func(v int) {
		x.load(0, v, x.r(0))
		x.load(1, v, x.r(1))
		x.p("VFMADD231PS %s, %s, %s", x.number(0), x.r(1), x.r(0))
		x.store(x.r(0), 0, v)
	})

	x.begin("fold2", "o part", "float32", "old new", "")
	x.each(func(v int) {
		x.load(0, v, x.r(0))
		x.load(1, v, x.r(1))
		x.o("MUL", x.r(0), x.r(0), x.number(0))
		x.o("MUL", x.r(1), x.r(1), x.number(1))
		x.o("ADD", x.r(0), x.r(0), x.r(1))
		x.store(x.r(0), 0, v)
	})

	x.begin("divide", "y o", "float32", "by", "")
	x.each(func(v int) {
		x.load(1, v, x.r(0))
		x.o("DIV", x.r(0), x.r(0), x.number(0))
		x.store(x.r(0), 0, v)
	})

	x.begin("exps", "y x", "float32", "", "")
	x.hold(12)
	x.each(func(v int) {
		x.load(1, v, x.r(0))
		x.exp(0, 1, 2, true)
		x.store(x.r(0), 0, v)
	})

	x.begin("maximum", "x", "float32", "", "most")
	n := 64 / x.lanes()
	for i := range n {
		x.p("VBROADCASTSS negInf<>(SB), %s", x.r(i))
	}
	x.p("VMOVAPS %s, %s", x.r(0), x.r(9))
	x.loop(64, func() {
		for v := range n {
			x.load(0, v, x.r(8))
			x.fill(v, x.r(9), x.r(8))
			x.o("MAX", x.r(v), x.r(8), x.r(v)) // of NaN and a number the second source
		}
	})
	x.fold("MAX", n)
	x.result("most", 0)
	x.end()
}

func (x *vector) swiglu() {
	one := func() { // 1, in a register
		if !x.wide {
			x.p("VMOVUPS one<>(SB), %s", x.r(12))
		}
	}
	reg := x.r(12)
	if x.wide {
		reg = x.c("one")
	}
	// sigmoid: register 3 = 1/(1 + e^-a), a in register 0
	sigmoid := func() {
		x.zero(3)
		x.o("SUB", x.r(3), x.r(3), x.r(0))
		x.exp(3, 4, 5, true)
		x.o("ADD", x.r(3), reg, x.r(3))
		x.o("DIV", x.r(3), reg, x.r(3))
	}

	x.begin("swiglu", "y gate up", "float32", "", "")
	x.hold(12)
	one()
	x.each(func(v int) {
		x.load(1, v, x.r(0))
		sigmoid()
		x.load(2, v, x.r(1))
		x.o("MUL", x.r(0), x.r(0), x.r(3))
		x.o("MUL", x.r(0), x.r(0), x.r(1))
		x.store(x.r(0), 0, v)
	})

	x.begin("swigluBack", "dgate dup dy gate up", "float32", "", "")
	x.hold(12)
	one()
	x.each(func(v int) {
		x.load(3, v, x.r(0))
		sigmoid()
		x.load(2, v, x.r(1))
		x.load(4, v, x.r(2))
		x.o("MUL", x.r(1), x.r(1), x.r(3)) // y = dy*s
		x.o("SUB", x.r(3), reg, x.r(3))
		x.o("MUL", x.r(3), x.r(0), x.r(3))
		x.o("ADD", x.r(3), reg, x.r(3)) // 1 + g(1-s)
		x.o("MUL", x.r(2), x.r(1), x.r(2))
		x.o("MUL", x.r(2), x.r(2), x.r(3))
		x.o("MUL", x.r(0), x.r(1), x.r(0))
		x.store(x.r(2), 0, v)
		x.store(x.r(0), 1, v)
	})
}

func (x *vector) adamw() {
	x.text(x.name("adamw"), "(p, g, m, v []float32, c *adamwScalars)", "", 104)
	x.regs = x.regs[:0]
	for i, s := range []string{"p", "g", "m", "v"} {
		x.p("MOVQ %s_base+%d(FP), %s", s, 24*i, pointers[i])
		x.regs = append(x.regs, pointers[i])
	}
	x.p("MOVQ p_len+8(FP), CX")
	x.p("MOVQ c+96(FP), R8")
	c := func(name string) string {
		return x.r(6 + map[string]int{"keep": 0, "b1": 1, "b1c": 2, "b2": 3, "b2c": 4, "rate": 5, "root": 6, "eps": 7,
			"gradScale": 8}[name])
	}
	for _, n := range []string{"keep", "b1", "b1c", "b2", "b2c", "rate", "root", "eps", "gradScale"} {
		x.p("VBROADCASTSS adamwScalars_%s(R8), %s", n, c(n))
	}
	x.loop(x.lanes(), func() {
		x.load(1, 0, x.r(0))
		x.load(2, 0, x.r(1))
		x.load(3, 0, x.r(2))
		if !x.wide && x.tail { // the mask took its register
			x.p("VBROADCASTSS adamwScalars_gradScale(R8), %s", c("gradScale"))
		}
		x.o("MUL", x.r(0), x.r(0), c("gradScale"))
		x.o("MUL", x.r(1), c("b1"), x.r(1))
		x.o("MUL", x.r(3), c("b1c"), x.r(0))
		x.o("ADD", x.r(1), x.r(1), x.r(3))
		x.o("MUL", x.r(3), c("b2c"), x.r(0))
		x.o("MUL", x.r(3), x.r(3), x.r(0))
		x.o("MUL", x.r(2), c("b2"), x.r(2))
		x.o("ADD", x.r(2), x.r(2), x.r(3))
		x.store(x.r(1), 2, 0)
		x.store(x.r(2), 3, 0)
		x.p("VSQRTPS %s, %s", x.r(2), x.r(2))
		x.o("DIV", x.r(2), x.r(2), c("root"))
		x.o("ADD", x.r(2), x.r(2), c("eps"))
		x.o("MUL", x.r(1), c("rate"), x.r(1))
		x.o("DIV", x.r(1), x.r(1), x.r(2))
		x.load(0, 0, x.r(0))
		x.o("MUL", x.r(0), c("keep"), x.r(0))
		x.o("SUB", x.r(0), x.r(0), x.r(1))
		x.store(x.r(0), 0, 0)
	})
	x.end()
}

// sums emits sumSquares64 for multiples of 32 elements: 32 lanes of float64 that it adds to.
func (x *vector) sums() {
	x.text(x.name("addSquares"), "(lanes *[32]float64, x []float32)", "", 32)
	x.p("MOVQ lanes+0(FP), DI")
	x.p("MOVQ x_base+8(FP), SI")
	x.p("MOVQ x_len+16(FP), CX")
	n := 32 * 8 / (4 * x.lanes())
	at := 4 * x.lanes() // bytes of a register
	for i := range n {
		x.p("VMOVUPD %d(DI), %s", i*at, x.r(i))
	}
	x.p("SUBQ $32, CX")
	x.p("JLT done")
	x.p("loop:")
	for i := range n {
		x.p("VCVTPS2PD %d(SI), %s", i*at/2, x.r(8+i%4))
		x.p("VMULPD %s, %s, %s", x.r(8+i%4), x.r(8+i%4), x.r(8+i%4))
		x.p("VADDPD %s, %s, %s", x.r(8+i%4), x.r(i), x.r(i))
	}
	x.p("ADDQ $128, SI")
	x.p("SUBQ $32, CX")
	x.p("JGE loop")
	x.p("done:")
	for i := range n {
		x.p("VMOVUPD %s, %d(DI)", x.r(i), i*at)
	}
	x.end()
}

func (x *vector) losses() {
	n := 16 / x.lanes()
	x.begin("scanExp", "logits", "float32", "most invTemp", "sum dot")
	x.hold(11)
	a, b := 0, n
	for i := range 2 * n {
		x.zero(i)
	}
	x.loop(16, func() {
		for v := range n {
			x.load(0, v, x.r(4))
			x.o("MUL", x.r(4), x.r(4), x.number(1))
			x.o("SUB", x.r(4), x.r(4), x.number(0))
			x.p("VMOVUPS %s, %s", x.c("expLeast"), x.r(5))
			x.p("VMAXPS %s, %s, %s", x.r(4), x.r(5), x.r(4))
			x.p("VMOVAPS %s, %s", x.r(4), x.r(7))
			x.exp(4, 5, 6, false)
			x.clear(v, x.r(4))
			x.o("ADD", x.r(a+v), x.r(a+v), x.r(4))
			x.o("MUL", x.r(7), x.r(7), x.r(4))
			x.clear(v, x.r(7))
			x.o("ADD", x.r(b+v), x.r(b+v), x.r(7))
		}
	})
	for i := range n { // fold works on the first registers
		x.p("VMOVAPS %s, %s", x.r(b+i), x.r(4+i))
	}
	x.fold("ADD", n)
	x.result("sum", 0)
	for i := range n {
		x.p("VMOVAPS %s, %s", x.r(4+i), x.r(i))
	}
	x.fold("ADD", n)
	x.result("dot", 1)
	x.end()

	x.text(x.name("gradient"), "(dz, z []float32, c *logitGradient)", "", 56)
	x.p("MOVQ dz_base+0(FP), DI")
	x.p("MOVQ z_base+24(FP), SI")
	x.p("MOVQ z_len+32(FP), CX")
	x.p("MOVQ c+48(FP), DX")
	x.regs = []string{"DI", "SI"}
	x.hold(12)
	g := func(i int) string { return x.r(6 + i) }
	for i, s := range []string{"invTemp", "lse", "dlogp", "dentropy", "entropy"} {
		x.p("VBROADCASTSS logitGradient_%s(DX), %s", s, g(i))
	}
	x.zero(11)
	x.o("SUB", x.r(11), x.r(11), g(0)) // -invTemp
	x.loop(16, func() {
		for v := range n {
			x.load(1, v, x.r(0))
			x.o("MUL", x.r(0), x.r(0), g(0))
			x.o("SUB", x.r(0), x.r(0), g(1))
			x.p("VMOVUPS %s, %s", x.c("expLeast"), x.r(1))
			x.p("VMAXPS %s, %s, %s", x.r(0), x.r(1), x.r(0))
			x.o("ADD", x.r(3), x.r(0), g(4))
			x.o("MUL", x.r(3), g(3), x.r(3))
			x.o("ADD", x.r(3), g(2), x.r(3))
			x.exp(0, 1, 2, true)
			x.o("MUL", x.r(0), x.r(0), x.r(3))
			x.o("MUL", x.r(0), x.r(11), x.r(0))
			x.store(x.r(0), 0, v)
		}
	})
	x.end()
}

// rounding loads the constants of nearest.
func (x *vector) rounding() {
	for i, v := range []string{"$0x7fff", "$1", "$0x40"} {
		x.p("MOVL %s, AX", v)
		if x.wide {
			x.p("VPBROADCASTD AX, %s", x.roundAt(i))
			continue
		}
		x.p("VMOVD AX, X%d", 7-i)
		x.p("VPBROADCASTD X%d, %s", 7-i, x.roundAt(i))
	}
}

// roundAt is where constant i of nearest is: clear of numbers and of the constants of exp.
func (x *vector) roundAt(i int) string {
	if x.wide {
		return x.r(29 - i)
	}
	return x.r(7 - i)
}

// nearest makes the bf16 nearest to each float32 of register a, in the lower halves of its words, as num.BF16FromF32
// does; t and u are scratch.
func (x *vector) nearest(a, t, u int) {
	ra, rt, ru := x.r(a), x.r(t), x.r(u)
	and, or := "VPAND", "VPOR"
	if x.wide {
		and, or = "VPANDD", "VPORD"
		x.p("VCMPPS $3, %s, %s, K7", ra, ra)
	}
	x.p("VPSRLD $16, %s, %s", ra, rt)
	x.p("%s %s, %s, %s", and, x.roundAt(1), rt, ru)
	x.p("VPADDD %s, %s, %s", x.roundAt(0), ru, ru)
	x.p("VPADDD %s, %s, %s", ra, ru, ru)
	x.p("VPSRLD $16, %s, %s", ru, ru)
	x.p("%s %s, %s, %s", or, x.roundAt(2), rt, rt)
	if x.wide {
		x.p("VMOVDQA32 %s, K7, %s", rt, ru)
		x.p("VMOVDQA32 %s, %s", ru, ra)
		return
	}
	x.p("VCMPPS $3, %s, %s, %s", ra, ra, ra)
	x.p("VBLENDVPS %s, %s, %s, %s", ra, rt, ru, ra)
}

// bf16 emits conversions of multiples of 16 elements.
func (x *vector) bf16() {
	n := 16 / x.lanes()
	start := func(name, sig string) {
		x.text(x.name(name), sig, "", 48)
		x.p("MOVQ dst_base+0(FP), DI")
		x.p("MOVQ src_base+24(FP), SI")
		x.p("MOVQ src_len+32(FP), CX")
	}
	run := func(dst, src int, body func()) {
		x.p("SUBQ $16, CX")
		x.p("JLT done")
		x.p("loop:")
		body()
		x.p("ADDQ $%d, DI", dst)
		x.p("ADDQ $%d, SI", src)
		x.p("SUBQ $16, CX")
		x.p("JGE loop")
		x.p("done:")
		x.end()
	}

	start("narrow", "(dst []uint16, src []float32)")
	x.rounding()
	run(32, 64, func() {
		for v := range n {
			x.p("VMOVUPS %d(SI), %s", v*x.bytes(), x.r(v))
			x.nearest(v, 2, 3)
		}
		if x.wide {
			x.p("VPMOVDW Z0, (DI)")
			return
		}
		x.p("VPACKUSDW Y1, Y0, Y0")
		x.p("VPERMQ $0xd8, Y0, Y0")
		x.p("VMOVDQU Y0, (DI)")
	})

	start("round", "(dst, src []float32)")
	x.rounding()
	run(64, 64, func() {
		for v := range n {
			x.p("VMOVUPS %d(SI), %s", v*x.bytes(), x.r(v))
			x.nearest(v, 2, 3)
			x.p("VPSLLD $16, %s, %s", x.r(v), x.r(v))
			x.p("VMOVUPS %s, %d(DI)", x.r(v), v*x.bytes())
		}
	})

	start("widen", "(dst []float32, src []uint16)")
	run(64, 32, func() {
		for v := range n {
			x.p("VPMOVZXWD %d(SI), %s", v*x.bytes()/2, x.r(v))
			x.p("VPSLLD $16, %s, %s", x.r(v), x.r(v))
			x.p("VMOVUPS %s, %d(DI)", x.r(v), v*x.bytes())
		}
	})
}

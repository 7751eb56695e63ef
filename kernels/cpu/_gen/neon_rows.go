package main

import "strings"

// neonRows emits the inner loops of row operations for arm64. Those that end in a sum add to lanes in memory, in whole
// blocks: package cpu goes on with the rest.
func neonRows(f *file) {
	x := &neon{file: f}
	x.norms()
	x.elementwise()
	x.exps()
	x.adamw()
	x.sums()
	x.bf16()
	f.neonData()
}

func (x *neon) norms() {
	x.lanes64("sumSquaresLanes", "x", func(v int) {
		x.load(0, v, 16)
		x.o("fmul", 16, 16, 16)
	})
	x.lanes64("dotLanes", "x y", func(v int) {
		x.load(0, v, 16)
		x.load(1, v, 17)
		x.o("fmul", 16, 16, 17)
	})
	x.lanes64("normDotLanes", "w dy x", func(v int) {
		x.load(0, v, 16)
		x.load(1, v, 17)
		x.load(2, v, 18)
		x.o("fmul", 16, 16, 17)
		x.o("fmul", 16, 16, 18)
	})

	x.begin("scaleRow", "y x w", "r")
	x.each(func(v int) {
		x.load(1, v, 0)
		x.load(2, v, 1)
		x.o("fmul", 0, 0, 31)
		x.o("fmul", 0, 0, 1)
		x.store(0, 0, v)
	})
	for _, name := range []string{"normBack", "normBackAdd"} {
		x.begin(name, "dx dy x w", "r c")
		x.each(func(v int) {
			x.load(1, v, 0)
			x.load(2, v, 1)
			x.load(3, v, 2)
			x.o("fmul", 0, 2, 0)
			x.o("fmul", 1, 1, 30)
			x.o("fsub", 0, 0, 1)
			x.o("fmul", 0, 31, 0)
			if name == "normBackAdd" {
				x.load(0, v, 1)
				x.o("fadd", 0, 1, 0)
			}
			x.store(0, 0, v)
		})
	}
	x.begin("normWeight", "sum dy x", "r")
	x.each(func(v int) {
		x.load(1, v, 0)
		x.load(2, v, 1)
		x.load(0, v, 2)
		x.o("fmul", 0, 0, 1)
		x.o("fmul", 0, 0, 31)
		x.o("fadd", 0, 2, 0)
		x.store(0, 0, v)
	})
}

// lanes64 emits a sum of whole blocks by 64 lanes, which start at zero, of what term leaves in register 16.
func (x *neon) lanes64(name, slices string, term func(v int)) {
	x.lanes(name, slices, "lanes *lanes64", 8)
	for i := range 16 {
		x.zero(i)
	}
	x.loop("64", 16, 64, func(v int) {
		term(v)
		x.o("fadd", v, v, 16)
	})
	x.keep("lanes", 24*len(x.args), 0, 16)
	x.ret()
}

// lanes starts a function of slices of float32 and more arguments of so many bytes.
func (x *neon) lanes(name, slices, more string, bytes int) {
	s := strings.Fields(slices)
	x.text(name+"NEON", "("+strings.Join(s, ", ")+" []float32, "+more+")", "", 24*len(s)+bytes)
	x.slices(s...)
}

// keep stores n registers from v where the argument at this offset points to.
func (x *neon) keep(name string, at, v, n int) {
	x.p("MOVD %s+%d(FP), R9", name, at)
	for i := range n {
		x.p("FMOVQ F%d, %d(R9)", v+i, 16*i)
	}
}

// number broadcasts the argument at this offset.
func (x *neon) number(name string, at, v int) {
	x.p("FMOVS %s+%d(FP), F%d", name, at, v)
	x.dup(v)
}

func (x *neon) elementwise() {
	for _, name := range []string{"rotate", "rotateBack"} {
		first, second := "fsub", "fadd"
		if name == "rotateBack" {
			first, second = second, first
		}
		x.begin(name, "a b cos sin", "")
		x.each(func(v int) {
			for i := range 4 {
				x.load(i, v, i)
			}
			x.o("fmul", 4, 0, 2) // a cos
			x.o("fmul", 5, 1, 3) // b sin
			x.o("fmul", 6, 1, 2) // b cos
			x.o("fmul", 7, 0, 3) // a sin
			x.o(first, 4, 4, 5)
			x.o(second, 6, 6, 7)
			x.store(4, 0, v)
			x.store(6, 1, v)
		})
	}
	// Each of these makes the first slice of the first two.
	for _, f := range []struct {
		name, slices, numbers string
		body                  func()
	}{
		{"add", "y x", "", func() { x.o("fadd", 0, 0, 1) }},
		{"axpy", "y x", "a", func() { x.o("fmla", 0, 1, 31) }},
		{"fold2", "o part", "old new", func() {
			x.o("fmul", 0, 0, 31)
			x.o("fmul", 1, 1, 30)
			x.o("fadd", 0, 0, 1)
		}},
		{"divide", "y o", "by", func() { x.o("fdiv", 0, 1, 31) }},
		{"multiply", "y x", "by", func() { x.o("fmul", 0, 1, 31) }},
	} {
		x.begin(f.name, f.slices, f.numbers)
		x.each(func(v int) {
			x.load(0, v, 0)
			x.load(1, v, 1)
			f.body()
			x.store(0, 0, v)
		})
	}

	x.lanes("maximumLanes", "x", "lanes *lanes16", 8)
	x.p("MOVW $0xff800000, R9")
	for i := range 4 {
		x.p("VDUP R9, V%d.S4", i)
	}
	x.loop("16", 4, 16, func(v int) {
		x.load(0, v, 4)
		x.o("fcmgt", 5, 4, v) // never of a NaN
		x.o("bit", v, 4, 5)
	})
	x.keep("lanes", 24, 0, 4)
	x.ret()
}

func (x *neon) exps() {
	x.begin("exps", "y x", "")
	x.hold()
	x.each(func(v int) {
		x.load(1, v, 0)
		x.exp(0, 1, 2, 3)
		x.store(0, 0, v)
	})

	// sigmoid: register 3 = 1/(1 + e^-a), a in register 0
	sigmoid := func() {
		x.of("fneg", 3, 0)
		x.exp(3, 4, 5, 6)
		x.o("fadd", 3, vOne, 3)
		x.o("fdiv", 3, vOne, 3)
	}
	x.begin("swiglu", "y gate up", "")
	x.hold()
	x.each(func(v int) {
		x.load(1, v, 0)
		sigmoid()
		x.load(2, v, 1)
		x.o("fmul", 0, 0, 3)
		x.o("fmul", 0, 0, 1)
		x.store(0, 0, v)
	})
	x.begin("swigluBack", "dgate dup dy gate up", "")
	x.hold()
	x.each(func(v int) {
		x.load(3, v, 0)
		sigmoid()
		x.load(2, v, 1)
		x.load(4, v, 2)
		x.o("fmul", 1, 1, 3) // y = dy*s
		x.o("fsub", 3, vOne, 3)
		x.o("fmul", 3, 0, 3)
		x.o("fadd", 3, vOne, 3) // 1 + g(1-s)
		x.o("fmul", 2, 1, 2)
		x.o("fmul", 2, 2, 3)
		x.o("fmul", 0, 1, 0)
		x.store(2, 0, v)
		x.store(0, 1, v)
	})

	x.begin("probs", "s dp", "scale lse delta")
	x.hold()
	x.each(func(v int) {
		x.load(0, v, 0)
		x.load(1, v, 4)
		x.o("fmul", 0, 0, 31)
		x.o("fsub", 0, 0, 30)
		x.exp(0, 1, 2, 3)
		x.o("fmul", 1, 31, 0)
		x.o("fsub", 4, 4, 29)
		x.o("fmul", 4, 1, 4)
		x.store(0, 0, v)
		x.store(4, 1, v)
	})

	x.lanes("expSum", "y", "lanes *lanes16, most float32", 12)
	x.number("most", 32, 31)
	x.hold()
	for i := range 4 {
		x.zero(i)
	}
	x.loop("16", 4, 16, func(v int) {
		x.load(0, v, 4)
		x.o("fsub", 4, 4, 31)
		x.exp(4, 5, 6, 7)
		x.store(4, 0, v)
		x.o("fadd", v, v, 4)
	})
	x.keep("lanes", 24, 0, 4)
	x.ret()

	x.lanes("scanExpLanes", "z", "most, invTemp float32, sums, dots *lanes16", 24)
	x.number("most", 24, 31)
	x.number("invTemp", 28, 30)
	x.hold()
	for i := range 8 {
		x.zero(i)
	}
	x.loop("16", 4, 16, func(v int) {
		x.load(0, v, 8)
		x.o("fmul", 8, 8, 30)
		x.o("fsub", 8, 8, 31)
		x.o("fmax", 8, 8, vLeast)
		x.mov(12, 8)
		x.exp(8, 9, 10, 11)
		x.o("fadd", v, v, 8)
		x.o("fmul", 12, 12, 8)
		x.o("fadd", 4+v, 4+v, 12)
	})
	x.keep("sums", 32, 0, 4)
	x.keep("dots", 40, 4, 4)
	x.ret()

	x.lanes("gradient", "dz z", "c *logitGradient", 8)
	x.p("MOVD c+48(FP), R9")
	for i, s := range []string{"invTemp", "lse", "dlogp", "dentropy", "entropy"} {
		x.p("FMOVS logitGradient_%s(R9), F%d", s, 8+i)
		x.dup(8 + i)
	}
	x.of("fneg", 13, 8)
	x.hold()
	x.each(func(v int) {
		x.load(1, v, 0)
		x.o("fmul", 0, 0, 8)
		x.o("fsub", 0, 0, 9)
		x.o("fmax", 0, 0, vLeast)
		x.o("fadd", 4, 0, 12)
		x.o("fmul", 4, 11, 4)
		x.o("fadd", 4, 10, 4)
		x.exp(0, 1, 2, 3)
		x.o("fmul", 0, 0, 4)
		x.o("fmul", 0, 13, 0)
		x.store(0, 0, v)
	})
}

func (x *neon) adamw() {
	x.lanes("adamw", "p g m v", "c *adamwScalars", 8)
	x.p("MOVD c+96(FP), R9")
	const keep, b1, b1c, b2, b2c, rate, root, eps, gradScale = 16, 17, 18, 19, 20, 21, 22, 23, 24
	for i, n := range []string{"keep", "b1", "b1c", "b2", "b2c", "rate", "root", "eps", "gradScale"} {
		x.p("FMOVS adamwScalars_%s(R9), F%d", n, keep+i)
		x.dup(keep + i)
	}
	x.each(func(v int) {
		x.load(1, v, 0)
		x.load(2, v, 1)
		x.load(3, v, 2)
		x.o("fmul", 0, 0, gradScale)
		x.o("fmul", 1, b1, 1)
		x.o("fmul", 3, b1c, 0)
		x.o("fadd", 1, 1, 3)
		x.o("fmul", 3, b2c, 0)
		x.o("fmul", 3, 3, 0)
		x.o("fmul", 2, b2, 2)
		x.o("fadd", 2, 2, 3)
		x.store(1, 2, v)
		x.store(2, 3, v)
		x.of("fsqrt", 2, 2)
		x.o("fdiv", 2, 2, root)
		x.o("fadd", 2, 2, eps)
		x.o("fmul", 1, rate, 1)
		x.o("fdiv", 1, 1, 2)
		x.load(0, v, 0)
		x.o("fmul", 0, keep, 0)
		x.o("fsub", 0, 0, 1)
		x.store(0, 0, v)
	})
}

// sums emits sumSquares64 for multiples of 32 elements: 32 lanes of float64 that it adds to. Squares are exact in
// float64, so that a fused multiply-add is the rounded sum.
func (x *neon) sums() {
	x.text("addSquaresNEON", "(lanes *[32]float64, x []float32)", "", 32)
	x.p("MOVD x_base+8(FP), R0")
	x.p("MOVD x_len+16(FP), R8")
	x.p("MOVD lanes+0(FP), R9")
	for i := range 16 {
		x.p("FMOVQ %d(R9), F%d", 16*i, i)
	}
	x.args = []string{"R0"}
	x.loop("32", 8, 32, func(v int) {
		x.load(0, v, 16)
		x.of("fcvtl", 17, 16)
		x.of("fcvtl2", 18, 16)
		for i := range 2 {
			d, a := 2*v+i, 17+i
			x.word(uint32(0x4e60cc00|a<<16|a<<5|d), "fmla v%d.2d, v%d.2d, v%d.2d", d, a, a)
		}
	})
	x.keep("lanes", 0, 0, 16)
	x.ret()
}

// Registers of the constants of nearest.
const (
	vHalf  = 28 + iota // 0x7fff
	vUnit              // 1
	vQuiet             // 0x400000
	vUpper             // 0xffff0000
)

// rounding loads them.
func (x *neon) rounding() {
	for i, c := range []string{"0x7fff", "1", "0x400000", "0xffff0000"} {
		x.p("MOVD $%s, R9", c)
		x.p("VDUP R9, V%d.S4", vHalf+i)
	}
}

// nearest makes the bf16 nearest to each float32 of register a, as num.BF16FromF32 does, in the upper halves of the
// words of t; the lower ones hold anything. u is scratch.
func (x *neon) nearest(a, t, u int) {
	x.shift("ushr", u, a, 16)
	x.o("and", u, u, vUnit)
	x.o("add", u, u, vHalf)
	x.o("add", u, u, a)
	x.o("fcmeq", t, a, a)
	x.o("orr", a, a, vQuiet)
	x.o("bsl", t, u, a)
}

// bf16 emits conversions, of multiples of 16 elements where sizes change.
func (x *neon) bf16() {
	halves := func(name, sig string, dst, src int, body func(v int)) {
		x.text(name+"NEON", sig, "", 48)
		x.p("MOVD dst_base+0(FP), R0")
		x.p("MOVD src_base+24(FP), R1")
		x.p("MOVD src_len+32(FP), R8")
		if name == "narrow" {
			x.rounding()
		}
		x.p("SUBS $16, R8")
		x.p("BLT done")
		x.p("loop:")
		body(0)
		body(1)
		x.p("ADD $%d, R0", 16*dst)
		x.p("ADD $%d, R1", 16*src)
		x.p("SUBS $16, R8")
		x.p("BGE loop")
		x.p("done:")
		x.ret()
	}
	halves("narrow", "(dst []uint16, src []float32)", 2, 4, func(v int) {
		x.p("FMOVQ %d(R1), F0", 32*v)
		x.p("FMOVQ %d(R1), F1", 32*v+16)
		x.nearest(0, 2, 3)
		x.nearest(1, 4, 5)
		x.of("shrn", 6, 2)
		x.of("shrn2", 6, 4)
		x.p("FMOVQ F6, %d(R0)", 16*v)
	})
	halves("widen", "(dst []float32, src []uint16)", 4, 2, func(v int) {
		x.p("FMOVQ %d(R1), F0", 16*v)
		x.of("shll", 1, 0)
		x.of("shll2", 2, 0)
		x.p("FMOVQ F1, %d(R0)", 32*v)
		x.p("FMOVQ F2, %d(R0)", 32*v+16)
	})

	x.begin("round", "dst src", "")
	x.rounding()
	x.each(func(v int) {
		x.load(1, v, 0)
		x.nearest(0, 1, 2)
		x.o("and", 1, 1, vUpper)
		x.store(1, 0, v)
	})

	// pairs of bf16: even in the lower halves.
	x.begin("pairs", "dst even odd", "")
	x.rounding()
	x.each(func(v int) {
		x.load(1, v, 0)
		x.load(2, v, 3)
		x.nearest(0, 1, 2)
		x.nearest(3, 4, 5)
		x.shift("sri", 4, 1, 16)
		x.store(4, 0, v)
	})
}

package main

import "fmt"

// neonRows emits the inner loops of row operations for arm64. Those that end in a sum add to lanes in memory, in whole blocks: package
// cpu goes on with the rest.
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

// lanes64 emits a sum of whole blocks by 64 lanes, of what term leaves in register 16.
func (x *neon) lanes64(name, slices string, term func(v int)) {
	x.begin(name, slices, "")
	// The lanes come last: begin knows slices only. So the signature is written by hand.
	panicIfEmpty(slices)
	for i := range 16 {
		x.zero(i)
	}
	x.loop("64", 16, 64, func(v int) {
		term(v)
		x.o("fadd", v, v, 16)
	})
	x.ret()
}

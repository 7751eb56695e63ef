package main

import "fmt"

// neonKind is a kind of microkernel for arm64: what a step multiplies.
type neonKind struct {
	name string
	wide bool // A is pairs of float32, B pairs of bf16 that are widened: odd half steps first
	bf16 bool // both are pairs of bf16, multiplied as they are
}

var neonKinds = []neonKind{{name: "F32neon"}, {name: "BF16neon", wide: true}, {name: "BF16neonbf16", bf16: true}}

const neonRowsOfTile = 6

func neonGemm(f *file) {
	x := &neon{file: f}
	for _, k := range neonKinds {
		list := "nil"
		for mr := 1; mr <= neonRowsOfTile; mr++ {
			name := fmt.Sprintf("tile%sx%d", k.name, mr)
			x.tile(k, name, mr)
			list += ", " + name
		}
		fmt.Fprintf(&f.decl, "var tile%ss = [maxTile + 1]func(*tile){%s}\n\n", k.name, list)
	}
}

// neonColumns is the number of vectors of a row that are computed at a time: all 32 columns as long as there are
// registers, else 16.
func neonColumns(mr int) int {
	if mr <= 3 {
		return 8
	}
	return 4
}

// Registers of a tile: R0 tile, R1 a, R2 b, R3 c, R4 ldc, R5 steps left, R6 ahead, R7 its step, R9 scratch, R10 mode,
// R11 offset of the columns, R12 bias. Vectors: A in 0-2 (3: the upper halves of words), chains from 4, row by row, B
// from 28.
const (
	gemmUpper = 3
	gemmChain = 4
	gemmB     = 28
)

func (x *neon) tile(k neonKind, name string, mr int) {
	nj := neonColumns(mr)
	acc := func(i, j int) int { return gemmChain + i*nj + j }
	x.text(name, "(t *tile)", "", 8)
	x.p("MOVD t+0(FP), R0")
	x.p("MOVD tile_ldc(R0), R4")
	x.p("MOVD tile_mode(R0), R10")
	x.p("MOVD tile_bias(R0), R12")
	x.p("MOVD tile_aheadStep(R0), R7")
	if k.wide {
		x.p("MOVD $0xffff0000, R9")
		x.p("VDUP R9, V%d.S4", gemmUpper)
	}
	x.p("MOVD $0, R11")
	x.p("columns:")
	for _, v := range [][2]string{{"a", "R1"}, {"b", "R2"}, {"c", "R3"}, {"steps", "R5"}, {"ahead", "R6"}} {
		x.p("MOVD tile_%s(R0), %s", v[0], v[1])
	}
	x.p("ADD R11, R2")
	x.p("ADD R11, R3")
	x.p("ADD R11, R6")
	x.p("TST $const_modeChain, R10")
	x.p("BEQ zero")
	x.rows(mr, nj, "R3", "R4", func(i, j int, at string) { x.p("FMOVQ %s, F%d", at, acc(i, j)) })
	x.p("B begun")
	x.p("zero:")
	for i := range mr * nj {
		x.zero(gemmChain + i)
	}
	x.p("begun:")
	x.gemmLoop(k, mr, nj)
	x.epilogue(mr, nj, acc, gemmB)
	if nj == 4 {
		x.p("ADD $64, R11")
		x.p("ADD $64, R12")
		x.p("CMP $128, R11")
		x.p("BNE columns")
	}
	x.ret()
}

// rows runs f for the vectors of all rows, ld apart from base; R9 is scratch.
func (x *neon) rows(mr, nj int, base, ld string, f func(i, j int, at string)) {
	r := base
	for i := range mr {
		for j := range nj {
			f(i, j, fmt.Sprintf("%d(%s)", 16*j, r))
		}
		if i < mr-1 {
			x.p("ADD %s, %s, R9", ld, r)
			r = "R9"
		}
	}
}

// gemmLoop runs two steps at a time, whose words of A fill whole registers at best, and one more if their number is
// odd. A wide step has as many words as two others. What is read behind the end of A is within the room that packers
// need there.
func (x *neon) gemmLoop(k neonKind, mr, nj int) {
	step := func(n int) {
		words := n * mr
		if k.wide {
			words *= 2
		}
		if k.wide {
			for u := range n {
				x.gemmA(8*mr*u, 2*mr)
				x.gemmStep(k, mr, nj, 128*u, 0)
			}
		} else {
			x.gemmA(0, words)
			for u := range n {
				x.gemmStep(k, mr, nj, 128*u, u*mr)
			}
		}
		x.p("ADD $%d, R1", 4*words)
		x.p("ADD $%d, R2", 128*n)
	}
	x.p("SUBS $2, R5")
	x.p("BLT rest")
	x.p("PCALIGN $16")
	x.p("loop:")
	for range 2 {
		x.p("PRFM (R6), PLDL1KEEP")
		if nj == 8 {
			x.p("PRFM 64(R6), PLDL1KEEP")
		}
		x.p("ADD R7, R6")
	}
	step(2)
	x.p("SUBS $2, R5")
	x.p("BGE loop")
	x.p("rest:")
	x.p("TBZ $0, R5, done")
	step(1)
	x.p("done:")
}

// gemmA loads words of A.
func (x *neon) gemmA(at, words int) {
	for i := 0; i < words; i += 4 {
		x.p("FMOVQ %d(R1), F%d", at+4*i, i/4)
	}
}

// gemmStep is one step of the chains, whose word of A for row 0 is word a of those loaded.
func (x *neon) gemmStep(k neonKind, mr, nj, at, a int) {
	acc := func(i, j int) int { return gemmChain + i*nj + j }
	for j := 0; j < nj; j += 2 {
		b := gemmB
		if !k.wide {
			b += j % 4
		}
		x.p("FLDPQ %d(R2), (F%d, F%d)", at+16*j, b, b+1)
		each := func(f func(i, jj int)) {
			for i := range mr {
				f(i, 0)
				f(i, 1)
			}
		}
		switch {
		case k.wide:
			x.o("and", b+2, b, gemmUpper)
			x.o("and", b+3, b+1, gemmUpper)
			each(func(i, jj int) { x.mlaLane(acc(i, j+jj), b+2+jj, i/4, i%4) })
			x.shift("shl", b, b, 16)
			x.shift("shl", b+1, b+1, 16)
			each(func(i, jj int) { x.mlaLane(acc(i, j+jj), b+jj, (mr+i)/4, (mr+i)%4) })
		case k.bf16:
			for _, odd := range []int{1, 0} {
				each(func(i, jj int) { x.bfmlal(odd == 1, acc(i, j+jj), b+jj, (a+i)/4, (a+i)%4*2+odd) })
			}
		default:
			each(func(i, jj int) { x.mlaLane(acc(i, j+jj), b+jj, (a+i)/4, (a+i)%4) })
		}
	}
}

// epilogue stores the chains as the mode says. It takes vector 0 and two from b.
func (x *neon) epilogue(mr, nj int, acc func(i, j int) int, b int) {
	x.p("TST $const_modeEpilogue, R10")
	x.p("BEQ store")
	x.p("FMOVS tile_scale(R0), F0")
	x.dup(0)
	for j := range nj {
		x.p("FMOVQ %d(R12), F%d", 16*j, b+j%2)
		for i := range mr {
			x.o("fmul", acc(i, j), acc(i, j), 0)
			x.o("fadd", acc(i, j), acc(i, j), b+j%2)
		}
	}
	x.p("TST $const_modeAdd, R10")
	x.p("BEQ store")
	x.rows(mr, nj, "R3", "R4", func(i, j int, at string) {
		x.p("FMOVQ %s, F%d", at, b+j%2)
		x.o("fadd", acc(i, j), acc(i, j), b+j%2)
	})
	x.p("store:")
	x.rows(mr, nj, "R3", "R4", func(i, j int, at string) { x.p("FMOVQ F%d, %s", acc(i, j), at) })
}

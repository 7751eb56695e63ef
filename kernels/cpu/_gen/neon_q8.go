package main

import "fmt"

// neonQ8 emits the microkernels of Q8 for machines with SDOT, 8 columns at a time.
func neonQ8(f *file) {
	x := &neon{file: f}
	x.tiles("tileQ8sdot", x.tileQ8)
}

// tiles emits a microkernel for each number of rows, and the list of them.
func (x *neon) tiles(name string, tile func(name string, mr int)) {
	list := "nil"
	for mr := 1; mr <= neonQ8Rows; mr++ {
		one := fmt.Sprintf("%sx%d", name, mr)
		tile(one, mr)
		list += ", " + one
	}
	fmt.Fprintf(&x.decl, "var %ss = [maxTile + 1]func(*tile){%s}\n\n", name, list)
}

const (
	neonQ8Rows = 4
	q8Columns  = 2 // vectors of a row at a time
)

// Registers: R0 tile, R1 a, R2 b, R3 c, R4 ldc, R5 groups left, R6 scales of A, R7 ahead, R8 its step, R9 scratch, R10
// mode, R11 offset of the columns in c, R12 bias, R13 scales of B. Vectors: A in 0-7, sums in 8-15, chains in 16-23, B
// in 24 and 25, the sign bits of bytes in 26, scales of B in 27 and 28, of A in 29, scratch in 30.
//
// Weights are stored as q+128. Flipping the sign bit gives q, so that the sum needs no correction.
func (x *neon) tileQ8(name string, mr int) {
	const nj = q8Columns
	sum := func(i, j int) int { return 8 + i*nj + j }
	acc := func(i, j int) int { return 16 + i*nj + j }
	x.tileStart(name, mr, "0x80", 3, acc)
	for g := range 8 {
		x.p("FLDPQ %d(R2), (F24, F25)", 128*g)
		x.o("eor", 24, 24, 26)
		x.o("eor", 25, 25, 26)
		for i := range mr {
			for j := range nj {
				x.sdot(sum(i, j), 24+j, 2*i+g/4, g%4)
			}
		}
	}
	x.p("FMOVQ (R13), F30")
	x.of("fcvtl/h", 27, 30)
	x.of("fcvtl2/h", 28, 30)
	x.p("FMOVQ %d(R1), F29", 32*mr)
	for i := range mr {
		for j := range nj {
			x.of("scvtf", 30, sum(i, j))
			x.mulLane(30, 30, 29, i)
			x.o("fmla", acc(i, j), 30, 27+j)
		}
	}
	x.tileEnd(mr, 4, 1088, acc)
}

// tileStart begins a kernel that treats 8 columns at a time, and a group of them: A is loaded, the sums are 0. Register
// 26 is filled with a byte. ahead: the prefetched bytes of 8 columns, as a power of two of those in C.
func (x *neon) tileStart(name string, mr int, fill string, ahead int, acc func(i, j int) int) {
	const nj = q8Columns
	x.text(name, "(t *tile)", "", 8)
	x.p("MOVD t+0(FP), R0")
	x.p("MOVD tile_ldc(R0), R4")
	x.p("MOVD tile_mode(R0), R10")
	x.p("MOVD tile_bias(R0), R12")
	x.p("MOVD tile_aheadStep(R0), R8")
	x.p("MOVD $%s, R9", fill)
	x.p("VDUP R9, V26.B16")
	x.p("MOVD $0, R11")
	x.p("columns:")
	for _, v := range [][2]string{{"a", "R1"}, {"b", "R2"}, {"c", "R3"}, {"steps", "R5"}, {"ahead", "R7"}} {
		x.p("MOVD tile_%s(R0), %s", v[0], v[1])
	}
	x.p("ADD R11>>1, R2, R13")
	x.p("ADD R11, R2")
	x.p("ADD $64, R2")
	x.p("ADD R11, R3")
	x.p("ADD R11<<%d, R7", ahead) // a line of each 128 bytes for each of four rounds of columns
	for i := range mr * nj {
		x.zero(16 + i)
	}
	x.p("TST $const_modeChain, R10")
	x.p("BEQ loop")
	x.rows(mr, nj, "R3", "R4", func(i, j int, at string) { x.p("FMOVQ %s, F%d", at, acc(i, j)) })
	x.p("loop:")
	x.p("CBZ R5, done")
	for i := range mr {
		x.p("FLDPQ %d(R1), (F%d, F%d)", 32*i, 2*i, 2*i+1)
	}
	for i := range mr * nj {
		x.zero(8 + i)
	}
}

// tileEnd ends the loops of tileStart, with so many lines prefetched, and a group of so many bytes of B.
func (x *neon) tileEnd(mr, lines, block int, acc func(i, j int) int) {
	for i := range lines {
		x.p("PRFM %d(R7), PLDL1KEEP", 64*i)
	}
	x.p("ADD R8, R7")
	x.p("ADD $%d, R1", 40*mr)
	x.p("ADD $%d, R2", block)
	x.p("ADD $%d, R13", block)
	x.p("SUB $1, R5")
	x.p("B loop")
	x.p("done:")
	x.epilogue(mr, q8Columns, acc, 24)
	x.p("ADD $32, R11")
	x.p("ADD $32, R12")
	x.p("CMP $128, R11")
	x.p("BNE columns")
	x.ret()
}

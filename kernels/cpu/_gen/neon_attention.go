package main

import "fmt"

// neonAttention emits the matmuls of attention for arm64, for every number of rows.
func neonAttention(f *file) {
	x := &neon{file: f}
	for _, k := range neonKinds {
		for _, op := range []string{"scores", "values"} {
			list := "nil"
			for mr := 1; mr <= neonRowsOfTile; mr++ {
				name := fmt.Sprintf("%s%sx%d", op, k.name, mr)
				x.attnTile(k, name, mr, op == "values")
				list += ", " + name
			}
			fmt.Fprintf(&f.decl, "var %s%ss = [maxAttnTile + 1]func(*attnTile){%s}\n\n", op, k.name, list)
		}
	}
}

// Registers: R0 attnTile, R1 lda, R2 b, R3 c, R4 ldc, R5 steps left, R6 where b's pointers are, R7 panels left, R9
// scratch, R10 where the pointers to what is needed next are, R11 offset of the columns, R12 the place to fetch,
// R13-R17 and R19 rows of A. Vectors: A in 0-5, chains from 6, B in 30 and 31.
const (
	attnChain = 6
	attnB     = 30
)

var attnRows = []string{"R13", "R14", "R15", "R16", "R17", "R19"}

func (x *neon) attnTile(k neonKind, name string, mr int, values bool) {
	nj := neonColumns(mr)
	acc := func(i, j int) int { return attnChain + i*nj + j }
	clear := func() {
		for i := range mr * nj {
			x.zero(attnChain + i)
		}
	}
	x.text(name, "(t *attnTile)", "", 8)
	x.p("MOVD t+0(FP), R0")
	x.p("MOVD attnTile_lda(R0), R1")
	x.p("MOVD attnTile_ldc(R0), R4")
	x.p("MOVD $0, R11")
	x.p("columns:")
	for _, v := range [][2]string{{"a", attnRows[0]}, {"c", "R3"}, {"b", "R6"}, {"n", "R7"}, {"ahead", "R10"}} {
		x.p("MOVD attnTile_%s(R0), %s", v[0], v[1])
	}
	for i := 1; i < mr; i++ {
		x.p("ADD R1, %s, %s", attnRows[i-1], attnRows[i])
	}
	x.p("ADD R11, R3")
	if values {
		x.p("MOVD attnTile_chain(R0), R9")
		x.p("CBZ R9, zero")
		x.rows(mr, nj, "R3", "R4", func(i, j int, at string) { x.p("FMOVQ %s, F%d", at, acc(i, j)) })
		x.p("B panels")
		x.p("zero:")
		clear()
	}
	x.p("panels:")
	x.panel("R6", "off", "R2")
	x.panel("R10", "aheadOff", "R12")
	x.p("MOVD attnTile_steps(R0), R5")
	if values {
		x.p("CMP $1, R7")
		x.p("BNE whole")
		x.p("MOVD attnTile_last(R0), R5")
		x.p("whole:")
	} else {
		clear()
	}
	x.attnLoop(k, mr, nj)
	if !values {
		x.rows(mr, nj, "R3", "R4", func(i, j int, at string) { x.p("FMOVQ F%d, %s", acc(i, j), at) })
		x.p("ADD $128, R3") // the next 32 columns, from the rows' first elements
		x.p("MOVD attnTile_steps(R0), R9")
		for i := range mr {
			x.p("SUB R9<<%d, %s", k.shiftA(), attnRows[i])
		}
	}
	x.p("SUBS $1, R7")
	x.p("BNE panels")
	if values {
		x.rows(mr, nj, "R3", "R4", func(i, j int, at string) { x.p("FMOVQ F%d, %s", acc(i, j), at) })
	}
	if nj == 4 {
		x.p("ADD $64, R11")
		x.p("CMP $128, R11")
		x.p("BNE columns")
	}
	x.ret()
}

// panel takes the next pointer of a list.
func (x *neon) panel(list, off, to string) {
	x.p("MOVD.P 8(%s), %s", list, to)
	x.p("MOVD attnTile_%s(R0), R9", off)
	x.p("ADD R9, %s", to)
	x.p("ADD R11, %s", to)
}

// shiftA: a step of A takes 1<<shiftA bytes.
func (k neonKind) shiftA() int {
	if k.wide {
		return 3
	}
	return 2
}

// attnLoop runs the steps of a panel: as many at a time as a register has of a row of A, then one by one.
func (x *neon) attnLoop(k neonKind, mr, nj int) {
	n := 16 >> k.shiftA()
	step := func(n int, load string) {
		for i := range mr {
			x.p("%s (%s), F%d", load, attnRows[i], i)
			x.p("ADD $%d, %s", n<<k.shiftA(), attnRows[i])
		}
		for u := range n {
			x.attnStep(k, mr, nj, u)
		}
		x.p("ADD $%d, R2", 128*n)
	}
	x.p("SUBS $%d, R5", n)
	x.p("BLT rest")
	x.p("PCALIGN $16")
	x.p("loop:")
	for u := range n {
		for i := 0; i < 16*nj; i += 64 {
			x.p("PRFM %d(R12), PLDL1KEEP", 128*u+i)
		}
	}
	x.p("ADD $%d, R12", 128*n)
	step(n, "FMOVQ")
	x.p("SUBS $%d, R5", n)
	x.p("BGE loop")
	x.p("rest:")
	x.p("ADDS $%d, R5", n)
	x.p("BEQ done")
	x.p("one:")
	step(1, map[int]string{2: "FMOVS", 3: "FMOVD"}[k.shiftA()])
	x.p("SUBS $1, R5")
	x.p("BNE one")
	x.p("done:")
}

// attnStep is step u of those whose A is loaded.
func (x *neon) attnStep(k neonKind, mr, nj, u int) {
	acc := func(i, j int) int { return attnChain + i*nj + j }
	for j := range nj {
		b := attnB
		if !k.wide {
			b += j % 2
		}
		x.p("FMOVQ %d(R2), F%d", 128*u+16*j, b)
		switch {
		case k.wide: // no register is left for a mask
			x.shift("ushr", b+1, b, 16)
			x.shift("shl", b+1, b+1, 16)
			for i := range mr {
				x.mlaLane(acc(i, j), b+1, i, 2*u+1)
			}
			x.shift("shl", b, b, 16)
			for i := range mr {
				x.mlaLane(acc(i, j), b, i, 2*u)
			}
		case k.bf16:
			for _, odd := range []int{1, 0} {
				for i := range mr {
					x.bfmlal(odd == 1, acc(i, j), b, i, 2*u+odd)
				}
			}
		default:
			for i := range mr {
				x.mlaLane(acc(i, j), b, i, u)
			}
		}
	}
}

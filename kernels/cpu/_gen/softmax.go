package main

// element is what a probability becomes for the product with values.
type element int

const (
	words   element = iota // float32
	rounded                // float32, rounded to BF16
	halves                 // BF16
)

// softmax emits softmaxF32 of package cpu and its like, for all rows of a tile: see attnSoftmax. First all rows are scaled and their largest
// elements found, then their exponentials taken, several vectors at a time: so that no row waits for its own maximum, and no vector for
// its own last step.
//
// Registers: DI attnSoftmax, R9 rows left, SI a row of s, R8 of p, R10 and R11 where its sees and its m are, AX and
// R12 places in s and p, CX elements left, R14 and R15 scratch. Vectors: sums, then threes for exp, then what rounding needs.
func (x *vector) softmax(name string, e element) {
	x.text(name, "(t *attnSoftmax)", "", 8)
	x.p("MOVQ t+0(FP), DI")
	x.softmaxMost()
	x.softmaxExps(e)
	x.end()
}

// softmaxBlock is the number of elements that are treated at a time.
const softmaxBlock = 64

// softmaxMost makes s = scale*s of what a row sees, and m the largest of them.
func (x *vector) softmaxMost() {
	n := softmaxBlock / x.lanes()
	least := x.r(n + 1)
	x.fields("attnSoftmax", "DI", "rows=R9 s=SI")
	x.p("LEAQ attnSoftmax_sees(DI), R10")
	x.p("LEAQ attnSoftmax_m(DI), R11")
	x.p("VBROADCASTSS attnSoftmax_scale(DI), %s", x.number(0))
	x.p("VBROADCASTSS negInf<>(SB), %s", least)
	x.p("most:")
	for i := range n {
		x.p("VMOVAPS %s, %s", least, x.r(i))
	}
	x.p("MOVQ SI, AX")
	x.p("MOVQ (R10), CX")
	x.regs = []string{"AX"}
	x.loop(softmaxBlock, func() {
		for v := range n {
			s := x.r(n)
			x.load(0, v, s)
			x.o("MUL", s, s, x.number(0))
			x.fill(v, least, s)
			x.p("VMOVUPS %s, %d(AX)", s, v*x.bytes()) // whole blocks have room
			x.o("MAX", x.r(v), s, x.r(v))
		}
	})
	x.fold("MAX", n)
	x.p("VMOVSS X0, (R11)")
	x.p("ADDQ $8, R10")
	x.p("ADDQ $4, R11")
	x.p("ADDQ attnSoftmax_lds(DI), SI")
	x.p("DECQ R9")
	x.p("JNE most")
}

// softmaxExps makes p = exp(s - m) of what a row sees, zeros behind it up to n, and the sum by 16 lanes.
func (x *vector) softmaxExps(e element) {
	b := softmaxBlocks{vector: x, element: e, sums: 16 / x.lanes(), size: 4}
	together := 2
	if x.wide {
		together = 4
	}
	for i := range together {
		at := b.sums + 3*i
		b.of = append(b.of, [3]int{at, at + 1, at + 2})
	}
	b.consts = b.sums + 3*together
	if x.wide {
		b.consts = 27 // behind the constants of exp
	}
	if e == halves {
		b.size = 2
	}
	x.fields("attnSoftmax", "DI", "rows=R9 s=SI p=R8")
	x.p("LEAQ attnSoftmax_sees(DI), R10")
	x.p("LEAQ attnSoftmax_m(DI), R11")
	x.hold(11)
	if e == rounded {
		x.nearestConsts(b.consts)
	}
	x.p("exps:")
	x.p("VBROADCASTSS (R11), %s", x.number(0))
	for i := range b.sums {
		x.zero(i)
	}
	x.p("MOVQ SI, AX")
	x.p("MOVQ R8, R12")
	x.p("MOVQ (R10), CX")
	x.p("SUBQ $%d, CX", softmaxBlock)
	x.p("JLT some")
	x.p("PCALIGN $32")
	x.p("whole:")
	b.emit(false)
	x.p("SUBQ $%d, CX", softmaxBlock)
	x.p("JGE whole")
	x.p("some:")
	x.p("ADDQ $%d, CX", softmaxBlock)
	x.p("JEQ behind")
	x.masks(softmaxBlock / x.lanes())
	b.emit(true)
	x.p("behind:") // R12 is at whole blocks from R8
	x.p("MOVQ attnSoftmax_n(DI), CX")
	x.p("IMULQ $%d, CX", b.size)
	x.p("ADDQ R8, CX")
	zero := b.of[0][0]
	x.zero(zero)
	x.p("JMP zeros")
	x.p("zero:")
	for i := 0; i < b.size*softmaxBlock; i += x.bytes() {
		x.p("VMOVUPS %s, %d(R12)", x.r(zero), i)
	}
	x.p("ADDQ $%d, R12", b.size*softmaxBlock)
	x.p("zeros:")
	x.p("CMPQ R12, CX")
	x.p("JLT zero")
	x.fold("ADD", b.sums)
	x.p("VMOVSS X0, attnSoftmax_l-attnSoftmax_m(R11)")
	x.p("ADDQ $8, R10")
	x.p("ADDQ $4, R11")
	x.p("ADDQ attnSoftmax_lds(DI), SI")
	x.p("ADDQ attnSoftmax_ldp(DI), R8")
	x.p("DECQ R9")
	x.p("JNE exps")
}

// softmaxBlocks is how a row's exponentials are taken.
type softmaxBlocks struct {
	*vector
	element
	size, sums int
	of         [][3]int // the vectors that are treated together
	consts     int
}

// emit makes probabilities of a block. Elements that a row does not see are kept from exp: results that are denormal or underflow take a
// hundred times as long.
func (b *softmaxBlocks) emit(tail bool) {
	together := len(b.of)
	for v := 0; v < softmaxBlock/b.lanes(); v += together {
		each := func(f func(v int, r string)) {
			for i, x := range b.of {
				f(v+i, b.r(x[0]))
			}
		}
		clear := func(v int, r string) { b.clear(v, r) }
		each(func(v int, r string) { b.p("VMOVUPS %d(AX), %s", v*b.bytes(), r) })
		each(func(_ int, r string) { b.o("SUB", r, r, b.number(0)) })
		b.tail = tail
		each(clear)
		b.exps(b.of, false)
		each(clear)
		b.tail = false
		each(func(v int, r string) { b.o("ADD", b.r(v%b.sums), b.r(v%b.sums), r) })
		switch b.element {
		case rounded:
			b.nearestPositive(b.of, b.consts)
		case halves:
			for i := 0; i < together; i += 2 {
				lo, hi := b.of[i][0], b.of[i+1][0]
				b.p("%s", vcvtne2ps2bf16(lo, hi, lo))
				b.p("VMOVUPS %s, %d(R12)", b.r(lo), (v+i)*b.bytes()/2)
			}
			continue
		}
		each(func(v int, r string) { b.p("VMOVUPS %s, %d(R12)", r, v*b.bytes()) })
	}
	b.p("ADDQ $%d, AX", 4*softmaxBlock)
	b.p("ADDQ $%d, R12", b.size*softmaxBlock)
}

// nearestConsts loads what nearestPositive adds: 0x7fff, and 0x8000 where the last bit that is kept is 1, then the mask of what is kept.
// AVX2 has 0x7fff, 1 and the mask.
func (x *vector) nearestConsts(at int) {
	list := []string{"$0x7fff", "$1", "$0xffff0000"}
	if x.wide {
		list = []string{"$0x7fff", "$0x8000", "$0xffff0000", "$0x10000"}
	}
	for i, c := range list {
		x.p("MOVL %s, AX", c)
		if x.wide {
			x.p("VPBROADCASTD AX, %s", x.r(at+i))
			continue
		}
		x.p("VMOVD AX, X%d", at+i)
		x.p("VPBROADCASTD X%d, %s", at+i, x.r(at+i))
	}
}

// nearestPositive rounds the first registers of threes to BF16, to nearest even. They are probabilities; or NaN, of whom the sum knows.
func (x *vector) nearestPositive(of [][3]int, consts int) {
	half, keep := x.r(consts), x.r(consts+2)
	for i, r := range of {
		a, t := x.r(r[0]), x.r(r[1])
		if x.wide {
			x.p("VPTESTMD %s, %s, K%d", x.r(consts+3), a, 5+i%2)
			x.p("VPADDD %s, %s, %s", half, a, t)
			x.p("VPADDD %s, %s, K%d, %s", x.r(consts+1), a, 5+i%2, t)
			x.p("VPANDD %s, %s, %s", keep, t, a)
			continue
		}
		x.p("VPSRLD $16, %s, %s", a, t)
		x.p("VPAND %s, %s, %s", x.r(consts+1), t, t)
		x.p("VPADDD %s, %s, %s", half, a, a)
		x.p("VPADDD %s, %s, %s", t, a, a)
		x.p("VPAND %s, %s, %s", keep, a, a)
	}
}

// foldRows emits the merging of partitions for the rows of a tile: see attnFold. Registers: DI attnFold, CX rows left, SI o, DX part, BX
// factors, AX columns.
func (x *vector) foldRows() {
	x.text(x.name("foldRows"), "(t *attnFold)", "", 8)
	x.p("MOVQ t+0(FP), DI")
	x.fields("attnFold", "DI", "rows=CX o=SI part=DX factors=BX cols=R8 ldo=R9 ldpart=R10")
	x.p("rows:")
	x.p("VBROADCASTSS (BX), %s", x.number(0))
	x.p("VBROADCASTSS 4(BX), %s", x.number(1))
	x.p("XORQ AX, AX")
	x.p("cols:")
	for v := range 32 / x.lanes() {
		o, part := x.r(2*v), x.r(2*v+1)
		x.p("VMULPS %d(SI)(AX*4), %s, %s", v*x.bytes(), x.number(0), o)
		x.p("VMULPS %d(DX)(AX*4), %s, %s", v*x.bytes(), x.number(1), part)
		x.o("ADD", o, o, part)
		x.p("VMOVUPS %s, %d(SI)(AX*4)", o, v*x.bytes())
	}
	x.p("ADDQ $32, AX")
	x.p("CMPQ AX, R8")
	x.p("JLT cols")
	x.p("ADDQ R9, SI")
	x.p("ADDQ R10, DX")
	x.p("ADDQ $8, BX")
	x.p("DECQ CX")
	x.p("JNE rows")
	x.end()
}

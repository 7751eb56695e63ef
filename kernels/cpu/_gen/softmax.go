package main

// element is what a probability becomes for the product with values.
type element int

const (
	words   element = iota // float32
	rounded                // float32, rounded to BF16
	halves                 // BF16
)

// softmax emits softmaxF32 of package cpu and its like, for all rows of a tile: see attnSoftmax. First all rows are
// scaled and their largest elements found, then their exponentials taken, several vectors at a time: so that no row
// waits for its own maximum, and no vector for its own last step.
//
// Registers: DI attnSoftmax, R9 rows left, SI a row of s, R8 of p, R10 and R11 where its sees and its m are, AX and R12
// places in s and p, CX elements left, R14 and R15 scratch. Vectors: sums, then threes for exp, then what rounding
// needs.
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
	zero := b.of[0][0]
	x.seen("attnSoftmax_n", b.emit, func() {
		x.zero(zero)
		for i := 0; i < b.size*softmaxBlock; i += x.bytes() {
			x.p("VMOVUPS %s, %d(R12)", x.r(zero), i)
		}
		x.p("ADDQ $%d, R12", b.size*softmaxBlock)
	})
	x.fold("ADD", b.sums)
	x.p("VMOVSS X0, attnSoftmax_l-attnSoftmax_m(R11)")
	x.p("ADDQ $8, R10")
	x.p("ADDQ $4, R11")
	x.p("ADDQ attnSoftmax_lds(DI), SI")
	x.p("ADDQ attnSoftmax_ldp(DI), R8")
	x.p("DECQ R9")
	x.p("JNE exps")
}

// seen emits block for the elements that a row sees, a number at R10, and then unseen for whole blocks up to n, a field
// of the structure at DI. CX counts.
func (x *vector) seen(n string, block func(tail bool), unseen func()) {
	x.p("MOVQ (R10), CX")
	x.p("SUBQ $%d, CX", softmaxBlock)
	x.p("JLT some")
	x.p("PCALIGN $32")
	x.p("whole:")
	block(false)
	x.p("SUBQ $%d, CX", softmaxBlock)
	x.p("JGE whole")
	x.p("some:")
	x.p("ADDQ $%d, CX", softmaxBlock)
	x.p("JEQ behind")
	x.masks(softmaxBlock / x.lanes())
	block(true)
	x.p("behind:")
	x.p("MOVQ (R10), CX")
	x.p("ADDQ $%d, CX", softmaxBlock-1)
	x.p("ANDQ $%d, CX", -softmaxBlock)
	x.p("JMP zeros")
	x.p("zero:")
	unseen()
	x.p("ADDQ $%d, CX", softmaxBlock)
	x.p("zeros:")
	x.p("CMPQ CX, %s(DI)", n)
	x.p("JLT zero")
}

// softmaxBlocks is how a row's exponentials are taken.
type softmaxBlocks struct {
	*vector
	element
	size, sums int
	of         [][3]int // the vectors that are treated together
	consts     int
}

// emit makes probabilities of a block. Elements that a row does not see are kept from exp: results that are denormal or
// underflow take a hundred times as long.
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
			b.nearestWords(b.of, b.consts, false) // of a NaN the sum knows
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

// nearestConsts loads what nearestWords needs: 0x7fff, 1, the mask of what is kept and, but for AVX2, the last bit of
// it.
func (x *vector) nearestConsts(at int) {
	for i, c := range []string{"$0x7fff", "$1", "$0xffff0000", "$0x10000"}[:map[bool]int{true: 4, false: 3}[x.wide]] {
		x.p("MOVL %s, AX", c)
		if x.wide {
			x.p("VPBROADCASTD AX, %s", x.r(at+i))
			continue
		}
		x.p("VMOVD AX, X%d", at+i)
		x.p("VPBROADCASTD X%d, %s", at+i, x.r(at+i))
	}
}

// nearestWords rounds the first registers of threes to BF16, to nearest even. Without nan a NaN may become a number.
func (x *vector) nearestWords(of [][3]int, consts int, nan bool) {
	half, one, keep := x.r(consts), x.r(consts+1), x.r(consts+2)
	for i, r := range of {
		a, t := x.r(r[0]), x.r(r[1])
		switch {
		case !x.wide:
			x.p("VPSRLD $16, %s, %s", a, t)
			x.p("VPAND %s, %s, %s", one, t, t)
			x.p("VPADDD %s, %s, %s", half, a, a)
			x.p("VPADDD %s, %s, %s", t, a, a)
			x.p("VPAND %s, %s, %s", keep, a, a)
			continue
		case nan:
			x.p("VCMPPS $7, %s, %s, K5", a, a)
			x.p("VPTESTMD %s, %s, K5, K6", x.r(consts+3), a)
			x.p("VPADDD %s, %s, K5, %s", half, a, a)
			x.p("VPADDD %s, %s, K6, %s", one, a, a)
		default:
			x.p("VPTESTMD %s, %s, K%d", x.r(consts+3), a, 5+i%2)
			x.p("VPADDD %s, %s, %s", half, a, a)
			x.p("VPADDD %s, %s, K%d, %s", one, a, 5+i%2, a)
		}
		x.p("VPANDD %s, %s, %s", keep, a, a)
	}
}

// probsRows emits probs of package cpu for the rows of a block, with AVX-512: see attnProbs. Registers: DI attnProbs,
// R9 rows left, SI a row of s, DX of dp, R8 of a, R10, R11 and BX where its sees, lse and delta are, R12 the elements
// that are done, CX those that are left.
func (x *vector) probsRows(name string, e element) {
	x.text(name, "(t *attnProbs)", "", 8)
	x.p("MOVQ t+0(FP), DI")
	x.fields("attnProbs", "DI", "rows=R9 s=SI dp=DX a=R8 delta=BX")
	x.p("LEAQ attnProbs_sees(DI), R10")
	x.p("LEAQ attnProbs_lse(DI), R11")
	x.p("VBROADCASTSS attnProbs_scale(DI), %s", x.number(0))
	x.hold(12)
	of, consts := [][3]int{{0, 1, 2}, {3, 4, 5}, {6, 7, 8}, {9, 10, 11}}, 12
	if e == rounded {
		x.nearestConsts(consts)
	}
	each := func(f func(v int, a, t string)) {
		for v, r := range of {
			f(v, x.r(r[0]), x.r(r[1]))
		}
	}
	x.p("rows:")
	x.p("VBROADCASTSS (R11), %s", x.number(1))
	x.p("VBROADCASTSS (BX), %s", x.number(2))
	x.p("XORQ R12, R12")
	ds := func(v int, r string) {
		x.p("VMOVUPS %s, %d(DX)(R12*4)", r, 64*v)
		if e != halves {
			return
		}
		if v%2 == 1 {
			lo, hi := of[v-1][0], of[v][0]
			x.p("%s", vcvtne2ps2bf16(lo, hi, lo))
			x.p("VMOVUPS %s, %d(R8)(R12*2)", x.r(lo), 32*(v-1))
		}
	}
	x.seen("attnProbs_n", func(tail bool) {
		each(func(v int, a, _ string) { x.p("VMULPS %d(SI)(R12*4), %s, %s", 64*v, x.number(0), a) })
		x.tail = tail
		each(func(v int, a, _ string) { x.o("SUB", a, a, x.number(1)); x.clear(v, a) })
		x.exps(of, true)
		each(func(v int, a, t string) {
			x.clear(v, a)
			x.p("VMOVUPS %d(DX)(R12*4), %s", 64*v, t)
			x.p("VMOVUPS %s, %d(SI)(R12*4)", a, 64*v)
			x.o("MUL", a, x.number(0), a)
			x.o("SUB", t, t, x.number(2))
			x.o("MUL", a, a, t)
			x.clear(v, a)
		})
		x.tail = false
		if e == rounded {
			x.nearestWords(of, consts, true)
		}
		each(func(v int, a, _ string) { ds(v, a) })
		x.p("ADDQ $%d, R12", softmaxBlock)
	}, func() {
		x.zero(0)
		for v := range of {
			x.p("VMOVUPS Z0, %d(SI)(R12*4)", 64*v)
			x.p("VMOVUPS Z0, %d(DX)(R12*4)", 64*v)
		}
		if e == halves {
			x.p("VMOVUPS Z0, (R8)(R12*2)")
			x.p("VMOVUPS Z0, 64(R8)(R12*2)")
		}
		x.p("ADDQ $%d, R12", softmaxBlock)
	})
	x.p("ADDQ $8, R10")
	x.p("ADDQ $4, R11")
	x.p("ADDQ $4, BX")
	x.p("ADDQ attnProbs_ld(DI), SI")
	x.p("ADDQ attnProbs_ld(DI), DX")
	x.p("ADDQ attnProbs_lda(DI), R8")
	x.p("DECQ R9")
	x.p("JNE rows")
	x.end()
}

// foldRows emits the merging of partitions for the rows of a tile: see attnFold. Registers: DI attnFold, CX rows left,
// SI o, DX part, BX factors, AX columns.
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

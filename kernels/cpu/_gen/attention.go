package main

import "fmt"

// attnKind is a matmul of attention: kind says what a step multiplies. Its left operand is rows of memory, lda bytes
// apart.
type attnKind struct {
	kind
	name string
}

// attention emits the matmuls of attention, for every number of rows, and softmax.
func attention(f *file) {
	for _, k := range kinds {
		for _, values := range []bool{false, true} {
			op := map[bool]string{false: "scores", true: "values"}[values]
			list := "nil"
			for mr := 1; mr <= k.rows; mr++ {
				a := attnKind{k, fmt.Sprintf("%s%s%d", op, k.name[len("tile"):], mr)}
				a.emit(f, mr, values)
				list += ", " + a.name
			}
			fmt.Fprintf(&f.decl, "var %s%ss = [maxAttnTile + 1]func(*attnTile){%s}\n\n", op,
				k.name[len("tile"):len(k.name)-1], list)
		}
	}
	for _, wide := range []bool{true, false} {
		x := &vector{file: f, wide: wide}
		x.softmax(x.name("softmaxF32"), words)
		x.softmax(x.name("softmaxWide"), rounded)
		x.probs()
		x.foldRows()
	}
	(&vector{file: f, wide: true}).softmax("softmaxBF16", halves)
	for i, name := range []string{"probsWords", "probsRounded", "probsHalves"} {
		(&vector{file: f, wide: true}).probsRows(name, element(i))
	}
	(&vector{file: f, wide: true}).softmaxTiles()
	(&vector{file: f, wide: true}).probsPairs()
	f.text("narrowPairs", "(dst []uint16, src []float32)",
		"narrowPairs rounds multiples of 32 elements; denormals become 0.", 48)
	f.p("MOVQ dst_base+0(FP), DI")
	f.p("MOVQ src_base+24(FP), SI")
	f.p("MOVQ src_len+32(FP), CX")
	f.p("SUBQ $32, CX")
	f.p("JLT done")
	f.p("loop:")
	f.p("VMOVUPS (SI), Z0")
	f.p("VMOVUPS 64(SI), Z1")
	f.p("%s", vcvtne2ps2bf16(0, 1, 0))
	f.p("VMOVUPS Z0, (DI)")
	f.p("ADDQ $128, SI")
	f.p("ADDQ $64, DI")
	f.p("SUBQ $32, CX")
	f.p("JGE loop")
	f.p("done:")
	f.end()
	f.asm.WriteString("DATA evenMask<>+0(SB)/4, $0xffff0000\nGLOBL evenMask<>(SB), RODATA|NOPTR, $4\n")
	zip(f)
	f.data()
}

// Registers: DI attnTile, rowPointers A, R12 lda, BX b, DX c, SI ldc, CX steps left, R13 where b's pointers are, R15
// panels left, R14 halves left, then scratch. Vectors as in gemm: chains of row i in 2i and 2i+1, then two of B, one or
// two of broadcast A.
var rowPointers = []string{"AX", "R8", "R9", "R10", "R11"}

func (k attnKind) emit(f *file, mr int, values bool) {
	f.text(k.name, "(t *attnTile)", "", 8)
	f.p("MOVQ t+0(FP), DI")
	f.p("MOVQ attnTile_lda(DI), R12")
	f.p("MOVQ attnTile_ldc(DI), SI")
	if k.wide {
		f.p("VBROADCASTSS evenMask<>(SB), %s", k.mask())
	}
	if k.lanes == 8 { // 16 columns at a time
		f.p("XORQ R14, R14")
		f.p("half:")
	}
	f.p("MOVQ attnTile_a(DI), AX")
	for i := 1; i < k.pointers(mr); i++ {
		f.p("LEAQ (%s)(R12*2), %s", rowPointers[i-1], rowPointers[i])
		f.p("ADDQ R12, %s", rowPointers[i])
	}
	f.p("MOVQ attnTile_c(DI), DX")
	if k.lanes == 8 {
		f.p("ADDQ R14, DX")
	}
	f.p("MOVQ attnTile_b(DI), R13")
	f.p("MOVQ attnTile_n(DI), R15")
	if k.fetches(mr) {
		f.p("MOVQ attnTile_ahead(DI), R10")
	}
	if values {
		f.p("TESTQ $1, attnTile_chain(DI)")
		f.p("JNE chain")
		k.clear(f, mr)
		f.p("JMP panels")
		f.p("chain:")
		k.rows(f, mr, "VMOVUPS (DX), %s", "VMOVUPS %d(DX), %s")
		f.p("MOVQ attnTile_c(DI), DX")
		if k.lanes == 8 {
			f.p("ADDQ R14, DX")
		}
	}
	f.p("panels:")
	if k.fetches(mr) {
		f.p("MOVQ (R10), R11")
		f.p("ADDQ attnTile_aheadOff(DI), R11")
		f.p("ADDQ $8, R10")
	}
	f.p("MOVQ (R13), BX")
	f.p("ADDQ attnTile_off(DI), BX")
	if k.lanes == 8 {
		f.p("ADDQ R14, BX")
	}
	f.p("MOVQ attnTile_steps(DI), CX")
	if values {
		f.p("CMPQ R15, $1")
		f.p("CMOVQEQ attnTile_last(DI), CX")
	} else {
		k.clear(f, mr)
	}
	k.loop(f, mr)
	f.p("ADDQ $8, R13")
	if values {
		f.p("DECQ R15")
		f.p("JNE panels")
		k.store(f, mr)
	} else {
		k.store(f, mr)
		f.p("MOVQ attnTile_c(DI), DX") // the next 32 columns
		f.p("MOVQ R13, CX")
		f.p("SUBQ attnTile_b(DI), CX")
		f.p("SHLQ $4, CX")
		f.p("ADDQ CX, DX")
		if k.lanes == 8 {
			f.p("ADDQ R14, DX")
		}
		f.p("MOVQ attnTile_steps(DI), CX")
		f.p("SHLQ $%d, CX", map[bool]int{false: 2, true: 3}[k.wideA()])
		for i := range k.pointers(mr) {
			f.p("SUBQ CX, %s", rowPointers[i])
		}
		f.p("DECQ R15")
		f.p("JNE panels")
	}
	if k.lanes == 8 {
		f.p("ADDQ $64, R14")
		f.p("CMPQ R14, $128")
		f.p("JNE half")
	}
	f.end()
}

// wideA: a step of A is two float32.
func (k attnKind) wideA() bool { return k.kind.wide }

func (k attnKind) pointers(mr int) int { return (mr + 2) / 3 }

// fetches: few rows wait for memory, and have registers left to ask for it early. R10 is where the pointers to what is
// needed next are, R11 the place in it.
func (k attnKind) fetches(mr int) bool { return k.pointers(mr) <= 3 }

func (k attnKind) clear(f *file, mr int) {
	x := "VPXORD"
	if k.lanes == 8 {
		x = "VPXOR"
	}
	for i := range 2 * mr {
		f.p("%s %s, %s, %s", x, k.v(i), k.v(i), k.v(i))
	}
}

// rows moves the chains from or to C.
func (k attnKind) rows(f *file, mr int, first, second string) {
	for i := range mr {
		f.p(first, k.v(2*i))
		f.p(second, k.bytes(), k.v(2*i+1))
		f.p("ADDQ SI, DX")
	}
}

func (k attnKind) store(f *file, mr int) {
	for i := range mr {
		f.p("VMOVUPS %s, (DX)", k.v(2*i))
		f.p("VMOVUPS %s, %d(DX)", k.v(2*i+1), k.bytes())
		f.p("ADDQ SI, DX")
	}
}

// loop runs CX steps of one panel.
func (k attnKind) loop(f *file, mr int) {
	size := 4
	if k.wideA() {
		size = 8
	}
	f.p("SUBQ $%d, CX", k.unroll)
	f.p("JLT rest")
	f.p("PCALIGN $32")
	f.p("loop:")
	for u := range k.unroll {
		k.fetch(f, mr, u*128)
		k.step(f, mr, u*size, u*128)
	}
	k.advance(f, mr, k.unroll*size, k.unroll*128)
	f.p("SUBQ $%d, CX", k.unroll)
	f.p("JGE loop")
	f.p("rest:")
	f.p("ADDQ $%d, CX", k.unroll)
	f.p("JEQ done")
	f.p("one:")
	k.fetch(f, mr, 0)
	k.step(f, mr, 0, 0)
	k.advance(f, mr, size, 128)
	f.p("DECQ CX")
	f.p("JNE one")
	f.p("done:")
}

func (k attnKind) fetch(f *file, mr, at int) {
	if k.fetches(mr) {
		f.p("PREFETCHT1 %d(R11)", at)
		f.p("PREFETCHT1 %d(R11)", at+64)
	}
}

func (k attnKind) advance(f *file, mr, a, b int) {
	if k.fetches(mr) {
		f.p("ADDQ $%d, R11", b)
	}
	for i := range k.pointers(mr) {
		f.p("ADDQ $%d, %s", a, rowPointers[i])
	}
	f.p("ADDQ $%d, BX", b)
}

// step is kind.step with rows of A.
func (k attnKind) step(f *file, mr, a, b int) {
	n := k.regs()
	b0, b1 := n-4, n-3
	if !k.wideA() {
		f.p("VMOVUPS %d(BX), %s", b, k.v(b0))
		f.p("VMOVUPS %d(BX), %s", b+k.bytes(), k.v(b1))
		k.multiply(f, mr, a, b0, b1, n-2, 2)
		return
	}
	if k.lanes == 16 {
		raw0, raw1 := n-6, n-5
		f.p("VMOVUPS %d(BX), %s", b, k.v(raw0))
		f.p("VMOVUPS %d(BX), %s", b+k.bytes(), k.v(raw1))
		f.p("VPANDD %s, %s, %s", k.mask(), k.v(raw0), k.v(b0))
		f.p("VPANDD %s, %s, %s", k.mask(), k.v(raw1), k.v(b1))
		k.multiply(f, mr, a+4, b0, b1, n-2, 1)
		f.p("VPSLLD $16, %s, %s", k.v(raw0), k.v(b0))
		f.p("VPSLLD $16, %s, %s", k.v(raw1), k.v(b1))
	} else {
		f.p("VPAND %d(BX), %s, %s", b, k.mask(), k.v(b0))
		f.p("VPAND %d(BX), %s, %s", b+k.bytes(), k.mask(), k.v(b1))
		k.multiply(f, mr, a+4, b0, b1, n-2, 1)
		f.p("VMOVUPS %d(BX), %s", b, k.v(b0))
		f.p("VMOVUPS %d(BX), %s", b+k.bytes(), k.v(b1))
		f.p("VPSLLD $16, %s, %s", k.v(b0), k.v(b0))
		f.p("VPSLLD $16, %s, %s", k.v(b1), k.v(b1))
	}
	k.multiply(f, mr, a, b0, b1, n-2, 1)
}

// multiply is kind.rowsOf with rows of A.
func (k attnKind) multiply(f *file, mr, a, b0, b1, x, spare int) {
	for i := range mr {
		t := x + i%spare
		f.p("VBROADCASTSS %d(%s)%s, %s", a, rowPointers[i/3], []string{"", "(R12*1)", "(R12*2)"}[i%3], k.v(t))
		if k.bf16 {
			f.p("%s", vdpbf16ps(2*i, t, b0))
			f.p("%s", vdpbf16ps(2*i+1, t, b1))
		} else {
			f.p("VFMADD231PS %s, %s, %s", k.v(b0), k.v(t), k.v(2*i))
			f.p("VFMADD231PS %s, %s, %s", k.v(b1), k.v(t), k.v(2*i+1))
		}
	}
}

func (x *vector) probs() {
	x.begin("probs", "s dp", "float32", "scale lse delta", "")
	x.hold(12)
	x.each(func(v int) {
		x.load(0, v, x.r(0))
		x.load(1, v, x.r(3))
		x.o("MUL", x.r(0), x.r(0), x.number(0))
		x.o("SUB", x.r(0), x.r(0), x.number(1))
		x.exp(0, 1, 2, true)
		x.o("MUL", x.r(1), x.number(0), x.r(0))
		x.o("SUB", x.r(3), x.r(3), x.number(2))
		x.o("MUL", x.r(3), x.r(1), x.r(3))
		x.store(x.r(0), 0, v)
		x.store(x.r(3), 1, v)
	})
}

package main

import "fmt"

// kind of microkernel: what a step multiplies.
type kind struct {
	name   string
	rows   int  // of the largest tile
	lanes  int  // float32 of a register
	wide   bool // A is [steps][2][mr] float32, B pairs of bf16 to be widened: two half steps, odd first
	bf16   bool // VDPBF16PS
	unroll int
}

var kinds = []kind{
	{name: "tileBF16avx512bf16x", rows: 14, lanes: 16, bf16: true, unroll: 4},
	{name: "tileF32avx512x", rows: 14, lanes: 16, unroll: 4},
	{name: "tileBF16avx512x", rows: 13, lanes: 16, wide: true, unroll: 2},
	{name: "tileF32avx2x", rows: 6, lanes: 8, unroll: 4},
	{name: "tileBF16avx2x", rows: 6, lanes: 8, wide: true, unroll: 2},
}

func gemm(f *file) {
	for _, k := range kinds {
		list := "nil"
		for mr := 1; mr <= k.rows; mr++ {
			if k.lanes == 8 && mr <= narrowFewRows {
				k.fewRowsTile(f, mr)
			} else {
				k.tile(f, mr)
			}
			list += fmt.Sprintf(", %s%d", k.name, mr)
		}
		fmt.Fprintf(&f.decl, "var %ss = [maxTile + 1]func(*tile){%s}\n\n", k.name[:len(k.name)-1], list)
	}
	for _, wide := range []bool{true, false} {
		(&vector{file: f, wide: wide}).finish()
	}
	f.asm.WriteString("DATA evenMask<>+0(SB)/4, $0xffff0000\nGLOBL evenMask<>(SB), RODATA|NOPTR, $4\n")
}

// Registers of a tile: DI tile, CX steps left, AX a, BX b, DX c, SI ldc, R8 ahead, R12 its step, R9 row of the next C,
// R11 its last row; R9-R11 are scratch outside the loop, R13 counts halves. Vectors: chains of row i in 2i and 2i+1,
// then two of B, one or two of broadcast A.
func (k kind) tile(f *file, mr int) {
	f.text(fmt.Sprintf("%s%d", k.name, mr), "(t *tile)", "", 8)
	f.p("MOVQ t+0(FP), DI")
	f.fields("tile", "DI", "a=AX b=BX c=DX ldc=SI ahead=R8 aheadStep=R12")
	if k.lanes == 8 { // 16 columns at a time: the registers are half as wide and half as many
		f.p("MOVQ $2, R13")
		f.p("MOVQ tile_bias(DI), R10")
		f.p("half:")
	}
	f.p("MOVQ tile_steps(DI), CX")
	k.begin(f, mr)
	k.loop(f, mr)
	k.epilogue(f, mr)
	if k.lanes == 8 {
		f.p("DECQ R13")
		f.p("JEQ out")
		f.p("MOVQ tile_a(DI), AX")
		f.p("MOVQ tile_b(DI), BX")
		f.p("MOVQ tile_c(DI), DX")
		f.p("ADDQ $64, BX")
		f.p("ADDQ $64, DX")
		f.p("ADDQ $64, R10")
		f.p("JMP half")
		f.p("out:")
	}
	f.end()
}

func (k kind) v(i int) string {
	if k.lanes == 8 {
		return fmt.Sprintf("Y%d", i)
	}
	return fmt.Sprintf("Z%d", i)
}

func (k kind) bytes() int { return 4 * k.lanes }

func (k kind) xor() string {
	if k.lanes == 8 {
		return "VPXOR"
	}
	return "VPXORD"
}

// begin sets the chains to zero, or to C.
func (k kind) begin(f *file, mr int) {
	if k.wide {
		f.p("VBROADCASTSS evenMask<>(SB), %s", k.mask())
	}
	f.p("MOVQ tile_mode(DI), R9")
	f.p("TESTQ $const_modeChain, R9")
	f.p("JNE chain")
	for i := range 2 * mr {
		f.p("%s %s, %s, %s", k.xor(), k.v(i), k.v(i), k.v(i))
	}
	f.p("JMP begun")
	f.p("chain:")
	f.p("MOVQ DX, R11")
	for i := range mr {
		f.p("VMOVUPS (R11), %s", k.v(2*i))
		f.p("VMOVUPS %d(R11), %s", k.bytes(), k.v(2*i+1))
		f.p("ADDQ SI, R11")
	}
	f.p("begun:")
	f.p("MOVQ tile_nextC(DI), R9")
	f.p("MOVQ R9, R11")
	for range mr - 1 {
		f.p("ADDQ SI, R11")
	}
}

func (k kind) regs() int {
	if k.lanes == 8 {
		return 16
	}
	return 32
}

func (k kind) mask() string { return k.v(k.regs() - 1) }

// loop runs the steps, unrolled, then the rest one by one.
func (k kind) loop(f *file, mr int) {
	aStep := 4 * mr
	if k.wide {
		aStep = 8 * mr
	}
	f.p("SUBQ $%d, CX", k.unroll)
	f.p("JLT rest")
	f.p("PCALIGN $32")
	f.p("loop:")
	for u := range k.unroll {
		k.step(f, mr, u*aStep, u*128)
		if u == 0 { // a row of the next tile of C, for the second level: rows are often a multiple of 4 KiB apart
			f.p("PREFETCHT1 (R9)")
			f.p("PREFETCHT1 64(R9)")
			f.p("ADDQ SI, R9")
			f.p("CMPQ R9, R11")
			f.p("CMOVQHI R11, R9")
		}
	}
	f.p("ADDQ $%d, AX", k.unroll*aStep)
	f.p("ADDQ $%d, BX", k.unroll*128)
	f.p("SUBQ $%d, CX", k.unroll)
	f.p("JGE loop")
	f.p("rest:")
	f.p("ADDQ $%d, CX", k.unroll)
	f.p("JEQ done")
	f.p("one:")
	k.step(f, mr, 0, 0)
	f.p("ADDQ $%d, AX", aStep)
	f.p("ADDQ $128, BX")
	f.p("DECQ CX")
	f.p("JNE one")
	f.p("done:")
}

// step is one step of the chains, with A and B at these offsets.
func (k kind) step(f *file, mr, a, b int) {
	n := k.regs()
	b0, b1 := n-4, n-3
	f.p("PREFETCHT1 (R8)")
	f.p("PREFETCHT1 64(R8)")
	f.p("ADDQ R12, R8")
	if !k.wide {
		f.p("VMOVUPS %d(BX), %s", b, k.v(b0))
		f.p("VMOVUPS %d(BX), %s", b+k.bytes(), k.v(b1))
		k.rowsOf(f, mr, a, b0, b1, n-2, 2)
		return
	}
	and, raw0, raw1 := "VPAND", b0, b1
	if k.lanes == 16 {
		and, raw0, raw1 = "VPANDD", n-6, n-5
		f.p("VMOVUPS %d(BX), %s", b, k.v(raw0))
		f.p("VMOVUPS %d(BX), %s", b+k.bytes(), k.v(raw1))
		f.p("%s %s, %s, %s", and, k.mask(), k.v(raw0), k.v(b0))
		f.p("%s %s, %s, %s", and, k.mask(), k.v(raw1), k.v(b1))
	} else {
		f.p("%s %d(BX), %s, %s", and, b, k.mask(), k.v(b0))
		f.p("%s %d(BX), %s, %s", and, b+k.bytes(), k.mask(), k.v(b1))
	}
	k.rowsOf(f, mr, a, b0, b1, n-2, 1)
	if k.lanes == 8 {
		f.p("VMOVUPS %d(BX), %s", b, k.v(raw0))
		f.p("VMOVUPS %d(BX), %s", b+k.bytes(), k.v(raw1))
	}
	f.p("VPSLLD $16, %s, %s", k.v(raw0), k.v(b0))
	f.p("VPSLLD $16, %s, %s", k.v(raw1), k.v(b1))
	k.rowsOf(f, mr, a+4*mr, b0, b1, n-2, 1)
}

// rowsOf multiplies one broadcast of A for each row with the two vectors of B, through spare registers from x.
func (k kind) rowsOf(f *file, mr, a, b0, b1, x, spare int) {
	for i := range mr {
		t := x + i%spare
		f.p("VBROADCASTSS %d(AX), %s", a+4*i, k.v(t))
		if k.bf16 {
			f.p("%s", vdpbf16ps(2*i, t, b0))
			f.p("%s", vdpbf16ps(2*i+1, t, b1))
		} else {
			f.p("VFMADD231PS %s, %s, %s", k.v(b0), k.v(t), k.v(2*i))
			f.p("VFMADD231PS %s, %s, %s", k.v(b1), k.v(t), k.v(2*i+1))
		}
	}
}

// epilogue stores the chains as the mode says.
func (k kind) epilogue(f *file, mr int) {
	n := k.regs()
	b0, b1, s := k.v(n-4), k.v(n-3), k.v(n-2)
	f.p("MOVQ tile_mode(DI), R9")
	f.p("TESTQ $const_modeEpilogue, R9")
	f.p("JEQ store")
	if k.lanes == 16 {
		f.p("MOVQ tile_bias(DI), R10")
	}
	f.p("VMOVUPS (R10), %s", b0)
	f.p("VMOVUPS %d(R10), %s", k.bytes(), b1)
	f.p("VBROADCASTSS tile_scale(DI), %s", s)
	for i := range mr {
		for j, b := range []string{b0, b1} {
			f.p("VMULPS %s, %s, %s", s, k.v(2*i+j), k.v(2*i+j))
			f.p("VADDPS %s, %s, %s", b, k.v(2*i+j), k.v(2*i+j))
		}
	}
	f.p("TESTQ $const_modeAdd, R9")
	f.p("JEQ store")
	f.p("MOVQ DX, R11")
	for i := range mr {
		f.p("VADDPS (R11), %s, %s", k.v(2*i), k.v(2*i))
		f.p("VADDPS %d(R11), %s, %s", k.bytes(), k.v(2*i+1), k.v(2*i+1))
		f.p("ADDQ SI, R11")
	}
	f.p("store:")
	for i := range mr {
		f.p("VMOVUPS %s, (DX)", k.v(2*i))
		f.p("VMOVUPS %s, %d(DX)", k.v(2*i+1), k.bytes())
		f.p("ADDQ SI, DX")
	}
}

// finish emits the epilogue for finished chains in memory, dense rows of 32.
func (x *vector) finish() {
	n := 32 / x.lanes()
	x.text(x.name("finish"), "(t *tile, chains unsafe.Pointer)",
		x.name("finish")+" stores finished chains [mr][32] as t's epilogue says.", 16)
	x.p("MOVQ t+0(FP), DI")
	x.p("MOVQ chains+8(FP), AX")
	x.p("MOVQ tile_c(DI), DX")
	x.p("MOVQ tile_ldc(DI), SI")
	x.p("MOVQ tile_mr(DI), CX")
	x.p("MOVQ tile_mode(DI), R9")
	x.p("MOVQ tile_bias(DI), R10")
	for i := range n {
		x.p("VMOVUPS %d(R10), %s", i*x.bytes(), x.r(n+i))
	}
	x.p("VBROADCASTSS tile_scale(DI), %s", x.r(2*n))
	x.p("loop:")
	for i := range n {
		x.p("VMULPS %d(AX), %s, %s", i*x.bytes(), x.r(2*n), x.r(i))
		x.p("VADDPS %s, %s, %s", x.r(n+i), x.r(i), x.r(i))
	}
	x.p("TESTQ $const_modeAdd, R9")
	x.p("JEQ store")
	for i := range n {
		x.p("VADDPS %d(DX), %s, %s", i*x.bytes(), x.r(i), x.r(i))
	}
	x.p("store:")
	for i := range n {
		x.p("VMOVUPS %s, %d(DX)", x.r(i), i*x.bytes())
	}
	x.p("ADDQ $128, AX")
	x.p("ADDQ SI, DX")
	x.p("DECQ CX")
	x.p("JNE loop")
	x.end()
}

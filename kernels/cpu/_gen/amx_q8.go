package main

import "fmt"

// The microkernel of Q8 on AMX.
//
// TDPBSSD computes the sums of a group, 32 k, for 16 columns. The sums go through memory into vector registers, which
// hold the chains. Moving the sums from tiles to chains takes most of the time. Measured on a Xeon (cycles):
//
//   - a tile takes 16 to be multiplied, 16 to be stored, half its rows to be loaded. A tile that is stored right after
//     it was
//     multiplied waits 50: there are two sets, one is multiplied while the other one is stored.
//   - beside instructions of tiles only one of the two units multiplies 512 bits or converts integers, so that a
//     product, an fma and
//     a conversion are 3 cycles. Additions have both. Hence tiles start from 12582912.0 as an integer: what is stored is the float32
//     12582912 + sum, exactly, and a subtraction does for a conversion: 78 to 97 cycles a group of 13 rows instead of 110 to 132.
//   - by tiles of BF16, whose sums would be float32 at once, B and A are twice as large: 107 to 137.
const (
	q8TileRows = 13   // 26 chains, 5 registers for what passes
	q8TileB    = 1152 // bytes of a step of a panel: 32 scales, F32, then [8][32 columns][4 k] of q
)

func amxQ8(f *file) {
	list := "nil"
	for mr := 1; mr <= q8TileRows; mr++ {
		amxQ8Tile(f, mr)
		list += fmt.Sprintf(", tileQ8amx%d", mr)
	}
	fmt.Fprintf(&f.decl, "var tileQ8amxs = [maxTile + 1]func(*tile){%s}\n\n", list)
	amxQ8Panel(f)
	for mr := range q8TileRows + 1 { // tiles 0 1 and 2 3 are sums, 4 5 A, 6 7 B
		tileConfig(f, "q8Tiles", mr, [8]int{mr, mr, mr, mr, mr, mr, 8, 8}, [8]int{64, 64, 64, 64, 32, 32, 64, 64})
	}
	fmt.Fprintf(&f.asm, "GLOBL q8Tiles<>(SB), RODATA|NOPTR, $%d\n", 64*(q8TileRows+1))
	for i := range 8 {
		fmt.Fprintf(&f.asm, "DATA q8Start<>+%d(SB)/8, $0x4b4000004b400000\n", 8*i)
	}
	f.asm.WriteString("GLOBL q8Start<>(SB), RODATA|NOPTR, $64\n")
}

// amxQ8Tile emits the microkernel for mr rows. It reads two steps of A and B past the last one and has no use for them.
//
// Registers: DI tile, CX groups left, AX q of a group, R9 the stride of its rows, R13 scales of the group, BX b, R10
// the stride of B and of sums, R11 sums, DX what they start from, R8 ahead, R12 its step, R15 row of the next C, R14
// its last row, SI ldc. Vectors: chains of row i in 2i and 2i+1, -12582912 in 27, scales of B in 28 and 29, of A in 30,
// 31 passing.
func amxQ8Tile(f *file, mr int) {
	const start, scaleB, scaleA, sum = 27, 28, 30, 31
	f.text(fmt.Sprintf("tileQ8amx%d", mr), "(t *tile)", "", 8)
	f.p("MOVQ t+0(FP), DI")
	f.p("LEAQ q8Tiles<>+%d(SB), AX", 64*mr)
	f.p("%s", ldtilecfg("AX"))
	f.fields("tile", "DI", "a=AX b=BX ldc=SI ahead=R8 aheadStep=R12 nextC=R15 steps=CX stage=R11")
	f.p("MOVQ $32, R9")
	f.p("MOVQ $128, R10")
	f.p("IMUL3Q $%d, CX, R13", 32*mr)
	f.p("ADDQ AX, R13")
	f.p("IMUL3Q $%d, SI, R14", mr-1)
	f.p("ADDQ R15, R14")
	f.p("MOVL $0xcb400000, DX")
	f.p("VPBROADCASTD DX, Z%d", start)
	f.p("LEAQ q8Start<>(SB), DX")
	for i := range 2 * mr {
		f.p("VPXORD Z%d, Z%d, Z%d", i, i, i)
	}
	f.p("TESTQ CX, CX")
	f.p("JEQ done")
	// multiply makes sums of columns 16h and on of a group that many ahead, store leaves them in their half of memory.
	multiply := func(set, h, ahead int) {
		f.p("%s", tileload(0, "DX", noIndex, 2*set+h))
		f.p("%s", tileload(ahead*q8TileB+128+64*h, "BX", "R10", 6+h))
		if h == 0 {
			f.p("%s", tileload(ahead*32*mr, "AX", "R9", 4+set))
		}
		f.p("%s", tdpbssd(2*set+h, 4+set, 6+h))
	}
	sums := func(set, h int) int { return set*128*mr + 64*h }
	store := func(set, h int) { f.p("%s", tilestore(2*set+h, sums(set, h), "R11", "R10")) }
	for set := range 2 {
		multiply(set, 0, set)
		multiply(set, 1, set)
	}
	store(0, 0)
	store(0, 1)
	f.p("loop:")
	for set := range 2 {
		between := []func(){
			func() { multiply(set, 0, 2) },
			func() { store(1-set, 0) },
			func() { f.p("PREFETCHT1 (R8)"); f.p("PREFETCHT1 64(R8)") },
			func() { multiply(set, 1, 2) },
			func() { store(1-set, 1) },
			func() { f.p("PREFETCHT1 128(R8)"); f.p("PREFETCHT1 192(R8)"); f.p("ADDQ R12, R8") },
			func() { f.prefetchC(); f.p("CMPQ R15, R14"); f.p("CMOVQHI R14, R15") },
		}
		f.p("VMOVUPS (BX), Z%d", scaleB)
		f.p("VMOVUPS 64(BX), Z%d", scaleB+1)
		for i := range mr {
			for _, do := range between[i*len(between)/mr : (i+1)*len(between)/mr] {
				do()
			}
			f.p("VBROADCASTSS %d(R13), Z%d", 4*i, scaleA)
			for h := range 2 {
				f.p("VADDPS %d(R11), Z%d, Z%d", sums(set, h)+128*i, start, sum)
				f.p("VMULPS Z%d, Z%d, Z%d", scaleA, sum, sum)
				f.p("VFMADD231PS Z%d, Z%d, Z%d", sum, scaleB+h, 2*i+h)
			}
		}
		f.p("ADDQ $%d, AX", 32*mr)
		f.p("ADDQ $%d, R13", 4*mr)
		f.p("ADDQ $%d, BX", q8TileB)
		f.p("DECQ CX")
		if set == 0 {
			f.p("JEQ done")
		} else {
			f.p("JNE loop")
		}
	}
	f.p("done:")
	f.p("%s", tilerelease())
	f.p("MOVQ tile_c(DI), DX")
	kind{lanes: 16}.epilogue(f, mr)
	f.end()
}

// amxQ8Panel emits what makes a panel for tiles: its scales widened, its bytes signed.
func amxQ8Panel(f *file) {
	f.text("q8PanelAMX", "(dst, src unsafe.Pointer, groups int)",
		"q8PanelAMX makes of blocks of a panel of Q8 what tileQ8amx takes as B.", 24)
	f.p("MOVQ dst+0(FP), DI")
	f.p("MOVQ src+8(FP), SI")
	f.p("MOVQ groups+16(FP), CX")
	f.p("MOVL $0x80808080, AX")
	f.p("VPBROADCASTD AX, Z31")
	f.p("loop:")
	for i := range 2 {
		f.p("VCVTPH2PS %d(SI), Z%d", 32*i, i)
		f.p("VMOVUPS Z%d, %d(DI)", i, 64*i)
	}
	for i := range 16 {
		f.p("VPXORD %d(SI), Z31, Z%d", 64+64*i, i)
		f.p("VMOVDQU32 Z%d, %d(DI)", i, 128+64*i)
	}
	f.p("ADDQ $1088, SI")
	f.p("ADDQ $%d, DI", q8TileB)
	f.p("DECQ CX")
	f.p("JNE loop")
	f.end()
}

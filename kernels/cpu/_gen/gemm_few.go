package main

import "fmt"

// narrowFewRows is the largest number of rows whose chains of all 32 columns fit into the registers of AVX2.
const narrowFewRows = 2

// fewRowsTile is the microkernel of AVX2 for one or two rows: the panel is read once, line by line, which is what
// memory is best at. In two halves of 16 columns every other line is read, and a row has two chains at a time instead
// of four, each of which waits for its last product.
//
// Registers as in tile. Vectors: chains of row i from 4i on, four of B from 8 on, broadcast A, mask.
func (k kind) fewRowsTile(f *file, mr int) {
	f.text(fmt.Sprintf("%s%d", k.name, mr), "(t *tile)", "", 8)
	f.p("MOVQ t+0(FP), DI")
	f.fields("tile", "DI", "a=AX b=BX c=DX ldc=SI ahead=R8 aheadStep=R12 steps=CX nextC=R9 mode=R11")
	if k.wide {
		f.p("VBROADCASTSS evenMask<>(SB), Y15")
	}
	f.p("TESTQ $const_modeChain, R11")
	f.p("JNE chain")
	for i := range 4 * mr {
		f.p("VPXOR Y%d, Y%d, Y%d", i, i, i)
	}
	f.p("JMP begun")
	f.p("chain:")
	for i := range mr {
		k.fewRowsC(f, i, func(j int, at string) { f.p("VMOVUPS %s, Y%d", at, 4*i+j) })
	}
	f.p("begun:")
	f.p("PREFETCHT1 (R9)")
	f.p("PREFETCHT1 64(R9)")
	f.p("SUBQ $%d, CX", k.unroll)
	f.p("JLT rest")
	f.p("PCALIGN $32")
	f.p("loop:")
	for u := range k.unroll {
		k.fewRowsStep(f, mr, u)
	}
	f.p("ADDQ $%d, AX", k.unroll*k.stepA(mr))
	f.p("ADDQ $%d, BX", k.unroll*128)
	f.p("SUBQ $%d, CX", k.unroll)
	f.p("JGE loop")
	f.p("rest:")
	f.p("ADDQ $%d, CX", k.unroll)
	f.p("JEQ done")
	f.p("one:")
	k.fewRowsStep(f, mr, 0)
	f.p("ADDQ $%d, AX", k.stepA(mr))
	f.p("ADDQ $128, BX")
	f.p("DECQ CX")
	f.p("JNE one")
	f.p("done:")
	f.p("TESTQ $const_modeEpilogue, R11")
	f.p("JEQ store")
	f.p("MOVQ tile_bias(DI), R10")
	f.p("VBROADCASTSS tile_scale(DI), Y12")
	for i := range mr {
		for j := range 4 {
			f.p("VMULPS Y12, Y%d, Y%d", 4*i+j, 4*i+j)
			f.p("VADDPS %d(R10), Y%d, Y%d", 32*j, 4*i+j, 4*i+j)
		}
	}
	f.p("TESTQ $const_modeAdd, R11")
	f.p("JEQ store")
	for i := range mr {
		k.fewRowsC(f, i, func(j int, at string) { f.p("VADDPS %s, Y%d, Y%d", at, 4*i+j, 4*i+j) })
	}
	f.p("store:")
	for i := range mr {
		k.fewRowsC(f, i, func(j int, at string) { f.p("VMOVUPS Y%d, %s", 4*i+j, at) })
	}
	f.end()
}

// stepA is the number of bytes of A in a step.
func (k kind) stepA(mr int) int {
	if k.wide {
		return 8 * mr
	}
	return 4 * mr
}

// fewRowsC calls do with the address of each of the four vectors of row i of C.
func (k kind) fewRowsC(f *file, i int, do func(j int, at string)) {
	row := []string{"(DX)", "(DX)(SI*1)"}[i]
	for j := range 4 {
		do(j, fmt.Sprintf("%d%s", 32*j, row))
	}
}

// fewRowsStep is step u after AX and BX.
func (k kind) fewRowsStep(f *file, mr, u int) {
	f.p("PREFETCHT1 (R8)")
	f.p("PREFETCHT1 64(R8)")
	f.p("ADDQ R12, R8")
	rows := func(half int) {
		for i := range mr {
			f.p("VBROADCASTSS %d(AX), Y12", u*k.stepA(mr)+4*(half*mr+i))
			for j := range 4 {
				f.p("VFMADD231PS Y%d, Y12, Y%d", 8+j, 4*i+j)
			}
		}
	}
	if k.wide {
		for j := range 4 {
			f.p("VPAND %d(BX), Y15, Y%d", 128*u+32*j, 8+j)
		}
		rows(0)
		for j := range 4 {
			f.p("VMOVUPS %d(BX), Y%d", 128*u+32*j, 8+j)
		}
		for j := range 4 {
			f.p("VPSLLD $16, Y%d, Y%d", 8+j, 8+j)
		}
		rows(1)
		return
	}
	for j := range 4 {
		f.p("VMOVUPS %d(BX), Y%d", 128*u+32*j, 8+j)
	}
	rows(0)
}

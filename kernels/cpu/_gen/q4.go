package main

import "fmt"

// q4NarrowRows is the number of rows of the largest Q4 tile of AVX2.
const q4NarrowRows = 10

const q4Block = 64 + 512 // bytes

// q4 emits the kernels of Q4. See q4.go for the numbers and the layouts.
func q4(f *file) {
	list := "nil"
	for mr := 1; mr <= q4NarrowRows; mr++ {
		q4NarrowTile(f, mr)
		list += fmt.Sprintf(", tileQ4avx2x%d", mr)
	}
	fmt.Fprintf(&f.decl, "var tileQ4avx2s = [maxTile + 1]func(*tile){%s}\n\n", list)
	for _, k := range []q8Kind{{"tileQ4avx512vnnix", 7, 16, true}, {"tileQ4avx512x", 7, 16, false}} {
		list := "nil"
		for mr := 1; mr <= k.rows; mr++ {
			k.tileQ4(f, mr)
			list += fmt.Sprintf(", %s%d", k.name, mr)
		}
		fmt.Fprintf(&f.decl, "var %ss = [maxTile + 1]func(*tile){%s}\n\n", k.name[:len(k.name)-1], list)
	}
	q4Constants(f)
	q4NarrowPanel(f)
	q4NarrowErrors(f)
}

// q4NarrowTile is the microkernel of Q4 for AVX2. VPMADDUBSW multiplies q, unsigned, by activations and adds
// neighbours; a column's eight such sums of a group, each at most 2*15*127, fit into 16 bits together: 30,480.
//
// The order of loops and the chains are those of narrowTile.
//
// Registers: DI tile, AX a, BX b, CX groups left, R8 ahead, R12 its step, R9 stage; R10 heads, R11 bytes and R13 stage
// of the 8 columns, DX columns left. Vectors: sums of row i in i, then passing, q of the lower halves (later zeros), of
// the upper ones (later steps), bytes of 15, words of 8.
func q4NarrowTile(f *file, mr int) {
	const t, low, high, mask, eight = "Y10", "Y11", "Y12", "Y13", "Y14"
	stagedStart(f, fmt.Sprintf("tileQ4avx2x%d", mr), mr)
	q4Mask(f, mask, "0x0f0f0f0f")
	q4Mask(f, eight, "0x00080008")
	q4Mask(f, "Y15", "0x3e000000") // 1/8
	stagedColumns(f, 1)
	for j := range 4 {
		if j%2 == 0 {
			f.p("PREFETCHT1 %d(R8)", 32*j) // spread out: a burst would keep all miss buffers from the loads
		}
		f.p("VMOVDQU %d(R11), %s", 128*j, low)
		f.p("VPSRLW $4, %s, %s", low, high)
		f.p("VPAND %s, %s, %s", mask, low, low)
		f.p("VPAND %s, %s, %s", mask, high, high)
		for i := range mr {
			for h, q := range []string{low, high} {
				f.p("VPBROADCASTD %d(AX), %s", 32*i+16*h+4*j, t)
				if j+h == 0 {
					f.p("VPMADDUBSW %s, %s, Y%d", t, q, i)
					continue
				}
				f.p("VPMADDUBSW %s, %s, %s", t, q, t)
				f.p("VPADDW %s, Y%d, Y%d", t, i, i)
			}
		}
	}
	f.p("VPMOVZXWD (R10), %s", low)
	f.p("VPSRLD $7, %s, %s", low, high)
	f.p("VPSLLD $6, %s, %s", high, high)
	f.p("VPSLLD $25, %s, %s", low, low)
	f.p("VPSRLD $25, %s, %s", low, low)
	f.p("VEXTRACTI128 $1, %s, X10", high)
	f.p("VPACKUSDW X10, X12, X12")
	f.p("VCVTPH2PS X12, %s", high)
	f.p("VMULPS Y15, %s, %s", high, high)
	for i := range mr {
		f.p("VPMADDWD %s, Y%d, Y%d", eight, i, i)
		f.p("VPBROADCASTD %d(AX), %s", 36*mr+4*i, t) // -128*sum
		f.p("VPSRAD $7, %s, %s", t, t)
		f.p("VPMADDWD %s, %s, %s", low, t, t) // the upper half of a zero is 0
		f.p("VPADDD %s, Y%d, Y%d", t, i, i)
		f.p("VBROADCASTSS %d(AX), %s", 32*mr+4*i, t)
		stagedStep(f, i, 0, i, t, high)
	}
	stagedLoops(f, mr, 1, q4Block)
}

// tileQ4 is the microkernel of Q4 for AVX-512; dot: with VPDPBUSD, otherwise with VPMADDUBSW, as q4NarrowTile has it.
//
// Registers as in q8Kind.tile. VPDPBUSD adds 8*q*qx to sums that begin with -zero*sum(qx); sums of VPMADDUBSW become
// those at the end of a group.
func (k q8Kind) tileQ4(f *file, mr int) {
	k.loop(f, mr, q4Block, func() { k.groupQ4(f, mr) })
}

// groupQ4 adds one group of 32 k to the chains.
func (k q8Kind) groupQ4(f *file, mr int) {
	const low, high, t = 28, 29, 30 // of the 16 columns in turn
	sum := func(i, h int) int { return 2*mr + 2*i + h }
	for h := range 2 {
		k.zerosQ4(f, mr, h, low, high, sum)
	}
	for j := range 4 {
		f.p("PREFETCHT1 %d(R8)", 128*j) // spread out: a burst would keep all miss buffers from the loads
		f.p("PREFETCHT1 %d(R8)", 128*j+64)
		for h := range 2 {
			f.p("VMOVDQU32 %d(BX), Z%d", 64+128*j+64*h, low)
			if k.dot { // times 8
				f.p("VPSRLW $1, Z%d, Z%d", low, high)
				f.p("VPSLLW $3, Z%d, Z%d", low, low)
			} else {
				f.p("VPSRLW $4, Z%d, Z%d", low, high)
			}
			for _, q := range []int{low, high} {
				f.p("VPANDD.BCST q4Words<>+%d(SB), Z%d, Z%d", map[bool]int{true: 0, false: 4}[k.dot], q, q)
			}
			for i := range mr {
				for upper, q := range []int{low, high} {
					at := fmt.Sprintf("%d(AX)", 32*i+16*upper+4*j)
					switch {
					case k.dot:
						f.p("VPDPBUSD.BCST %s, Z%d, Z%d", at, q, sum(i, h))
					case j+upper == 0:
						f.p("VPBROADCASTD %s, Z%d", at, t)
						f.p("VPMADDUBSW Z%d, Z%d, Z%d", t, q, sum(i, h))
					default:
						f.p("VPBROADCASTD %s, Z%d", at, t)
						f.p("VPMADDUBSW Z%d, Z%d, Z%d", t, q, t)
						f.p("VPADDW Z%d, Z%d, Z%d", t, sum(i, h), sum(i, h))
					}
				}
			}
		}
	}
	f.p("PREFETCHT1 512(R8)")
	if !k.dot {
		f.p("VPBROADCASTD q4Words<>+8(SB), Z31")
		for i := range 2 * mr {
			f.p("VPMADDWD Z31, Z%d, Z%d", 2*mr+i, 2*mr+i)
		}
		for h := range 2 {
			k.zerosQ4(f, mr, h, low, high, sum)
		}
	}
	for h := range 2 {
		f.p("VPMOVZXWD %d(BX), Z%d", 32*h, low+h)
		f.p("VPSRLD $7, Z%d, Z%d", low+h, low+h)
		f.p("VPSLLD $6, Z%d, Z%d", low+h, low+h)
		f.p("VPMOVDW Z%d, Y%d", low+h, low+h)
		f.p("VCVTPH2PS Y%d, Z%d", low+h, low+h)
		f.p("VMULPS.BCST q4Words<>+12(SB), Z%d, Z%d", low+h, low+h)
	}
	for i := range mr {
		f.p("VBROADCASTSS %d(AX), Z%d", 32*mr+4*i, t)
		for h := range 2 {
			f.p("VCVTDQ2PS Z%d, Z%d", sum(i, h), sum(i, h))
			f.p("VMULPS Z%d, Z%d, Z%d", t, sum(i, h), sum(i, h))
			f.p("VFMADD231PS Z%d, Z%d, Z%d", sum(i, h), low+h, 2*i+h)
		}
	}
}

// zerosQ4 sets the sums of half of the columns to -zero*sum(qx), or adds that.
func (k q8Kind) zerosQ4(f *file, mr, h, zero, t int, sum func(i, h int) int) {
	f.p("VPMOVZXWD %d(BX), Z%d", 32*h, zero)
	f.p("VPSLLD $25, Z%d, Z%d", zero, zero)
	f.p("VPSRLD $25, Z%d, Z%d", zero, zero)
	for i := range mr {
		f.p("VPBROADCASTD %d(AX), Z%d", 36*mr+4*i, t) // -128*sum
		f.p("VPSRAD $7, Z%d, Z%d", t, t)
		if k.dot {
			f.p("VPMADDWD Z%d, Z%d, Z%d", zero, t, sum(i, h)) // the upper half of a zero is 0
			continue
		}
		f.p("VPMADDWD Z%d, Z%d, Z%d", zero, t, t)
		f.p("VPADDD Z%d, Z%d, Z%d", t, sum(i, h), sum(i, h))
	}
}

// q4Constants emits words that the kernels for AVX-512 broadcast: masks of q*8 and q, words of 8, 1/8.
func q4Constants(f *file) {
	for i, word := range []uint32{0x78787878, 0x0f0f0f0f, 0x00080008, 0x3e000000} {
		fmt.Fprintf(&f.asm, "DATA q4Words<>+%d(SB)/4, $0x%08x\n", 4*i, word)
	}
	f.asm.WriteString("GLOBL q4Words<>(SB), RODATA|NOPTR, $16\n\n")
}

// q4Mask fills a register with a word, by way of R15.
func q4Mask(f *file, reg, word string) {
	f.p("MOVL $%s, R15", word)
	f.p("VMOVD R15, X%s", reg[1:])
	f.p("VPBROADCASTD X%s, %s", reg[1:], reg)
}

// q4NarrowPanel emits what makes blocks of Q8 from those of Q4: the F16 of step/8, and bytes 8*q - zero + 128.
func q4NarrowPanel(f *file) {
	f.text("q4PanelAVX2", "(dst, src unsafe.Pointer, steps int)", "q4PanelAVX2 is q4Panel.", 24)
	f.p("MOVQ dst+0(FP), DI")
	f.p("MOVQ src+8(FP), SI")
	f.p("MOVQ steps+16(FP), CX")
	q4Mask(f, "Y13", "0x78787878")
	q4Mask(f, "Y14", "128")
	q4Mask(f, "Y15", "0x3e000000") // 1/8
	q4Mask(f, "Y12", "127")
	f.p("VMOVDQU q4First<>(SB), Y11")
	f.p("TESTQ CX, CX")
	f.p("JEQ done")
	f.p("loop:")
	for c := range 4 {
		f.p("VPMOVZXWD %d(SI), Y0", 16*c)
		f.p("VPSRLD $7, Y0, Y1")
		f.p("VPSLLD $6, Y1, Y1")
		f.p("VEXTRACTI128 $1, Y1, X2")
		f.p("VPACKUSDW X2, X1, X1")
		f.p("VCVTPH2PS X1, Y1")
		f.p("VMULPS Y15, Y1, Y1")
		f.p("VCVTPS2PH $0, Y1, %d(DI)", 16*c)
		f.p("VPAND Y12, Y0, Y0")
		f.p("VPSUBD Y0, Y14, Y0")
		f.p("VPSHUFB Y11, Y0, Y0")
		for j := range 4 {
			f.p("VMOVDQU %d(SI), Y1", 64+128*j+32*c)
			f.p("VPSRLW $1, Y1, Y2")
			f.p("VPSLLW $3, Y1, Y1")
			f.p("VPAND Y13, Y1, Y1")
			f.p("VPAND Y13, Y2, Y2")
			f.p("VPADDB Y0, Y1, Y1")
			f.p("VPADDB Y0, Y2, Y2")
			f.p("VMOVDQU Y1, %d(DI)", 64+128*j+32*c)
			f.p("VMOVDQU Y2, %d(DI)", 64+128*(j+4)+32*c)
		}
	}
	f.p("ADDQ $%d, SI", q4Block)
	f.p("ADDQ $1088, DI")
	f.p("DECQ CX")
	f.p("JNE loop")
	f.p("done:")
	f.end()
	for i := range 8 { // the lowest byte of each word, four times
		fmt.Fprintf(&f.asm, "DATA q4First<>+%d(SB)/4, $0x%08x\n", 4*i, uint32(i%4*4)*0x01010101)
	}
	f.asm.WriteString("GLOBL q4First<>(SB), RODATA|NOPTR, $32\n\n")
}

// q4NarrowErrors emits a num.Q4Errors: a zero is a lane, so that sums are in the order of x.
func q4NarrowErrors(f *file) {
	f.text("q4ErrorsAVX2", "(sums *[2][8]float32, x *float32, n int, inverse *[2]float32, zeros *[2][8]float32)",
		"q4ErrorsAVX2 is a num.Q4Errors of n values of x.", 40)
	f.p("MOVQ sums+0(FP), DI")
	f.p("MOVQ x+8(FP), SI")
	f.p("MOVQ n+16(FP), CX")
	f.p("MOVQ inverse+24(FP), DX")
	f.p("MOVQ zeros+32(FP), BX")
	f.p("VPXOR Y15, Y15, Y15")
	q4Mask(f, "Y14", "0x41700000") // 15
	for s := range 2 {
		f.p("VXORPS Y%d, Y%d, Y%d", s, s, s)
		f.p("VBROADCASTSS %d(DX), Y%d", 4*s, 2+s)
		f.p("VMOVUPS %d(BX), Y%d", 32*s, 4+s)
	}
	f.p("TESTQ CX, CX")
	f.p("JEQ done")
	f.p("loop:")
	f.p("VBROADCASTSS (SI), Y6")
	for s := range 2 {
		f.p("VMULPS Y%d, Y6, Y%d", 2+s, 7+s)
	}
	for s := range 2 {
		f.p("VADDPS Y%d, Y%d, Y%d", 4+s, 7+s, 7+s)
	}
	for s := range 2 {
		f.p("VMAXPS Y15, Y%d, Y%d", 7+s, 9+s)
	}
	for s := range 2 {
		f.p("VMINPS Y14, Y%d, Y%d", 9+s, 9+s)
	}
	for s := range 2 {
		f.p("VROUNDPS $0, Y%d, Y%d", 9+s, 9+s)
	}
	for s := range 2 {
		f.p("VSUBPS Y%d, Y%d, Y%d", 9+s, 7+s, 7+s)
	}
	for s := range 2 {
		f.p("VMULPS Y%d, Y%d, Y%d", 7+s, 7+s, 7+s)
	}
	for s := range 2 {
		f.p("VADDPS Y%d, Y%d, Y%d", 7+s, s, s)
	}
	f.p("ADDQ $4, SI")
	f.p("DECQ CX")
	f.p("JNE loop")
	f.p("done:")
	f.p("VMOVUPS Y0, (DI)")
	f.p("VMOVUPS Y1, 32(DI)")
	f.end()
}

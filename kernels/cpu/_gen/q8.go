package main

import "fmt"

// q8Kind is a microkernel of Q8.
type q8Kind struct {
	name  string
	rows  int
	lanes int
	dot   bool // products of bytes by VPDPBUSD; otherwise by VPMADDUBSW
}

var q8Kinds = []q8Kind{
	{"tileQ8avx512vnnix", 7, 16, true},
	{"tileQ8avx512x", 6, 16, false},
	{"tileQ8avx2x", q8NarrowRows, 8, false},
}

// q8 emits the microkernels and the quantiser. See q8.go for the numbers and the layouts.
func q8(f *file) {
	for _, k := range q8Kinds {
		list := "nil"
		for mr := 1; mr <= k.rows; mr++ {
			if k.lanes == 8 {
				k.narrowTile(f, mr)
			} else {
				k.tile(f, mr)
			}
			list += fmt.Sprintf(", %s%d", k.name, mr)
		}
		fmt.Fprintf(&f.decl, "var %ss = [maxTile + 1]func(*tile){%s}\n\n", k.name[:len(k.name)-1], list)
	}
	quantise(f)
	quantiseNarrow(f)
	quantiseWeight(f)
	quantiseWeightNarrow(f)
	for _, native := range []bool{true, false} {
		dequantise(f, native)
	}
}

// tile: registers as in gemm.go. Vectors: chains of row i in 2i, 2i+1; sums of the group in 2mr+2i, 2mr+2i+1; the rest
// as in group.
func (k q8Kind) tile(f *file, mr int) {
	k.loop(f, mr, 1088, func() { k.group(f, mr) })
}

// q8RowBytes is the size of a group of a row of A: 32 bytes, a scale, a correction.
const q8RowBytes = 40

// loop emits a microkernel that goes over the groups of k, in a panel blocks of so many bytes.
func (k q8Kind) loop(f *file, mr, block int, group func()) {
	g := kind{name: k.name, lanes: k.lanes}
	f.text(fmt.Sprintf("%s%d", k.name, mr), "(t *tile)", "", 8)
	f.p("MOVQ t+0(FP), DI")
	f.fields("tile", "DI", "a=AX b=BX c=DX ldc=SI ahead=R8 aheadStep=R12")
	f.p("MOVQ tile_steps(DI), CX")
	for i := range 2 * mr {
		f.p("%s %s, %s, %s", g.xor(), g.v(i), g.v(i), g.v(i))
	}
	f.p("TESTQ CX, CX")
	f.p("JEQ done")
	f.p("loop:")
	group()
	f.p("ADDQ R12, R8")
	f.p("ADDQ $%d, AX", mr*q8RowBytes)
	f.p("ADDQ $%d, BX", block)
	f.p("DECQ CX")
	f.p("JNE loop")
	f.p("done:")
	g.epilogue(f, mr)
	f.end()
}

// group adds one group of 32 k to the chains. Vectors: products, words of 1, weights (later their scales), activations.
func (k q8Kind) group(f *file, mr int) {
	const product, ones, w, x = 24, 26, 28, 30
	sum := func(i int) int { return 2*mr + i }
	if !k.dot {
		f.p("VPTERNLOGD $0xff, Z%d, Z%d, Z%d", ones, ones, ones)
		f.p("VPSRLW $15, Z%d, Z%d", ones, ones)
	}
	for i := range mr {
		f.p("VPBROADCASTD %d(AX), Z%d", 36*mr+4*i, sum(2*i)) // -128*sum
		f.p("VMOVDQA64 Z%d, Z%d", sum(2*i), sum(2*i+1))
	}
	for j := range 8 {
		f.p("PREFETCHT1 %d(R8)", 128*j) // spread out: a burst would keep all miss buffers from the loads
		f.p("PREFETCHT1 %d(R8)", 128*j+64)
		f.p("VMOVDQU32 %d(BX), Z%d", 64+128*j, w)
		f.p("VMOVDQU32 %d(BX), Z%d", 128+128*j, w+1)
		for i := range mr {
			t := x + i%2
			f.p("VPBROADCASTD %d(AX), Z%d", 32*i+4*j, t)
			for h := range 2 {
				if k.dot {
					f.p("VPDPBUSD Z%d, Z%d, Z%d", t, w+h, sum(2*i+h))
					continue
				}
				f.p("VPMADDUBSW Z%d, Z%d, Z%d", t, w+h, product+h)
				f.p("VPMADDWD Z%d, Z%d, Z%d", ones, product+h, product+h)
				f.p("VPADDD Z%d, Z%d, Z%d", product+h, sum(2*i+h), sum(2*i+h))
			}
		}
	}
	f.p("PREFETCHT1 1024(R8)")
	f.p("VCVTPH2PS (BX), Z%d", w)
	f.p("VCVTPH2PS 32(BX), Z%d", w+1)
	for i := range mr {
		f.p("VBROADCASTSS %d(AX), Z%d", 32*mr+4*i, x)
		for h := range 2 {
			f.p("VCVTDQ2PS Z%d, Z%d", sum(2*i+h), sum(2*i+h))
			f.p("VMULPS Z%d, Z%d, Z%d", x, sum(2*i+h), sum(2*i+h))
			f.p("VFMADD231PS Z%d, Z%d, Z%d", sum(2*i+h), w+h, 2*i+h)
		}
	}
}

// quantise emits the quantiser of activations: whole groups of one row.
func quantise(f *file) {
	f.text("quantiseAVX512", "(q *quantiser)", "", 8)
	f.p("MOVQ q+0(FP), DI")
	f.fields("quantiser", "DI", "src=SI q=AX scale=BX minus=DX stride=R8 step=R12 groups=CX")
	f.p("MOVL $0x7fffffff, R9")
	f.p("VPBROADCASTD R9, Z31")
	f.p("MOVL $0x42fe0000, R9") // 127
	f.p("VMOVD R9, X30")
	f.p("VPTERNLOGD $0xff, Z29, Z29, Z29")
	f.p("VPABSB Y29, Y29") // bytes of 1
	f.p("loop:")
	f.p("VMOVUPS (SI), Z0")
	f.p("VMOVUPS 64(SI), Z1")
	f.p("VPANDD Z31, Z0, Z2")
	f.p("VPANDD Z31, Z1, Z3")
	f.p("VSHUFPS $0x88, Z1, Z0, Z4")
	f.p("VSHUFPS $0xdd, Z1, Z0, Z5")
	f.p("VADDPS Z5, Z4, Z4") // sums of neighbours
	f.p("VPANDD Z31, Z4, Z4")
	f.p("VPMAXUD Z4, Z3, Z3")
	largest(f)
	f.p("VMOVD X2, R9")
	f.p("LEAL -0x0d800000(R9), R10") // 2^-100 <= a < infinity, by the bits
	f.p("CMPL R10, $0x72000000")
	f.p("JCC special")
	f.p("VDIVSS X30, X2, X4") // a / 127
	f.p("VMOVSS X4, (BX)")
	f.p("VDIVSS X2, X30, X5") // 127 / a
	f.p("VBROADCASTSS X5, Z5")
	f.p("VMULPS Z5, Z0, Z0")
	f.p("VMULPS Z5, Z1, Z1")
	f.p("VCVTPS2DQ Z0, Z0")
	f.p("VCVTPS2DQ Z1, Z1")
	f.p("VPMOVSDB Z0, X0")
	f.p("VPMOVSDB Z1, X1")
	f.p("VINSERTI128 $1, X1, Y0, Y0")
	f.p("VMOVDQU Y0, (AX)")
	f.p("VPXOR Y1, Y1, Y1")
	f.p("VPDPBUSD Y0, Y29, Y1")
	f.p("VEXTRACTI128 $1, Y1, X0")
	f.p("VPADDD X0, X1, X1")
	f.p("VPSHUFD $0x4e, X1, X0")
	f.p("VPADDD X0, X1, X1")
	f.p("VPSHUFD $0xb1, X1, X0")
	f.p("VPADDD X0, X1, X1")
	f.p("VPSLLD $7, X1, X1")
	f.p("VPXOR X0, X0, X0")
	f.p("VPSUBD X1, X0, X1")
	f.p("VMOVD X1, (DX)")
	quantiserEnd(f)
	f.asm.WriteString("\n")
}

// quantiserEnd emits the end of a quantiser of activations: the next group, and groups whose largest magnitude has the
// bits R9, which gives no usable scale.
func quantiserEnd(f *file) {
	f.p("next:")
	f.p("ADDQ $128, SI")
	f.p("ADDQ R8, AX")
	f.p("ADDQ R12, BX")
	f.p("ADDQ R12, DX")
	f.p("DECQ CX")
	f.p("JNE loop")
	f.p("VZEROUPPER")
	f.p("RET")
	f.p("special:") // scale 0, or NaN where the bits are those of infinity or NaN
	f.p("XORL R11, R11")
	f.p("CMPL R9, $0x7f800000")
	f.p("JCS tiny")
	f.p("MOVL $0x7fc00000, R11")
	f.p("tiny:")
	f.p("MOVL R11, (BX)")
	f.p("MOVL $0, (DX)")
	f.p("VPXOR Y0, Y0, Y0")
	f.p("VMOVDQU Y0, (AX)")
	f.p("JMP next")
}

// quantiseWeight emits the quantiser of weights: whole groups of one row into its column of a panel.
func quantiseWeight(f *file) {
	weightStart(f, "q8WeightAVX512")
	// |x|, -127, 127, +128 in bytes, 127.0
	for i, x := range []string{"0x7fffffff", "0xffffff81", "127", "0x80808080", "0x42fe0000"} {
		f.p("MOVL $%s, R9", x)
		f.p("VPBROADCASTD R9, Z%d", 31-i)
	}
	f.p("loop:")
	f.p("VMOVUPS (SI), Z0")
	f.p("VMOVUPS 64(SI), Z1")
	f.p("VPANDD Z31, Z0, Z2")
	f.p("VPANDD Z31, Z1, Z3")
	largest(f)
	f.p("VDIVSS X27, X2, X2")
	f.p("VCVTPS2PH $0, X2, X2")
	f.p("VPEXTRW $0, X2, (BX)")
	f.p("VCVTPH2PS X2, X2")
	f.p("VBROADCASTSS X2, Z2")
	f.p("VPTESTMD Z2, Z2, K1") // a scale of zero, or a quotient that is none, gives zero
	for i := range 2 {
		f.p("VDIVPS Z2, Z%d, Z%d", i, i)
		f.p("VCMPPS $7, Z%d, Z%d, K1, K2", i, i)
		f.p("VCVTPS2DQ.Z Z%d, K2, Z%d", i, i)
		f.p("VPMAXSD Z30, Z%d, Z%d", i, i)
		f.p("VPMINSD Z29, Z%d, Z%d", i, i)
		f.p("VPMOVDB Z%d, X%d", i, i)
		f.p("VPXORD X28, X%d, X%d", i, i)
		for j := range 4 {
			f.p("VPEXTRD $%d, X%d, %d(AX)", j, i, 128*(4*i+j))
		}
	}
	weightEnd(f)
}

// weightStart begins a quantiser of weights: SI the row, BX the scales of its column, AX the column, CX groups.
func weightStart(f *file, name string) {
	f.text(name, "(src *float32, scale, q unsafe.Pointer, groups int)", "", 32)
	f.p("MOVQ src+0(FP), SI")
	f.p("MOVQ scale+8(FP), BX")
	f.p("MOVQ q+16(FP), AX")
	f.p("MOVQ groups+24(FP), CX")
}

// weightEnd goes on with the next group of a row of weights, and of its column of a panel.
func weightEnd(f *file) {
	f.p("ADDQ $128, SI")
	f.p("ADDQ $1088, AX")
	f.p("ADDQ $1088, BX")
	f.p("DECQ CX")
	f.p("JNE loop")
	f.end()
}

// largest leaves the largest word of Z2 and Z3, unsigned, in the lowest of X2.
func largest(f *file) {
	f.p("VPMAXUD Z3, Z2, Z2")
	f.p("VEXTRACTI64X4 $1, Z2, Y3")
	f.p("VPMAXUD Y3, Y2, Y2")
	f.p("VEXTRACTI128 $1, Y2, X3")
	f.p("VPMAXUD X3, X2, X2")
	f.p("VPSHUFD $0x4e, X2, X3")
	f.p("VPMAXUD X3, X2, X2")
	f.p("VPSHUFD $0xb1, X2, X3")
	f.p("VPMAXUD X3, X2, X2")
}

// dequantise emits what makes a block of BF16 panel, [16 pairs of k][32 n][2 k], from a block of Q8.
func dequantise(f *file, native bool) {
	name := "q8BlockBF16"
	if !native {
		name = "q8BlockAVX512"
	}
	f.text(name, "(dst, block unsafe.Pointer)", "", 16)
	f.p("MOVQ dst+0(FP), DI")
	f.p("MOVQ block+8(FP), SI")
	f.p("MOVL $255, R8")
	f.p("VPBROADCASTD R8, Z27")
	f.p("MOVL $128, R8")
	f.p("VPBROADCASTD R8, Z26")
	if native {
		f.p("VMOVDQU32 zip<>(SB), Z25")
	} else {
		f.p("MOVL $0x7fff, AX")
		f.p("MOVL $1, R9")
		f.p("MOVL $0x40, R10")
	}
	f.p("VCVTPH2PS (SI), Z22")
	f.p("VCVTPH2PS 32(SI), Z23")
	for j := range 8 {
		for h := range 2 {
			f.p("VMOVDQU32 %d(SI), Z0", 64+128*j+64*h)
			for k := range 4 {
				f.p("VPSRLD $%d, Z0, Z%d", 8*k, 1+k)
				f.p("VPANDD Z27, Z%d, Z%d", 1+k, 1+k)
				f.p("VPSUBD Z26, Z%d, Z%d", 1+k, 1+k)
				f.p("VCVTDQ2PS Z%d, Z%d", 1+k, 1+k)
				f.p("VMULPS Z%d, Z%d, Z%d", 22+h, 1+k, 1+k)
			}
			for p := range 2 {
				lo, hi := 1+2*p, 2+2*p
				if native {
					f.p("%s", vcvtne2ps2bf16(5, hi, lo))
					f.p("VPERMW Z5, Z25, Z5")
				} else {
					round(f, lo)
					round(f, hi)
					f.p("VPSLLD $16, Z%d, Z5", hi)
					f.p("VPORD Z%d, Z5, Z5", lo)
				}
				f.p("VMOVDQU32 Z5, %d(DI)", 128*(2*j+p)+64*h)
			}
		}
	}
	f.end()
	if native {
		zip(f)
	}
}

package main

import "fmt"

// peak emits loops of multiplications only, and one of reads only. They measure the peak rates that benchmarks compare
// with.
func peak(f *file) {
	const chains = 12 // more than latency x throughput of any processor, few enough for 16 registers
	for _, k := range []struct {
		name string
		op   func(i int) string
	}{
		{"peakFMA512", func(i int) string { return fmt.Sprintf("VFMADD231PS Z13, Z14, Z%d", i) }},
		{"peakFMA256", func(i int) string { return fmt.Sprintf("VFMADD231PS Y13, Y14, Y%d", i) }},
		{"peakBF16", func(i int) string { return vdpbf16ps(i, 13, 14) }},
		{"peakVNNI", func(i int) string { return fmt.Sprintf("VPDPBUSD Z13, Z14, Z%d", i) }},
	} {
		f.text(k.name, "(n int)", fmt.Sprintf("%s runs n times %d independent instructions.", k.name, chains), 8)
		f.p("MOVQ n+0(FP), CX")
		for i := range 15 {
			f.p("VPXOR Y%d, Y%d, Y%d", i, i, i)
		}
		f.p("PCALIGN $32")
		f.p("loop:")
		for i := range chains {
			f.p("%s", k.op(i))
		}
		f.p("DECQ CX")
		f.p("JNE loop")
		f.end()
	}
	f.text("peakRead", "(p unsafe.Pointer, lines int)", "peakRead reads lines of 64 bytes, a multiple of 8.", 16)
	f.p("MOVQ p+0(FP), SI")
	f.p("MOVQ lines+8(FP), CX")
	f.p("loop:")
	for i := range 8 {
		f.p("PREFETCHT0 %d(SI)", 4096+64*i)
		f.p("VMOVDQU %d(SI), Y%d", 64*i, 2*i)
		f.p("VMOVDQU %d(SI), Y%d", 64*i+32, 2*i+1)
	}
	f.p("ADDQ $512, SI")
	f.p("SUBQ $8, CX")
	f.p("JGT loop")
	f.end()
}

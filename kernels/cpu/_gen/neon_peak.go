package main

// neonPeak emits the loops that measure what an arm64 machine can do: n rounds of independent multiply-adds, and
// reading.
func neonPeak(f *file) {
	x := &neon{file: f}
	for _, k := range []struct {
		name string
		do   func(i int)
	}{
		{"peakFMANEON", func(i int) { x.o("fmla", i, 30, 31) }},
		{"peakBF16NEON", func(i int) { x.bfmlal(i%2 == 1, i, 30, 0, 1) }},
		{"peakSDOTNEON", func(i int) { x.sdot(i, 30, 31, 1) }},
	} {
		x.text(k.name, "(n int)", "", 8)
		x.p("MOVD n+0(FP), R0")
		for i := range 32 {
			x.zero(i)
		}
		x.p("PCALIGN $16")
		x.p("loop:")
		for i := 4; i < 28; i++ {
			k.do(i)
		}
		x.p("SUBS $1, R0")
		x.p("BNE loop")
		x.ret()
	}
	x.text("peakReadNEON", "(p unsafe.Pointer, lines int)", "", 16)
	x.p("MOVD p+0(FP), R0")
	x.p("MOVD lines+8(FP), R1")
	x.p("loop:")
	for i := 0; i < 64; i += 32 {
		x.p("FLDPQ %d(R0), (F%d, F%d)", i, i/16, i/16+1)
	}
	x.p("PRFM 4096(R0), PLDL1KEEP")
	x.p("ADD $64, R0")
	x.p("SUBS $1, R1")
	x.p("BNE loop")
	x.ret()
}

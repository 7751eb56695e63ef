package main

// amxAttention emits the matmuls of attention by tiles: see attnTile. A is rows of memory, panels are blocks of 16 steps.
func amxAttention(f *file) {
	amxAttnTile(f, "scoresAMX", false)
	amxAttnTile(f, "valuesAMX", true)
}

// Registers: DI attnTile, AX rows 0-15 of A, R8 the others, R12 lda, BX b, R9 bytes from step to step, DX rows 0-15 of C, R14 the others,
// SI ldc, CX blocks left, R13 where b's pointers are, R15 panels left, R10 where the pointers to what is needed next are, R11 the place in
// it.
func amxAttnTile(f *file, name string, values bool) {
	f.text(name, "(t *attnTile)", "", 8)
	f.p("MOVQ t+0(FP), DI")
	f.p("MOVQ attnTile_rows(DI), CX")
	f.p("MOVQ CX, R11")
	f.p("SHLQ $6, R11")
	f.p("LEAQ tiles<>(SB), AX")
	f.p("ADDQ R11, AX")
	f.p("%s", ldtilecfg("AX"))
	for _, x := range [][2]string{{"a", "AX"}, {"lda", "R12"}, {"c", "DX"}, {"ldc", "SI"}, {"b", "R13"}, {"n", "R15"}, {"ahead", "R10"}} {
		f.p("MOVQ attnTile_%s(DI), %s", x[0], x[1])
	}
	f.p("MOVQ $128, R9")
	f.p("CMPQ CX, $16")
	f.p("JHI two")
	amxAttnRows(f, 1, values)
	f.p("two:")
	for _, x := range [][3]string{{"R12", "AX", "R8"}, {"SI", "DX", "R14"}} {
		f.p("MOVQ %s, %s", x[0], x[2])
		f.p("SHLQ $4, %s", x[2])
		f.p("ADDQ %s, %s", x[1], x[2])
	}
	amxAttnRows(f, 2, values)
	f.asm.WriteString("\n")
}

// amxAttnRows is the body for n tiles of rows. A single one is few rows, which wait for memory: it asks for what is needed next.
func amxAttnRows(f *file, n int, values bool) {
	label := func(s string) string { return s + string(rune('0'+n)) }
	as, cs := []string{"AX", "R8"}[:n], []string{"DX", "R14"}[:n]
	clear := func() {
		for i := range 2 * n {
			f.p("%s", tilezero(i))
		}
	}
	eachC := func(do func(disp int, base string, t int) string) {
		for i, base := range cs {
			f.p("%s", do(0, base, 2*i))
			f.p("%s", do(64, base, 2*i+1))
		}
	}
	if values {
		f.p("TESTQ $1, attnTile_chain(DI)")
		f.p("JNE %s", label("chain"))
		clear()
		f.p("JMP %s", label("panels"))
		f.p("%s:", label("chain"))
		eachC(func(disp int, base string, t int) string { return tileload(disp, base, "SI", t) })
	}
	f.p("%s:", label("panels"))
	f.p("MOVQ (R13), BX")
	f.p("ADDQ attnTile_off(DI), BX")
	f.p("ADDQ $8, R13")
	if n == 1 {
		f.p("MOVQ (R10), R11")
		f.p("ADDQ attnTile_aheadOff(DI), R11")
		f.p("ADDQ $8, R10")
	}
	if !values {
		clear()
		f.p("MOVQ attnTile_steps(DI), CX")
		f.p("SHRQ $4, CX")
		f.p("%s:", label("blocks"))
	}
	fetch := func(half int) {
		if n == 1 {
			for line := range 16 {
				f.p("PREFETCHT1 %d(R11)", 64*(16*half+line))
			}
		}
	}
	f.p("%s", tileload(0, "BX", "R9", 6))
	for i, a := range as {
		f.p("%s", tileload(0, a, "R12", 4+i))
	}
	fetch(0)
	for i := range as {
		f.p("%s", tdpbf16ps(2*i, 4+i, 6))
	}
	f.p("%s", tileload(64, "BX", "R9", 7))
	fetch(1)
	for i, a := range as {
		f.p("%s", tdpbf16ps(2*i+1, 4+i, 7))
		f.p("ADDQ $64, %s", a)
	}
	if !values {
		f.p("ADDQ $2048, BX")
		if n == 1 {
			f.p("ADDQ $2048, R11")
		}
		f.p("DECQ CX")
		f.p("JNE %s", label("blocks"))
		eachC(func(disp int, base string, t int) string { return tilestore(t, disp, base, "SI") })
		f.p("MOVQ attnTile_steps(DI), CX")
		f.p("SHLQ $2, CX")
		for i := range as {
			f.p("SUBQ CX, %s", as[i])
			f.p("ADDQ $128, %s", cs[i])
		}
	}
	f.p("DECQ R15")
	f.p("JNE %s", label("panels"))
	if values {
		eachC(func(disp int, base string, t int) string { return tilestore(t, disp, base, "SI") })
	}
	f.p("%s", tilerelease())
	f.p("RET")
}

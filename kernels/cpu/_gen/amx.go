package main

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// noIndex is the index of a tile whose rows are all the same in memory.
const noIndex = "none"

// Go's assembler has no AMX. vex encodes its instructions: map 0F38, W0, 128 bits. pp as for evex, and 0 for none.
// The operand in memory is disp(base)(index), that in a register rm.
func vex(op, pp, reg, v int, base, index string, disp, rm int, comment string) string {
	not := func(set bool) int {
		if set {
			return 0
		}
		return 1
	}
	n := map[string]int{"AX": 0, "CX": 1, "DX": 2, "BX": 3, "SI": 6, "DI": 7, "R8": 8, "R9": 9, "R10": 10, "R11": 11,
		"R12": 12, "R13": 13, "R14": 14, "R15": 15, noIndex: 4}
	b, x := n[base], n[index]
	code := []int{0xc4, 1<<7 | not(x > 7)<<6 | not(b > 7)<<5 | 2, (^v&15)<<3 | pp, op}
	if base == "" {
		code = append(code, 3<<6|reg<<3|rm)
	} else {
		mod := 1
		if disp > 127 {
			mod = 2
		} else if disp == 0 && b&7 != 5 {
			mod = 0
		}
		if index == "" {
			code = append(code, mod<<6|reg<<3|b&7)
		} else {
			code = append(code, mod<<6|reg<<3|4, (x&7)<<3|b&7)
		}
		for range mod * mod { // 0, 1 or 4 bytes
			code, disp = append(code, disp&255), disp>>8
		}
	}
	var s []string
	for _, c := range code {
		s = append(s, fmt.Sprintf("BYTE $0x%02x", c))
	}
	return strings.Join(s, "; ") + " // " + comment
}

func ldtilecfg(base string) string {
	return vex(0x49, 0, 0, 0, base, "", 0, 0, fmt.Sprintf("LDTILECFG 0(%s)", base))
}

func tilerelease() string { return vex(0x49, 0, 0, 0, "", "", 0, 0, "TILERELEASE") }

func tilezero(t int) string {
	return vex(0x49, 3, t, 0, "", "", 0, 0, fmt.Sprintf("TILEZERO TMM%d", t))
}

// tileload encodes TILELOADD: loads the rows of tile t from disp(base); rows are index bytes apart.
func tileload(disp int, base, index string, t int) string {
	apart := "(" + index + "*1)"
	if index == noIndex {
		apart = ""
	}
	return vex(0x4b, 3, t, 0, base, index, disp, 0, fmt.Sprintf("TILELOADD %d(%s)%s, TMM%d", disp, base, apart, t))
}

func tilestore(t, disp int, base, index string) string {
	return vex(0x4b, 2, t, 0, base, index, disp, 0, fmt.Sprintf("TILESTORED TMM%d, %d(%s)(%s*1)", t, disp, base, index))
}

// tdpbf16ps encodes TDPBF16PS: tile c += a b, pairs of BF16.
func tdpbf16ps(c, a, b int) string {
	return vex(0x5c, 2, c, b, "", "", 0, a, fmt.Sprintf("TDPBF16PS TMM%d, TMM%d, TMM%d", b, a, c))
}

// tdpbssd encodes TDPBSSD: tile c += a b, groups of four signed bytes.
func tdpbssd(c, a, b int) string {
	return vex(0x5e, 3, c, b, "", "", 0, a, fmt.Sprintf("TDPBSSD TMM%d, TMM%d, TMM%d", b, a, c))
}

// amx emits the BF16 microkernel for AMX, the packers of its A, and the loops that measure peak rates.
func amx(f *file) {
	amxTile(f)
	amxRows(f)
	amxColumns(f)
	amxAttention(f)
	amxPeak(f)
	amxConfigs(f)
}

// amxPeak emits a loop of multiplications only, which measures the peak rate.
func amxPeak(f *file) {
	f.text("peakTilesBF16", "(n int)", "peakTilesBF16 runs n times 4 independent instructions.", 8)
	f.p("MOVQ n+0(FP), CX")
	f.p("LEAQ tiles<>+2048(SB), AX")
	f.p("%s", ldtilecfg("AX"))
	for t := range 8 {
		f.p("%s", tilezero(t))
	}
	f.p("loop:")
	for c := range 4 {
		f.p("%s", tdpbf16ps(c, 4+c/2, 6+c%2))
	}
	f.p("DECQ CX")
	f.p("JNE loop")
	f.p("%s", tilerelease())
	f.end()
}

// Tiles are configured for up to 32 rows in two tiles of rows, each of them of its own height, or for 33 to 48 in three
// of 16, of which the last two may overlap: rows that are computed twice are the same.
const amxWide = 33 // entry of the table for three

// amxConfigs emits the operands of LDTILECFG: for 0 to 32 rows tiles 0-3 are C (0 1 above 2 3), 4 5 are A, 6 7 are B;
// for more tiles 0-5 are C, 6 is A, 7 is B.
func amxConfigs(f *file) {
	wide := [8]int{64, 64, 64, 64, 64, 64, 64, 64}
	for mr := range amxWide {
		hi := max(mr-16, 0)
		tileConfig(f, "tiles", mr, [8]int{mr - hi, mr - hi, hi, hi, mr - hi, hi, 16, 16}, wide)
	}
	tileConfig(f, "tiles", amxWide, [8]int{16, 16, 16, 16, 16, 16, 16, 16}, wide)
	f.asm.WriteString("GLOBL tiles<>(SB), RODATA|NOPTR, $2176\n\n")
}

// tileConfig emits entry i of a table of operands of LDTILECFG: rows and bytes of a row of each tile.
func tileConfig(f *file, table string, i int, rows, bytes [8]int) {
	var b [64]byte
	b[0] = 1 // palette
	for t, r := range rows {
		if r > 0 {
			b[16+2*t], b[48+t] = byte(bytes[t]), byte(r)
		}
	}
	for j := 0; j < 64; j += 8 {
		fmt.Fprintf(&f.asm, "DATA %s<>+%d(SB)/8, $%#016x\n", table, 64*i+j, binary.LittleEndian.Uint64(b[j:]))
	}
}

// amxTile emits the microkernel: up to 48 rows x 32 columns, blocks of 16 steps. Tiles are configured in every call,
// since a goroutine may go on in another thread after it, and released, so that nobody saves them.
//
// Registers: DI tile, CX blocks left, AX a, R11 bytes of a block of a, BX b, DX c, SI ldc, R13 row 16 of c, R8 ahead,
// R12 its bytes a block, R9 and R10 the strides of A and B, R15 the next tile of C; of three tiles of rows DI and R14
// are the last one's c and a.
func amxTile(f *file) {
	f.text("tileAMX", "(t *tile)",
		"tileAMX is the BF16 microkernel for AMX; finishAVX512 applies the epilogue.", 8)
	f.p("MOVQ t+0(FP), DI")
	f.p("MOVQ tile_mr(DI), R11")
	f.p("SHLQ $6, R11")
	f.p("MOVQ $%d, R9", 64*amxWide)
	f.p("CMPQ R11, R9")
	f.p("CMOVQLT R11, R9")
	f.p("LEAQ tiles<>(SB), AX")
	f.p("ADDQ R9, AX")
	f.p("%s", ldtilecfg("AX"))
	f.fields("tile", "DI", "a=AX b=BX c=DX ldc=SI ahead=R8 aheadStep=R12 nextC=R15 steps=CX")
	f.p("MOVQ $64, R9")
	f.p("MOVQ $128, R10")
	f.p("SHLQ $4, R12")
	f.p("SHRQ $4, CX")
	f.p("MOVQ SI, R13")
	f.p("SHLQ $4, R13")
	f.p("ADDQ DX, R13")
	f.p("CMPQ R11, $%d", 64*32)
	f.p("JHI three")
	f.p("CMPQ R11, $%d", 64*16)
	f.p("JHI two")
	amxRowsOf(f, 1)
	f.p("two:")
	amxRowsOf(f, 2)
	f.p("three:")
	amxRowsOf(f, 3)
	f.asm.WriteString("\n")
}

// amxRowsOf is the body for so many tiles of rows, with a loop for each of amxAhead.
func amxRowsOf(f *file, n int) {
	label := func(s string) string { return fmt.Sprintf("%s%d", s, n) }
	cs := []string{"DX", "R13", "DI"}[:n]
	f.p("MOVQ tile_mode(DI), R14")
	if n == 3 {
		f.p("MOVQ tile_mr(DI), DI")
		f.p("SUBQ $16, DI")
		f.p("IMULQ SI, DI")
		f.p("ADDQ DX, DI")
	}
	f.p("TESTQ $const_modeChain, R14")
	f.p("JNE %s", label("chain"))
	for i := range 2 * n {
		f.p("%s", tilezero(i))
	}
	f.p("JMP %s", label("begun"))
	f.p("%s:", label("chain"))
	f.amxC(cs, func(disp int, base string, t int) string { return tileload(disp, base, "SI", t) })
	f.p("%s:", label("begun"))
	if n == 3 {
		f.p("LEAQ -1024(AX)(R11*1), R14")
	}
	f.p("TESTQ CX, CX")
	f.p("JEQ %s", label("done"))
	for i, lines := range amxAhead[:len(amxAhead)-1] {
		f.p("CMPQ R12, $%d", 64*lines)
		f.p("JLS %s", label(fmt.Sprintf("ahead%dx", i)))
	}
	for i := len(amxAhead) - 1; i >= 0; i-- {
		f.p("%s:", label(fmt.Sprintf("ahead%dx", i)))
		amxLoop(f, n, amxAhead[i], label(fmt.Sprintf("loop%dx", i)))
		f.p("JMP %s", label("done"))
	}
	f.p("%s:", label("done"))
	f.amxC(cs, func(disp int, base string, t int) string { return tilestore(t, disp, base, "SI") })
	f.p("%s", tilerelease())
	f.p("RET")
}

// amxAhead are the most lines of B that the loops fetch in a block: what many tiles share, few, and none. A line
// fetched twice costs as much of the second level cache as one that is used. Every second or fourth line only is no
// better: 7% or 12% slower for 40 rows.
var amxAhead = []int{3, 8, 32}

// amxSteps are the multiplications of a block, by tiles of rows: tile of rows i of A with half j of B. Each half of B
// is loaded once; where three tiles of A share a register, their lines are near when they are loaded again.
var amxSteps = [][][2]int{
	1: {{0, 0}, {0, 1}},
	2: {{0, 0}, {0, 1}, {1, 0}, {1, 1}},
	3: {{0, 0}, {1, 0}, {2, 0}, {2, 1}, {1, 1}, {0, 1}},
}

// amxLoop goes through the blocks and fetches lines from R8 in each. No PCALIGN: over jumps of this length Go 1.26's
// assembler never ends.
func amxLoop(f *file, n, lines int, label string) {
	f.p("%s:", label)
	steps, holds := amxSteps[n], [8]string{} // what is in the registers
	load := func(disp int, base, index string, t int) {
		if line := tileload(disp, base, index, t); holds[t] != line {
			f.p("%s", line)
			holds[t] = line
		}
	}
	for s, step := range steps {
		i, j := step[0], step[1]
		ta, tb := 4+i, 6+j
		if n == 3 {
			ta, tb = 6, 7
		}
		load(64*j, "BX", "R10", tb)
		if i == 2 {
			load(0, "R14", "R9", ta)
		} else {
			load(1024*i, "AX", "R9", ta)
		}
		if s < max(2, n) { // two or three rows a block
			f.prefetchC()
		}
		for line := s * lines / len(steps); line < (s+1)*lines/len(steps); line++ {
			f.p("PREFETCHT1 %d(R8)", 64*line)
		}
		f.p("%s", tdpbf16ps(2*i+j, ta, tb))
	}
	f.p("ADDQ R11, AX")
	if n == 3 {
		f.p("ADDQ R11, R14")
	}
	f.p("ADDQ $2048, BX")
	f.p("ADDQ R12, R8")
	f.p("DECQ CX")
	f.p("JNE %s", label)
}

// prefetchC fetches a row of the next C, R15, to be written, and goes on to the one after it. Go's assembler lacks the
// instruction.
func (f *file) prefetchC() {
	f.p("BYTE $0x41; BYTE $0x0f; BYTE $0x0d; BYTE $0x0f // PREFETCHW (R15)")
	f.p("BYTE $0x41; BYTE $0x0f; BYTE $0x0d; BYTE $0x4f; BYTE $0x40 // PREFETCHW 64(R15)")
	f.p("ADDQ SI, R15")
}

// amxC does something with all tiles of C, whose tiles of rows begin at bases.
func (f *file) amxC(bases []string, do func(disp int, base string, t int) string) {
	for i, base := range bases {
		f.p("%s", do(0, base, 2*i))
		f.p("%s", do(64, base, 2*i+1))
	}
}

// amxRows emits the packer that rounds one row of a tile of A.
func amxRows(f *file) {
	f.text("tileRow", "(dst, src unsafe.Pointer, stride, blocks int)",
		"tileRow rounds blocks of 32 float32 of a row to BF16: 64 bytes each, stride bytes apart.", 32)
	f.p("MOVQ dst+0(FP), DI")
	f.p("MOVQ src+8(FP), SI")
	f.p("MOVQ stride+16(FP), DX")
	f.p("MOVQ blocks+24(FP), CX")
	f.p("loop:")
	f.p("VMOVUPS (SI), Z0")
	f.p("VMOVUPS 64(SI), Z1")
	f.p("%s", vcvtne2ps2bf16(2, 1, 0))
	f.p("VMOVDQU32 Z2, (DI)")
	f.p("ADDQ $128, SI")
	f.p("ADDQ DX, DI")
	f.p("DECQ CX")
	f.p("JNE loop")
	f.end()
}

// amxColumns emits the packer that turns 16 columns into 16 rows of a tile of A: blocks of 32 rows of float32 become 16
// rows of 16 pairs.
func amxColumns(f *file) {
	f.text("tileColumns", "(c *columns16)", "tileColumns packs up to 16 columns, blocks of 32 rows: steps and stride "+
		"are those of blocks; it writes 16 rows of each.", 8)
	f.p("MOVQ c+0(FP), SI")
	f.fields("columns16", "SI", "dst=DI stride=DX steps=CX ld=BX mask=AX src=SI")
	f.p("KMOVW AX, K2")
	f.p("VMOVDQU32 zip<>(SB), Z31")
	f.p("loop:")
	for i := range 16 {
		f.p("VMOVUPS.Z (SI), K2, Z16")
		f.p("VMOVUPS.Z (SI)(BX*1), K2, Z17")
		f.p("LEAQ (SI)(BX*2), SI")
		f.p("%s", vcvtne2ps2bf16(i, 17, 16))
		f.p("VPERMW Z%d, Z31, Z%d", i, i)
	}
	transpose16(f)
	for i := range 16 {
		f.p("VMOVDQU32 Z%d, %d(DI)", i, 64*i)
	}
	f.p("VMOVDQU32 zip<>(SB), Z31")
	f.p("ADDQ DX, DI")
	f.p("DECQ CX")
	f.p("JNE loop")
	f.end()
	zip(f)
}

package main

import (
	"fmt"
	"math"
	"strings"
)

// neon writes loops for arm64. Vector instructions that Go's assembler does not know are words; the comment beside one
// is what GNU as makes the same word of, which a test holds it to.
type neon struct {
	*file
	args []string // pointers to slices, in order
	one  bool     // inside the part of a loop that treats elements one by one
}

func (x *neon) word(code uint32, format string, args ...any) {
	x.p("WORD $0x%08x // %s", code, fmt.Sprintf(format, args...))
}

// three are instructions of three registers of four words (or two double words, or 16 bytes).
var three = map[string]struct {
	code uint32
	of   string
}{
	"fadd": {0x4e20d400, "4s"}, "fsub": {0x4ea0d400, "4s"}, "fmul": {0x6e20dc00, "4s"}, "fdiv": {0x6e20fc00, "4s"},
	"fmla": {0x4e20cc00, "4s"}, "fmls": {0x4ea0cc00, "4s"}, "fmax": {0x4e20f400, "4s"}, "fmin": {0x4ea0f400, "4s"},
	"fcmeq": {0x4e20e400, "4s"}, "fcmgt": {0x6ea0e400, "4s"}, "add": {0x4ea08400, "4s"}, "sub": {0x6ea08400, "4s"},
	"and": {0x4e201c00, "16b"}, "orr": {0x4ea01c00, "16b"}, "eor": {0x6e201c00, "16b"}, "bsl": {0x6e601c00, "16b"},
	"bit": {0x6ea01c00, "16b"},
}

// o is an instruction of three registers, d = a op b.
func (x *neon) o(op string, d, a, b int) {
	t := three[op]
	x.word(t.code|uint32(b<<16|a<<5|d), "%s v%d.%s, v%d.%s, v%d.%s", op, d, t.of, a, t.of, b, t.of)
}

func (x *neon) mov(d, a int) { x.o("orr", d, a, a) }
func (x *neon) zero(d int)   { x.o("eor", d, d, d) }

// shift is an instruction with a shift of n bits: shl, sri and the like of words.
func (x *neon) shift(op string, d, a, n int) {
	var code int
	switch op {
	case "shl":
		code = 0x4f005400 | (32+n)<<16
	case "ushr":
		code = 0x6f000400 | (64-n)<<16
	case "sshr":
		code = 0x4f000400 | (64-n)<<16
	case "sri":
		code = 0x6f004400 | (64-n)<<16
	}
	x.word(uint32(code|a<<5|d), "%s v%d.4s, v%d.4s, #%d", op, d, a, n)
}

// two are instructions of two registers, written with their arrangements.
var two = map[string]struct {
	code  uint32
	d, a  string
	extra string
}{
	"fsqrt": {0x6ea1f800, "4s", "4s", ""}, "fneg": {0x6ea0f800, "4s", "4s", ""}, "scvtf": {0x4e21d800, "4s", "4s", ""},
	"fcvtl": {0x0e617800, "2d", "2s", ""}, "fcvtl2": {0x4e617800, "2d", "4s", ""},
	"fcvtl/h": {0x0e217800, "4s", "4h", ""}, "fcvtl2/h": {0x4e217800, "4s", "8h", ""},
	"ushll": {0x2f10a400, "4s", "4h", ", #0"}, "ushll2": {0x6f10a400, "4s", "8h", ", #0"},
	"frintn": {0x4e218800, "4s", "4s", ""},
	"shrn":   {0x0f108400, "4h", "4s", ", #16"}, "shrn2": {0x4f108400, "8h", "4s", ", #16"},
	"shll": {0x2e613800, "4s", "4h", ", #16"}, "shll2": {0x6e613800, "4s", "8h", ", #16"},
}

func (x *neon) of(op string, d, a int) {
	t := two[op]
	op, _, _ = strings.Cut(op, "/")
	x.word(t.code|uint32(a<<5|d), "%s v%d.%s, v%d.%s%s", op, d, t.d, a, t.a, t.extra)
}

// mlaLane: d += b * lane i of a, words.
func (x *neon) mlaLane(d, b, a, i int) {
	code := 0x4f801000 | (i&1)<<21 | a<<16 | (i>>1)<<11 | b<<5 | d
	x.word(uint32(code), "fmla v%d.4s, v%d.4s, v%d.s[%d]", d, b, a, i)
}

// mulLane: d = b * lane i of a, words.
func (x *neon) mulLane(d, b, a, i int) {
	code := 0x4f809000 | (i&1)<<21 | a<<16 | (i>>1)<<11 | b<<5 | d
	x.word(uint32(code), "fmul v%d.4s, v%d.4s, v%d.s[%d]", d, b, a, i)
}

// bfmlal: d += (odd, or even, bf16 of b) * bf16 i of a, which is one of the first 16 registers. A product of bf16 is
// exact, the sum is rounded once: half a step of a chain.
func (x *neon) bfmlal(odd bool, d, b, a, i int) {
	code, op := 0x0fc0f000, "bfmlalb"
	if odd {
		code, op = 0x4fc0f000, "bfmlalt"
	}
	code |= (i>>1&1)<<21 | (i&1)<<20 | a<<16 | (i>>2)<<11 | b<<5 | d
	x.word(uint32(code), "%s v%d.4s, v%d.8h, v%d.h[%d]", op, d, b, a, i)
}

// sdot: each word of d += four bytes of b times the four bytes of word i of a.
func (x *neon) sdot(d, b, a, i int) {
	code := 0x4f80e000 | (i&1)<<21 | a<<16 | (i>>1)<<11 | b<<5 | d
	x.word(uint32(code), "sdot v%d.4s, v%d.16b, v%d.4b[%d]", d, b, a, i)
}

// dup broadcasts word 0 of register d.
func (x *neon) dup(d int) { x.p("VDUP V%d.S[0], V%d.S4", d, d) }

func (x *neon) ret() { x.p("RET"); x.asm.WriteString("\n") }

// begin starts a function of these slices, "y x w", of float32, and float32 numbers, "r c", broadcast to V31, V30 ...
// The length is the first slice's, in R8.
func (x *neon) begin(name, slices, numbers string) {
	s, n := strings.Fields(slices), strings.Fields(numbers)
	sig := "(" + strings.Join(s, ", ") + " []float32"
	if len(n) > 0 {
		sig += ", " + strings.Join(n, ", ") + " float32"
	}
	x.text(name+"NEON", sig+")", "", 24*len(s)+4*len(n))
	x.slices(s...)
	for i, v := range n {
		x.p("FMOVS %s+%d(FP), F%d", v, 24*len(s)+4*i, 31-i)
		x.dup(31 - i)
	}
}

// slices loads the pointers of slices that come first.
func (x *neon) slices(s ...string) {
	x.args = nil
	for i, v := range s {
		x.args = append(x.args, fmt.Sprintf("R%d", i))
		x.p("MOVD %s_base+%d(FP), R%d", v, 24*i, i)
	}
	x.p("MOVD %s_len+8(FP), R8", s[0])
}

// each ends a function that treats elements one by one: four vectors at a time, then one, then elements.
func (x *neon) each(body func(v int)) {
	x.loop("16", 4, 16, body)
	x.loop("4", 1, 4, body)
	x.one = true
	x.loop("1", 1, 1, body)
	x.one = false
	x.ret()
}

// loop runs n bodies as long as there are step elements more.
func (x *neon) loop(label string, n, step int, body func(v int)) {
	x.p("SUBS $%d, R8", step)
	x.p("BLT end%s", label)
	x.p("loop%s:", label)
	for v := range n {
		body(v)
	}
	for _, r := range x.args {
		x.p("ADD $%d, %s", 4*step, r)
	}
	x.p("SUBS $%d, R8", step)
	x.p("BGE loop%s", label)
	x.p("end%s:", label)
	x.p("ADD $%d, R8", step)
}

// load reads vector v at slice i to register d.
func (x *neon) load(i, v, d int) {
	if x.one {
		x.p("FMOVS (%s), F%d", x.args[i], d)
	} else {
		x.p("FMOVQ %d(%s), F%d", 16*v, x.args[i], d)
	}
}

func (x *neon) store(s, i, v int) {
	if x.one {
		x.p("FMOVS F%d, (%s)", s, x.args[i])
	} else {
		x.p("FMOVQ F%d, %d(%s)", s, 16*v, x.args[i])
	}
}

// Registers of the constants of exp.
const (
	vLeast = 16 + iota
	vLog2e
	vRound
	vLn2Hi
	vLn2Lo
	vC6
	vC5
	vC4
	vC3
	vC2
	vOne
	vMost
)

// hold loads them.
func (x *neon) hold() {
	x.p("MOVD $expNEON<>(SB), R9")
	for r := vLeast; r <= vMost; r += 4 {
		x.p("VLD1.P 64(R9), [V%d.S4, V%d.S4, V%d.S4, V%d.S4]", r, r+1, r+2, r+3)
	}
}

func (f *file) neonData() {
	for i, c := range constants[:vMost-vLeast+1] {
		for j := range 4 {
			fmt.Fprintf(&f.asm, "DATA expNEON<>+%d(SB)/4, $0x%08x // %s\n", 16*i+4*j, math.Float32bits(c.value), c.name)
		}
	}
	f.asm.WriteString("GLOBL expNEON<>(SB), RODATA|NOPTR, $192\n")
}

// exp: register a = e^a, by way of t, u and w, as exp of package cpu does it. fmax and fmin keep a NaN.
func (x *neon) exp(a, t, u, w int) {
	x.o("fmax", a, a, vLeast)
	x.o("fmin", a, a, vMost)
	x.mov(t, vRound)
	x.o("fmla", t, a, vLog2e)
	x.o("fsub", u, t, vRound)
	x.o("fmls", a, u, vLn2Hi)
	x.o("fmls", a, u, vLn2Lo)
	p, q := u, w
	x.mov(p, vC6)
	for _, c := range []int{vC5, vC4, vC3, vC2, vOne, vOne} {
		x.mov(q, c)
		x.o("fmla", q, p, a)
		p, q = q, p
	}
	x.o("sub", t, t, vRound) // n; p is u again
	x.shift("sshr", a, t, 1)
	x.o("sub", t, t, a)
	for _, r := range []int{a, t} { // 2^r
		x.shift("shl", r, r, 23)
		x.o("add", r, r, vOne)
	}
	x.o("fmul", a, p, a)
	x.o("fmul", a, a, t)
}

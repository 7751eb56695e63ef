package main

import (
	"fmt"
	"math"
	"strings"
)

// vector writes one loop for AVX-512 and for AVX2 from one description. Elements that no vector is left for are handled
// by masks, so that every length works and nothing outside the slices is touched.
type vector struct {
	*file
	wide bool // AVX-512
	args int  // bytes of arguments so far
	regs []string
	tail bool // inside the masked part of a loop
}

func (x *vector) lanes() int {
	if x.wide {
		return 16
	}
	return 8
}

func (x *vector) bytes() int { return 4 * x.lanes() }

// r is vector register i.
func (x *vector) r(i int) string {
	if x.wide {
		return fmt.Sprintf("Z%d", i)
	}
	return fmt.Sprintf("Y%d", i)
}

// last are registers counted from the end: AVX2 has 16, AVX-512 has 32.
func (x *vector) last(i int) string {
	if x.wide {
		return x.r(31 - i)
	}
	return x.r(15 - i)
}

func (x *vector) name(base string) string {
	if x.wide {
		return base + "AVX512"
	}
	return base + "AVX2"
}

// general registers of the slices of a function, in order. CX counts, R14 and R15 are scratch.
var pointers = []string{"DI", "SI", "DX", "BX", "R8", "R9", "R10"}

// begin starts a function of these slices, "y x w", and float32 numbers, "r c", which returns results, "sum". The
// length is the first slice's. Numbers are broadcast to last(0), last(1), ...; in AVX2 last(0) is kept for masks and
// they start at last(1).
func (x *vector) begin(base, slices, elem, numbers, results string) {
	s, n, res := strings.Fields(slices), strings.Fields(numbers), strings.Fields(results)
	sig := "(" + strings.Join(s, ", ") + " []" + elem
	bytes := 24 * len(s)
	if len(n) > 0 {
		sig += ", " + strings.Join(n, ", ") + " float32"
		bytes += 4 * len(n)
	}
	sig += ")"
	if len(res) > 0 {
		sig += " (" + strings.Join(res, ", ") + " float32)"
		bytes = (bytes + 7) / 8 * 8
		x.args = bytes
		bytes += 4 * len(res)
	}
	x.text(x.name(base), sig, "", bytes)
	x.regs = x.regs[:0]
	for i, v := range s {
		x.p("MOVQ %s_base+%d(FP), %s", v, 24*i, pointers[i])
		x.regs = append(x.regs, pointers[i])
	}
	x.p("MOVQ %s_len+8(FP), CX", s[0])
	for i, v := range n {
		x.p("VBROADCASTSS %s+%d(FP), %s", v, 24*len(s)+4*i, x.number(i))
	}
}

// number is where number i of the arguments is.
func (x *vector) number(i int) string {
	if x.wide {
		return x.last(i)
	}
	return x.last(i + 1)
}

// zero clears registers.
func (x *vector) zero(n ...int) {
	for _, i := range n {
		op := "VXORPS"
		if x.wide && i > 15 {
			op = "VPXORD"
		}
		x.p("%s %s, %s, %s", op, x.r(i), x.r(i), x.r(i))
	}
}

// loop runs body for blocks of elements, and once more, masked, for what is left: vector v of a block is at offset v.
func (x *vector) loop(block int, body func()) {
	x.loopOf(block, 4, body)
}

// loopOf is loop for slices whose elements take size bytes.
func (x *vector) loopOf(block, size int, body func()) {
	x.p("SUBQ $%d, CX", block)
	x.p("JLT tail")
	x.p("PCALIGN $32")
	x.p("loop:")
	x.tail = false
	body()
	for _, r := range x.regs {
		x.p("ADDQ $%d, %s", size*block, r)
	}
	x.p("SUBQ $%d, CX", block)
	x.p("JGE loop")
	x.p("tail:")
	x.p("ADDQ $%d, CX", block)
	x.p("JEQ done")
	x.masks(block / x.lanes())
	x.tail = true
	body()
	x.tail = false
	x.p("done:")
}

// masks prepares the masks of n vectors for CX elements.
func (x *vector) masks(n int) {
	if x.wide {
		x.p("MOVQ $-1, R15")
		x.p("BZHIQ CX, R15, R15")
		for v := range n {
			x.p("KMOVQ R15, K%d", v+1)
			if v < n-1 {
				x.p("SHRQ $16, R15")
			}
		}
		return
	}
	x.p("LEAQ rowsMask<>(SB), R15")
	x.p("MOVQ $64, R14")
	x.p("SUBQ CX, R14")
	x.p("LEAQ (R15)(R14*4), R15")
}

// mask is the AVX2 mask of vector v, in last(0).
func (x *vector) mask(v int) string {
	x.p("VMOVUPS %d(R15), %s", 32*v, x.last(0))
	return x.last(0)
}

// load reads vector v at pointer p to register d; elements that do not exist are 0.
func (x *vector) load(p, v int, d string) {
	at := fmt.Sprintf("%d(%s)", v*x.bytes(), x.regs[p])
	switch {
	case !x.tail:
		x.p("VMOVUPS %s, %s", at, d)
	case x.wide:
		x.p("VMOVUPS.Z %s, K%d, %s", at, v+1, d)
	default:
		x.p("VMASKMOVPS %s, %s, %s", at, x.mask(v), d)
	}
}

// store writes register s to vector v at pointer p.
func (x *vector) store(s string, p, v int) {
	at := fmt.Sprintf("%d(%s)", v*x.bytes(), x.regs[p])
	switch {
	case !x.tail:
		x.p("VMOVUPS %s, %s", s, at)
	case x.wide:
		x.p("VMOVUPS %s, K%d, %s", s, v+1, at)
	default:
		x.p("VMASKMOVPS %s, %s, %s", s, x.mask(v), at)
	}
}

// clear makes elements of register d that do not exist 0.
func (x *vector) clear(v int, d string) {
	switch {
	case !x.tail:
	case x.wide:
		x.p("VMOVAPS.Z %s, K%d, %s", d, v+1, d)
	default:
		x.p("VANDPS %s, %s, %s", x.mask(v), d, d)
	}
}

// fill makes elements of register d that do not exist those of f.
func (x *vector) fill(v int, f, d string) {
	switch {
	case !x.tail:
	case x.wide:
		x.p("VBLENDMPS %s, %s, K%d, %s", d, f, v+1, d)
	default:
		x.p("VBLENDVPS %s, %s, %s, %s", x.mask(v), d, f, d)
	}
}

// o emits an operation of three registers, dst = a op b: the assembler wants b, a, dst.
func (x *vector) o(op, dst, a, b string) { x.p("V%sPS %s, %s, %s", op, b, a, dst) }

// fold adds, or whatever op does, n registers from 0 to the lowest element of register 0 as fold of package cpu does:
// upper half to lower.
func (x *vector) fold(op string, n int) {
	for h := n / 2; h > 0; h /= 2 {
		for i := range h {
			x.o(op, x.r(i), x.r(i), x.r(h+i))
		}
	}
	if x.wide {
		x.p("VEXTRACTF64X4 $1, Z0, Y1")
		x.p("V%sPS Y1, Y0, Y0", op)
	}
	x.p("VEXTRACTF128 $1, Y0, X1")
	x.p("V%sPS X1, X0, X0", op)
	x.p("VPERMILPS $0x0e, X0, X1")
	x.p("V%sPS X1, X0, X0", op)
	x.p("VPERMILPS $0x01, X0, X1")
	x.p("V%sPS X1, X0, X0", op)
}

// result stores the lowest element of register 0 as result i.
func (x *vector) result(name string, i int) { x.p("VMOVSS X0, %s+%d(FP)", name, x.args+4*i) }

// constants are those of the exponential function and a few more, under the names that package cpu has for them; in
// AVX-512 they are held in Z16, Z17 ... by functions that need them.
var constants = []struct {
	name  string
	value float32
}{
	{"expLeast", -104}, {"expLog2e", 0x1.715476p+0}, {"expRound", 0x1.8p+23}, {"expLn2Hi", 0x1.62e4p-1},
	{"expLn2Lo", 0x1.7f7d1cp-20},
	{"expC6", 0x1.6a241ap-10}, {"expC5", 0x1.1239f2p-7}, {"expC4", 0x1.5558f2p-5}, {"expC3", 0x1.555492p-3},
	{"expC2", 0x1.fffffcp-2},
	{"one", 1}, {"expMost", 89}, {"negInf", float32(math.Inf(-1))},
	{"exp2C1", 0x1.62e4bap-1}, {"exp2C2", 0x1.ebdb56p-3}, {"exp2C3", 0x1.c91ce8p-5}, {"exp2C4", 0x1.27784ep-7},
	{"exp2C5", 0x1.e97516p-10},
}

// c is a constant as an operand: a register, or memory in AVX2.
func (x *vector) c(name string) string {
	for i, c := range constants {
		if c.name == name && x.wide {
			return x.r(16 + i)
		}
	}
	return name + "<>(SB)"
}

// hold loads n constants to their registers.
func (x *vector) hold(n int) {
	if x.wide {
		for _, c := range constants[:n] {
			x.p("VBROADCASTSS %s<>(SB), %s", c.name, x.c(c.name))
		}
	}
}

// exp: register a = e^a, by way of t and u, as exp of package cpu does it. most: a may be large.
func (x *vector) exp(a, t, u int, most bool) { x.exps([][3]int{{a, t, u}}, most) }

// exps is exp of several vectors, step by step, so that one does not wait for its own last step.
func (x *vector) exps(of [][3]int, most bool) {
	each := func(emit func(a, t, u string)) {
		for _, v := range of {
			emit(x.r(v[0]), x.r(v[1]), x.r(v[2]))
		}
	}
	clamp := func(op, bound string) { // of NaN and a number VMAXPS returns its second source, the first one here
		each(func(_, t, _ string) { x.p("VMOVUPS %s, %s", x.c(bound), t) })
		each(func(a, t, _ string) { x.p("%s %s, %s, %s", op, a, t, a) })
	}
	clamp("VMAXPS", "expLeast")
	if most {
		clamp("VMINPS", "expMost")
	}
	each(func(_, t, _ string) { x.p("VMOVUPS %s, %s", x.c("expRound"), t) })
	each(func(a, t, _ string) { x.p("VFMADD231PS %s, %s, %s", x.c("expLog2e"), a, t) })
	each(func(_, t, u string) { x.p("VSUBPS %s, %s, %s", x.c("expRound"), t, u) })
	each(func(a, _, u string) { x.p("VFNMADD231PS %s, %s, %s", x.c("expLn2Hi"), u, a) })
	each(func(a, _, u string) { x.p("VFNMADD231PS %s, %s, %s", x.c("expLn2Lo"), u, a) })
	poly := func(of func(t, u string) string) {
		each(func(_, t, u string) { x.p("VMOVUPS %s, %s", x.c("expC6"), of(t, u)) })
		for _, c := range []string{"expC5", "expC4", "expC3", "expC2", "one", "one"} {
			each(func(a, t, u string) { x.p("VFMADD213PS %s, %s, %s", x.c(c), a, of(t, u)) })
		}
	}
	if x.wide {
		poly(func(t, _ string) string { return t })
		each(func(a, t, u string) { x.p("VSCALEFPS %s, %s, %s", u, t, a) })
		return
	}
	poly(func(_, u string) string { return u })
	each(func(_, t, _ string) { x.p("VPSUBD %s, %s, %s", x.c("expRound"), t, t) }) // n
	each(func(a, t, _ string) { x.p("VPSRAD $1, %s, %s", t, a) })                  // h
	each(func(a, t, _ string) { x.p("VPSUBD %s, %s, %s", a, t, t) })
	power := func(r string) { // 2^r
		x.p("VPSLLD $23, %s, %s", r, r)
		x.p("VPADDD %s, %s, %s", x.c("one"), r, r)
	}
	each(func(a, t, _ string) { power(a); power(t) })
	each(func(a, _, u string) { x.p("VMULPS %s, %s, %s", a, u, a) })
	each(func(a, t, _ string) { x.p("VMULPS %s, %s, %s", t, a, a) })
}

// data emits the constants, 8 of each, and the masks of AVX2: 64 words of ones, 64 of zeros.
func (f *file) data() {
	for _, c := range constants {
		for i := range 8 {
			fmt.Fprintf(&f.asm, "DATA %s<>+%d(SB)/4, $0x%08x\n", c.name, 4*i, math.Float32bits(c.value))
		}
		fmt.Fprintf(&f.asm, "GLOBL %s<>(SB), RODATA|NOPTR, $32\n", c.name)
	}
	for i := range 64 {
		ones := uint64(0)
		if i < 32 {
			ones--
		}
		fmt.Fprintf(&f.asm, "DATA rowsMask<>+%d(SB)/8, $0x%016x\n", 8*i, ones)
	}
	f.asm.WriteString("GLOBL rowsMask<>(SB), RODATA|NOPTR, $512\n")
}

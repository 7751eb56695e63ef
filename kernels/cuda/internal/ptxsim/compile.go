package ptxsim

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// opcode is an instruction as it is written: parts are its name split at dots, args what follows.
type opcode struct {
	name  string
	parts []string
	args  []string
	p     *parser
}

// has reports whether the name has a part.
func (o *opcode) has(part string) bool { return slices.Contains(o.parts[1:], part) }

// typ is the last part of the name, the type that it computes in.
func (o *opcode) typ() string { return o.parts[len(o.parts)-1] }

var errUnknown = fmt.Errorf("an instruction that is not known")

// compile decodes o into in.
func (o *opcode) compile(in *instruction) error {
	in.kind = plain
	switch o.parts[0] {
	case "bra":
		in.kind = branch
		o.p.jumps = append(o.p.jumps, jump{len(o.p.k.code), o.args[0], o.p.line})
		return nil
	case "ret", "exit":
		in.kind = finish
		return nil
	case "bar", "barrier":
		return o.bar(in)
	}
	for _, family := range []func(*instruction) error{o.memory, o.warpWide, o.move, o.convert, o.integer, o.float} {
		if err := family(in); err != errUnknown {
			if err == nil {
				o.quicken(in)
			}
			return err
		}
	}
	return errUnknown
}

// need refuses another number of arguments.
func (o *opcode) need(n int) error {
	if len(o.args) != n {
		return fmt.Errorf("%d operands instead of %d", len(o.args), n)
	}
	return nil
}

// dst is the row of a register that is written.
func (o *opcode) dst(i int) (int, error) {
	if r, ok := o.p.k.regs[o.args[i]]; ok {
		return r, nil
	}
	return 0, fmt.Errorf("no register %s", o.args[i])
}

// src is the row of an operand that is read: a register, a special one, a number or the address of a variable.
func (o *opcode) src(i int) (int, error) { return o.operand(o.args[i]) }

func (o *opcode) operand(s string) (int, error) {
	k := o.p.k
	if r, ok := k.regs[s]; ok {
		return r, nil
	}
	switch {
	case strings.HasPrefix(s, "%ctaid."):
		r := o.p.row(s)
		k.place[s[7]-'x'] = r
		return r, nil
	case strings.HasPrefix(s, "%tid."), strings.HasPrefix(s, "%ntid."), strings.HasPrefix(s, "%nctaid."),
		s == "%laneid", s == "%warpid":
		r := o.p.row(s)
		k.special[s] = r
		return r, nil
	}
	v, err := o.number(s)
	if err != nil {
		return 0, err
	}
	r := o.p.row(s)
	k.consts = append(k.consts, constant{r, v})
	return r, nil
}

// number is the value of an immediate operand. Integers are as wide as a register: an instruction takes the low bytes
// that it needs.
func (o *opcode) number(s string) (uint64, error) {
	if v, ok := o.p.vars[s]; ok {
		return v, nil
	}
	for _, v := range o.p.globs {
		if v.name == s && v.size == 0 {
			return sharedBase + uint64((o.p.k.Shared+sharedAlign-1)/sharedAlign*sharedAlign), nil
		}
	}
	if h, ok := strings.CutPrefix(s, "0f"); ok && len(h) == 8 {
		return strconv.ParseUint(h, 16, 32)
	}
	if h, ok := strings.CutPrefix(s, "0d"); ok && len(h) == 16 {
		return strconv.ParseUint(h, 16, 64)
	}
	if v, err := strconv.ParseInt(s, 0, 64); err == nil {
		return uint64(v), nil
	}
	v, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		return 0, fmt.Errorf("the operand %q is not understood", s)
	}
	return v, nil
}

// address is the row and the offset of [reg+offset].
func (o *opcode) address(s string) (int, uint64, error) {
	s = strings.Trim(s, "[]")
	base, off, _ := strings.Cut(s, "+")
	r, err := o.operand(strings.TrimSpace(base))
	if err != nil || off == "" {
		return r, 0, err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(off), 0, 64)
	return r, uint64(n), err
}

// list is the operands of {a, b, ...}, or the one that stands alone.
func list(s string) []string {
	if !strings.HasPrefix(s, "{") {
		return []string{s}
	}
	return splitArgs(strings.Trim(s, "{}"))
}

// rows are the rows of operands.
func (o *opcode) rows(names []string) ([]int, error) {
	out := make([]int, len(names))
	for i, n := range names {
		r, err := o.operand(n)
		if err != nil {
			return nil, err
		}
		out[i] = r
	}
	return out, nil
}

// unary, binary and ternary set in to compute dst = f(sources) in every lane.

func (o *opcode) unary(in *instruction, f func(x uint64) uint64) error {
	r, err := o.registers(2)
	if err != nil {
		return err
	}
	in.run = func(w *warp, mask uint32) {
		d, x := &w.regs[r[0]], &w.regs[r[1]]
		each(mask, func(l int) { d[l] = f(x[l]) })
	}
	return nil
}

func (o *opcode) binary(in *instruction, f func(x, y uint64) uint64) error {
	r, err := o.registers(3)
	if err != nil {
		return err
	}
	in.run = func(w *warp, mask uint32) {
		d, x, y := &w.regs[r[0]], &w.regs[r[1]], &w.regs[r[2]]
		each(mask, func(l int) { d[l] = f(x[l], y[l]) })
	}
	return nil
}

func (o *opcode) ternary(in *instruction, f func(x, y, z uint64) uint64) error {
	r, err := o.registers(4)
	if err != nil {
		return err
	}
	in.run = func(w *warp, mask uint32) {
		d, x, y, z := &w.regs[r[0]], &w.regs[r[1]], &w.regs[r[2]], &w.regs[r[3]]
		each(mask, func(l int) { d[l] = f(x[l], y[l], z[l]) })
	}
	return nil
}

// registers are the rows of a destination and n-1 sources.
func (o *opcode) registers(n int) ([]int, error) {
	if err := o.need(n); err != nil {
		return nil, err
	}
	if _, err := o.dst(0); err != nil {
		return nil, err
	}
	return o.rows(o.args)
}

// low keeps the low bytes of x.
func low(x uint64, bytes int) uint64 {
	if bytes == 8 {
		return x
	}
	return x & (1<<(8*bytes) - 1)
}

// signed widens the low bytes of x with their sign.
func signed(x uint64, bytes int) int64 {
	shift := 64 - 8*bytes
	return int64(x<<shift) >> shift
}

func f32(x uint64) float32 { return math.Float32frombits(uint32(x)) }
func b32(x float32) uint64 { return uint64(math.Float32bits(x)) }
func f64(x uint64) float64 { return math.Float64frombits(x) }
func b64(x float64) uint64 { return math.Float64bits(x) }

func b1(x bool) uint64 {
	if x {
		return 1
	}
	return 0
}

package ptxsim

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
)

// move decodes what carries values around: mov, cvta, selp, predicates' logic.
func (o *opcode) move(in *instruction) error {
	n := sizeOf(o.typ())
	switch o.parts[0] {
	case "mov":
		return o.mov(in, n)
	case "cvta":
		switch {
		case o.has("shared") && o.has("to"):
			// shared addresses are generic ones here; cvt.u32 keeps their low half
			return o.unary(in, func(x uint64) uint64 { return x })
		default:
			return o.unary(in, func(x uint64) uint64 { return x })
		}
	case "selp":
		return o.ternary(in, func(x, y, p uint64) uint64 {
			if p != 0 {
				return low(x, n)
			}
			return low(y, n)
		})
	}
	return errUnknown
}

// mov copies a register, or packs and unpacks {a, b}.
func (o *opcode) mov(in *instruction, n int) error {
	if err := o.need(2); err != nil {
		return err
	}
	to, from := list(o.args[0]), list(o.args[1])
	if len(to) == 1 && len(from) == 1 {
		return o.unary(in, func(x uint64) uint64 { return low(x, n) })
	}
	if slices.Contains(to, "_") {
		o.p.row("_") // a register that is never read
	}
	d, err := o.rows(to)
	if err != nil {
		return err
	}
	s, err := o.rows(from)
	if err != nil {
		return err
	}
	part := n / max(len(d), len(s))
	in.run = func(w *warp, mask uint32) {
		each(mask, func(l int) {
			var v uint64
			for i, r := range s {
				v |= low(w.regs[r][l], n/len(s)) << (8 * part * i)
			}
			for i, r := range d {
				w.regs[r][l] = low(v>>(8*part*i), n/len(d))
			}
		})
	}
	return nil
}

// integer decodes arithmetic and logic on integers and predicates.
func (o *opcode) integer(in *instruction) error {
	typ := o.typ()
	n := sizeOf(typ)
	if typ[0] == 'f' || n == 0 || strings.HasPrefix(typ, "bf") {
		return errUnknown
	}
	sign := typ[0] == 's'
	value := func(x uint64) int64 {
		if sign {
			return signed(x, n)
		}
		return int64(low(x, n))
	}
	arith := func(f func(x, y uint64) uint64) error {
		return o.binary(in, func(x, y uint64) uint64 { return low(f(x, y), n) })
	}
	switch o.parts[0] {
	case "add":
		return arith(func(x, y uint64) uint64 { return x + y })
	case "sub":
		return arith(func(x, y uint64) uint64 { return x - y })
	case "and":
		return arith(func(x, y uint64) uint64 { return x & y })
	case "or":
		return arith(func(x, y uint64) uint64 { return x | y })
	case "xor":
		return arith(func(x, y uint64) uint64 { return x ^ y })
	case "shl":
		return arith(func(x, y uint64) uint64 { return x << min(low(y, 4), 64) })
	case "shr":
		return arith(func(x, y uint64) uint64 {
			if sign {
				return uint64(value(x) >> min(low(y, 4), 63))
			}
			return low(x, n) >> min(low(y, 4), 64)
		})
	case "min":
		return arith(func(x, y uint64) uint64 {
			if sign {
				return uint64(min(value(x), value(y)))
			}
			return min(low(x, n), low(y, n))
		})
	case "max":
		return arith(func(x, y uint64) uint64 {
			if sign {
				return uint64(max(value(x), value(y)))
			}
			return max(low(x, n), low(y, n))
		})
	case "div", "rem":
		return o.divide(in, n, sign)
	case "not":
		if typ == "pred" {
			return o.unary(in, func(x uint64) uint64 { return x ^ 1 })
		}
		return o.unary(in, func(x uint64) uint64 { return low(^x, n) })
	case "neg":
		return o.unary(in, func(x uint64) uint64 { return low(-x, n) })
	case "abs":
		return o.unary(in, func(x uint64) uint64 { return low(uint64(max(value(x), -value(x))), n) })
	case "popc":
		return o.unary(in, func(x uint64) uint64 { return uint64(bits.OnesCount64(low(x, n))) })
	case "clz":
		return o.unary(in, func(x uint64) uint64 { return uint64(bits.LeadingZeros64(low(x, n)) - 64 + 8*n) })
	case "brev":
		return o.unary(in, func(x uint64) uint64 { return bits.Reverse64(low(x, n)) >> (64 - 8*n) })
	case "mul", "mad":
		return o.multiply(in, n, sign)
	case "bfe":
		if sign { // bits beyond the field are the sign: the last bit of the field that there is
			return o.ternary(in, func(x, at, length uint64) uint64 {
				at, length = min(at&255, uint64(8*n)), length&255
				if length == 0 {
					return 0
				}
				field := signed(x, n) >> min(at, uint64(8*n-1))
				if length < 64 {
					field = field << (64 - length) >> (64 - length)
				}
				return low(uint64(field), n)
			})
		}
		return o.ternary(in, func(x, at, length uint64) uint64 {
			return low(x, n) >> min(at&255, 64) & (1<<min(length&255, 63) - 1)
		})
	case "bfi":
		return o.bitInsert(in, n)
	case "prmt":
		return o.ternary(in, permute)
	case "setp", "set":
		return o.compare(in, func(x, y uint64) (less, equal, unordered bool) {
			if sign {
				return value(x) < value(y), value(x) == value(y), false
			}
			return low(x, n) < low(y, n), low(x, n) == low(y, n), false
		})
	}
	return errUnknown
}

// divide is integer division and remainder; by zero it is a fault.
func (o *opcode) divide(in *instruction, n int, sign bool) error {
	r, err := o.registers(3)
	if err != nil {
		return err
	}
	rem := o.parts[0] == "rem"
	in.run = func(w *warp, mask uint32) {
		d, x, y := &w.regs[r[0]], &w.regs[r[1]], &w.regs[r[2]]
		each(mask, func(l int) {
			if low(y[l], n) == 0 {
				panic(memoryFault{l, fmt.Errorf("division by zero")})
			}
			switch a, b := signed(x[l], n), signed(y[l], n); {
			case sign && rem:
				d[l] = low(uint64(a%b), n)
			case sign:
				d[l] = low(uint64(a/b), n)
			case rem:
				d[l] = low(x[l], n) % low(y[l], n)
			default:
				d[l] = low(x[l], n) / low(y[l], n)
			}
		})
	}
	return nil
}

// multiply is mul and mad with .lo, .hi or .wide.
func (o *opcode) multiply(in *instruction, n int, sign bool) error {
	lo, wide := o.has("lo"), o.has("wide")
	product := func(x, y uint64) uint64 {
		switch {
		case lo:
			return low(x*y, n)
		case wide && sign:
			return low(uint64(signed(x, n)*signed(y, n)), 2*n)
		case wide:
			return low(x, n) * low(y, n)
		case n == 8:
			hi, _ := bits.Mul64(x, y)
			if sign {
				hi -= uint64(int64(x)>>63)&y + uint64(int64(y)>>63)&x
			}
			return hi
		case sign:
			return low(uint64(signed(x, n)*signed(y, n))>>(8*n), n)
		}
		return low(x, n) * low(y, n) >> (8 * n)
	}
	if !lo && !wide && !o.has("hi") {
		return errUnknown
	}
	if o.parts[0] == "mul" {
		return o.binary(in, product)
	}
	if wide {
		n *= 2
	}
	return o.ternary(in, func(x, y, z uint64) uint64 { return low(product(x, y)+z, n) })
}

// bitInsert is bfi: x's low bits go to a place in y.
func (o *opcode) bitInsert(in *instruction, n int) error {
	r, err := o.registers(5)
	if err != nil {
		return err
	}
	in.run = func(w *warp, mask uint32) {
		each(mask, func(l int) {
			at, length := w.regs[r[3]][l]&255, w.regs[r[4]][l]&255
			field := uint64(1<<min(length, 63)-1) << min(at, 63)
			w.regs[r[0]][l] = low(w.regs[r[2]][l]&^field|w.regs[r[1]][l]<<min(at, 63)&field, n)
		})
	}
	return nil
}

// permute is prmt.b32 in its default mode: four of the eight bytes of {y, x}, each chosen by four bits of sel.
func permute(x, y, sel uint64) uint64 {
	all := low(x, 4) | low(y, 4)<<32
	var out uint64
	for i := range 4 {
		s := sel >> (4 * i) & 15
		b := all >> (8 * (s & 7)) & 255
		if s&8 != 0 { // the byte's sign in all places
			b = uint64(int64(int8(b))>>7) & 255
		}
		out |= b << (8 * i)
	}
	return out
}

// compare is setp: a predicate from two values, combined with a third predicate by .and, .or or .xor if there is one.
func (o *opcode) compare(in *instruction, order func(x, y uint64) (less, equal, unordered bool)) error {
	if o.parts[0] != "setp" {
		return errUnknown
	}
	cmp, combine := o.parts[1], ""
	test, ok := comparisons[cmp]
	if !ok {
		return fmt.Errorf("the comparison %s is not known", cmp)
	}
	for _, c := range []string{"and", "or", "xor"} {
		if o.has(c) {
			combine = c
		}
	}
	f := func(x, y uint64) uint64 {
		less, equal, un := order(x, y)
		return b1(test(less, equal, un))
	}
	switch combine {
	case "":
		return o.binary(in, f)
	case "and":
		return o.ternary(in, func(x, y, p uint64) uint64 { return f(x, y) & p })
	case "or":
		return o.ternary(in, func(x, y, p uint64) uint64 { return f(x, y) | p })
	}
	return o.ternary(in, func(x, y, p uint64) uint64 { return f(x, y) ^ p })
}

// comparisons by name. Those that end in u are true of unordered values, NaN among them.
var comparisons = map[string]func(less, equal, un bool) bool{
	"lt": func(less, equal, un bool) bool { return less && !un },
	"le": func(less, equal, un bool) bool { return (less || equal) && !un },
	"gt": func(less, equal, un bool) bool { return !less && !equal && !un },
	"ge": func(less, equal, un bool) bool { return !less && !un },
	"eq": func(less, equal, un bool) bool { return equal && !un },
	"ne": func(less, equal, un bool) bool { return !equal && !un },
	"lo": func(less, equal, un bool) bool { return less },
	"ls": func(less, equal, un bool) bool { return less || equal },
	"hi": func(less, equal, un bool) bool { return !less && !equal },
	"hs": func(less, equal, un bool) bool { return !less },

	"ltu": func(less, equal, un bool) bool { return less || un },
	"leu": func(less, equal, un bool) bool { return less || equal || un },
	"gtu": func(less, equal, un bool) bool { return !less && !equal || un },
	"geu": func(less, equal, un bool) bool { return !less || un },
	"equ": func(less, equal, un bool) bool { return equal || un },
	"neu": func(less, equal, un bool) bool { return !equal || un },
	"num": func(less, equal, un bool) bool { return !un },
	"nan": func(less, equal, un bool) bool { return un },
}

package ptxsim

import (
	"math"
	"strings"

	"github.com/zerosearch-go/zerosearch/num"
)

// flush is .ftz: a denormal becomes a zero of its sign.
func flush(x float32) float32 {
	if bits := math.Float32bits(x); bits&0x7f800000 == 0 {
		return math.Float32frombits(bits & 0x80000000)
	}
	return x
}

// float decodes arithmetic in f32 and f64.
func (o *opcode) float(in *instruction) error {
	switch o.typ() {
	case "f32":
		return o.single(in)
	case "f64":
		return o.double(in)
	}
	return errUnknown
}

func (o *opcode) single(in *instruction) error {
	ftz := func(x float32) float32 { return x }
	if o.has("ftz") {
		ftz = flush
	}
	one := func(f func(x float32) float32) error {
		return o.unary(in, func(x uint64) uint64 { return b32(ftz(f(ftz(f32(x))))) })
	}
	two := func(f func(x, y float32) float32) error {
		return o.binary(in, func(x, y uint64) uint64 { return b32(ftz(f(ftz(f32(x)), ftz(f32(y))))) })
	}
	// What hardware approximates is computed in float64 and rounded.
	wide := func(f func(float64) float64) func(float32) float32 {
		return func(x float32) float32 { return float32(f(float64(x))) }
	}
	switch o.parts[0] {
	case "add":
		return two(func(x, y float32) float32 { return x + y })
	case "sub":
		return two(func(x, y float32) float32 { return x - y })
	case "mul":
		return two(func(x, y float32) float32 { return x * y })
	case "div":
		return two(func(x, y float32) float32 { return x / y })
	case "max":
		return two(o.extreme(func(x, y float32) bool { return x > y }))
	case "min":
		return two(o.extreme(func(x, y float32) bool { return x < y }))
	case "fma":
		return o.ternary(in,
			func(x, y, z uint64) uint64 { return b32(ftz(num.FMA32(ftz(f32(x)), ftz(f32(y)), ftz(f32(z))))) })
	case "neg":
		return one(func(x float32) float32 { return -x })
	case "abs":
		return one(func(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ 0x80000000) })
	case "sqrt":
		return one(wide(math.Sqrt))
	case "rcp":
		return one(wide(func(x float64) float64 { return 1 / x }))
	case "rsqrt":
		return one(wide(func(x float64) float64 { return 1 / math.Sqrt(x) }))
	case "ex2":
		return one(wide(math.Exp2))
	case "lg2":
		return one(wide(math.Log2))
	case "copysign":
		return two(func(x, y float32) float32 { return float32(math.Copysign(float64(y), float64(x))) })
	case "setp":
		return o.compare(in, func(x, y uint64) (bool, bool, bool) {
			a, b := ftz(f32(x)), ftz(f32(y))
			return a < b, a == b, a != a || b != b
		})
	}
	return errUnknown
}

// extreme is max or min: NaN loses against a number, unless the instruction says .NaN.
func (o *opcode) extreme(better func(x, y float32) bool) func(x, y float32) float32 {
	nan := o.has("NaN")
	return func(x, y float32) float32 {
		switch {
		case x != x && (nan || y != y), y != y && nan:
			return float32(math.NaN())
		case x != x:
			return y
		case y != y || better(x, y):
			return x
		case x == y && math.Signbit(float64(x)) != math.Signbit(float64(y)): // +0 is above -0
			if math.Signbit(float64(x)) == better(-1, 0) {
				return x
			}
			return y
		}
		return y
	}
}

func (o *opcode) double(in *instruction) error {
	one := func(f func(x float64) float64) error {
		return o.unary(in, func(x uint64) uint64 { return b64(f(f64(x))) })
	}
	two := func(f func(x, y float64) float64) error {
		return o.binary(in, func(x, y uint64) uint64 { return b64(f(f64(x), f64(y))) })
	}
	switch o.parts[0] {
	case "add":
		return two(func(x, y float64) float64 { return x + y })
	case "sub":
		return two(func(x, y float64) float64 { return x - y })
	case "mul":
		return two(func(x, y float64) float64 { return x * y })
	case "div":
		return two(func(x, y float64) float64 { return x / y })
	case "fma":
		return o.ternary(in, func(x, y, z uint64) uint64 { return b64(math.FMA(f64(x), f64(y), f64(z))) })
	case "neg":
		return one(func(x float64) float64 { return -x })
	case "abs":
		return one(math.Abs)
	case "sqrt":
		return one(math.Sqrt)
	case "setp":
		return o.compare(in, func(x, y uint64) (bool, bool, bool) {
			a, b := f64(x), f64(y)
			return a < b, a == b, a != a || b != b
		})
	}
	return errUnknown
}

// convert decodes cvt.
func (o *opcode) convert(in *instruction) error {
	if o.parts[0] != "cvt" {
		return errUnknown
	}
	from, to := o.typ(), o.parts[len(o.parts)-2]
	if to == "bf16x2" && from == "f32" && o.has("rn") {
		return o.binary(in, func(hi, lo uint64) uint64 {
			return uint64(num.BF16FromF32(f32(hi)))<<16 | uint64(num.BF16FromF32(f32(lo)))
		})
	}
	read, ok := readers[from]
	write, ok2 := writers[to]
	if !ok || !ok2 {
		return errUnknown
	}
	round := func(x float64) float64 { return x }
	toInt := to[0] == 'u' || to[0] == 's'
	fromFloat, toFloat := strings.Contains(from, "f"), strings.Contains(to, "f")
	switch {
	case o.has("rzi"):
		round = math.Trunc
	case o.has("rni"):
		round = math.RoundToEven
	case o.has("rmi"):
		round = math.Floor
	case o.has("rpi"):
		round = math.Ceil
	case fromFloat && toInt:
		return errUnknown // the rounding is not said
	}
	if fromFloat || toFloat {
		return o.unary(in, func(x uint64) uint64 { return write(round(read(x))) })
	}
	n, m := sizeOf(from), sizeOf(to)
	switch {
	case from[0] == 's' && to[0] == 's' && m < 4: // with its sign in the whole register
		return o.unary(in, func(x uint64) uint64 { return low(uint64(signed(uint64(signed(x, n)), m)), 4) })
	case from[0] == 's':
		return o.unary(in, func(x uint64) uint64 { return low(uint64(signed(x, n)), m) })
	}
	return o.unary(in, func(x uint64) uint64 { return low(low(x, n), m) })
}

// readers give the value of a register of a type. 64-bit integers beyond 2^53 are rounded first: kernels do not convert
// such.
var readers = map[string]func(uint64) float64{
	"u8":  func(x uint64) float64 { return float64(low(x, 1)) },
	"s8":  func(x uint64) float64 { return float64(int8(x)) },
	"u16": func(x uint64) float64 { return float64(low(x, 2)) },
	"s16": func(x uint64) float64 { return float64(int16(x)) },
	"u32": func(x uint64) float64 { return float64(uint32(x)) },
	"s32": func(x uint64) float64 { return float64(int32(x)) },
	"u64": func(x uint64) float64 { return float64(x) }, "s64": func(x uint64) float64 { return float64(int64(x)) },
	"f16": func(x uint64) float64 { return float64(num.F32FromF16(uint16(x))) },
	"f32": func(x uint64) float64 { return float64(f32(x)) }, "f64": f64,
}

// writers give the register for a value; integers saturate, and NaN becomes 0, as PTX has it.
var writers = map[string]func(float64) uint64{
	"u8": saturate(0, math.MaxUint8, 1), "s8": saturate(math.MinInt8, math.MaxInt8, 1),
	"u16": saturate(0, math.MaxUint16, 2), "s16": saturate(math.MinInt16, math.MaxInt16, 2),
	"u32": saturate(0, math.MaxUint32, 4), "s32": saturate(math.MinInt32, math.MaxInt32, 4),
	"u64": saturate(0, 1<<63, 8), "s64": saturate(-(1 << 63), 1<<63-1024, 8),
	"f16": func(x float64) uint64 { return uint64(num.F16FromF32(float32(x))) },
	"f32": func(x float64) uint64 { return b32(float32(x)) }, "f64": b64,
}

func saturate(least, most float64, bytes int) func(float64) uint64 {
	return func(x float64) uint64 {
		if x != x {
			return 0
		}
		x = min(max(x, least), most)
		if least < 0 {
			return low(uint64(int64(x)), bytes)
		}
		return low(uint64(x), bytes)
	}
}

package ptxsim

import (
	"math"
	"math/bits"

	"github.com/zerosearch-go/zerosearch/num"
)

// loops are the most frequent instructions once more, for a whole warp and without a call for each lane: several times
// as fast.
var loops = map[string]func(d, x, y, z *row){
	"mov.b32": move32, "mov.u32": move32, "mov.s32": move32, "mov.f32": move32, "mov.b64": move64, "mov.u64": move64,
	"mov.f64":            move64,
	"cvta.to.global.u64": move64, "cvta.to.shared.u64": move64, "cvta.global.u64": move64, "cvta.shared.u64": move64,
	"cvt.u32.u64": move32,

	"add.s32": add32, "add.u32": add32, "add.s64": add64, "add.u64": add64,
	"sub.s32": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = uint64(uint32(x[l] - y[l]))
		}
	},
	"sub.s64": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = x[l] - y[l]
		}
	},
	"and.b32": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = uint64(uint32(x[l] & y[l]))
		}
	},
	"or.b32": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = uint64(uint32(x[l] | y[l]))
		}
	},
	"xor.b32": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = uint64(uint32(x[l] ^ y[l]))
		}
	},
	"and.pred": and64,
	"or.pred":  or64,
	"shl.b32": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = uint64(uint32(x[l]) << min(uint32(y[l]), 32))
		}
	},
	"shl.b64": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = x[l] << min(uint32(y[l]), 64)
		}
	},
	"shr.u32": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = uint64(uint32(x[l]) >> min(uint32(y[l]), 32))
		}
	},
	"shr.s32": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = uint64(uint32(int32(x[l]) >> min(uint32(y[l]), 31)))
		}
	},
	"shr.u64": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = x[l] >> min(uint32(y[l]), 64)
		}
	},
	"mul.lo.s32": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = uint64(uint32(x[l]) * uint32(y[l]))
		}
	},
	"mul.lo.s64": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = x[l] * y[l]
		}
	},
	"mul.wide.s32": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = uint64(int64(int32(x[l])) * int64(int32(y[l])))
		}
	},
	"mul.wide.u32": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = uint64(uint32(x[l])) * uint64(uint32(y[l]))
		}
	},
	"mad.lo.s32": func(d, x, y, z *row) {
		for l := range d {
			d[l] = uint64(uint32(x[l])*uint32(y[l]) + uint32(z[l]))
		}
	},
	"mad.lo.s64": func(d, x, y, z *row) {
		for l := range d {
			d[l] = x[l]*y[l] + z[l]
		}
	},
	"cvt.s64.s32": func(d, x, _, _ *row) {
		for l := range d {
			d[l] = uint64(int64(int32(x[l])))
		}
	},
	"cvt.u64.u32": func(d, x, _, _ *row) {
		for l := range d {
			d[l] = uint64(uint32(x[l]))
		}
	},
	"setp.lt.s32": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = b1(int32(x[l]) < int32(y[l]))
		}
	},
	"setp.le.s32": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = b1(int32(x[l]) <= int32(y[l]))
		}
	},
	"setp.gt.s32": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = b1(int32(x[l]) > int32(y[l]))
		}
	},
	"setp.ge.s32": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = b1(int32(x[l]) >= int32(y[l]))
		}
	},
	"setp.lt.u32": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = b1(uint32(x[l]) < uint32(y[l]))
		}
	},
	"setp.gt.u32": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = b1(uint32(x[l]) > uint32(y[l]))
		}
	},
	"setp.lt.s64": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = b1(int64(x[l]) < int64(y[l]))
		}
	},
	"setp.ge.s64": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = b1(int64(x[l]) >= int64(y[l]))
		}
	},
	"setp.eq.b32": equal32, "setp.eq.s32": equal32, "setp.ne.b32": unequal32, "setp.ne.s32": unequal32,
	"setp.eq.b64": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = b1(x[l] == y[l])
		}
	},
	"setp.ne.b64": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = b1(x[l] != y[l])
		}
	},
	"and.b64": and64,
	"or.b64":  or64,
	"not.b32": func(d, x, _, _ *row) {
		for l := range d {
			d[l] = uint64(^uint32(x[l]))
		}
	},
	"shr.s64": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = uint64(int64(x[l]) >> min(uint32(y[l]), 63))
		}
	},
	"min.s32": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = uint64(uint32(min(int32(x[l]), int32(y[l]))))
		}
	},
	"min.u64": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = min(x[l], y[l])
		}
	},
	"max.u64": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = max(x[l], y[l])
		}
	},
	"setp.ge.u32": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = b1(uint32(x[l]) >= uint32(y[l]))
		}
	},
	"setp.lt.u64": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = b1(x[l] < y[l])
		}
	},
	"setp.gt.u64": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = b1(x[l] > y[l])
		}
	},
	"setp.eq.f32": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = b1(f32(x[l]) == f32(y[l]))
		}
	},
	"setp.lt.f32": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = b1(f32(x[l]) < f32(y[l]))
		}
	},
	"setp.gt.f32": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = b1(f32(x[l]) > f32(y[l]))
		}
	},
	"neg.f32": func(d, x, _, _ *row) {
		for l := range d {
			d[l] = uint64(uint32(x[l]) ^ 1<<31)
		}
	},
	"cvt.rn.f32.s32": func(d, x, _, _ *row) {
		for l := range d {
			d[l] = b32(float32(int32(x[l])))
		}
	},
	"selp.b32": select32, "selp.f32": select32,
	"selp.b64": func(d, x, y, z *row) {
		for l := range d {
			v := y[l]
			if z[l] != 0 {
				v = x[l]
			}
			d[l] = v
		}
	},
	"add.rn.f32": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = b32(f32(x[l]) + f32(y[l]))
		}
	},
	"sub.rn.f32": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = b32(f32(x[l]) - f32(y[l]))
		}
	},
	"mul.rn.f32": func(d, x, y, _ *row) {
		for l := range d {
			d[l] = b32(f32(x[l]) * f32(y[l]))
		}
	},
	"fma.rn.f32": func(d, x, y, z *row) {
		for l := range d {
			s := float64(f32(x[l]))*float64(f32(y[l])) + float64(f32(z[l])) // see num.FMA32
			if math.Float64bits(s)&0x1fffffff != 0x10000000 && math.Abs(s) >= 0x1p-126 {
				d[l] = b32(float32(s))
			} else {
				d[l] = b32(num.FMA32(f32(x[l]), f32(y[l]), f32(z[l])))
			}
		}
	},
}

func move32(d, x, _, _ *row) {
	for l := range d {
		d[l] = uint64(uint32(x[l]))
	}
}

func move64(d, x, _, _ *row) { *d = *x }

func add32(d, x, y, _ *row) {
	for l := range d {
		d[l] = uint64(uint32(x[l] + y[l]))
	}
}

func add64(d, x, y, _ *row) {
	for l := range d {
		d[l] = x[l] + y[l]
	}
}

func and64(d, x, y, _ *row) {
	for l := range d {
		d[l] = x[l] & y[l]
	}
}

func or64(d, x, y, _ *row) {
	for l := range d {
		d[l] = x[l] | y[l]
	}
}

func equal32(d, x, y, _ *row) {
	for l := range d {
		d[l] = b1(uint32(x[l]) == uint32(y[l]))
	}
}

func unequal32(d, x, y, _ *row) {
	for l := range d {
		d[l] = b1(uint32(x[l]) != uint32(y[l]))
	}
}

func select32(d, x, y, z *row) {
	for l := range d {
		v := y[l]
		if z[l] != 0 {
			v = x[l]
		}
		d[l] = uint64(uint32(v))
	}
}

// quicken lets whole warps take the loop of o, if it has one.
func (o *opcode) quicken(in *instruction) {
	loop, slow := loops[o.name], in.run
	if loop == nil {
		return
	}
	r, err := o.registers(len(o.args))
	if err != nil { // {a, b} of a mov
		return
	}
	for len(r) < 4 {
		r = append(r, r[0])
	}
	in.run = func(w *warp, mask uint32) {
		if mask == math.MaxUint32 {
			loop(&w.regs[r[0]], &w.regs[r[1]], &w.regs[r[2]], &w.regs[r[3]])
			return
		}
		if bits.OnesCount32(mask) < 8 {
			slow(w, mask)
			return
		}
		var all row
		loop(&all, &w.regs[r[1]], &w.regs[r[2]], &w.regs[r[3]])
		d := &w.regs[r[0]]
		each(mask, func(l int) { d[l] = all[l] })
	}
}

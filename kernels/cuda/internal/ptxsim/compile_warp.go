package ptxsim

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"strings"

	"github.com/zerosearch-go/zerosearch/num"
)

// bar decodes barriers: of the block, and of the warp.
func (o *opcode) bar(in *instruction) error {
	switch {
	case o.has("warp"):
		if err := o.wholeWarp(0); err != nil {
			return err
		}
		in.kind = together
		in.run = func(w *warp, mask uint32) { w.epoch++ }
	case len(o.args) == 1 && o.args[0] == "0":
		in.kind = barrier
	default:
		return fmt.Errorf("only barrier 0 of all threads is known")
	}
	return nil
}

// wholeWarp requires that a member mask, operand i, is that of the whole warp.
func (o *opcode) wholeWarp(i int) error {
	if m := o.args[i]; m != "-1" && m != "0xffffffff" && m != "4294967295" {
		return fmt.Errorf("the member mask %s: only -1 is known", m)
	}
	return nil
}

// warpWide decodes what the lanes of a warp do together.
func (o *opcode) warpWide(in *instruction) error {
	switch o.parts[0] {
	case "shfl":
		in.kind = together
		return o.shuffle(in)
	case "vote":
		in.kind = together
		return o.vote(in)
	case "ldmatrix":
		in.kind = together
		return o.loadMatrix(in)
	case "mma":
		in.kind = together
		if o.has("s8") {
			return o.mmaInt(in)
		}
		return o.mma(in)
	case "activemask":
		return fmt.Errorf("what activemask gives is not defined by the program")
	}
	return errUnknown
}

// shuffle is shfl.sync d{|p}, a, b, c, mask.
func (o *opcode) shuffle(in *instruction) error {
	if err := o.need(5); err != nil {
		return err
	}
	if err := o.wholeWarp(4); err != nil {
		return err
	}
	names := strings.Split(o.args[0], "|")
	d, err := o.rows(names)
	if err != nil {
		return err
	}
	s, err := o.rows(o.args[1:4])
	if err != nil {
		return err
	}
	mode := o.parts[2]
	in.run = func(w *warp, mask uint32) {
		from := w.regs[s[0]]
		if mode == "bfly" && mask == math.MaxUint32 && len(d) == 1 && isAll(&w.regs[s[2]], 31) { // the usual case
			for l, b := range &w.regs[s[1]] {
				w.regs[d[0]][l] = from[l^int(b&31)]
			}
			return
		}
		each(mask, func(l int) {
			b, c := int(w.regs[s[1]][l]&31), w.regs[s[2]][l]
			clamp, seg := int(c&31), int(c>>8&31)
			most := l&seg | clamp&^seg
			least := l & seg
			j, ok := l, true
			switch mode {
			case "up":
				j = l - b
				ok = j >= most
			case "down":
				j = l + b
				ok = j <= most
			case "bfly":
				j = l ^ b
				ok = j <= most
			case "idx":
				j = least | b&^seg
				ok = j <= most
			}
			if !ok {
				j = l
			}
			if mask>>j&1 == 0 {
				panic(memoryFault{l, fmt.Errorf("it reads lane %d, which has ended", j)})
			}
			w.regs[d[0]][l] = from[j]
			if len(d) > 1 {
				w.regs[d[1]][l] = b1(ok)
			}
		})
	}
	return nil
}

// isAll reports whether all lanes have the value v.
func isAll(r *row, v uint64) bool {
	for _, x := range r {
		if x != v {
			return false
		}
	}
	return true
}

// vote is vote.sync.ballot, any and all.
func (o *opcode) vote(in *instruction) error {
	if err := o.need(3); err != nil {
		return err
	}
	if err := o.wholeWarp(2); err != nil {
		return err
	}
	p, not := strings.CutPrefix(o.args[1], "!")
	r, err := o.rows([]string{o.args[0], p})
	if err != nil {
		return err
	}
	mode := o.parts[2]
	in.run = func(w *warp, mask uint32) {
		var yes uint32
		each(mask, func(l int) {
			if (w.regs[r[1]][l] != 0) != not {
				yes |= 1 << l
			}
		})
		v := uint64(yes)
		switch mode {
		case "any":
			v = b1(yes != 0)
		case "all":
			v = b1(yes == mask)
		}
		each(mask, func(l int) { w.regs[r[0]][l] = v })
	}
	return nil
}

// loadMatrix is ldmatrix.sync.aligned.m8n8.x1/x2/x4{.trans}.shared.b16: lane 8m+r names row r of matrix m.
func (o *opcode) loadMatrix(in *instruction) error {
	d, err := o.rows(list(o.args[0]))
	if err != nil {
		return err
	}
	r, off, err := o.address(o.args[1])
	if err != nil {
		return err
	}
	if !o.has("m8n8") || !o.has("b16") || !o.has(fmt.Sprintf("x%d", len(d))) {
		return errUnknown
	}
	trans := o.has("trans")
	in.run = func(w *warp, mask uint32) {
		needAll(mask)
		for m, row := range d {
			var at [8][]byte
			for i := range at {
				l := 8*m + i
				at[i] = w.bytes(l, shared, w.regs[r][l]+off, 16, false)
			}
			d := &w.regs[row]
			for l := range d {
				i, j := l/4, l%4*2
				if trans {
					lo, hi := binary.LittleEndian.Uint16(at[j][2*i:]), binary.LittleEndian.Uint16(at[j+1][2*i:])
					d[l] = uint64(lo) | uint64(hi)<<16
				} else {
					d[l] = uint64(binary.LittleEndian.Uint32(at[i][2*j:]))
				}
			}
		}
	}
	return nil
}

func needAll(mask uint32) {
	if mask != 1<<32-1 {
		panic(memoryFault{bits.TrailingZeros32(^mask), fmt.Errorf("lanes have ended: all 32 take part in it")})
	}
}

// fragments are the rows of D, A, B and C of a product of matrices: 4, 4, 2 and 4 registers a lane.
func (o *opcode) fragments() (r [4][]int, err error) {
	if err := o.need(4); err != nil {
		return r, err
	}
	for i, n := range []int{4, 4, 2, 4} {
		if r[i], err = o.rows(list(o.args[i])); err != nil {
			return r, err
		}
		if len(r[i]) != n {
			return r, fmt.Errorf("%d registers instead of %d in operand %d", len(r[i]), n, i)
		}
	}
	return r, nil
}

// mma is mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32: D = A B + C, where products are exact and added one by
// one, k ascending.
func (o *opcode) mma(in *instruction) error {
	if o.name != "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32" {
		return errUnknown
	}
	r, err := o.fragments()
	if err != nil {
		return err
	}
	in.run = func(w *warp, mask uint32) {
		needAll(mask)
		var a [16][16]float32 // [m][k]
		var b [8][16]float32  // [n][k]
		finite := true        // b
		for l := range 32 {
			g, q := l/4, l%4*2
			for i, reg := range r[1] {
				v := w.regs[reg][l]
				m, k := g+i%2*8, q+i/2*8
				a[m][k], a[m][k+1] = num.F32FromBF16(uint16(v)), num.F32FromBF16(uint16(v>>16))
			}
			for i, reg := range r[2] {
				v := w.regs[reg][l]
				finite = finite && v&0x7f80 != 0x7f80 && v&0x7f800000 != 0x7f800000
				b[g][q+i*8], b[g][q+i*8+1] = num.F32FromBF16(uint16(v)), num.F32FromBF16(uint16(v>>16))
			}
		}
		var c [16][8]float32
		for i, reg := range r[3] {
			for l, v := range &w.regs[reg] {
				c[l/4+i/2*8][l%4*2+i%2] = f32(v)
			}
		}
		for m := range c {
			if !finite || !addsNothing(&a[m], &c[m]) {
				addProducts(&c[m], &a[m], &b)
			}
		}
		for i, reg := range r[0] {
			d := &w.regs[reg]
			for l := range d {
				d[l] = b32(c[l/4+i/2*8][l%4*2+i%2])
			}
		}
	}
	return nil
}

// addsNothing reports whether c stays what it is when products of a with finite numbers are added: a is 0, and c is not
// -0.
func addsNothing(a *[16]float32, c *[8]float32) bool {
	for _, x := range a {
		if x != 0 {
			return false
		}
	}
	for _, x := range c {
		if math.Float32bits(x) == 1<<31 {
			return false
		}
	}
	return true
}

// addProducts adds to each c[n] the products of a and b[n], k ascending.
func addProducts(c *[8]float32, a *[16]float32, b *[8][16]float32) {
	for n := 0; n < 8; n += 4 { // four chains at a time: one would wait for itself
		b0, b1, b2, b3 := &b[n], &b[n+1], &b[n+2], &b[n+3]
		c0, c1, c2, c3 := c[n], c[n+1], c[n+2], c[n+3]
		for k, x := range a {
			c0 += float32(x * b0[k])
			c1 += float32(x * b1[k])
			c2 += float32(x * b2[k])
			c3 += float32(x * b3[k])
		}
		c[n], c[n+1], c[n+2], c[n+3] = c0, c1, c2, c3
	}
}

// mmaInt is mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32: D = A B + C of signed bytes, wrapping.
func (o *opcode) mmaInt(in *instruction) error {
	if o.name != "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32" {
		return errUnknown
	}
	r, err := o.fragments()
	if err != nil {
		return err
	}
	in.run = func(w *warp, mask uint32) {
		needAll(mask)
		var a [16][32]int32 // [m][k]
		var b [8][32]int32  // [n][k]
		var some [16]bool   // not all of the row of a is 0
		for l := range 32 {
			g, q := l/4, l%4*4
			for i := range 4 {
				for j, reg := range r[1] {
					x := int32(int8(w.regs[reg][l] >> (8 * i)))
					a[g+j%2*8][q+j/2*16+i] = x
					some[g+j%2*8] = some[g+j%2*8] || x != 0
				}
				for j, reg := range r[2] {
					b[g][q+j*16+i] = int32(int8(w.regs[reg][l] >> (8 * i)))
				}
			}
		}
		for l := range 32 {
			var d [4]int32
			for i := range 4 {
				m, n := l/4+i/2*8, l%4*2+i%2
				d[i] = int32(w.regs[r[3][i]][l])
				if !some[m] {
					continue
				}
				for k, x := range &a[m] {
					d[i] += x * b[n][k]
				}
			}
			for i, v := range d {
				w.regs[r[0][i]][l] = uint64(uint32(v))
			}
		}
	}
	return nil
}

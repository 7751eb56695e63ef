package ptxsim

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// memory decodes ld, st, atom and the copies of cp.async.
func (o *opcode) memory(in *instruction) error {
	switch o.parts[0] {
	case "ld", "ldu":
		if o.has("param") {
			return o.loadParam(in)
		}
		return o.load(in)
	case "st":
		return o.store(in)
	case "atom":
		return o.atomicAdd(in)
	case "cp":
		return o.copyAsync(in)
	case "membar", "fence", "prefetch", "discard":
		in.run = func(*warp, uint32) {}
		return nil
	}
	return errUnknown
}

// loadParam reads the parameter block, one or several values: [name] or [name+offset].
func (o *opcode) loadParam(in *instruction) error {
	d, err := o.rows(list(o.args[0]))
	if err != nil {
		return err
	}
	name, off, _ := strings.Cut(strings.Trim(o.args[1], "[]"), "+")
	n := sizeOf(o.typ())
	for _, p := range o.p.k.Params {
		if p.Name != name {
			continue
		}
		at := p.Offset
		if off != "" {
			more, err := strconv.Atoi(off)
			if err != nil {
				return err
			}
			at += more
		}
		if at+n*len(d) > p.Offset+p.Size {
			return fmt.Errorf("%d bytes at %d of a parameter of %d", n*len(d), at-p.Offset, p.Size)
		}
		in.run = func(w *warp, mask uint32) {
			for i, r := range d {
				v := get(w.b.params[at+i*n : at+i*n+n])
				d := &w.regs[r]
				each(mask, func(l int) { d[l] = v })
			}
		}
		return nil
	}
	return fmt.Errorf("no parameter %s", name)
}

// space is where an address leads: generic pointers are told apart by their value.
type space uint8

const (
	generic space = iota
	global
	shared
)

func (o *opcode) space() (space, error) {
	switch {
	case o.has("global"):
		return global, nil
	case o.has("shared"):
		return shared, nil
	case o.has("local"), o.has("const"):
		return 0, fmt.Errorf("local and constant memory are not there: a kernel that spills is slow on a GPU too")
	}
	return generic, nil
}

// load is ld with one or several destinations.
func (o *opcode) load(in *instruction) error {
	sp, err := o.space()
	if err != nil {
		return err
	}
	d, err := o.rows(list(o.args[0]))
	if err != nil {
		return err
	}
	r, off, err := o.address(o.args[1])
	if err != nil {
		return err
	}
	n, sign := sizeOf(o.typ()), o.typ()[0] == 's'
	one := n == 4 && len(d) == 1
	in.run = func(w *warp, mask uint32) {
		if one {
			x, d, m := &w.regs[r], &w.regs[d[0]], w.b.m
			each(mask, func(l int) {
				var b []byte
				if sp == global {
					b = m.word(x[l]+off, false)
				}
				if b == nil {
					b = w.bytes(l, sp, x[l]+off, 4, false)
				}
				d[l] = uint64(binary.LittleEndian.Uint32(b))
			})
			return
		}
		each(mask, func(l int) {
			b := w.bytes(l, sp, w.regs[r][l]+off, n*len(d), false)
			for i, row := range d {
				v := get(b[i*n : i*n+n])
				if sign {
					v = low(uint64(signed(v, n)), max(n, 4))
				}
				w.regs[row][l] = v
			}
		})
	}
	return nil
}

// store is st with one or several sources.
func (o *opcode) store(in *instruction) error {
	sp, err := o.space()
	if err != nil {
		return err
	}
	s, err := o.rows(list(o.args[1]))
	if err != nil {
		return err
	}
	r, off, err := o.address(o.args[0])
	if err != nil {
		return err
	}
	n := sizeOf(o.typ())
	one := n == 4 && len(s) == 1
	in.run = func(w *warp, mask uint32) {
		if one {
			x, s, m := &w.regs[r], &w.regs[s[0]], w.b.m
			each(mask, func(l int) {
				var b []byte
				if sp == global {
					b = m.word(x[l]+off, true)
				}
				if b == nil {
					b = w.bytes(l, sp, x[l]+off, 4, true)
				}
				binary.LittleEndian.PutUint32(b, uint32(s[l]))
			})
			return
		}
		each(mask, func(l int) {
			b := w.bytes(l, sp, w.regs[r][l]+off, n*len(s), true)
			for i, row := range s {
				put(b[i*n:i*n+n], w.regs[row][l])
			}
		})
	}
	return nil
}

// atomicAdd is atom.shared.add.u32 d, [a], b: lanes one after the other, ascending. No result of a kernel may depend on
// that.
func (o *opcode) atomicAdd(in *instruction) error {
	if o.name != "atom.shared.add.u32" {
		return errUnknown
	}
	if err := o.need(3); err != nil {
		return err
	}
	d, err := o.dst(0)
	if err != nil {
		return err
	}
	r, off, err := o.address(o.args[1])
	if err != nil {
		return err
	}
	x, err := o.src(2)
	if err != nil {
		return err
	}
	in.run = func(w *warp, mask uint32) {
		each(mask, func(l int) {
			s := &w.b.shared
			at, err := s.offset(w.regs[r][l]+off, 4)
			var b []byte
			if err == nil {
				b, err = s.atomic(w, l, at, 4)
			}
			if err != nil {
				panic(memoryFault{l, err})
			}
			old := get(b)
			put(b, low(old+w.regs[x][l], 4))
			w.regs[d][l] = old
		})
	}
	return nil
}

// bytes are n bytes that lane touches; what is wrong with that ends the instruction.
func (w *warp) bytes(lane int, sp space, addr uint64, n int, write bool) (b []byte) {
	var err error
	if sp == global || sp == generic && addr < sharedBase {
		b, err = w.b.m.access(addr, n, write)
	} else {
		s, off := &w.b.shared, 0
		switch off, err = s.offset(addr, n); {
		case err != nil:
		case write:
			b, err = s.write(w, lane, off, n)
		default:
			b, err = s.read(w, lane, off, n)
		}
	}
	if err != nil {
		panic(memoryFault{lane, err})
	}
	return b
}

// offset is the place of a shared address, generic or the 32 bits of one.
func (s *sharedMem) offset(addr uint64, n int) (int, error) {
	off := addr &^ sharedBase
	switch {
	case off+uint64(n) > uint64(len(s.bytes)):
		return 0, fmt.Errorf("%d bytes at %d of shared memory, which has %d", n, int64(off), len(s.bytes))
	case off&uint64(n-1) != 0: // n is a power of two
		return 0, fmt.Errorf("%d bytes at %d of shared memory: misaligned", n, off)
	}
	return int(off), nil
}

// copyAsync is cp.async: it takes effect when its thread waits for it.
func (o *opcode) copyAsync(in *instruction) error {
	switch {
	case !o.has("async"):
		return errUnknown
	case o.has("commit_group"):
		in.run = func(w *warp, mask uint32) {
			w.commit()
		}
		in.kind = together // so that the groups of all lanes are the same
		return nil
	case o.has("wait_group"), o.has("wait_all"):
		keep := 0
		if o.has("wait_group") {
			var err error
			if keep, err = strconv.Atoi(o.args[0]); err != nil {
				return err
			}
		}
		all := o.has("wait_all")
		in.kind = together
		in.run = func(w *warp, mask uint32) {
			if all {
				w.commit()
			}
			for len(w.sent) > keep {
				for _, c := range w.sent[0] {
					w.b.shared.arrive(w, c)
				}
				w.spare = append(w.spare, w.sent[0][:0])
				w.sent = slices.Delete(w.sent, 0, 1)
			}
		}
		return nil
	}
	return o.copyStart(in)
}

// commit makes a group of the copies that were started since the last one.
func (w *warp) commit() {
	w.sent, w.open = append(w.sent, w.open), nil
	if n := len(w.spare); n > 0 {
		w.open, w.spare = w.spare[n-1], w.spare[:n-1]
	}
}

// copyStart is cp.async.ca/cg.shared.global [dst], [src], size{, from}: from bytes are read, the rest is zero.
func (o *opcode) copyStart(in *instruction) error {
	if len(o.args) < 3 {
		return o.need(4)
	}
	size, err := strconv.Atoi(o.args[2])
	if err != nil || size != 4 && size != 8 && size != 16 {
		return fmt.Errorf("cp.async of %s bytes", o.args[2])
	}
	d, dOff, err := o.address(o.args[0])
	if err != nil {
		return err
	}
	s, sOff, err := o.address(o.args[1])
	if err != nil {
		return err
	}
	from := -1
	if len(o.args) == 4 {
		if from, err = o.src(3); err != nil {
			return err
		}
	}
	in.run = func(w *warp, mask uint32) {
		each(mask, func(l int) {
			c := copyAsync{lane: l, size: size}
			n := size
			if from >= 0 {
				n = int(low(w.regs[from][l], 4))
			}
			var err error
			if n > size {
				err = fmt.Errorf("cp.async of %d bytes into %d", n, size)
			} else {
				c.off, err = w.b.shared.offset(w.regs[d][l]+dOff, size)
			}
			if err == nil && n > 0 {
				c.src, err = w.b.m.access(w.regs[s][l]+sOff, size, false)
				c.src = c.src[:min(n, len(c.src))]
			}
			if err == nil {
				err = w.b.shared.start(w, c)
			}
			if err != nil {
				panic(memoryFault{l, err})
			}
			w.open = append(w.open, c)
		})
	}
	return nil
}

func get(b []byte) uint64 {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(b))
	case 4:
		return uint64(binary.LittleEndian.Uint32(b))
	}
	return binary.LittleEndian.Uint64(b)
}

func put(b []byte, v uint64) {
	switch len(b) {
	case 1:
		b[0] = byte(v)
	case 2:
		binary.LittleEndian.PutUint16(b, uint16(v))
	case 4:
		binary.LittleEndian.PutUint32(b, uint32(v))
	default:
		binary.LittleEndian.PutUint64(b, v)
	}
}

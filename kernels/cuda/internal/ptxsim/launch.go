package ptxsim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
)

// Grid is how a kernel is launched: blocks in three dimensions, threads in a block in one, dynamic shared memory in
// bytes.
type Grid struct {
	X, Y, Z int
	Threads int
	Dynamic int
}

// Fault is what a kernel must not do.
type Fault struct {
	Kernel string
	Line   int    // of the PTX
	Text   string // the instruction
	Block  [3]int
	Thread int // in the block, -1: a whole warp or block
	Err    error
}

func (f *Fault) Error() string {
	return fmt.Sprintf("%s, line %d (%s), block %v, thread %d: %v", f.Kernel, f.Line, f.Text, f.Block, f.Thread, f.Err)
}

// Unwrap is the cause.
func (f *Fault) Unwrap() error { return f.Err }

// Launch runs k to its end. args are the parameters: uint64 (addresses), int32, uint32, float32, float64, int64. Errors
// are *Fault, or say what is wrong with the launch.
func (k *Kernel) Launch(m *Memory, g Grid, args ...any) (err error) {
	params, err := k.pack(args)
	if err != nil {
		return fmt.Errorf("launching %s: %w", k.Name, err)
	}
	return k.Run(m, g, params)
}

// Run is Launch with parameters that are laid out already, as cuLaunchKernel takes them in one buffer.
func (k *Kernel) Run(m *Memory, g Grid, params []byte) error {
	if len(params) != k.paramBytes {
		return fmt.Errorf("launching %s: %d bytes of parameters, it takes %d", k.Name, len(params), k.paramBytes)
	}
	if g.X < 1 || g.Y < 1 || g.Z < 1 || g.Threads < 1 || g.Threads > 1024 || g.Y > 65535 || g.Z > 65535 ||
		k.Shared+g.Dynamic > 232448 {
		return fmt.Errorf("launching %s: no GPU runs the grid %+v with %d bytes of static shared memory", k.Name, g,
			k.Shared)
	}
	b := k.idle
	if b == nil || b.grid.Threads != g.Threads {
		b = newBlock(k, g.Threads)
		k.idle = b
	}
	b.begin(m, g, params)
	m.launch = m.writer + 1
	for z := range g.Z {
		for y := range g.Y {
			for x := range g.X {
				m.writer++
				if err := b.run([3]int{x, y, z}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// pack lays args out as the parameter block.
func (k *Kernel) pack(args []any) ([]byte, error) {
	if len(args) != len(k.Params) {
		return nil, fmt.Errorf("%d arguments for %d parameters", len(args), len(k.Params))
	}
	b := make([]byte, k.paramBytes)
	for i, a := range args {
		var v uint64
		n := 8
		switch a := a.(type) {
		case uint64:
			v = a
		case int64:
			v = uint64(a)
		case float64:
			v = math.Float64bits(a)
		case int32:
			v, n = uint64(uint32(a)), 4
		case uint32:
			v, n = uint64(a), 4
		case float32:
			v, n = uint64(math.Float32bits(a)), 4
		default:
			return nil, fmt.Errorf("argument %d is a %T", i, a)
		}
		p := k.Params[i]
		if n != p.Size {
			return nil, fmt.Errorf("argument %d has %d bytes, %s takes %d", i, n, p.Name, p.Size)
		}
		var buf [8]byte
		binary.LittleEndian.PutUint64(buf[:], v)
		copy(b[p.Offset:], buf[:n])
	}
	return b, nil
}

// block is the block that runs.
type block struct {
	k      *Kernel
	m      *Memory
	grid   Grid
	params []byte
	shared sharedMem
	warps  []*warp
	at     [3]int
}

func newBlock(k *Kernel, threads int) *block {
	b := &block{k: k}
	for i := 0; i < threads; i += 32 {
		w := &warp{b: b, first: i, regs: make([]row, len(k.regs))}
		w.all = uint32(uint64(1)<<min(32, threads-i) - 1)
		for _, c := range k.consts {
			w.regs[c.reg].fill(c.value)
		}
		b.warps = append(b.warps, w)
	}
	return b
}

// begin makes b ready for the blocks of a launch.
func (b *block) begin(m *Memory, g Grid, params []byte) {
	b.m, b.grid, b.params = m, g, params
	for _, w := range b.warps {
		for name, r := range b.k.special {
			for l := range 32 {
				w.regs[r][l] = w.special(name, l)
			}
		}
	}
}

// run runs the block at: every warp to a barrier or its end, again and again.
func (b *block) run(at [3]int) error {
	b.at = at
	b.shared.begin(b.k.Shared + b.grid.Dynamic)
	for _, w := range b.warps {
		w.begin()
	}
	for {
		var waiting *warp
		ended := false
		for _, w := range b.warps {
			if err := w.run(); err != nil {
				return w.fault(err)
			}
			if ended = ended || w.lanes != w.all; w.lanes != 0 {
				waiting = w
			}
		}
		switch {
		case waiting == nil:
			return nil
		case ended:
			return waiting.fault(errors.New("a barrier that other threads, which have ended, never reach"))
		}
		b.shared.epoch++
		for _, w := range b.warps {
			w.release()
		}
	}
}

// row is a register: a value for each lane of a warp, zero-extended.
type row [32]uint64

func (r *row) fill(v uint64) {
	for l := range r {
		r[l] = v
	}
}

// group are lanes that are at the same place.
type group struct {
	pc   int
	mask uint32
	held bool // at an instruction that all lanes must reach, or at a barrier
}

// warp is 32 threads of a block, or fewer at its end.
type warp struct {
	b     *block
	first int // thread of lane 0
	regs  []row
	all   uint32 // lanes that there are
	lanes uint32 // that have not ended
	epoch uint32 // barriers of the warp
	front []group
	now   group // being executed
	lane  int   // that a fault concerns; -1: all
	open  []copyAsync
	sent  [][]copyAsync // groups of cp.async that were committed
	spare [][]copyAsync // room of groups that have arrived
}

// thread is the number of lane's thread in the block.
func (w *warp) thread(lane int) int32 { return int32(w.first + lane) }

// begin makes the warp ready for a new block.
func (w *warp) begin() {
	w.lanes = w.all
	w.front, w.open, w.sent = append(w.front[:0], group{mask: w.lanes}), w.open[:0], w.sent[:0]
	w.epoch++
	for i, r := range w.b.k.place {
		if r >= 0 {
			w.regs[r].fill(uint64(w.b.at[i]))
		}
	}
}

// special is the value of %tid.x and its like.
func (w *warp) special(name string, lane int) uint64 {
	g := w.b.grid
	switch name {
	case "%tid.x":
		return uint64(w.first + lane)
	case "%ntid.x":
		return uint64(g.Threads)
	case "%nctaid.x":
		return uint64(g.X)
	case "%nctaid.y":
		return uint64(g.Y)
	case "%nctaid.z":
		return uint64(g.Z)
	case "%laneid":
		return uint64(lane)
	case "%warpid":
		return uint64(w.first / 32)
	case "%ntid.y", "%ntid.z":
		return 1
	}
	return 0 // %tid.y, %tid.z, and what begin sets
}

// release lets the warp go on behind a barrier.
func (w *warp) release() {
	w.epoch++
	for i := range w.front {
		w.front[i].held = false
		w.front[i].pc++
	}
}

// fault says where err happened.
func (w *warp) fault(err error) error {
	in, thread := w.b.k.code[min(w.now.pc, len(w.b.k.code)-1)], -1
	if w.lane >= 0 {
		thread = w.first + w.lane
	}
	return &Fault{w.b.k.Name, in.line, in.text, w.b.at, thread, err}
}

// run executes until all lanes have ended or wait at one barrier. What an instruction panics with is a fault.
func (w *warp) run() (err error) {
	defer func() {
		if p := recover(); p != nil {
			f, ok := p.(memoryFault)
			if !ok {
				panic(p)
			}
			w.lane, err = f.lane, f.err
		}
	}()
	w.lane = -1
	for w.lanes != 0 {
		if !w.pick() {
			// Everybody is held: at one barrier, or at different places.
			w.now = w.front[0]
			if len(w.front) == 1 && w.now.mask == w.lanes && w.b.k.code[w.now.pc].kind == barrier {
				return nil
			}
			return fmt.Errorf("lanes %032b wait here, others of the warp elsewhere or ended: all must come together",
				w.now.mask)
		}
		w.step()
	}
	return nil
}

// pick takes the group that is furthest behind, joined by all that are at the same place. false: all are held.
func (w *warp) pick() bool {
	best := -1
	for i, g := range w.front {
		if !g.held && (best < 0 || g.pc < w.front[best].pc) {
			best = i
		}
	}
	if best < 0 {
		return false
	}
	w.now = group{pc: w.front[best].pc}
	rest := w.front[:0]
	for _, g := range w.front {
		if g.pc == w.now.pc {
			w.now.mask |= g.mask
		} else {
			rest = append(rest, g)
		}
	}
	w.front = rest
	return true
}

// step runs the current group until it diverges, reconverges with another, ends or waits.
func (w *warp) step() {
	next := math.MaxInt // where another group is
	for _, g := range w.front {
		if !g.held || g.pc >= w.now.pc {
			next = min(next, g.pc)
		}
	}
	code := w.b.k.code
	for {
		in := &code[w.now.pc]
		mask := w.guard(in)
		switch in.kind {
		case plain:
			if mask != 0 {
				in.run(w, mask)
			}
			w.now.pc++
		case together, barrier:
			if mask != w.lanes {
				w.hold()
				return
			}
			if in.kind == barrier {
				w.front = append(w.front, group{w.now.pc, mask, true})
				return
			}
			in.run(w, mask)
			w.now.pc++
		case branch:
			if stay := w.now.mask &^ mask; stay != 0 && mask != 0 {
				w.front = append(w.front, group{w.now.pc + 1, stay, false}, group{in.to, mask, false})
				return
			}
			w.now.pc++
			if mask != 0 {
				w.now.pc = in.to
			}
		case finish:
			w.lanes &^= mask
			if left := w.now.mask &^ mask; left != 0 {
				w.front = append(w.front, group{w.now.pc + 1, left, false})
			}
			return
		}
		if w.now.pc >= next || w.now.pc < 0 {
			w.front = append(w.front, w.now)
			return
		}
	}
}

// hold leaves the group now where it is, until all lanes are there: the others may have come earlier, from a part of a
// loop that is further on.
func (w *warp) hold() {
	for i := range w.front {
		if g := &w.front[i]; g.held && g.pc == w.now.pc {
			g.mask |= w.now.mask
			g.held = g.mask != w.lanes
			return
		}
	}
	w.front = append(w.front, group{w.now.pc, w.now.mask, true})
}

// guard are the lanes of now whose predicate lets them execute in.
func (w *warp) guard(in *instruction) uint32 {
	if in.pred < 0 {
		return w.now.mask
	}
	var mask uint32
	for l, v := range &w.regs[in.pred] {
		if (v != 0) != in.not {
			mask |= 1 << l
		}
	}
	return mask & w.now.mask
}

// memoryFault is thrown by instructions that touch memory.
type memoryFault struct {
	lane int
	err  error
}

// each calls f for the lanes of mask, ascending.
func each(mask uint32, f func(l int)) {
	if mask == math.MaxUint32 {
		for l := range 32 {
			f(l)
		}
		return
	}
	for ; mask != 0; mask &= mask - 1 {
		f(bits.TrailingZeros32(mask))
	}
}

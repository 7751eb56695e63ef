package ptxsim

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLoops: the loops of whole warps give what two halves of a warp get one lane after the other, in place too.
func TestLoops(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	edges := []uint64{0, 1, 31, 32, 33, 63, 64, 1 << 31, 1<<32 - 1, 1 << 63, math.MaxUint64, 0x7f800000, 0xff800000,
		0x7fc00000, 0x3f800000, 0x00000001}
	value := func() uint64 {
		if r.IntN(2) == 0 {
			return edges[r.IntN(len(edges))]
		}
		return r.Uint64()
	}
	for name := range loops {
		n := 3
		switch name[:3] {
		case "mov", "cvt", "neg", "not":
			n = 2
		case "mad", "fma", "sel":
			n = 4
		}
		for at := range n { // the source that is the destination; 0: none
			args := []string{"%d", "%x", "%y", "%z"}[:n]
			args = append([]string(nil), args...)
			if at > 0 {
				args[at] = "%d"
			}
			p := &parser{k: &Kernel{regs: map[string]int{"%d": 0, "%x": 1, "%y": 2, "%z": 3}}}
			o := opcode{name: name, parts: strings.Split(name, "."), args: args, p: p}
			var in instruction
			require.NoError(t, o.compile(&in), name)
			fast, slow := &warp{regs: make([]row, 4)}, &warp{regs: make([]row, 4)}
			for i := range fast.regs {
				for l := range 32 {
					fast.regs[i][l] = value()
					if strings.HasSuffix(name, ".pred") || i == 3 && name[:3] == "sel" {
						fast.regs[i][l] &= 1
					}
				}
			}
			copy(slow.regs, fast.regs)
			in.run(fast, math.MaxUint32)
			in.run(slow, 0xffff)
			in.run(slow, 0xffff0000)
			require.Equal(t, slow.regs, fast.regs, "%s, destination is source %d", name, at)
		}
	}
}

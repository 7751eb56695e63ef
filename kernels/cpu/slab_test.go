package cpu

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Weights are cut from slabs side by side, zeroed and apart from each other; a slab is given back with the last of
// them, not before.
func TestSlabs(t *testing.T) {
	var s slabs
	var all []*buffer
	var mine []*slab // of each
	for len(mine) < 40 || mine[0] == s.current {
		b, err := s.alloc(1<<20 + 3)
		require.NoError(t, err)
		require.EqualValues(t, 1<<20+3, b.Bytes())
		require.Zero(t, b.mem[0]|b.mem[len(b.mem)-1])
		for i := range b.mem {
			b.mem[i] = byte(len(all))
		}
		all, mine = append(all, b), append(mine, s.current)
	}
	for i, b := range all {
		require.EqualValues(t, i, b.mem[0])
		require.EqualValues(t, i, b.mem[len(b.mem)-1])
	}
	first := mine[0]
	require.NotEqual(t, first, s.current, "the first slab is full")
	for i, b := range all {
		require.Equal(t, mine[i] == first, first.mem.mem != nil &&
			mine[i] == first, "alive while any of its weights is")
		b.Free()
		b.Free()
	}
	require.Nil(t, first.mem.mem)
	last := s.current
	require.NotNil(t, last.mem.mem, "it is still being cut")
	s.close()
	require.Nil(t, last.mem.mem)
	large, err := s.alloc(slabBytes)
	require.NoError(t, err)
	require.Nil(t, s.current, "a large one is on its own")
	large.Free()
}

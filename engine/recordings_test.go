package engine

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestShapes(t *testing.T) {
	for n, want := range map[int]int{1: 1, 2: 2, 3: 4, 17: 32, 32: 32, 33: 64, 65: 96, 96: 96, 97: 128, 256: 256, 257: 288} {
		require.Equal(t, want, rowBucket(n), n)
	}
}

// counted is a recording that counts how often it was freed.
type counted struct {
	idleRecording
	freed *int
}

func (c counted) Free() { *c.freed++ }

// TestRecordings: what was used last stays longest; recordings go with their adapter, and all of them when memory moves.
func TestRecordings(t *testing.T) {
	r, freed := newRecordings(idleGPU{}, 10, 64, 4), 0
	require.Equal(t, 2, r.padPages())
	for i := range 4 {
		s := shape{rows: 1 << i, reach: 4, adapter: uint64(i % 2)}
		require.Nil(t, r.find(s, 0))
		require.True(t, r.wants(s), "the second time")
		r.all = append(r.all, &recorded{s, counted{freed: &freed}})
		require.False(t, r.wants(s), "it is there")
	}
	first := r.all[0].shape
	require.NotNil(t, r.find(first, 0))
	require.Equal(t, first, r.all[3].shape)
	r.drop(func(x *recorded) bool { return x.adapter == 1 })
	require.Equal(t, 2, freed)
	require.NotNil(t, r.find(first, 0))
	require.Nil(t, r.find(first, 1), "memory has moved")
	require.Equal(t, 4, freed)
	require.Empty(t, r.all)
}

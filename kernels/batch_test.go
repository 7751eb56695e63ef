package kernels

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLargest(t *testing.T) {
	for _, c := range []struct {
		l       Layout
		id, pos int32
	}{
		{Layout{}, -1, -1},
		{Layout{IDs: []int32{3, 9, 0}, Pos: []int32{7, 0, 1}}, 9, 7},
		{Layout{IDs: []int32{0}}, 0, -1},
	} {
		id, pos, err := c.l.Largest()
		require.NoError(t, err)
		require.Equal(t, []int32{c.id, c.pos}, []int32{id, pos})
	}
	_, _, err := (&Layout{IDs: []int32{5, -2}}).Largest()
	require.EqualError(t, err, "id -2 in row 1")
}

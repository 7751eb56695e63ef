package model

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels/ref"
)

// Parts cover all elements once, are about equally long, and cut a matrix between panels of 32 rows and no vector.
func TestFlatDivide(t *testing.T) {
	var params []*Param
	for _, shape := range [][]int{{100, 24}, {7}, {33, 5}, {1000}, {64, 16}, {3, 3}} {
		params = append(params, &Param{Shape: shape})
	}
	f, err := NewFlat(ref.New(), params)
	require.NoError(t, err)
	defer f.Free()
	for parts := 1; parts < 40; parts++ {
		cuts := f.Divide(parts)
		require.Equal(t, 0, cuts[0])
		require.Equal(t, f.Len(), cuts[parts])
		for i, at := range cuts[1:parts] {
			require.GreaterOrEqual(t, at, cuts[i])
			require.InDelta(t, (i+1)*f.Len()/parts, at, 1016)
			for k, r := range f.Ranges() {
				if r.From < at && at < r.To {
					require.Len(t, params[k].Shape, 2)
					require.Zero(t, (at-r.From)%(32*params[k].Shape[1]))
				}
			}
		}
	}
	require.Equal(t, []int{0, 2400}, []int{f.Cut(0), f.Cut(2305)})
}

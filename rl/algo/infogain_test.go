package algo_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/rl/algo"
)

// Gains of 1, 2 and 6 nats of one question have the mean 3 and the standard deviation sqrt(7); one alone, and equal
// ones, have nothing to be compared with.
func TestInfoGain(t *testing.T) {
	got := algo.InfoGain([]float64{1, 5, 2, 0.1, 6, 0.1}, []int{0, 7, 0, 3, 0, 3})
	d := math.Sqrt(7) + 1e-6
	require.InDeltaSlice(t, []float64{-2 / d, 0, -1 / d, 0, 3 / d, 0}, got, 1e-12)
}

package bench

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// The sides take turns, who begins changes, and the ratio is the median of the pairs' ratios, not the ratio of the medians.
func TestContestAlternates(t *testing.T) {
	var order string
	speed := map[byte][]float64{'A': {0, 10, 20, 60}, 'B': {0, 10, 10, 10}}
	side := func(name byte) func(context.Context) (float64, error) {
		n := 0
		return func(context.Context) (float64, error) {
			order += string(name)
			n++
			return speed[name][n-1], nil
		}
	}
	c := contest{name: "x", peer: "p", unit: "t/s", ours: side('A'), theirs: side('B')}
	row, err := c.run(context.Background(), PeerOptions{Options: Options{}.withDefaults(), Pairs: 3})
	require.NoError(t, err)
	require.Equal(t, "AB"+"ABBAAB", order)
	require.Equal(t, 2.0, row.Ratio)
	require.Equal(t, []float64{1, 6}, []float64{row.RatioMin, row.RatioMax})
	require.Equal(t, 20.0, row.Ours)

	var b bytes.Buffer
	require.NoError(t, WritePeers(&b, "md", []PeerRow{row}))
	require.Contains(t, b.String(), "| x    |")
	require.Contains(t, b.String(), "1.00 - 6.00")
	require.NoError(t, WritePeers(&b, "json", nil))
	require.Error(t, WritePeers(&b, "csv", nil))
}

// Where three pairs are quiet the disturbed ones do not count; where fewer are, all do, and the row says so.
func TestQuietPairsCount(t *testing.T) {
	var row PeerRow
	row.sum([]pair{{1, 1, 0}, {9, 1, 0.9}, {2, 1, 0.05}, {3, 1, 0}})
	require.Equal(t, PeerRow{Ours: 2, Theirs: 1, Ratio: 2, RatioMin: 1, RatioMax: 3, Pairs: 3, Foreign: 0.05}, row)
	row = PeerRow{}
	row.sum([]pair{{1, 1, 0}, {9, 1, 0.9}, {2, 1, 0.05}})
	require.Equal(t, PeerRow{Ours: 2, Theirs: 1, Ratio: 2, RatioMin: 1, RatioMax: 9, Pairs: 3, Foreign: 0.9}, row)
}

func TestContestFails(t *testing.T) {
	c := contest{name: "x", peer: "p", ours: func(context.Context) (float64, error) { return 1, nil },
		theirs: func(context.Context) (float64, error) { return 0, errors.New("no such program") }}
	_, err := c.run(context.Background(), PeerOptions{Options: Options{}.withDefaults(), Pairs: 3})
	require.EqualError(t, err, "x, p: no such program")
	_, err = Peers(context.Background(), PeerOptions{})
	require.ErrorContains(t, err, "nobody to compare with")
	_, err = startServer(context.Background(), "/no/python", 1)
	require.ErrorContains(t, err, "give --python an interpreter with torch")
	_, err = startServer(context.Background(), "true", 1)
	require.ErrorContains(t, err, "ended without an answer")
}

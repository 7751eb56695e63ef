package engine

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int64{"": 0, "1": 1, "17 B": 17, "2k": 2048, "3 MiB": 3 << 20, "24G": 24 << 30,
		"24GiB": 24 << 30, "24GB": 24e9, "1.5T": 3 << 39} {
		got, err := ParseSize(s)
		require.NoError(t, err, s)
		require.Equal(t, want, got, s)
	}
	for _, s := range []string{"much", "-1", "0", "1P", "1MM", "GiB", "NaN", "1e30", "1 2"} {
		_, err := ParseSize(s)
		require.ErrorContains(t, err, "is not a size: write it as 24GiB or 512MiB", s)
	}
}

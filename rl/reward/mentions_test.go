package reward

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Each case was decided by hand.
func TestMentions(t *testing.T) {
	for _, c := range []struct {
		text string
		gold string
		want bool
	}{
		{"The bridge was opened in 1931.", "1931", true},
		{"It cost 11931 dollars.", "1931", false},
		{"It cost 11931 dollars in 1931.", "1931", true},
		{"a stone bridge", "one", false},
		{"a stone bridge, one of many", "One", true},
		{"the Eiffel Tower's height", "Eiffel Tower", false}, // normalised to "eiffel towers height"
		{"Gustave Eiffel", "The Gustave Eiffel.", true},
		{"他住在东京都", "东京", true},
		{"東京tower", "東京", true},
		{"the answer is A, not B", "A", true},
		{"a zebra", "A", false},
		{"anything", "", false},
		{"", "x", false},
	} {
		require.Equal(t, c.want, Mentions(c.text, []string{"no such words", c.gold}), "%q in %q", c.gold, c.text)
	}
	require.False(t, Mentions("anything", nil))
}

package demo

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func text(e Example) (s string) {
	for _, p := range e {
		if p.Learn {
			s += "[" + p.Text + "]"
		} else {
			s += p.Text
		}
	}
	return s
}

func TestShow(t *testing.T) {
	w := NewWriter(1)
	for b := range shares {
		t.Log(b, text(w.Trajectory(Behaviour(b))), "\n")
	}
	t.Log(text(w.LookUp(3)), text(w.Repeat()))
	p, o := w.Simulation()
	t.Log(p, o)
	require.Len(t, shares, 5)
	x := NewWorld(20, true, 1)
	t.Log(len(x.Questions()), x.Questions()[0], x.Questions()[len(x.Questions())-1], len(x.Corpus()))
}

package main

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
)

// Plain Go gets the small demo, vector instructions the whole one, unless the flag says otherwise.
func TestWhoGetsTheSmallDemo(t *testing.T) {
	for _, p := range cpu.Paths.List() {
		if p.Missing != "" {
			continue
		}
		undo, err := cpu.Paths.Use(p.Name)
		require.NoError(t, err)
		dev, err := cpu.New(cpu.Options{Threads: 1})
		undo()
		require.NoError(t, err)
		require.Equal(t, p.Name == "generic", (&demoCmd{}).small(dev), p.Name)
		for _, want := range []bool{true, false} {
			require.Equal(t, want, (&demoCmd{Small: &want}).small(dev), p.Name)
		}
		require.NoError(t, dev.Close())
	}
	require.True(t, (&demoCmd{}).small(ref.New()))
}

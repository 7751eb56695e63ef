package cpu_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/kernels/kerneltest"
)

// open makes a device of n threads on the path in use.
func open(n int) func() (kernels.Device, error) {
	return func() (kernels.Device, error) { return cpu.New(cpu.Options{Threads: n}) }
}

// eachPath runs test on every path that this machine has.
func eachPath(t *testing.T, test func(t *testing.T)) {
	ran := 0
	for _, p := range cpu.Paths.List() {
		t.Run(p.Name, func(t *testing.T) {
			if p.Missing != "" {
				t.Skipf("this machine or build has no %s", p.Missing)
			}
			undo, err := cpu.Paths.Use(p.Name)
			require.NoError(t, err)
			defer undo()
			d, err := cpu.New(cpu.Options{Threads: 1})
			require.NoError(t, err)
			require.Equal(t, p.Name, d.Path(), "the path that was switched on is the one that runs")
			require.NoError(t, d.Close())
			ran++
			test(t)
		})
	}
	if os.Getenv("ZEROSEARCH_CPU_PATH") == "" && ran == 0 {
		t.Fatal("no path ran")
	}
}

func TestConformance(t *testing.T) {
	eachPath(t, func(t *testing.T) { kerneltest.Run(t, open(2), kerneltest.CPU) })
}

func TestThreadsChangeNoBit(t *testing.T) {
	eachPath(t, func(t *testing.T) { kerneltest.Same(t, open(1), open(2), open(3)) })
}

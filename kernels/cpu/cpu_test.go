package cpu_test

import (
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/kernels/kerneltest"
)

// open makes a device of n threads on the path of this name.
func open(path string, n int) func() (kernels.Device, error) {
	return func() (kernels.Device, error) {
		undo, err := cpu.Paths.Use(path)
		if err != nil {
			return nil, err
		}
		defer undo()
		return cpu.New(cpu.Options{Threads: n})
	}
}

// emulated says that an emulator runs the tests, some fifty times slower than the machine: the same cases run fewer
// times.
var emulated = os.Getenv("ZEROSEARCH_EMULATED") != ""

// tolerances of a path.
func tolerances(path string) kerneltest.Tolerances {
	tol := kerneltest.CPU
	if path == "amx" {
		tol = kerneltest.AMX
	}
	tol.Slow = emulated
	return tol
}

// TestConformance: the whole suite, on the path in use: the best one, or that of ZEROSEARCH_CPU_PATH.
func TestConformance(t *testing.T) {
	if runtime.GOOS == "linux" {
		t.Setenv(kerneltest.FarVariable, "1") // memory that is not touched costs nothing
	}
	kerneltest.Run(t, open(cpu.Paths.Used(), 2), tolerances(cpu.Paths.Used()))
}

// TestOneResult: every case of the suite gives the same bits on every number of threads, and on every path that follows
// the chain.
func TestOneResult(t *testing.T) {
	var devices []func() (kernels.Device, error)
	for _, p := range cpu.Paths.List() {
		if p.Missing != "" {
			t.Logf("%s is not tested: this machine or build has no %s", p.Name, p.Missing)
			continue
		}
		d, err := open(p.Name, 1)()
		require.NoError(t, err)
		require.Equal(t, p.Name, d.(*cpu.Device).Path(), "the path that was switched on is the one that runs")
		require.NoError(t, d.Close())
		if tolerances(p.Name).AMX {
			kerneltest.Same(t, open(p.Name, 1), open(p.Name, 3))
			continue
		}
		if devices = append(devices, open(p.Name, 3)); len(devices) == 1 || !emulated {
			devices = append(devices, open(p.Name, 1))
		}
	}
	kerneltest.Agree(t, devices[0], devices[1:]...)
}

//go:build !nogpu && linux

package cudatest

import (
	"testing"

	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/driver"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/fake"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/nccl"
)

// Machine is a computer with GPUs that are simulated: which functions of the driver fail, and when, is set in it.
type Machine = fake.Machine

// GPU is one of its GPUs.
type GPU = fake.GPU

// A100 is a GPU of the oldest kind that can be used, with 1 GiB of memory.
func A100() *GPU { return fake.A100() }

// Install makes these GPUs the ones of this computer, for all that opens devices by their names, as the commands do
// with --device cuda:1. At the end of the test, by when all devices must have been closed, nothing may be left on them,
// and no kernel may have failed.
func Install(t testing.TB, gpus ...*GPU) *Machine {
	t.Helper()
	m, restore := Use(gpus...)
	t.Cleanup(func() {
		restore()
		check(t, m)
	})
	return m
}

// Use is Install for programs that are no tests, until restore is called.
func Use(gpus ...*GPU) (m *Machine, restore func()) {
	m = fake.New(gpus...)
	ofDriver := driver.Replace(func() (*driver.Driver, error) { return driver.Open(fake.Library, m.Symbol) })
	ofNCCL := nccl.Replace(func() (*nccl.Library, error) { return nccl.Open(fake.NCCLLibrary, m.NCCLSymbol) })
	return m, func() {
		ofNCCL()
		ofDriver()
	}
}

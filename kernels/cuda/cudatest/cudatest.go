//go:build !nogpu && linux

// Package cudatest gives tests GPUs where there are none: NVIDIA's driver is played by a program in Go, and the kernels
// that are shipped run in an interpreter of PTX. It is exact about memory, order and errors, and slow: some 100 million
// multiplications a second. Linux only.
//
// A test of a program that uses a device directly:
//
//	func TestOnGPU(t *testing.T) {
//		d := cudatest.Open(t)
//		m, err := model.Load(d, dir, model.Options{})
//		...
//		m.Close()
//		require.NoError(t, d.Close())
//	}
//
// A test of a program that opens devices by their names, on two GPUs of which the second is lost at its 100th launch:
//
//	gpus := []*cudatest.GPU{cudatest.A100(), cudatest.A100()}
//	gpus[1].Fail = func(function string, n int) int {
//		if function == "LaunchKernel" && n == 100 {
//			gpus[1].Lose()
//		}
//		return 0
//	}
//	cudatest.Install(t, gpus...)
//	d, err := devices.Open("cuda:1", devices.Options{})
//
// EachFailure tries every place where memory can run out, or a kernel fail.
package cudatest

import (
	"testing"

	"github.com/zerosearch-go/zerosearch/kernels/cuda"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/fake"
)

// Open opens a device. At the end of the test, by when the test must have closed it, nothing may be left on its GPU,
// and no kernel may have failed.
func Open(t testing.TB) *cuda.Device {
	t.Helper()
	m := fake.New(A100())
	g, err := m.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	d, err := cuda.Open("cuda:0", g)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { check(t, m) })
	return d
}

// check fails if something is wrong with m at the end of a test.
func check(t testing.TB, m *Machine) {
	if err := m.Check(); err != nil {
		t.Error(err)
	}
}

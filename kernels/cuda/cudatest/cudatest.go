//go:build !nogpu && linux

// Package cudatest opens CUDA devices where there is no GPU, for tests: NVIDIA's driver is played by a program in Go, and the kernels that
// are shipped run in an interpreter of PTX. It is exact about memory, order and errors, and slow: some 100 million multiplications a second.
package cudatest

import (
	"testing"

	"github.com/zerosearch-go/zerosearch/kernels/cuda"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/fake"
)

// Open opens a device. At the end of the test, by when the test must have closed it, nothing may be left on its GPU, and no kernel may
// have failed.
func Open(t testing.TB) *cuda.Device {
	t.Helper()
	m := fake.New(fake.A100())
	g, err := m.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	d, err := cuda.Open("cuda:0", g)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Check(); err != nil {
			t.Error(err)
		}
	})
	return d
}

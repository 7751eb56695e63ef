//go:build !nogpu && linux

package cuda

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/cublaslt"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/driver"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/fake"
	"github.com/zerosearch-go/zerosearch/kernels/kerneltest"
)

// withLibrary is a device on m with m's cublasLt.
func withLibrary(m *fake.Machine) (*Device, error) {
	d, err := driver.Open("libcuda.fake", m.Symbol)
	if err != nil {
		return nil, err
	}
	l, err := cublaslt.Open("libcublasLt.fake", d.Version, m.BLASSymbol)
	if err != nil {
		return nil, err
	}
	g, err := d.GPU(0)
	if err != nil {
		return nil, err
	}
	x, err := l.On(g)
	if err != nil {
		g.Close()
		return nil, err
	}
	return Open("cuda:0", x)
}

// quickChecks compares few rows.
func quickChecks(t testing.TB) {
	all := checkRows
	checkRows = []int{1, 16, 20}
	t.Cleanup(func() { checkRows = all })
}

// TestLibraryConformance runs the products of the suite through the library.
func TestLibraryConformance(t *testing.T) {
	quickChecks(t)
	var m *fake.Machine
	kerneltest.Products(t, func() (kernels.Device, error) {
		m = fake.New(fake.A100())
		m.BLAS.Algorithms = 1
		d, err := withLibrary(m)
		return checked{d, m}, err
	}, tolerances)
	require.Greater(t, len(m.BLAS.Products), 100)
}

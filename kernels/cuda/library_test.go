//go:build !nogpu && linux

package cuda

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/cublaslt"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/driver"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/fake"
	"github.com/zerosearch-go/zerosearch/kernels/kerneltest"
)

// withLibrary is a device on m with m's cublasLt, or without where that cannot be used.
func withLibrary(m *fake.Machine) (*Device, error) {
	d, err := driver.Open("libcuda.fake", m.Symbol)
	if err != nil {
		return nil, err
	}
	g, err := d.GPU(0)
	if err != nil {
		return nil, err
	}
	x, missing := withCUBLAS(g, func() (*cublaslt.Library, error) {
		return cublaslt.Open("libcublasLt.fake", d.Version, m.BLASSymbol)
	})
	dev, err := Open("cuda:0", x)
	if err == nil {
		dev.missing = missing
		if keepIn != "" {
			dev.keepChoices(keepIn)
		}
	}
	return dev, err
}

// keepIn is the file in which devices keep the library's choices; "": in none.
var keepIn string

// checking compares at these numbers of rows.
func checking(t testing.TB, rows ...int) {
	all := checkRows
	checkRows = rows
	t.Cleanup(func() { checkRows = all })
}

// TestLibraryConformance runs the products of the suite through the library.
func TestLibraryConformance(t *testing.T) {
	checking(t, 1, 16, 20)
	m := fake.New(fake.A100())
	kerneltest.Products(t, func() (kernels.Device, error) {
		d, err := withLibrary(m)
		return d, err
	}, tolerances)
	require.Greater(t, len(m.BLAS.Products), 1000)
}

// Shape of the tests' weights, and a number of rows.
const libN, libK, libT = 40, 24, 7

// libraryProducts makes y, dx and dw with weights of normal numbers, in one list.
func libraryProducts(t *testing.T, m *fake.Machine) (d *Device, all []float32, err error) {
	d, err = withLibrary(m)
	require.NoError(t, err)
	b := &bench{checked{d, m}, t, newRandom()}
	var free []interface{ Free() }
	tensor := func(rows, cols int) kernels.Tensor {
		x, err := kernels.NewTensor(d, kernels.F32, rows, cols)
		require.NoError(t, err)
		free = append(free, x.Buf)
		kernels.Upload(d, x, b.random(rows*cols))
		return x
	}
	x, y, dx := tensor(libT, libK), tensor(libT, libN), tensor(libT, libK)
	dy, dw := tensor(libT, libN), tensor(libN, libK)
	bias := tensor(1, libN)
	w, err := d.NewWeight(libN, libK, kernels.BF16)
	require.NoError(t, err)
	free = append(free, w)
	d.Pack(w, 0, tensor(libN, libK))
	d.MatMul(y, x, w, kernels.Epilogue{Bias: bias, Scale: 0.5, Add: true})
	d.MatMulDX(dx, dy, w, true, 2)
	d.MatMulDW(dw, dy, x, kernels.BF16)
	for _, z := range []kernels.Tensor{y, dx, dw} {
		host := make([]float32, z.Len())
		if err = kernels.Download(d, host, z); err != nil {
			break
		}
		all = append(all, host...)
	}
	for _, f := range free {
		f.Free()
	}
	return d, all, err
}

// TestLibraryRefused: whatever the library does not do, does wrong or does differently with more rows, the program's
// own kernels do, with the reason kept, and nothing is left behind.
func TestLibraryRefused(t *testing.T) {
	checking(t, 1, 16, 120)
	own := fake.New(fake.A100())
	own.BLAS.Major = 11
	d, want, err := libraryProducts(t, own)
	require.NoError(t, err)
	library, missing, plans := d.Products()
	require.Empty(t, library)
	require.Equal(t, "libcublasLt.fake is cuBLAS 11.10.0, and 12 or 13 is needed: pip install nvidia-cublas", missing)
	require.Empty(t, plans)
	require.NoError(t, d.Close())
	require.NoError(t, own.Check())

	fail := func(function string, n, status int) func(m *fake.Machine) {
		return func(m *fake.Machine) {
			m.BLAS.Fail = func(f string, i int) int {
				if f == function && i >= n {
					return status
				}
				return 0
			}
		}
	}
	all := []string{"y", "dx", "dw"}
	const blas = "libcublasLt.fake, cuBLAS 13.10.0"
	for _, c := range []struct {
		name string
		set  func(m *fake.Machine)
		own  []string // products of our own kernels; nil: there is no library
		why  string
	}{
		{"no function", func(m *fake.Machine) { m.BLAS.Without = "MatmulAlgoCheck" }, nil,
			blas + ", has no function cublasLtMatmulAlgoCheck: install a newer one (pip install nvidia-cublas)"},
		{"no cublasLt", func(m *fake.Machine) { m.BLAS.Without = "GetProperty" }, nil,
			"libcublasLt.fake is not cublasLt: it has no function"},
		{"older driver", func(m *fake.Machine) { m.Version = 12040 }, nil,
			"cuBLAS 13.10.0, and the driver knows CUDA 12.4: update NVIDIA's driver (580 or later), or " +
				"pip install nvidia-cublas-cu12"},
		{"no handle", fail("Create", 1, fake.BLASNotInitialised), nil,
			"opening cuBLAS: cuBLAS error 1 (CUBLAS_STATUS_FAKE): cuBLAS does not work with"},
		{"no description", fail("MatmulDescSetAttribute", 3, fake.BLASInvalidValue), nil,
			"describing the transposition of A"},
		{"no preferences", fail("MatmulPreferenceSetAttribute", 2, fake.BLASInvalidValue), nil, "setting preference 3"},
		{"no layout", fail("MatrixLayoutCreate", 1, 3), all, "describing a matrix"},
		{"no algorithm", fail("MatmulAlgoGetHeuristic", 1, fake.BLASNotSupported), all,
			"choosing an algorithm for A^T B, [40, 24] x [24, 512]"},
		{"no such algorithm", fail("MatmulAlgoCheck", 1, fake.BLASNotSupported), all, "checking an algorithm"},
		{"splits stay", func(m *fake.Machine) {
			m.BLAS.OnlySplit = true
			fail("MatmulAlgoConfigSetAttribute", 1, fake.BLASInvalidValue)(m)
		}, all, "setting the number of splits"},
		{"cannot run", fail("Matmul", 1, fake.BLASExecutionFailed), all, "multiplying A^T B"},
		{"wrong numbers", func(m *fake.Machine) { m.BLAS.Loses = true }, all, "the program's own kernel computes"},
		{"bits of few rows", func(m *fake.Machine) { m.BLAS.Splits = true }, []string{"y"}, "with 120 rows column"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := fake.New(fake.A100())
			c.set(m)
			d, got, err := libraryProducts(t, m)
			require.NoError(t, err)
			library, missing, plans := d.Products()
			var madeByOwn []string
			for _, p := range plans {
				if p.Own != "" {
					madeByOwn = append(madeByOwn, p.Product)
				}
			}
			if c.own == nil {
				require.Empty(t, library)
				require.Contains(t, missing, c.why)
			} else {
				require.Equal(t, "libcublasLt.fake, cuBLAS 13.10.0", library)
				require.ElementsMatch(t, c.own, madeByOwn)
				i := len(plans) - 1 // y
				require.Contains(t, plans[i].Own, c.why)
				require.NotContains(t, plans[i].Own, "\n")
			}
			n := libT * libN
			if len(c.own) == 1 { // y
				require.Equal(t, want[:n], got[:n])
				require.NotEqual(t, want[n:], got[n:])
			} else {
				require.Equal(t, want, got)
			}
			require.NoError(t, d.Close())
			require.NoError(t, m.Check())
		})
	}
}

// TestLibraryRefusesLater: what the library refuses after its check is made by our own kernel, once and with the bias
// once.
func TestLibraryRefusesLater(t *testing.T) {
	checking(t, 1, 16)
	own := fake.New(fake.A100())
	own.BLAS.Major = 11
	d, want, err := libraryProducts(t, own)
	require.NoError(t, err)
	require.NoError(t, d.Close())
	probe := fake.New(fake.A100())
	d, _, err = libraryProducts(t, probe)
	require.NoError(t, err)
	require.NoError(t, d.Close())
	at := 0
	for i, p := range probe.BLAS.Products {
		if strings.HasPrefix(p, fmt.Sprintf("%dx%dx%d ", libN, libT, libK)) {
			at = i + 1
		}
	}
	require.NotZero(t, at)
	for status, wants := range map[int]string{fake.BLASNotSupported: "",
		fake.BLASExecutionFailed: "cuda:0: multiplying A^T B, [40, 24] x [24, 7]: cuBLAS error 13"} {
		m := fake.New(fake.A100())
		m.BLAS.Fail = func(f string, n int) int {
			if f == "Matmul" && n == at {
				return status
			}
			return 0
		}
		d, got, err := libraryProducts(t, m)
		if wants != "" {
			require.ErrorContains(t, err, wants)
		} else {
			require.NoError(t, err)
			require.InDeltaSlice(t, want, got, 1e-5) // the bias was in place already
			_, _, plans := d.Products()
			require.Contains(t, plans[2].Own, "multiplying A^T B, [40, 24] x [24, 7]: cuBLAS error 15")
		}
		require.NoError(t, d.Close())
		require.NoError(t, m.Check())
	}
}

// TestLibraryAlgorithms: few rows have an algorithm of their own where it gives the bits of that for many; a split
// sum is never asked for.
func TestLibraryAlgorithms(t *testing.T) {
	checking(t, 1, 16, 20)
	for _, c := range []struct {
		name string
		set  func(b *fake.BLAS)
		want string
	}{
		{"same bits", func(b *fake.BLAS) {}, "by 68 in 1"},
		{"other bits", func(b *fake.BLAS) { b.Orders = true }, "by 66 in 1"},
		{"split", func(b *fake.BLAS) { b.OnlySplit = true }, "by 67 in 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := fake.New(fake.A100())
			c.set(&m.BLAS)
			d, _, err := libraryProducts(t, m)
			require.NoError(t, err)
			require.Contains(t, m.BLAS.Products, fmt.Sprintf("%dx%dx%d %s", libN, libT, libK, c.want))
			for _, p := range m.BLAS.Products {
				require.Contains(t, p, "in 1")
			}
			require.NoError(t, d.Close())
		})
	}
}

// TestLibraryChoices: what was chosen once is chosen in the next process too, though the library would choose
// something else; another version of the library has choices of its own, and what is no algorithm is not used.
func TestLibraryChoices(t *testing.T) {
	checking(t, 1, 16)
	keepIn = filepath.Join(t.TempDir(), "cache", "cublas.json")
	t.Cleanup(func() { keepIn = "" })
	made := func(set func(b *fake.BLAS)) string {
		m := fake.New(fake.A100())
		set(&m.BLAS)
		d, _, err := libraryProducts(t, m)
		require.NoError(t, err)
		require.NoError(t, d.Close())
		for _, p := range m.BLAS.Products {
			if shape, by, _ := strings.Cut(p, " "); shape == fmt.Sprintf("%dx%dx%d", libN, libT, libK) {
				return by
			}
		}
		return ""
	}
	split := func(b *fake.BLAS) { b.OnlySplit = true }
	require.Equal(t, "by 68 in 1", made(func(*fake.BLAS) {}))
	require.Equal(t, "by 68 in 1", made(split))
	require.Equal(t, "by 67 in 1", made(func(b *fake.BLAS) { b.Minor, b.OnlySplit = 11, true }))
	text, err := os.ReadFile(keepIn)
	require.NoError(t, err)
	require.Contains(t, string(text), `"cuBLAS 13.10.0 on Fake A100, 8.0, 4 multiprocessors"`)
	require.NoError(t, os.WriteFile(keepIn, []byte(strings.ReplaceAll(string(text), "[", "[0,")), 0o600))
	require.Equal(t, "by 67 in 1", made(split))
	require.NoError(t, os.WriteFile(keepIn, []byte("[]"), 0o600))
	require.Equal(t, "by 68 in 1", made(func(*fake.BLAS) {}))
}

// TestLibraryRecorded: after the first time a product asks nothing of the driver that a graph cannot repeat, and a
// recording of it gives the same bits.
func TestLibraryRecorded(t *testing.T) {
	checking(t, 1, 16)
	m := fake.New(fake.A100())
	d, err := withLibrary(m)
	require.NoError(t, err)
	b := &bench{checked{d, m}, t, newRandom()}
	tensor := func(rows, cols int) kernels.Tensor {
		x, err := kernels.NewTensor(d, kernels.F32, rows, cols)
		require.NoError(t, err)
		kernels.Upload(d, x, b.random(rows*cols))
		return x
	}
	x, bias, all := tensor(3, 20), tensor(1, 9), tensor(3, 31)
	y := all.ColRange(1, 30) // not aligned
	ws, err := d.NewWeights(20, kernels.BF16, 9, 21)
	require.NoError(t, err)
	for i, n := range []int{9, 21} {
		values := tensor(n, 20)
		d.Pack(ws[i], 0, values)
		values.Buf.Free()
	}
	run := func() {
		d.MatMuls(x, []kernels.Product{
			{Y: y.ColRange(0, 9), W: ws[0], Epilogue: kernels.Epilogue{Bias: bias}}, {Y: y.ColRange(9, 21), W: ws[1]}})
	}
	read := func() []float32 {
		got := make([]float32, all.Len())
		require.NoError(t, kernels.Download(d, got, all))
		return got
	}
	run()
	want := read()
	calls := func() string {
		return fmt.Sprint(m.Calls["MemAllocAsync"], m.Calls["MemFreeAsync"], m.Calls["StreamSynchronize"],
			m.Calls["MemcpyDtoH"], m.BLAS.Calls["MatrixLayoutCreate"])
	}
	before := calls()
	d.Zero(y)
	run()
	require.Equal(t, before, calls())
	require.Equal(t, want, read())
	r, err := d.Record(run)
	require.NoError(t, err)
	d.Zero(y)
	require.NotEqual(t, want, read())
	r.Replay()
	require.Equal(t, want, read())
	r.Free()

	w, err := d.NewWeight(5, 20, kernels.BF16) // of a shape that was not met before
	require.NoError(t, err)
	_, err = d.Record(func() { d.MatMul(y.ColRange(0, 5), x, w, kernels.Epilogue{}) })
	require.ErrorContains(t, err, "run them once before they are recorded")
	for _, f := range []interface{ Free() }{w, ws[0], ws[1], x.Buf, bias.Buf, all.Buf} {
		f.Free()
	}
	require.NoError(t, d.Close())
	require.NoError(t, m.Check())
}

// TestLibraryParts: a part of a weight's rows, as the vocabulary is taken in, and one weight of a group have the bits
// of the whole.
func TestLibraryParts(t *testing.T) {
	checking(t, 1, 16)
	m := fake.New(fake.A100())
	m.BLAS.Orders = true
	d, err := withLibrary(m)
	require.NoError(t, err)
	b := &bench{checked{d, m}, t, newRandom()}
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	x, ws := b.tensor(3, 20), b.weights(20, kernels.BF16, 16, 24)
	y, z := b.tensor(3, 40), b.tensor(3, 40)
	d.MatMuls(x, []kernels.Product{{Y: y.ColRange(0, 16), W: ws[0]}, {Y: y.ColRange(16, 24), W: ws[1]}})
	d.MatMul(z.ColRange(0, 16), x, ws[0], kernels.Epilogue{})
	d.MatMul(z.ColRange(16, 8), x, ws[1].(*weight).rows(0, 8), kernels.Epilogue{})
	d.MatMul(z.ColRange(24, 16), x, ws[1].(*weight).rows(8, 16), kernels.Epilogue{})
	got, want := b.read(z), b.read(y)
	for r := range 3 {
		require.Equal(t, want[r*y.Stride+1:][:40], got[r*y.Stride+1:][:40])
	}
	_, _, plans := d.Products()
	require.Equal(t, []ProductPlan{{Product: "y", N: 40, K: 20}}, plans)
}

//go:build !nogpu && linux

package cublaslt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/internal/foreign"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/driver"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/fake"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
)

// TestFind: where the library is looked for, in which order, and what is said where none can be used.
func TestFind(t *testing.T) {
	const site, lt = "lib/python3.12/site-packages/nvidia/", "libcublasLt.so."
	const toolkit, ollama = "/usr/local/cuda/lib64/" + lt, "/usr/local/lib/ollama/cuda_v12/" + lt
	const toolkit12 = "/usr/local/cuda-12.8/lib64/" + lt
	for _, c := range []struct {
		name   string
		cuda   int
		env    string // "NAME=VALUE NAME=VALUE"
		files  string // path=version
		loader string // what the loader finds, name=version
		want   string // path and version, or the error
	}{
		{"loader", 13000, "", toolkit + "13=13.1.0", lt + "13=13.2.3", lt + "13 13.2.3"},
		{"toolkit", 13000, "", toolkit + "13=13.1.0", "", toolkit + "13 13.1.0"},
		{"toolkit of a version", 12080, "", toolkit12 + "12=12.8.4", "", toolkit12 + "12 12.8.4"},
		{"virtual environment", 13000, "VIRTUAL_ENV=/v HOME=/home/x",
			"/v/" + site + "cu13/lib/" + lt + "13=13.0.2 /home/x/.local/" + site + "cu13/lib/" + lt + "13=13.1.0", "",
			"/v/" + site + "cu13/lib/" + lt + "13 13.0.2"},
		{"wheel of CUDA 12", 13000, "HOME=/home/x", "/home/x/.local/" + site + "cublas/lib/" + lt + "12=12.9.3", "",
			"/home/x/.local/" + site + "cublas/lib/" + lt + "12 12.9.3"},
		{"ollama", 12080, "", ollama + "12=12.8.4", "", ollama + "12 12.8.4"},
		{"driver of CUDA 12", 12040, "", toolkit + "12=12.4.5", lt + "13=13.2.3", toolkit + "12 12.4.5"},
		{"only 13", 12040, "", "", lt + "13=13.2.3", lt + "13 is cuBLAS 13.2.3, and the driver knows CUDA 12.4: " +
			"update NVIDIA's driver (580 or later), or pip install nvidia-cublas-cu12"},
		{"none", 13000, "", "", "",
			lt + "13 is not found: install it by pip install nvidia-cublas, or name its folder in ZEROSEARCH_CUBLAS"},
		{"none for 12", 12020, "", "", "",
			lt +
				"12 is not found: install it by pip install nvidia-cublas-cu12, or name its folder in ZEROSEARCH_CUBLAS"},
		{"old driver", 11080, "", "", lt + "12=12.8.4",
			"cuBLAS 12 needs a driver that knows CUDA 12 and this one knows 11.8: " +
				"update NVIDIA's driver (525 or later)"},
		{"off", 13000, "ZEROSEARCH_CUBLAS=off", "", lt + "13=13.2.3", "switched off by ZEROSEARCH_CUBLAS=off"},
		{"folder", 13000, "ZEROSEARCH_CUBLAS=/a:/b", "/b/" + lt + "12=12.6.0", lt + "13=13.2.3",
			"/b/" + lt + "12 12.6.0"},
		{"file", 13000, "ZEROSEARCH_CUBLAS=/c/lt.so", "/c/lt.so=13.3.0", lt + "13=13.2.3", "/c/lt.so 13.3.0"},
		{"empty folder", 13000, "ZEROSEARCH_CUBLAS=/a", "", lt + "13=13.2.3",
			"there is no libcublasLt.so.13 in /a, which ZEROSEARCH_CUBLAS names: correct it"},
		{"other major", 13000, "ZEROSEARCH_CUBLAS=/c/" + lt + "11", "/c/" + lt + "11=11.11.3", "",
			"/c/" + lt + "11 is cuBLAS 11.11.3, and 12 or 13 is needed: pip install nvidia-cublas"},
		{"missing file", 13000, "ZEROSEARCH_CUBLAS=/c/x.so", "", "", "/c/x.so cannot be loaded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			env, versions := pairs(c.env), pairs(c.files)
			names := pairs(c.loader)
			m := foreign.Search{
				Env: func(name string) string { return env[name] },
				Glob: func(pattern string) (found []string, err error) {
					for path := range versions {
						if ok, err := filepath.Match(pattern, path); err != nil {
							return nil, err
						} else if ok {
							found = append(found, path)
						}
					}
					return found, nil
				},
				IsDir: func(path string) bool { return !strings.Contains(path, ".so") },
				Open: func(path string) (string, func(string) (uintptr, error), error) {
					version, ok := versions[path]
					if !ok {
						version, ok = names[path]
					}
					if !ok && filepath.IsAbs(path) {
						return path, nil, fmt.Errorf("%s cannot be loaded: no such file", path)
					} else if !ok {
						return path, nil, foreign.ErrAbsent
					}
					f := fake.New()
					_, err := fmt.Sscanf(version, "%d.%d.%d", &f.BLAS.Major, &f.BLAS.Minor, &f.BLAS.Patch)
					return path, f.BLASSymbol, err
				},
			}
			l, err := find(c.cuda, m)
			if err != nil {
				require.Contains(t, err.Error(), c.want)
				require.NotContains(t, err.Error(), "\n")
				return
			}
			require.Equal(t, c.want, l.Path+" "+l.Version())
		})
	}
}

// pairs are "NAME=VALUE NAME=VALUE".
func pairs(s string) map[string]string {
	all := map[string]string{}
	for _, p := range strings.Fields(s) {
		name, value, _ := strings.Cut(p, "=")
		all[name] = value
	}
	return all
}

// TestNoLibrary: a machine without the library, where one file is no library.
func TestNoLibrary(t *testing.T) {
	path := filepath.Join(t.TempDir(), "libcublasLt.so.13")
	require.NoError(t, os.WriteFile(path, []byte("not a library"), 0o600))
	t.Setenv(Variable, filepath.Dir(path))
	_, err := find(13000, here)
	require.ErrorContains(t, err, path+" cannot be loaded: ")
	_, _, err = dlopen("libcublasLt.so.999")
	require.ErrorIs(t, err, foreign.ErrAbsent)
	real, symbol, err := dlopen("libc.so.6")
	require.NoError(t, err)
	require.True(t, filepath.IsAbs(real), real)
	_, err = Open(real, 13000, symbol)
	require.EqualError(t, err, real+" is not cublasLt: it has no function cublasLtGetProperty")
}

// TestDescriptors: descriptors with our numbers and sizes are accepted, and what the real library refuses is refused
// by the one in Go.
func TestDescriptors(t *testing.T) {
	m := fake.New(fake.A100())
	l, err := Open("libcublasLt.fake", 13000, m.BLASSymbol)
	require.NoError(t, err)
	descriptors(t, l)
	require.Empty(t, m.Left())
	require.ErrorContains(t, noContext(l), "cuBLAS error 1")
}

// TestRealLibraries is TestDescriptors with NVIDIA's libraries, which need no GPU for it: .ci/nvidia runs it.
func TestRealLibraries(t *testing.T) {
	set := os.Getenv("ZEROSEARCH_REAL_CUBLAS")
	if set == "" {
		t.Skip("ZEROSEARCH_REAL_CUBLAS does not name NVIDIA's libraries: .ci/nvidia downloads them and runs this test")
	}
	for _, path := range filepath.SplitList(set) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			real, symbol, err := dlopen(path)
			require.NoError(t, err)
			l, err := Open(real, 13000, symbol)
			require.NoError(t, err)
			t.Logf("%s: cuBLAS %s, all functions found", path, l.Version())
			require.True(t, strings.HasSuffix(path, fmt.Sprint(".so.", l.Major)), "its major version is %d", l.Major)
			descriptors(t, l)
			require.Error(t, noContext(l), "there is a GPU here: run zerosearch-gputest too")
		})
	}
}

// noContext opens the library where no context is current.
func noContext(l *Library) error {
	var h uintptr
	return l.t.check(l.t.call(l.t.Create, uintptr(unsafe.Pointer(&h))), "opening cuBLAS")
}

// descriptors makes and destroys all that products need but a handle, with right and wrong sizes.
func descriptors(t *testing.T, l *Library) {
	d, err := l.t.desc(1, 0)
	require.NoError(t, err)
	p, err := l.t.preference(32 << 20)
	require.NoError(t, err)
	m, err := l.t.layout(layout{typeBF16, 24, 40, 64})
	require.NoError(t, err)
	var v uint64
	at := uintptr(unsafe.Pointer(&v))
	for _, size := range []uintptr{0, 2, 8} {
		for _, a := range []uintptr{descTransA, descTransB} {
			s := l.t.call(l.t.MatmulDescSetAttribute, d, a, at, size)
			require.Equal(t, invalidValue, s, "transposition %d of %d bytes", a, size)
		}
		for _, a := range []uintptr{prefReductions, prefAlignA, prefAlignA + 1, prefAlignA + 2, prefAlignD} {
			s := l.t.call(l.t.MatmulPreferenceSetAttribute, p, a, at, size)
			require.Equal(t, invalidValue, s, "preference %d of %d bytes", a, size)
		}
	}
	require.Equal(t, invalidValue, l.t.call(l.t.MatmulPreferenceSetAttribute, p, prefWorkspace, at, 4))
	require.Equal(t, invalidValue, l.t.call(l.t.MatmulDescSetAttribute, d, 99, at, 4))

	var a gpu.Algorithm
	seven := int32(7)
	set := func(attribute, size uintptr) status {
		return l.t.call(l.t.MatmulAlgoConfigSetAttribute, uintptr(unsafe.Pointer(&a)), attribute,
			uintptr(unsafe.Pointer(&seven)), size)
	}
	require.Equal(t, success, set(configSplits, 4))
	require.Equal(t, invalidValue, set(configSplits, 8))
	require.Equal(t, invalidValue, set(configReduction, 8))
	require.NotEqual(t, gpu.Algorithm{}, a, "an algorithm lies in our memory")
	require.NoError(t, l.t.whole(&a))
	var splits, written = int32(0), uintptr(0)
	s := l.t.call(l.t.MatmulAlgoConfigGetAttribute, uintptr(unsafe.Pointer(&a)), configSplits,
		uintptr(unsafe.Pointer(&splits)), 4, uintptr(unsafe.Pointer(&written)))
	require.Equal(t, success, s)
	require.EqualValues(t, 1, splits)
	require.EqualValues(t, 4, written)

	require.ErrorIs(t, l.t.check(notSupported, "multiplying"), gpu.ErrRefused)
	require.False(t, errors.Is(l.t.check(notInitialised, "opening"), gpu.ErrRefused))
	require.NotEmpty(t, l.t.text(l.t.GetStatusName, invalidValue))
	require.NotEmpty(t, l.t.text(l.t.GetStatusString, invalidValue))
	require.Equal(t, success, l.t.call(l.t.MatmulDescDestroy, d))
	require.Equal(t, success, l.t.call(l.t.MatmulPreferenceDestroy, p))
	require.Equal(t, success, l.t.call(l.t.MatrixLayoutDestroy, m))
}

// TestResult: the structure that the heuristic fills is NVIDIA's.
func TestResult(t *testing.T) {
	var r result
	require.EqualValues(t, 96, unsafe.Sizeof(r))
	require.EqualValues(t, 64, unsafe.Offsetof(r.workspace))
	require.EqualValues(t, 72, unsafe.Offsetof(r.state))
	require.EqualValues(t, 76, unsafe.Offsetof(r.waves))
}

// opened is a GPU of m with its cublasLt.
func opened(t *testing.T, m *fake.Machine) *GPU {
	d, err := driver.Open("libcuda.fake", m.Symbol)
	require.NoError(t, err)
	l, err := Open("libcublasLt.fake", d.Version, m.BLASSymbol)
	require.NoError(t, err)
	g, err := d.GPU(0)
	require.NoError(t, err)
	x, err := l.On(g)
	require.NoError(t, err)
	return x
}

// TestRefused: what does not fit together is refused without harm to the GPU.
func TestRefused(t *testing.T) {
	m := fake.New(fake.A100())
	g := opened(t, m)
	p, err := g.Alloc(1 << 16)
	require.NoError(t, err)
	good := gpu.Mul{TransA: true, M: 8, N: 4, K: 16, A: p, LDA: 16, B: p + 4096, LDB: 16, D: p + 8192, LDD: 8, Alpha: 1}
	all, err := g.Algorithms(&good)
	require.NoError(t, err)
	require.NotEmpty(t, all)
	for name, change := range map[string]func(m *gpu.Mul, a *gpu.Algorithm){
		"leading dimension": func(m *gpu.Mul, a *gpu.Algorithm) { m.LDA = 8 },
		"misaligned A":      func(m *gpu.Mul, a *gpu.Algorithm) { m.A += 2 },
		"misaligned D":      func(m *gpu.Mul, a *gpu.Algorithm) { m.D += 4 },
		"misaligned rows":   func(m *gpu.Mul, a *gpu.Algorithm) { m.LDD = 9 },
		"no algorithm":      func(m *gpu.Mul, a *gpu.Algorithm) { *a = gpu.Algorithm{} },
		"nothing":           func(m *gpu.Mul, a *gpu.Algorithm) { m.N = 0 },
	} {
		bad, a := good, all[0]
		change(&bad, &a)
		require.ErrorIs(t, g.Multiply(&bad, &a), gpu.ErrRefused, name)
	}
	require.NoError(t, g.Multiply(&good, &all[0]))
	require.NoError(t, g.Sync())
	require.NoError(t, g.Free(p))
	require.NoError(t, g.Close())
	require.NoError(t, m.Check())
}

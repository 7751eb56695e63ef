//go:build !nogpu && (linux || windows)

// Package cublaslt calls NVIDIA's library of matrix products, cublasLt. The library is loaded when it is first needed;
// the program links nothing of CUDA.
package cublaslt

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"unsafe"

	"github.com/zerosearch-go/zerosearch/internal/foreign"
)

// Variable is the environment variable that says where the library is: files or folders, separated as in PATH, or
// "off".
const Variable = "ZEROSEARCH_CUBLAS"

// Library is a loaded cublasLt.
type Library struct {
	Path                string
	Major, Minor, Patch int
	t                   *table
}

// Version returns the library's version, such as "13.10.0".
func (l *Library) Version() string { return fmt.Sprintf("%d.%d.%d", l.Major, l.Minor, l.Patch) }

// majors are the major versions that this package supports, the preferred one first.
var majors = []int{13, 12}

var (
	mu     sync.Mutex
	loaded = map[int]func() (*Library, error){}
)

// Load looks for the library and loads it, once. cuda is the newest version of CUDA that the driver supports,
// 1000*major + 10*minor.
func Load(cuda int) (*Library, error) {
	mu.Lock()
	f := loaded[cuda]
	if f == nil {
		f = sync.OnceValues(func() (*Library, error) { return find(cuda, here) })
		loaded[cuda] = f
	}
	mu.Unlock()
	return f()
}

var here = foreign.Here(dlopen)

// find loads the first library that suits the driver.
func find(cuda int, m foreign.Search) (*Library, error) {
	if m.Env(Variable) == "off" {
		return nil, fmt.Errorf("switched off by %s=off", Variable)
	}
	if cuda/1000 < majors[len(majors)-1] {
		return nil, fmt.Errorf("cuBLAS 12 needs a driver that knows CUDA 12 and this one knows %d.%d: "+
			"update NVIDIA's driver (525 or later)", cuda/1000, cuda%1000/10)
	}
	open := func(path string, symbol func(name string) (uintptr, error)) (*Library, error) {
		return Open(path, cuda, symbol)
	}
	l, err := foreign.First(m, candidates(m), open)
	if !errors.Is(err, foreign.ErrAbsent) {
		return l, err
	}
	if set := m.Env(Variable); set != "" {
		return nil, fmt.Errorf("there is no %s in %s, which %s names: correct it", fileName(majors[0]), set, Variable)
	}
	return nil, fmt.Errorf("%s is not found: install it by %s, or name its folder in %s",
		fileName(min(cuda/1000, majors[0])), wheel(cuda), Variable)
}

// wheel is the command that installs a library for a driver.
func wheel(cuda int) string {
	if cuda < 13000 {
		return "pip install nvidia-cublas-cu12"
	}
	return "pip install nvidia-cublas"
}

// candidates returns the files to try, in order: only what the environment variable names or, if it is not set, the
// loader's own choice and the folders where NVIDIA's packages install the library.
func candidates(m foreign.Search) (files []string) {
	for _, major := range majors {
		name := fileName(major)
		if set := m.Env(Variable); set != "" {
			for _, p := range filepath.SplitList(set) {
				if m.IsDir(p) {
					files = append(files, m.Exist(filepath.Join(p, name))...)
				} else if major == majors[0] {
					files = append(files, p)
				}
			}
			continue
		}
		files = append(files, byLoader(name)...)
		for _, f := range folders(m) {
			files = append(files, m.Exist(filepath.Join(f, name))...)
		}
	}
	return files
}

// Open makes a Library of the functions that symbol finds. cuda is the newest version of CUDA that the driver supports.
func Open(path string, cuda int, symbol func(name string) (uintptr, error)) (*Library, error) {
	l := &Library{Path: path, t: &table{}}
	missing := foreign.Resolve(l.t, "cublasLt", symbol)
	if missing == "cublasLtGetProperty" {
		return nil, fmt.Errorf("%s is not cublasLt: it has no function %s", path, missing)
	}
	for i, p := range []*int{&l.Major, &l.Minor, &l.Patch} {
		var v int32
		if s := l.t.call(l.t.GetProperty, uintptr(i), uintptr(unsafe.Pointer(&v))); s != success {
			return nil, fmt.Errorf("%s: asking for the version: error %d", path, s)
		}
		*p = int(v)
	}
	switch {
	case l.Major > majors[0] || l.Major < majors[len(majors)-1]:
		return nil, fmt.Errorf("%s is cuBLAS %s, and 12 or 13 is needed: %s", path, l.Version(), wheel(cuda))
	case l.Major > cuda/1000:
		return nil, fmt.Errorf("%s is cuBLAS %s, and the driver knows CUDA %d.%d: "+
			"update NVIDIA's driver (580 or later), or %s", path, l.Version(), cuda/1000, cuda%1000/10, wheel(cuda))
	case missing != "":
		return nil, fmt.Errorf("%s, cuBLAS %s, has no function %s: install a newer one (%s)", path, l.Version(),
			missing,
			wheel(cuda))
	}
	return l, nil
}

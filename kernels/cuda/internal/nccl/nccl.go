//go:build !nogpu && linux

// Package nccl calls NVIDIA's library of communication between GPUs, NCCL. The library is loaded when several ranks
// first need it; the program links nothing of CUDA.
package nccl

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/zerosearch-go/zerosearch/internal/foreign"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
)

// Variable is the environment variable that says where the library is: files or folders, separated as in PATH, or
// "off".
const Variable = "ZEROSEARCH_NCCL"

// Library is a loaded NCCL.
type Library struct {
	Path string
	code int // of its version
	t    *table
	join joinFunc
}

var _ gpu.Joiner = (*Library)(nil)

// fileName is the name of the library's file; the major version has been 2 since 2017.
const fileName = "libnccl.so.2"

// oldest is the first version with ncclSend and ncclRecv, which AllToAll uses: 2.7.
const oldest = 2700

var here = foreign.Here(func(path string) (string, func(string) (uintptr, error), error) {
	return foreign.Open(path, false)
})

var theLibrary = sync.OnceValues(func() (*Library, error) { return find(here) })

// replaced, if not nil, is called by Load instead of looking for the library.
var replaced atomic.Pointer[func() (*Library, error)]

// Load looks for the library and loads it, once.
func Load() (*Library, error) {
	if load := replaced.Load(); load != nil {
		return (*load)()
	}
	return theLibrary()
}

// Replace makes Load call load until restore is called: for tests with a simulated library.
func Replace(load func() (*Library, error)) (restore func()) {
	was := replaced.Swap(&load)
	return func() { replaced.Store(was) }
}

// remedy says how to install the library.
const remedy = "install it by pip install nvidia-nccl-cu12 (CUDA 13: nvidia-nccl-cu13) or apt install libnccl2"

// find loads the first candidate that is a usable NCCL.
func find(m foreign.Search) (*Library, error) {
	set := m.Env(Variable)
	if set == "off" {
		return nil, fmt.Errorf("switched off by %s=off", Variable)
	}
	l, err := foreign.First(m, candidates(m), Open)
	if !errors.Is(err, foreign.ErrAbsent) {
		return l, err
	}
	if set != "" {
		return nil, fmt.Errorf("there is no %s in %s, which %s names: correct it", fileName, set, Variable)
	}
	return nil, fmt.Errorf("%s is not found: %s, or name its folder in %s", fileName, remedy, Variable)
}

// candidates returns the files to try, in order: only what the environment variable names or, if it is not set, the
// loader's own choice and the folders where NVIDIA's packages install the library.
func candidates(m foreign.Search) (files []string) {
	if set := m.Env(Variable); set != "" {
		for _, p := range filepath.SplitList(set) {
			if m.IsDir(p) {
				files = append(files, m.Exist(filepath.Join(p, fileName))...)
			} else {
				files = append(files, p)
			}
		}
		return files
	}
	files = []string{fileName}
	folders := append(m.PythonFolders("nccl/lib"), "/usr/local/nccl*/lib", "/usr/local/cuda/lib64",
		"/usr/local/cuda-*/lib64")
	for _, f := range folders {
		files = append(files, m.Exist(filepath.Join(f, fileName))...)
	}
	return files
}

// Open makes a Library of the functions that symbol finds.
func Open(path string, symbol func(name string) (uintptr, error)) (*Library, error) {
	l := &Library{Path: path, t: &table{}}
	missing := foreign.Resolve(l.t, "nccl", symbol)
	if missing == "ncclGetVersion" {
		return nil, fmt.Errorf("%s is not NCCL: it has no function %s", path, missing)
	}
	var code int32
	if s := l.t.call(l.t.GetVersion, uintptr(unsafe.Pointer(&code))); s != success {
		return nil, fmt.Errorf("%s: asking for the version: error %d", path, s)
	}
	l.code = int(code)
	if l.code < oldest || missing != "" {
		return nil, fmt.Errorf("%s, %s, is too old, 2.7 or later is needed: %s", path, l.Version(), remedy)
	}
	l.join = foreignJoin(l.t.CommInitRank)
	return l, nil
}

// Version returns the library's name and version, such as "NCCL 2.21.5". NCCL reports one number: major*1000 +
// minor*100 + patch up to 2.8, major*10000 + minor*100 + patch since 2.9.
func (l *Library) Version() string {
	major, rest := l.code/10000, l.code%10000
	if l.code < 10000 {
		major, rest = l.code/1000, l.code%1000
	}
	return fmt.Sprintf("NCCL %d.%d.%d", major, rest/100, rest%100)
}

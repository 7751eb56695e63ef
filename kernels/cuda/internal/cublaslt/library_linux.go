//go:build !nogpu && linux

package cublaslt

import (
	"fmt"
	"path/filepath"

	"github.com/zerosearch-go/zerosearch/internal/foreign"
)

func fileName(major int) string { return fmt.Sprintf("libcublasLt.so.%d", major) }

// byLoader returns the names that the loader is asked for.
func byLoader(name string) []string { return []string{name} }

// folders are patterns of folders that may have the library: the toolkit's, those of Python's packages and of ollama.
func folders(m foreign.Search) (all []string) {
	all = append(all, "/usr/local/cuda/lib64", "/usr/local/cuda-*/lib64", "/opt/cuda/lib64")
	all = append(all, m.PythonFolders("cu13/lib", "cublas/lib")...)
	for _, ollama := range []string{"/usr/local/lib/ollama", "/usr/lib/ollama"} {
		all = append(all, filepath.Join(ollama, "cuda_v*"), ollama)
	}
	return all
}

// dlopen loads a library; real is where it was found.
func dlopen(path string) (real string, symbol func(name string) (uintptr, error), err error) {
	return foreign.Open(path, false)
}

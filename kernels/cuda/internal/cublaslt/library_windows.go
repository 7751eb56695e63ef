//go:build !nogpu && windows

package cublaslt

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/windows"

	"github.com/zerosearch-go/zerosearch/internal/foreign"
)

func fileName(major int) string { return fmt.Sprintf("cublasLt64_%d.dll", major) }

// byLoader returns nothing: folders searches those of PATH instead, and the current folder is never searched.
func byLoader(string) []string { return nil }

// folders are patterns of folders that may have the library: those of PATH, the toolkit's, those of Python's packages
// and of ollama.
func folders(m foreign.Search) (all []string) {
	for _, dir := range filepath.SplitList(m.Env("PATH")) {
		if filepath.IsAbs(dir) {
			all = append(all, dir)
		}
	}
	if cuda := m.Env("CUDA_PATH"); cuda != "" {
		all = append(all, filepath.Join(cuda, "bin"), filepath.Join(cuda, "bin", "x64"))
	}
	programs := filepath.Join(m.Env("LOCALAPPDATA"), "Programs")
	for _, python := range []string{m.Env("VIRTUAL_ENV"), m.Env("CONDA_PREFIX"),
		filepath.Join(programs, "Python", "Python3*"),
		filepath.Join(m.Env("APPDATA"), "Python", "Python3*")} {
		if !filepath.IsAbs(python) {
			continue
		}
		for _, packages := range []string{filepath.Join("Lib", "site-packages"), "site-packages"} {
			nvidia := filepath.Join(python, packages, "nvidia")
			cu13 := filepath.Join(nvidia, "cu13", "bin")
			all = append(all, filepath.Join(cu13, "x86_64"), cu13, filepath.Join(nvidia, "cublas", "bin"))
		}
	}
	return append(all, filepath.Join(programs, "Ollama", "lib", "ollama", "cuda_v*"))
}

// dlopen loads a library; those that it needs are also looked for in its folder.
func dlopen(path string) (real string, symbol func(name string) (uintptr, error), err error) {
	h, err := windows.LoadLibraryEx(path, 0, windows.LOAD_WITH_ALTERED_SEARCH_PATH)
	if err != nil {
		return path, nil, fmt.Errorf("%s cannot be loaded: %w", path, err)
	}
	return path, func(name string) (uintptr, error) { return windows.GetProcAddress(h, name) }, nil
}

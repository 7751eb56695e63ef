//go:build !nogpu && linux

package cublaslt

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ebitengine/purego"
)

func fileName(major int) string { return fmt.Sprintf("libcublasLt.so.%d", major) }

// byLoader is what the loader is asked for.
func byLoader(name string) []string { return []string{name} }

// folders are patterns of folders that may have the library: the toolkit's, those of Python's packages and of ollama.
func folders(env func(string) string) (all []string) {
	all = append(all, "/usr/local/cuda/lib64", "/usr/local/cuda-*/lib64", "/opt/cuda/lib64")
	user := filepath.Join(env("HOME"), ".local")
	for _, root := range []string{env("VIRTUAL_ENV"), env("CONDA_PREFIX"), user, "/usr/local", "/usr", "/opt/conda"} {
		if !filepath.IsAbs(root) {
			continue
		}
		for _, packages := range []string{"site-packages", "dist-packages"} {
			python := filepath.Join(root, "lib", "python3*", packages, "nvidia")
			all = append(all, filepath.Join(python, "cu13", "lib"), filepath.Join(python, "cublas", "lib"))
		}
	}
	for _, ollama := range []string{"/usr/local/lib/ollama", "/usr/lib/ollama"} {
		all = append(all, filepath.Join(ollama, "cuda_v*"), ollama)
	}
	return all
}

// dlopen loads a library; real is where it was found.
func dlopen(path string) (real string, symbol func(name string) (uintptr, error), err error) {
	h, err := purego.Dlopen(path, purego.RTLD_LAZY|purego.RTLD_LOCAL)
	switch {
	case err != nil && strings.HasPrefix(err.Error(), path+": cannot open shared object file") && !filepath.IsAbs(path):
		return path, nil, errAbsent
	case err != nil:
		return path, nil, fmt.Errorf("%s cannot be loaded: %w", path, err)
	}
	return mapped(path), func(name string) (uintptr, error) { return purego.Dlsym(h, name) }, nil
}

// mapped is the file of a library that was loaded by its name.
func mapped(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return name
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if _, path, ok := strings.Cut(s.Text(), "/"); ok && strings.HasPrefix(filepath.Base(path), name) {
			return "/" + path
		}
	}
	return name
}

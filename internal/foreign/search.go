//go:build !nogpu && (linux || windows)

package foreign

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// ErrAbsent says that a library is not where the loader looks.
var ErrAbsent = errors.New("not found")

// Search is where libraries are looked for; tests have others.
type Search struct {
	Env   func(name string) string
	Glob  func(pattern string) (files []string, err error)
	IsDir func(path string) bool
	Open  func(path string) (real string, symbol func(name string) (uintptr, error), err error)
}

// Here is this machine, where open loads a library.
func Here(open func(path string) (real string, symbol func(name string) (uintptr, error), err error)) Search {
	return Search{os.Getenv, filepath.Glob, func(path string) bool {
		s, err := os.Stat(path)
		return err == nil && s.IsDir()
	}, open}
}

// Exist are the files of a pattern.
func (m Search) Exist(pattern string) []string {
	files, err := m.Glob(pattern)
	if err != nil { // a folder's name is no pattern
		return nil
	}
	return files
}

// PythonFolders are patterns of the folders in which Python's packages of NVIDIA keep libraries on Linux; parts are
// those of the packages, such as cublas/lib.
func (m Search) PythonFolders(parts ...string) (all []string) {
	roots := []string{m.Env("VIRTUAL_ENV"), m.Env("CONDA_PREFIX"), filepath.Join(m.Env("HOME"), ".local"), "/usr/local",
		"/usr", "/opt/conda"}
	for _, root := range roots {
		if !filepath.IsAbs(root) {
			continue
		}
		for _, packages := range []string{"site-packages", "dist-packages"} {
			for _, p := range parts {
				all = append(all, filepath.Join(root, "lib", "python3*", packages, "nvidia", p))
			}
		}
	}
	return all
}

// First loads the files in turn, and returns the first library that open makes of one. The error says what is wrong
// with each of them; it is ErrAbsent where none exists.
func First[L any](m Search, files []string,
	open func(path string, symbol func(name string) (uintptr, error)) (L, error)) (L, error) {
	var none L
	var why []string
	for _, path := range files {
		real, symbol, err := m.Open(path)
		if err == nil {
			var l L
			if l, err = open(real, symbol); err == nil {
				return l, nil
			}
		}
		if !errors.Is(err, ErrAbsent) {
			why = append(why, err.Error())
		}
	}
	if len(why) == 0 {
		return none, ErrAbsent
	}
	return none, errors.New(strings.Join(why, "; "))
}

//go:build !nogpu && linux

package foreign

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/ebitengine/purego"
)

// Open loads a library; real is where it was found. global: libraries that it loads later find its functions.
func Open(path string, global bool) (real string, symbol func(name string) (uintptr, error), err error) {
	scope := purego.RTLD_LOCAL
	if global {
		scope = purego.RTLD_GLOBAL
	}
	runtime.LockOSThread() // the reason of a failure belongs to the thread
	h, err := purego.Dlopen(path, purego.RTLD_LAZY|scope)
	runtime.UnlockOSThread()
	switch {
	case err != nil && strings.HasPrefix(err.Error(), path+": cannot open shared object file") && !filepath.IsAbs(path):
		return path, nil, ErrAbsent
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

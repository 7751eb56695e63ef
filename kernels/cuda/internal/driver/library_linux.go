//go:build !nogpu && linux

package driver

import (
	"errors"
	"fmt"
	"os"

	"github.com/ebitengine/purego"
)

// places are where the driver's library is looked for: by the loader's own rules, and where WSL and NixOS keep it.
var places = []string{"libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1", "/run/opengl-driver/lib/libcuda.so.1"}

// library loads the driver's library.
func library() (path string, symbol func(name string) (uintptr, error), err error) {
	for _, p := range places {
		h, e := purego.Dlopen(p, purego.RTLD_NOW|purego.RTLD_GLOBAL)
		if e == nil {
			return p, func(name string) (uintptr, error) { return purego.Dlsym(h, name) }, nil
		}
		if _, there := os.Stat(p); there == nil {
			err = errors.Join(err, fmt.Errorf("%s cannot be loaded: %w", p, e))
		}
	}
	if err != nil {
		return "", nil, err
	}
	return "", nil, errors.New("there is no NVIDIA driver: libcuda.so.1 is not found; install the driver (nvidia-smi " +
		"must work), and in a container run it with --gpus all")
}

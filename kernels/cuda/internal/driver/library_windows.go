//go:build !nogpu && windows

package driver

import (
	"errors"

	"golang.org/x/sys/windows"
)

// library loads the driver's library.
func library() (path string, symbol func(name string) (uintptr, error), err error) {
	const p = "nvcuda.dll"
	dll := windows.NewLazySystemDLL(p)
	if dll.Load() != nil {
		return "", nil,
			errors.New("there is no NVIDIA driver: nvcuda.dll is not found; install the driver (nvidia-smi must work)")
	}
	return p, func(name string) (uintptr, error) {
		f := dll.NewProc(name)
		if err := f.Find(); err != nil {
			return 0, err
		}
		return f.Addr(), nil
	}, nil
}

//go:build nogpu || !(linux || windows)

package cuda

import "errors"

const noBackend = "this build has no CUDA backend: use --device cpu, or a build for Linux or Windows without -tags " +
	"nogpu"

// Probe says that this build has no CUDA backend.
func Probe() System { return System{Why: noBackend} }

// FindCUBLAS says that this build has no CUDA backend.
func FindCUBLAS() CUBLAS { return CUBLAS{Why: noBackend} }

// New says that this build has no CUDA backend.
func New(int) (*Device, error) { return nil, errors.New(noBackend) }

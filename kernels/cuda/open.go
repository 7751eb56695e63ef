// Package cuda is the device of an NVIDIA GPU. This build has none yet: Probe says so.
package cuda

import "errors"

// Complete reports whether Device has all operations.
const Complete = false

// System is what there is of NVIDIA's on this machine.
type System struct {
	Library string // the driver's, as it was found
	Version string // of CUDA that the driver knows, "13.0"
	GPUs    []Info
	Why     string // empty, or why there is nothing to use and what to do
}

// Info is one GPU.
type Info struct {
	Index        int
	Name, UUID   string
	Major, Minor int    // compute capability
	SMs          int    // multiprocessors
	Memory, Free int64  // bytes; Free is -1 where it is not known
	Why          string // empty, or why it cannot be used and what to do
}

// Device is one GPU.
type Device struct{}

const noBackend = "this build has no CUDA backend: use --device cpu"

// Probe says that this build has no CUDA backend.
func Probe() System { return System{Why: noBackend} }

// New says that this build has no CUDA backend.
func New(int) (*Device, error) { return nil, errors.New(noBackend) }

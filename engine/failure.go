package engine

import "fmt"

// DeviceError is a failure of a device while a model ran on it. Other requests to this device would fail too: it is out
// of memory, or a kernel failed on a GPU, which only a new process can use again.
type DeviceError struct {
	Model, Device string
	Err           error
}

func (e *DeviceError) Error() string { return fmt.Sprintf("running %s: %v", e.Model, e.Err) }

func (e *DeviceError) Unwrap() error { return e.Err }

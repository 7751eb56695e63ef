package engine

import "fmt"

// DeviceError is a failure of a device while a model ran on it. Other requests to this device would meet it, too:
// memory does not grow, and a GPU on which a kernel failed can be used again only by a new process.
type DeviceError struct {
	Model, Device string
	Err           error
}

func (e *DeviceError) Error() string { return fmt.Sprintf("running %s: %v", e.Model, e.Err) }

func (e *DeviceError) Unwrap() error { return e.Err }

package kernels

import "fmt"

// Panic is the value that a device panics with in its caller after one of its worker goroutines has panicked. It holds
// the worker's panic value and the worker's stack, which shows where it happened. The device can be used again; the
// outputs of the operation are undefined.
type Panic struct {
	Value any
	Stack []byte
}

// Error has several lines, so that the stack is printed where the panic is not recovered.
func (p *Panic) Error() string { return fmt.Sprintf("%v\n\nin a worker:\n%s", p.Value, p.Stack) }

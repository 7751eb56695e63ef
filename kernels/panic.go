package kernels

import "fmt"

// Panic is what a device panics with in its caller when work that it gave to a goroutine of its own panicked there:
// the value, and the stack of that goroutine, without which nobody could tell where it happened. The device goes on
// as if the operation had not begun, but what the operation writes is unknown.
type Panic struct {
	Value any
	Stack []byte
}

// Error has several lines, so that the stack is printed where nobody recovers.
func (p *Panic) Error() string { return fmt.Sprintf("%v\n\nin a worker:\n%s", p.Value, p.Stack) }

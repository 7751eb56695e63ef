//go:build !nogpu && (linux || windows)

package driver

// What package driver shares with bindings of NVIDIA's other libraries.

// Current makes the context of g that of the calling thread until the function that it returns is called.
func (g *GPU) Current() (leave func()) { return g.t.current(g.ctx) }

// Stream is the handle of the stream in which the work of g runs.
func (g *GPU) Stream() uintptr { return g.stream }

// KeepSignals notes all signal handlers; the function that it returns puts back those that were replaced since.
func KeepSignals() (restore func()) { return keepSignals() }

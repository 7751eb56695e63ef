//go:build !nogpu && (linux || windows)

package driver

import (
	"errors"
	"unsafe"

	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
)

// graphs reports whether the driver has all functions of CUDA graphs.
func (t *table) graphs() bool {
	for _, f := range []uintptr{t.StreamBeginCapture, t.StreamEndCapture, t.GraphInstantiate, t.GraphDestroy,
		t.GraphExecDestroy, t.GraphLaunch} {
		if f == 0 {
			return false
		}
	}
	return true
}

// Capture puts the stream into capture mode while it calls f. The capture mode is thread-local: meanwhile other threads
// may wait for events and open other GPUs.
func (g *GPU) Capture(f func()) (gpu.Graph, error) {
	if !g.t.graphs() {
		return nil, errors.New("NVIDIA's driver has not all functions of CUDA graphs: update it (470 or later)")
	}
	if err := g.failed(); err != nil {
		return nil, err
	}
	defer g.t.current(g.ctx)()
	const threadLocal = 1
	if err := g.t.check(call(g.t.StreamBeginCapture, g.stream, threadLocal), "beginning to capture"); err != nil {
		return nil, err
	}
	graph, err := g.captured(f)
	if err != nil {
		return nil, err
	}
	defer call(g.t.GraphDestroy, graph)
	x := &execGraph{g: g}
	if err := g.t.check(call(g.t.GraphInstantiate, uintptr(unsafe.Pointer(&x.exec)), graph, 0),
		"instantiating a graph"); err != nil {
		return nil, err
	}
	return x, nil
}

// captured calls f and ends the capture, whatever f does.
func (g *GPU) captured(f func()) (graph uintptr, err error) {
	returned := false
	defer func() {
		s := call(g.t.StreamEndCapture, g.stream, uintptr(unsafe.Pointer(&graph)))
		err = g.failed()
		g.err.Store(nil) // errors of f are not kept, because what it queued has not run
		if err == nil {
			err = g.t.check(s, "ending to capture")
		}
		if graph != 0 && (err != nil || !returned) {
			call(g.t.GraphDestroy, graph)
		}
	}()
	f()
	returned = true
	return 0, nil
}

// execGraph is an executable graph, CUgraphExec.
type execGraph struct {
	g    *GPU
	exec uintptr
}

func (x *execGraph) Launch() error {
	g := x.g
	if s := g.hot(g.t.GraphLaunch, x.exec, g.stream); s != success {
		g.note(g.t.check(s, "launching a graph"))
	}
	return g.failed()
}

func (x *execGraph) Free() error {
	defer x.g.t.current(x.g.ctx)()
	return x.g.t.check(call(x.g.t.GraphExecDestroy, x.exec), "destroying a graph")
}

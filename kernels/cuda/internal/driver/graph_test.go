//go:build !nogpu && linux

package driver_test

import (
	"errors"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/driver"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/fake"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
)

func download(t *testing.T, g *driver.GPU, p gpu.Ptr, n int) []byte {
	got := make([]byte, n)
	e, err := g.Download(got, p)
	require.NoError(t, err)
	require.NoError(t, e.Wait())
	return got
}

// TestCapture: what is captured runs when it is launched, on what memory holds then, with the arguments of its capture.
func TestCapture(t *testing.T) {
	m := fake.New(fake.A100())
	g := opened(t, m)
	f := kernel(t, g, "copy_f32_f32")
	p, err := g.Alloc(64)
	require.NoError(t, err)
	require.NoError(t, g.Upload(p, []byte("0123456789abcdef----------------++++++++++++++++////////////////")))
	var a gpu.Args
	graph, err := g.Capture(func() {
		require.NoError(t, g.Launch(f, gpu.Grid{X: 1, Y: 1, Z: 1, Threads: 256},
			a.Reset().Ptr(p+16).Long(4).Ptr(p).Long(4).Long(4)))
		require.NoError(t, g.Copy(p+32, p+16, 16))
		require.NoError(t, g.Zero(p+48, 4))
	})
	require.NoError(t, err)
	a.Reset().Ptr(0).Ptr(0)
	require.Equal(t, "0123456789abcdef----------------++++++++++++++++////////////////", string(download(t, g, p, 64)))
	require.NoError(t, g.Upload(p, []byte("the second value")))
	require.NoError(t, graph.Launch())
	require.NoError(t, g.Upload(p, []byte("what comes later")))
	require.NoError(t, graph.Free()) // when the launch has ended
	require.Equal(t, "what comes laterthe second valuethe second value\x00\x00\x00\x00////////////",
		string(download(t, g, p, 64)))
	require.NoError(t, g.Free(p))
	require.NoError(t, g.Close())
	require.Empty(t, m.Left())
}

// TestCaptureRules: what a captured stream does not allow is the error of Capture, nothing is left of it, and the GPU
// goes on.
func TestCaptureRules(t *testing.T) {
	m := fake.New(fake.A100())
	g := opened(t, m)
	p, err := g.Alloc(64)
	require.NoError(t, err)
	require.NoError(t, g.Zero(p, 64))
	var before gpu.Event
	for name, c := range map[string]struct {
		f    func() error
		want string
	}{
		"wait":     {func() error { return g.Sync() }, "error 900"},
		"allocate": {func() error { _, err := g.Alloc(64); return err }, "error 801"},
		"free":     {func() error { return g.Free(p) }, "error 1 "},
		"load": {func() error {
			_, err := g.Load(".version 7.1\n.target sm_80\n.address_size 64\n",
				nil)
			return err
		}, "error 900"},
		"wait for before": {func() error { return before.Wait() }, "error 900"},
		"wait within": {func() error {
			e, err := g.Download(make([]byte, 4), p)
			if err == nil {
				err = e.Wait()
			}
			return err
		}, "error 907"},
	} {
		before, err = g.Download(make([]byte, 64), p) // makes a piece of pinned memory, too
		require.NoError(t, err)
		if name != "wait for before" {
			require.NoError(t, before.Wait())
		}
		var inside error
		_, err := g.Capture(func() {
			inside = c.f()
			require.ErrorContains(t, g.Zero(p, 4), "error", name)
		})
		require.ErrorContains(t, inside, c.want, name)
		require.ErrorContains(t, err, "error", name)
		require.NoError(t, g.Zero(p, 4), name)
		require.NoError(t, g.Sync(), name)
	}
	require.PanicsWithValue(t, "stop", func() { g.Capture(func() { panic("stop") }) })

	// Another thread may wait meanwhile.
	e, err := g.Download(make([]byte, 4), p)
	require.NoError(t, err)
	graph, err := g.Capture(func() {
		done := make(chan error)
		go func() {
			runtime.LockOSThread()
			done <- e.Wait()
		}()
		require.NoError(t, <-done)
	})
	require.NoError(t, err)
	require.NoError(t, graph.Free())
	require.NoError(t, g.Free(p))
	require.NoError(t, g.Close())
	require.Empty(t, m.Left())
}

// TestNoGraphs: a driver without the functions of graphs works otherwise.
func TestNoGraphs(t *testing.T) {
	m := fake.New(fake.A100())
	d, err := driver.Open(fake.Library, func(name string) (uintptr, error) {
		if name == "cuGraphInstantiateWithFlags" {
			return 0, errors.New("undefined symbol")
		}
		return m.Symbol(name)
	})
	require.NoError(t, err)
	g, err := d.GPU(0)
	require.NoError(t, err)
	_, err = g.Capture(func() { t.Error("f was called") })
	require.ErrorContains(t, err, "update it (470 or later)")
	require.NoError(t, g.Sync())
	require.NoError(t, g.Close())
}

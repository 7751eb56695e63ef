package kerneltest

import (
	"strings"
	"testing"
	"time"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// testErrors makes queued work fail on a new device: every Wait and Sync must return the first error, also later.
func testErrors(t *testing.T, e *env) {
	if e.tol.Break == nil {
		t.Skip("this device has no work that fails after the call that queued it: its Tolerances have no Break")
	}
	const n = 64
	d := mustOpen(t, e.open)
	s := &caseRun{t: t, d: d, layout: layouts[0]}
	x, y := s.in("x", 1, n, normal("x", n, 1)), s.out("y", 1, n, bound{})
	w, got := s.weight(n, n, kernels.F32, normal("w", n*n, 1)), make([]float32, n)
	if err := d.Sync(); err != nil {
		t.Fatalf("Sync before the device is broken: %v", err)
	}
	e.tol.Break(d)
	var first error
	// says fails unless err is the first error, or contains it, or the other way round: who reports it may add a name.
	says := func(what string, err error) {
		t.Helper()
		switch {
		case err == nil:
			t.Fatalf(
				"%s of a broken device: no error\nrule: an error of queued work appears in Wait and Sync, and stays",
				what)
		case first == nil:
			first = err
		case !strings.Contains(err.Error(), first.Error()) && !strings.Contains(first.Error(), err.Error()):
			t.Fatalf("%s of a broken device: %v, the first error was %v\nrule: the first error of queued work stays",
				what, err,
				first)
		}
	}
	within(t, "Axpy, Fetch and Wait", func() {
		d.Axpy(y, 1, x)
		says("Wait", kernels.Fetch(d, got, y).Wait())
	})
	for range 2 {
		within(t, "Sync", func() { says("Sync", d.Sync()) })
		within(t, "operations", func() {
			kernels.Upload(d, x, got)
			d.MatMul(y, x, w, kernels.Epilogue{})
			d.Copy(y, x)
			d.Zero(y)
		})
		within(t, "another Wait", func() { says("another Wait", kernels.Fetch(d, got, y).Wait()) })
		within(t, "Alloc", func() { // memory or an error, as it likes
			if b, err := d.Alloc(100); err == nil {
				b.Free()
			}
		})
	}
	within(t, "Free and Close", func() {
		for _, f := range s.frees {
			f()
		}
		_ = d.Close() // with the error or without: it was shown
	})
}

// within fails if f panics or does not return in half a minute.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done, panicked := make(chan struct{}), any(nil)
	go func() {
		defer close(done)
		defer func() { panicked = recover() }()
		f()
	}()
	select {
	case <-done:
		if panicked != nil {
			t.Fatalf("%s of a broken device: panic: %v\nrule: a broken device returns errors", what, panicked)
		}
		if t.Failed() {
			t.FailNow()
		}
	case <-time.After(30 * time.Second):
		t.Fatalf("%s of a broken device does not return\nrule: a broken device returns errors", what)
	}
}

//go:build !nogpu && linux

package cudatest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/zerosearch-go/zerosearch/kernels/cuda"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/fake"
)

// Results of the driver's functions: CUresult.
const (
	OutOfMemory  = fake.OutOfMemory
	LaunchFailed = fake.LaunchFailed
)

// Failure is what goes wrong in a run of EachFailure.
type Failure struct {
	Function string // of the driver, without "cu" and suffix: "MemAllocAsync", "LaunchKernel"
	Result   int    // what a call of it returns once
	Lost     bool   // instead: the call succeeds, but the GPU is lost then
	Runs     int    // at most so many calls fail, spread evenly over all; 0: each
}

// EachKind is EachFailure for memory that runs out at each allocation, and for launches that fail and a GPU that is
// lost at 20 places, a subtest each.
func EachKind(t *testing.T, body func(d *cuda.Device) error) {
	for name, f := range map[string]Failure{
		"memory": {Function: "MemAllocAsync", Result: OutOfMemory},
		"launch": {Function: "LaunchKernel", Result: LaunchFailed, Runs: 20},
		"lost":   {Function: "LaunchKernel", Lost: true, Runs: 20},
	} {
		t.Run(name, func(t *testing.T) { EachFailure(t, f, body) })
	}
}

// EachFailure runs body with a device on a simulated GPU: once as it is, and then again and again, each time with
// another call of a function failing. body must return an error of one line where a call failed, and give back what it
// took from the device.
func EachFailure(t *testing.T, f Failure, body func(d *cuda.Device) error) {
	t.Helper()
	calls, _, err := f.run(0, body)
	if err != nil {
		t.Fatalf("without a failure: %v", err)
	}
	runs := calls
	if f.Runs > 0 {
		runs = min(runs, f.Runs)
	}
	if runs == 0 {
		t.Fatalf("%s is never called", f.Function)
	}
	for i := range runs {
		n := 1 + i*calls/runs
		_, failure, err := f.run(n, body)
		switch {
		case err != nil:
			t.Errorf("%s fails at call %d of %d: %v", f.Function, n, calls, err)
		case failure == nil:
			t.Errorf("%s fails at call %d of %d: there is no error", f.Function, n, calls)
		case strings.Contains(failure.Error(), "\n"):
			t.Errorf("%s fails at call %d of %d: the error is not one line: %v", f.Function, n, calls, failure)
		}
	}
}

// run lets call n fail, 0: none. failure is what body or closing the device returned, err what is wrong about the run.
func (f Failure) run(n int, body func(d *cuda.Device) error) (calls int, failure, err error) {
	g := A100()
	g.Fail = func(function string, _ int) int {
		if function != f.Function {
			return 0
		}
		if calls++; calls != n {
			return 0
		}
		if f.Lost {
			g.Lose()
			return 0
		}
		return f.Result
	}
	m := fake.New(g)
	x, err := m.Open(0)
	if err != nil {
		return calls, nil, fmt.Errorf("opening the GPU: %w", err)
	}
	d, failure := cuda.Open("cuda:0", x)
	if failure == nil {
		failure = body(d)
		closed := d.Close()
		if failure == nil && n == 0 {
			err = closed
		}
	}
	if n == 0 && err == nil {
		err = failure
	}
	if err == nil {
		err = m.Check()
	}
	return calls, failure, err
}

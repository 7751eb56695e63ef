package main

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/devices"
)

// check is one question to a GPU.
type check struct {
	name  string
	about string
	limit time.Duration // after which it is stopped
	env   []string      // of its process
	run   func(j *job) error
}

// discoveryName is the check without which no other makes sense.
const discoveryName = "discovery"

// checks are all of them, in the order in which they run: first whether results are right, then how fast they come.
var checks = []check{
	// It compiles every kernel for the processes that follow, which take them from the driver's cache.
	{discoveryName, "driver, GPUs and libraries", 120 * time.Second, nil, discovery},
	// The cache would hide how long the driver compiles, and what it would do for a new GPU.
	{"jit", "the driver compiles every kernel: time, registers, spills", 150 * time.Second,
		[]string{"CUDA_CACHE_DISABLE=1"}, jit},
	{"conformance", "every operation beside the reference", 180 * time.Second, nil, conformance},
	{"own", "the same of products by the program's own kernels, without cuBLAS", 120 * time.Second, withoutLibrary,
		ownProducts},
	{"bits", "a row of a product has the same bits in every batch", 90 * time.Second, nil, bits},
	{"parity", "log-probs, logits and gradients of a model beside the CPU's", 120 * time.Second, nil, parity},
	{"grpo", "log-probs recorded while sampling are those of training, bit for bit", 90 * time.Second, nil, grpo},
	{"leaks", "what is allocated is given back", 60 * time.Second, nil, leaks},
	{"faults", "memory that there is not is refused by one error, and the GPU works on", 30 * time.Second, nil, faults},
	{"signals", "interrupts reach the program while the GPU works", 30 * time.Second, nil, signals},
	{"graphs", "a recorded pass that is replayed gives the bits of the pass", 30 * time.Second, nil, graphs},
	{"bandwidth", "copies within the GPU's memory", 30 * time.Second, nil, bandwidth},
	{"products", "products of the sizes of Qwen2.5-3B", 120 * time.Second, nil, products},
	{"products-own", "the same without cuBLAS", 120 * time.Second, withoutLibrary, products},
	{"decode", "decode of Qwen2.5-3B's shape against the memory's bandwidth", 240 * time.Second, nil, decode},
	{"step", "a step of GRPO of the largest shape that fits", 300 * time.Second, nil, step},
}

// withoutLibrary leaves all products to the program's own kernels.
var withoutLibrary = []string{"ZEROSEARCH_CUBLAS=off"}

// choose are the checks whose names match.
func choose(pattern string) (out []check, err error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, c := range checks {
		if names = append(names, c.name); re.MatchString(c.name) {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no check matches %q: use some of %s", pattern, strings.Join(names, ", "))
	}
	return out, nil
}

// list prints the checks.
func list(w io.Writer, all []check) {
	for _, c := range all {
		fmt.Fprintf(w, "%-12s %4.0f s at most  %s\n", c.name, c.limit.Seconds(), c.about)
	}
}

// Statuses of a check.
const (
	passed  = "PASS"
	failed  = "FAIL"
	skipped = "SKIP"
)

// result is what a check found.
type result struct {
	Name    string             `json:"name"`
	Status  string             `json:"status"`
	Reason  string             `json:"reason,omitempty"`
	Seconds float64            `json:"seconds"`
	Lines   []string           `json:"lines,omitempty"`
	Values  map[string]float64 `json:"values,omitempty"`
}

// skip is the reason why a check cannot be made here.
type skip string

func (s skip) Error() string { return string(s) }

// job is a check under way.
type job struct {
	ctx    context.Context
	flags  flags
	line   func(string)
	values map[string]float64
	lines  []string
}

// say adds a line to what is found.
func (j *job) say(format string, args ...any) {
	for l := range strings.SplitSeq(strings.TrimRight(fmt.Sprintf(format, args...), "\n"), "\n") {
		j.lines = append(j.lines, l)
		j.line(l)
	}
}

// open opens the GPU.
func (j *job) open() (kernels.Device, error) { return devices.Open(j.flags.Device, devices.Options{}) }

// result runs c. A panic is a failure: it is how operations refuse shapes.
func (c check) result(ctx context.Context, f flags, line func(string)) (r result) {
	runtime.LockOSThread() // a GPU's context is a thread's
	defer runtime.UnlockOSThread()
	j := &job{ctx: ctx, flags: f, line: line, values: map[string]float64{}}
	began := time.Now()
	defer func() {
		if p := recover(); p != nil {
			r.Status, r.Reason = failed, fmt.Sprintf("panic: %v", p)
		}
		r.Name, r.Seconds, r.Lines, r.Values = c.name, time.Since(began).Seconds(), j.lines, j.values
	}()
	switch err := c.run(j).(type) {
	case nil:
		r.Status = passed
	case skip:
		r.Status, r.Reason = skipped, err.Error()
	default:
		r.Status, r.Reason = failed, err.Error()
	}
	return r
}

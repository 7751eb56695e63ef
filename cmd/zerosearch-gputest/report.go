package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// report is what --json writes.
type report struct {
	Version string   `json:"version"`
	Time    string   `json:"time"`
	OS      string   `json:"os"`
	Arch    string   `json:"arch"`
	CPUs    int      `json:"cpus"`
	Device  string   `json:"device"`
	Quick   bool     `json:"quick"`
	Checks  []result `json:"checks"`
	Passed  bool     `json:"passed"` // no check failed
}

func newReport(f flags) *report {
	return &report{Version: version(), Time: time.Now().UTC().Format(time.RFC3339), OS: runtime.GOOS,
		Arch: runtime.GOARCH,
		CPUs: runtime.NumCPU(), Device: f.Device, Quick: f.Quick, Passed: true}
}

func (r *report) add(x result) {
	r.Checks = append(r.Checks, x)
	r.Passed = r.Passed && x.Status != failed
}

// write writes all that is known by now: what a machine found before it was taken away is not lost.
func (r *report) write(path string) error {
	if path == "" {
		return nil
	}
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// print prints the line of a check.
func (x result) print(w io.Writer) {
	fmt.Fprintf(w, "  %s  %s, %.1f s", x.Status, x.Name, x.Seconds)
	if x.Reason != "" {
		fmt.Fprintf(w, ": %s", strings.ReplaceAll(x.Reason, "\n", "\n        "))
	}
	fmt.Fprintln(w)
}

// hints are printed in the end.
const hints = `
NVIDIA's compute-sanitizer, where it is installed, looks for wrong accesses and for races in every kernel:
  compute-sanitizer --target-processes all --tool memcheck  zerosearch-gputest --quick --limit 10m --run conformance
  compute-sanitizer --target-processes all --tool racecheck zerosearch-gputest --quick --limit 10m --run conformance
`

// end prints the sum and chooses the exit code.
func (r *report) end(stdout, stderr io.Writer) int {
	count, seconds := map[string]int{}, 0.0
	var bad []string
	for _, x := range r.Checks {
		count[x.Status]++
		seconds += x.Seconds
		if x.Status == failed {
			bad = append(bad, x.Name)
		}
	}
	fmt.Fprintf(stdout, "\n%d passed, %d failed, %d skipped, %.0f s\n", count[passed], count[failed], count[skipped],
		seconds)
	if slices.ContainsFunc(r.Checks, func(x result) bool { return x.Name == "conformance" }) {
		fmt.Fprint(stdout, hints)
	}
	if len(bad) == 0 {
		return exitPassed
	}
	fmt.Fprintf(stderr, "error: testing %s: failed: %s: please report what is printed above, or the file of --json\n",
		r.Device,
		strings.Join(bad, ", "))
	return exitFailed
}

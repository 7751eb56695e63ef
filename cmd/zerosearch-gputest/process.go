package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// message is a line that the process of a check prints: something that it found, or in the end all of it.
type message struct {
	Line   *string `json:"line,omitempty"`
	Result *result `json:"result,omitempty"`
}

// child runs the check that f names in this process.
func child(f flags, stdout, stderr io.Writer) int {
	e := json.NewEncoder(stdout)
	for _, c := range checks {
		if c.name == f.Check {
			r := c.result(context.Background(), f, func(l string) { e.Encode(message{Line: &l}) })
			if err := e.Encode(message{Result: &r}); err != nil {
				fmt.Fprintf(stderr, "error: telling the result of %s: %v\n", c.name, err)
				return exitFailed
			}
			return exitPassed
		}
	}
	fmt.Fprintf(stderr, "error: --check: there is no check %q\n", f.Check)
	return exitUsage
}

// inProcess runs c in a process of its own.
func inProcess(ctx context.Context, c check, f flags, say func(string)) result {
	began := time.Now()
	limit := c.limit
	if f.Limit > 0 {
		limit = f.Limit
	}
	r, err := watch(ctx, limit, c, f, say)
	if r == nil {
		r = &result{Name: c.name, Status: failed, Reason: err.Error(), Seconds: time.Since(began).Seconds()}
	}
	return *r
}

// watch starts the process of c and reads what it prints. Without a result there is an error.
func watch(ctx context.Context, limit time.Duration, c check, f flags, say func(string)) (r *result, err error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	timed, stop := context.WithTimeout(ctx, limit)
	defer stop()
	args := []string{"--check", c.name, "--device", f.Device, "--cases", f.Cases}
	if f.Quick {
		args = append(args, "--quick")
	}
	cmd := exec.CommandContext(timed, program, args...)
	cmd.Env = append(os.Environ(), c.env...)
	cmd.WaitDelay = 5 * time.Second // a process whose driver hangs may be slow to die
	var trace tail
	cmd.Stderr = &trace
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the process of the check: %w", err)
	}
	last := ""
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var m message
		switch err := json.Unmarshal(lines.Bytes(), &m); {
		case err != nil: // something that a library printed
			say(lines.Text())
		case m.Line != nil:
			last = *m.Line
			say(last)
		case m.Result != nil:
			r = m.Result
		}
	}
	err = cmd.Wait()
	switch {
	case r != nil:
		return r, nil
	case errors.Is(timed.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("it did not end in %v and was stopped", limit)
	case err == nil:
		err = errors.New("its process ended without a result")
	default:
		err = fmt.Errorf("its process ended: %w", err)
	}
	if why := trace.reason(); why != "" {
		err = fmt.Errorf("%w: %s", err, why)
	}
	if last != "" {
		err = fmt.Errorf("%w (the last that it said: %s)", err, last)
	}
	return nil, err
}

// tail keeps the beginning and the end of what is written to it: the reason of a crash comes first, a long trace
// follows.
type tail struct{ head, end bytes.Buffer }

const tailBytes = 16 << 10

func (t *tail) Write(p []byte) (int, error) {
	n := min(len(p), max(0, tailBytes-t.head.Len()))
	t.head.Write(p[:n])
	t.end.Write(p[n:])
	if extra := t.end.Len() - tailBytes; extra > 0 {
		t.end.Next(extra)
	}
	return len(p), nil
}

// reason is the line that says why a process died, or its last one.
func (t *tail) reason() string {
	text := strings.TrimSpace(t.head.String() + t.end.String())
	all := strings.Split(text, "\n")
	for _, l := range all {
		for _, begin := range []string{"panic: ", "fatal error: ", "SIG", "runtime: ", "error: "} {
			if strings.HasPrefix(l, begin) {
				return strings.TrimSpace(l)
			}
		}
	}
	return strings.TrimSpace(all[len(all)-1])
}

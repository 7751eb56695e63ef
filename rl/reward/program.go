package reward

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// Program is a Scorer outside this process: a program that runs as long as the training does and speaks JSON lines. It reads an Attempt
// with its running number a line,
//
//	{"n":1,"question_id":"...","question":"...","golden_answers":["..."],"data_source":"nq","answer":"..." or null,"status":"answered",
//	 "turns":[{"text":"...","action":"search","query":"...","documents":["..."]}, ...],"columns":{...}}
//
// and writes one line for each, in order: {"reward": 0.5}, or {"n": 1, "reward": 0.5}, and then the number is checked. It must flush its
// output after each line, and ends when its input does. What it writes to standard error is passed on.
type Program struct {
	// Command is the program and its arguments.
	Command []string
	// Workers is how many of it run at once (default 1). Attempt i of a call goes to worker i modulo Workers, so results do not depend
	// on their speed.
	Workers int
	// Timeout bounds the wait for one line of output (default a minute).
	Timeout time.Duration
	// Stderr takes what the program says (default os.Stderr).
	Stderr io.Writer

	workers []*worker
}

// Start starts the workers; a program that cannot be started fails here. Score does it where it was not done.
func (p *Program) Start() error {
	if p.workers != nil {
		return nil
	}
	if p.Timeout <= 0 {
		p.Timeout = time.Minute
	}
	out := p.Stderr
	if out == nil {
		out = os.Stderr
	}
	shared := &lockedWriter{w: out}
	for range max(1, p.Workers) {
		w, err := startWorker(p.Command, shared)
		if err != nil {
			p.Close()
			return fmt.Errorf("starting the reward program %s: %w: give an executable file, as in exec:./reward.py", p.name(), err)
		}
		p.workers = append(p.workers, w)
	}
	return nil
}

func (p *Program) name() string { return strings.Join(p.Command, " ") }

// Score asks the program about each attempt. One that dies, hangs or does not speak the protocol ends the call with an error that names
// it and the line, and is ended itself.
func (p *Program) Score(ctx context.Context, attempts []Attempt) ([]float64, error) {
	if err := p.Start(); err != nil {
		return nil, err
	}
	out, errs := make([]float64, len(attempts)), make([]error, len(p.workers))
	var g sync.WaitGroup
	for k, w := range p.workers {
		g.Go(func() {
			var mine []Attempt
			for i := k; i < len(attempts); i += len(p.workers) {
				mine = append(mine, attempts[i])
			}
			rewards, err := w.exchange(ctx, mine, p.Timeout)
			for i, r := range rewards {
				out[k+i*len(p.workers)] = r
			}
			errs[k] = err
		})
	}
	g.Wait()
	for _, err := range errs {
		if err != nil {
			p.end(0)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, fmt.Errorf("reward program %s: %w", p.name(), err)
		}
	}
	return out, nil
}

// Close ends the workers: first their input, and after a moment themselves.
func (p *Program) Close() error {
	p.end(time.Second)
	return nil
}

func (p *Program) end(patience time.Duration) {
	var g sync.WaitGroup
	for _, w := range p.workers {
		g.Go(func() { w.close(patience) })
	}
	g.Wait()
	p.workers = nil
}

// lockedWriter lets several workers write whole pieces.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// tail passes on what is written and remembers the end of it.
type tail struct {
	mu   sync.Mutex
	w    io.Writer
	last []byte
}

const tailBytes = 4096

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	if t.last = append(t.last, b...); len(t.last) > tailBytes {
		t.last = append([]byte(nil), t.last[len(t.last)-tailBytes:]...)
	}
	t.mu.Unlock()
	return t.w.Write(b)
}

// words is the last line that says something, as the end of an error; "" if there is none.
func (t *tail) words() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := bytes.Split(bytes.TrimSpace(t.last), []byte("\n"))
	if last := string(bytes.TrimSpace(lines[len(lines)-1])); last != "" {
		return fmt.Sprintf(" (it said last: %s)", last)
	}
	return ""
}

var errTooLong = errors.New("longer than a megabyte")

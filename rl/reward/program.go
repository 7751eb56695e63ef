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

// Program is a Scorer in another process: a program that runs as long as the training does, and reads and writes JSON
// lines. It reads one Attempt with its running number in each line,
//
//	{"n":1,"question_id":"...","question":"...","golden_answers":["..."],"data_source":"nq","answer":"..." or null,"status":"answered",
//	 "turns":[{"text":"...","action":"search","query":"...","documents":["..."]}, ...],"columns":{...}}
//
// and writes one line for each, in the same order: {"reward": 0.5} or {"n": 1, "reward": 0.5}. If n is given it must be
// the number of the attempt. The program must flush its output after each line, and exit when its input ends. Its
// standard error is passed on.
type Program struct {
	// Command is the program and its arguments.
	Command []string
	// Workers is the number of processes of the program (default 1). Attempt i of a call goes to worker i modulo
	// Workers, so the results do not depend on the speed of the workers.
	Workers int
	// Timeout is the longest wait for one line of output (default one minute).
	Timeout time.Duration
	// Stderr receives the standard error of the program (default os.Stderr).
	Stderr io.Writer

	workers []*worker
}

// Start starts the workers. A program that cannot be started is reported here. Score calls Start if it was not called
// before.
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
			return fmt.Errorf("starting the reward program %s: %w: give an executable file, as in exec:./reward.py",
				p.name(), err)
		}
		p.workers = append(p.workers, w)
	}
	return nil
}

func (p *Program) name() string { return strings.Join(p.Command, " ") }

// Score asks the program for the reward of each attempt. If a worker dies, hangs or breaks the protocol, all workers
// are ended, and the error names the program and the line.
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

// Close ends the input of the workers, and kills those that have not exited after a second.
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

// lockedWriter keeps concurrent writes of several workers apart.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// tail passes on everything that is written and keeps the last tailBytes bytes for errors.
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

// lastLine is the last line that is not blank, as the end of an error message; "" if there is none.
func (t *tail) lastLine() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := bytes.Split(bytes.TrimSpace(t.last), []byte("\n"))
	if last := string(bytes.TrimSpace(lines[len(lines)-1])); last != "" {
		return fmt.Sprintf(" (its last line on standard error: %s)", last)
	}
	return ""
}

var errTooLong = errors.New("longer than a megabyte")

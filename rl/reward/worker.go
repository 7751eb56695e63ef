package reward

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"time"
)

// maxAnswer bounds a line of a reward program.
const maxAnswer = 1 << 20

// worker is one running reward program.
type worker struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan []byte   // its output; closed at its end
	bad   error         // why the output was left before its end; read it after lines is closed
	ended chan struct{} // closed when the process is gone
	exit  error         // how it ended; read it after ended is closed
	said  *tail
	n     int // attempts sent so far
	once  sync.Once
}

func startWorker(command []string, stderr io.Writer) (*worker, error) {
	w := &worker{cmd: exec.Command(command[0], command[1:]...), lines: make(chan []byte, 64), ended: make(chan struct{}), said: &tail{w: stderr}}
	w.cmd.Stderr = w.said
	w.cmd.WaitDelay = time.Second // for children of it that hold its output open
	ownGroup(w.cmd)
	var err error
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, pw := io.Pipe() // not StdoutPipe: Wait may then run beside the reader
	w.cmd.Stdout = pw
	if err := w.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		w.exit = w.cmd.Wait()
		close(w.ended)
		pw.Close()
	}()
	go w.read(out)
	return w, nil
}

// read hands the lines over. What nobody takes stays in the pipes.
func (w *worker) read(out *io.PipeReader) {
	defer close(w.lines)
	r := bufio.NewReaderSize(out, maxAnswer)
	for {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			w.bad = errTooLong
			out.CloseWithError(errTooLong)
			return
		}
		if err != nil && len(bytes.TrimSpace(line)) == 0 {
			return
		}
		select {
		case w.lines <- bytes.Clone(line):
		case <-w.ended:
			select { // an answer may still be wanted
			case w.lines <- bytes.Clone(line):
			case <-time.After(time.Second):
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// exchange sends attempts and reads their rewards.
func (w *worker) exchange(ctx context.Context, attempts []Attempt, timeout time.Duration) ([]float64, error) {
	first := w.n + 1
	w.n += len(attempts)
	select {
	case line, ok := <-w.lines:
		if !ok {
			return nil, w.gone(first)
		}
		return nil, fmt.Errorf("it printed %s before it was asked for line %d: it must print one line for each it reads, and nothing else", quoted(line), first)
	default:
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	for i, a := range attempts {
		if err := enc.Encode(struct {
			N int `json:"n"`
			Attempt
		}{first + i, a}); err != nil {
			return nil, fmt.Errorf("line %d cannot be written as JSON: %w", first+i, err)
		}
	}
	go w.in.Write(text.Bytes()) // a program that does not read is found by its silence
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	out := make([]float64, 0, len(attempts))
	for i := range attempts {
		timer.Reset(timeout)
		select {
		case <-ctx.Done():
			return out, ctx.Err()
		case <-timer.C:
			return out, fmt.Errorf("no answer to line %d for %v%s: let it flush its output after each line, or raise --reward-timeout", first+i, timeout, w.said.words())
		case line, ok := <-w.lines:
			if !ok {
				return out, w.gone(first + i)
			}
			r, err := parseAnswer(line, first+i)
			if err != nil {
				return out, fmt.Errorf("its answer to line %d, %s, %w%s: it must print {\"reward\": NUMBER} for each line it reads, and nothing else",
					first+i, quoted(line), err, w.said.words())
			}
			out = append(out, r)
		}
	}
	return out, nil
}

// gone says how a program ended that should not have.
func (w *worker) gone(line int) error {
	if w.bad != nil {
		return fmt.Errorf("its answer to line %d is %w: it must print {\"reward\": NUMBER} for each line it reads, and nothing else", line, w.bad)
	}
	<-w.ended
	how := "it ended"
	if w.exit != nil {
		how = fmt.Sprintf("it ended with %v", w.exit)
	}
	return fmt.Errorf("%s before its answer to line %d%s: run it by hand on one line of input", how, line, w.said.words())
}

// parseAnswer reads {"reward": x}; n is checked where it is given.
func parseAnswer(line []byte, n int) (float64, error) {
	var a struct {
		N      *int     `json:"n"`
		Reward *float64 `json:"reward"`
	}
	switch err := json.Unmarshal(line, &a); {
	case err != nil || a.Reward == nil:
		return 0, errors.New("holds no reward")
	case a.N != nil && *a.N != n:
		return 0, fmt.Errorf("is that of line %d", *a.N)
	}
	return *a.Reward, nil
}

// quoted is the beginning of a line, for an error.
func quoted(line []byte) string {
	line = bytes.TrimSpace(line)
	if len(line) > 80 {
		return fmt.Sprintf("%q...", line[:80])
	}
	return fmt.Sprintf("%q", line)
}

// close ends the program's input and, where that is not enough, the program and its children.
func (w *worker) close(patience time.Duration) {
	w.once.Do(func() {
		w.in.Close()
		go func() { // let it write what it still wants to
			for range w.lines {
			}
		}()
		select {
		case <-w.ended:
		case <-time.After(patience):
			killGroup(w.cmd)
			<-w.ended
		}
	})
}

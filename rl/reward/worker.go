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

// maxAnswer is the largest length of a line that a reward program may print, in bytes.
const maxAnswer = 1 << 20

// worker is one running process of a reward program.
type worker struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	lines   chan []byte   // the lines of its output; closed when the output ends
	readErr error         // why reading the output stopped before its end; read it after lines is closed
	ended   chan struct{} // closed when the process has exited
	exit    error         // its exit status; read it after ended is closed
	stderr  *tail         // its standard error
	n       int           // attempts sent so far
	once    sync.Once
}

func startWorker(command []string, stderr io.Writer) (*worker, error) {
	w := &worker{cmd: exec.Command(command[0], command[1:]...), lines: make(chan []byte, 64),
		ended: make(chan struct{}), stderr: &tail{w: stderr}}
	w.cmd.Stderr = w.stderr
	w.cmd.WaitDelay = time.Second // do not wait longer for child processes that keep its output open
	ownGroup(w.cmd)
	var err error
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, pw := io.Pipe() // not StdoutPipe, which must be read to its end before Wait is called
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

// read sends the lines of the output to w.lines. It reads no further than the receiver does.
func (w *worker) read(out *io.PipeReader) {
	defer close(w.lines)
	r := bufio.NewReaderSize(out, maxAnswer)
	for {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			w.readErr = errTooLong
			out.CloseWithError(errTooLong)
			return
		}
		if err != nil && len(bytes.TrimSpace(line)) == 0 {
			return
		}
		select {
		case w.lines <- bytes.Clone(line):
		case <-w.ended:
			select { // the answer may still be received
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
		return nil,
			fmt.Errorf("it printed %s before it was asked for line %d: it must print one line for each it reads, and "+
				"nothing else", quoted(line), first)
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
	go w.in.Write(text.Bytes()) // if the program does not read, its answer is missing and the timeout ends the exchange
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	out := make([]float64, 0, len(attempts))
	for i := range attempts {
		timer.Reset(timeout)
		select {
		case <-ctx.Done():
			return out, ctx.Err()
		case <-timer.C:
			return out,
				fmt.Errorf(
					"no answer to line %d for %v%s: make it flush its output after each line, or raise --reward-timeout", first+i, timeout, w.stderr.lastLine())
		case line, ok := <-w.lines:
			if !ok {
				return out, w.gone(first + i)
			}
			r, err := parseAnswer(line, first+i)
			if err != nil {
				return out, fmt.Errorf("its answer to line %d, %s, %w%s: it must print {\"reward\": NUMBER} for each "+
					"line it reads, and nothing else",
					first+i, quoted(line), err, w.stderr.lastLine())
			}
			out = append(out, r)
		}
	}
	return out, nil
}

// gone is the error of a program that ended too early.
func (w *worker) gone(line int) error {
	if w.readErr != nil {
		return fmt.Errorf(
			"its answer to line %d is %w: it must print {\"reward\": NUMBER} for each line it reads, and nothing else",
			line, w.readErr)
	}
	<-w.ended
	how := "it ended"
	if w.exit != nil {
		how = fmt.Sprintf("it ended with %v", w.exit)
	}
	return fmt.Errorf("%s before its answer to line %d%s: run it by hand on one line of input", how, line,
		w.stderr.lastLine())
}

// parseAnswer reads {"reward": x}. If the line has an n, it must be n.
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

// quoted is the beginning of a line in quotes, for an error.
func quoted(line []byte) string {
	line = bytes.TrimSpace(line)
	if len(line) > 80 {
		return fmt.Sprintf("%q...", line[:80])
	}
	return fmt.Sprintf("%q", line)
}

// close ends the program's input. If the program has not exited after patience, it and its child processes are killed.
func (w *worker) close(patience time.Duration) {
	w.once.Do(func() {
		w.in.Close()
		go func() { // discard the remaining output, so that the program is not blocked
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

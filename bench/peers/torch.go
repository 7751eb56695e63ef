package peers

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
)

//go:embed server.py
var serverSource string

// Torch is a Python process with PyTorch, which runs server.py.
type Torch struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Scanner
	Version string
}

// Work is what Torch is asked to do: matmul, train or score.
type Work struct {
	Do        string  `json:"do"`
	DType     string  `json:"dtype,omitempty"`
	M         int     `json:"m,omitempty"`
	K         int     `json:"k,omitempty"`
	N         int     `json:"n,omitempty"`
	Least     float64 `json:"least,omitempty"`
	Model     string  `json:"model,omitempty"`
	Sequences int     `json:"sequences,omitempty"`
	Length    int     `json:"length,omitempty"`
}

// StartTorch runs the interpreter. Close ends it.
func StartTorch(ctx context.Context, python string, threads int) (*Torch, error) {
	s := &Torch{cmd: exec.CommandContext(ctx, python, "-c", serverSource, strconv.Itoa(threads))}
	s.cmd.Env = torchEnv()
	s.cmd.Stderr = os.Stderr
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		s.in, err = s.cmd.StdinPipe()
	}
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w: give --python an interpreter with torch", python, err)
	}
	s.out = bufio.NewScanner(out)
	hello, err := s.answer()
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("starting %s: %w: give --python an interpreter with torch", python, err)
	}
	s.Version = hello.Version
	return s, nil
}

// PID is the process.
func (s *Torch) PID() int { return s.cmd.Process.Pid }

// Ask returns the seconds that the work took.
func (s *Torch) Ask(r Work) (float64, error) {
	line, err := json.Marshal(r)
	if err != nil {
		return 0, err
	}
	if _, err := s.in.Write(append(line, '\n')); err != nil {
		return 0, fmt.Errorf("asking torch: %w", err)
	}
	a, err := s.answer()
	if err != nil {
		return 0, fmt.Errorf("asking torch: %w", err)
	}
	if !(a.Seconds > 0) {
		return 0, fmt.Errorf("asking torch: it says that %s took %v seconds", r.Do, a.Seconds)
	}
	return a.Seconds, nil
}

// reply is a line of server.py's output.
type reply struct {
	Version, Error string
	Seconds        float64
}

func (s *Torch) answer() (reply, error) {
	if !s.out.Scan() {
		if err := s.out.Err(); err != nil {
			return reply{}, err
		}
		return reply{}, errors.New("it ended without an answer")
	}
	return parseReply(s.out.Bytes())
}

func parseReply(line []byte) (a reply, err error) {
	if err = json.Unmarshal(line, &a); err != nil {
		return a, fmt.Errorf("its answer is not JSON: %w", err)
	}
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}

// Close ends the process.
func (s *Torch) Close() {
	s.in.Close()
	_ = s.cmd.Wait()
}

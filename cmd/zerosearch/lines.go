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

	"github.com/zerosearch-go/zerosearch/internal/pyjson"
	"github.com/zerosearch-go/zerosearch/rl/data"
)

// maxLine bounds a request line.
const maxLine = 64 << 20

// linesAhead is how many requests are worked on at once: the engine batches whatever is pending.
const linesAhead = 32

// input opens the file of requests, or stdin for "" and "-".
func (w *world) input(path string) (io.ReadCloser, error) {
	if path == "" || path == "-" {
		return io.NopCloser(w.in), nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the requests: %w", err)
	}
	return f, nil
}

// reply is the answer of a line, once it is known.
type reply struct {
	n   int // of the line, from 1
	ans any
	err error
}

// eachLine answers JSON-lines requests, several at once: one answer a line, in the order of the lines, each as soon as
// it and all before it are known. begin takes the requests in order and returns the work, which runs beside that of
// other lines. A bad line is answered with its error and the rest goes on; the error returned says at the end that
// there was one.
func eachLine[Req, Ans any](w *world, in io.Reader, begin func(n int, r Req) func(ctx context.Context) (Ans,
	error)) error {
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	queue := make(chan chan reply, linesAhead)
	var readErr error
	go func() {
		defer close(queue)
		readErr = requests(ctx, in, func(n int, line []byte) {
			out := make(chan reply, 1)
			select {
			case queue <- out:
			case <-ctx.Done():
				return
			}
			var req Req
			if err := pyjson.Unmarshal(line, &req); err != nil {
				out <- reply{n: n, err: fmt.Errorf("line %d is not a request: %w", n, err)}
				return
			}
			work := begin(n, req)
			go func() { out <- answerLine(ctx, n, work) }()
		})
	}()
	bad, err := drain(ctx, w.out, queue)
	switch {
	case err != nil:
		return err
	case readErr != nil:
		return readErr
	case bad > 0:
		return fmt.Errorf("answering the requests: %d of them could not be answered: see \"error\" in the output", bad)
	}
	return nil
}

// drain writes the answers in order.
func drain(ctx context.Context, out io.Writer, queue <-chan chan reply) (bad int, err error) {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for {
		var r reply
		select {
		case next, more := <-queue:
			if !more {
				return bad, nil
			}
			r = <-next
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return bad, ctx.Err()
		}
		if r.err != nil {
			bad++
			r.ans = map[string]string{"error": errorLine(r.err)}
		}
		if err := enc.Encode(r.ans); err != nil {
			return bad, fmt.Errorf("writing the answer of line %d: %w", r.n, err)
		}
	}
}

// answerLine does the work of one request. A panic is the error of its line.
func answerLine[Ans any](ctx context.Context, n int, work func(context.Context) (Ans, error)) (r reply) {
	r.n = n
	defer func() {
		if p := recover(); p != nil {
			r.err = unexpected(p)
		}
	}()
	r.ans, r.err = work(ctx)
	return r
}

// requests calls each with every line that is not blank.
func requests(ctx context.Context, in io.Reader, each func(n int, line []byte)) error {
	r, err := data.Text(in)
	if err != nil {
		return fmt.Errorf("reading the requests: %w", err)
	}
	for n := 1; ctx.Err() == nil; n++ {
		line, err := readLine(r)
		if err != nil && err != io.EOF {
			return fmt.Errorf("reading request line %d: %w", n, err)
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			each(n, line)
		}
		if err == io.EOF {
			return nil
		}
	}
	return nil
}

func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
		if len(line) > maxLine {
			return nil, fmt.Errorf("it is longer than %d MiB", maxLine>>20)
		}
	}
}

// writeJSON prints one object on stdout.
func writeJSON(w *world, v any) error {
	enc := json.NewEncoder(w.out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}

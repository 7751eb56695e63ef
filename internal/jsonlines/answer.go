// Package jsonlines answers requests that are lines of JSON.
package jsonlines

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/zerosearch-go/zerosearch/internal/pyjson"
)

// MaxLine is the length of the longest request, in bytes.
const MaxLine = 64 << 20

// Ahead is how many requests are worked on at once: the engine batches whatever is pending.
const Ahead = 32

// Texts make texts of errors.
type Texts struct {
	Error func(err error) string // what a request that failed is answered with
	Panic func(value any) error  // the error of a request whose work panicked
}

// reply is the answer of a line, once it is known.
type reply struct {
	n   int // of the line, from 1
	ans any
	err error
}

// Answer answers the requests of in, a line each, on out: one answer a line, in the order of the requests, each as soon
// as it and all before it are known. begin takes the requests in order and returns the work, which runs beside that of
// other requests. A request that fails is answered with {"error": TEXT} and the rest goes on; the error returned says
// at the end that there was one.
func Answer[Req, Ans any](ctx context.Context, in *bufio.Reader, out io.Writer, texts Texts,
	begin func(n int, r Req) func(ctx context.Context) (Ans, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	queue := make(chan chan reply, Ahead)
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
			go func() { out <- answer(ctx, n, texts, work) }()
		})
	}()
	bad, err := write(ctx, out, texts, queue)
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

// write writes the answers in order.
func write(ctx context.Context, out io.Writer, texts Texts, queue <-chan chan reply) (bad int, err error) {
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
			r.ans = map[string]string{"error": texts.Error(r.err)}
		}
		if err := enc.Encode(r.ans); err != nil {
			return bad, fmt.Errorf("writing the answer of line %d: %w", r.n, err)
		}
	}
}

// answer does the work of one request. A panic is the error of its line.
func answer[Ans any](ctx context.Context, n int, texts Texts, work func(context.Context) (Ans, error)) (r reply) {
	r.n = n
	defer func() {
		if p := recover(); p != nil {
			r.err = texts.Panic(p)
		}
	}()
	r.ans, r.err = work(ctx)
	return r
}

// requests calls each with every line that is not blank.
func requests(ctx context.Context, in *bufio.Reader, each func(n int, line []byte)) error {
	for n := 1; ctx.Err() == nil; n++ {
		line, err := readLine(in)
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
		if len(line) > MaxLine {
			return nil, fmt.Errorf("it is longer than %d MiB", MaxLine>>20)
		}
	}
}

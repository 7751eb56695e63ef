package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/zerosearch-go/zerosearch/internal/jsonlines"
	"github.com/zerosearch-go/zerosearch/rl/data"
)

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

// eachLine answers the requests of in on stdout: see jsonlines.Answer.
func eachLine[Req, Ans any](w *world, in io.Reader, begin func(n int, r Req) func(ctx context.Context) (Ans,
	error)) error {
	text, err := data.Text(in)
	if err != nil {
		return fmt.Errorf("reading the requests: %w", err)
	}
	return jsonlines.Answer(w.ctx, text, w.out, jsonlines.Texts{Error: errorLine, Panic: unexpected}, begin)
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

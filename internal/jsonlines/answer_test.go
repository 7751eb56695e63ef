package jsonlines

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type request struct {
	N    int
	Fail string
}

// Answers come in the order of the requests, whatever order they are known in; what fails, panics or is no request is
// answered with its error, and the rest goes on.
func TestAnswer(t *testing.T) {
	texts := Texts{Error: error.Error, Panic: func(v any) error { return fmt.Errorf("panic %v", v) }}
	var in strings.Builder
	for n := range 100 {
		fmt.Fprintf(&in, "{\"N\":%d}\n\n", n)
	}
	in.WriteString("{\"N\":\n{\"Fail\":\"error\"}\n{\"Fail\":\"panic\"}\n{\"N\":100}")
	var out bytes.Buffer
	begun := 0
	err := Answer(t.Context(), bufio.NewReader(strings.NewReader(in.String())), &out, texts,
		func(n int, r request) func(context.Context) (int, error) {
			if begun++; r.N < 100 && r.Fail == "" {
				require.Equal(t, r.N, begun-1, "in order")
			}
			return func(context.Context) (int, error) {
				switch r.Fail {
				case "error":
					return 0, errors.New("failed")
				case "panic":
					panic("here")
				}
				time.Sleep(time.Duration(r.N%7) * time.Millisecond)
				return r.N, nil
			}
		})
	require.EqualError(t, err, `answering the requests: 3 of them could not be answered: see "error" in the output`)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 104)
	for n, line := range lines[:100] {
		require.Equal(t, fmt.Sprint(n), line)
	}
	require.Contains(t, lines[100], `{"error":"line 201 is not a request: `)
	require.Equal(t, []string{`{"error":"failed"}`, `{"error":"panic here"}`, "100"}, lines[101:])

	ctx, cancel := context.WithCancel(t.Context())
	err = Answer(ctx, bufio.NewReader(strings.NewReader("{}\n{}\n")), &out, texts,
		func(int, request) func(context.Context) (int, error) {
			return func(ctx context.Context) (int, error) {
				cancel()
				<-ctx.Done()
				return 0, ctx.Err()
			}
		})
	require.ErrorIs(t, err, context.Canceled)
	long := bufio.NewReader(strings.NewReader(strings.Repeat("x", MaxLine+1<<20)))
	err = Answer(t.Context(), long, &out, texts, func(int, request) func(context.Context) (int, error) { return nil })
	require.EqualError(t, err, "reading request line 1: it is longer than 64 MiB")
}

// Package console reads what a person types.
package console

import (
	"bufio"
	"context"
	"io"
)

// Lines are the lines of an input, read by a goroutine of their own, so that waiting for the next one can be cancelled.
type Lines struct {
	lines  chan string
	failed chan error
}

// Read begins to read lines of at most longest bytes, until in or ctx ends.
func Read(ctx context.Context, in io.Reader, longest int) *Lines {
	l := &Lines{lines: make(chan string), failed: make(chan error, 1)}
	go func() {
		defer close(l.lines)
		scan := bufio.NewScanner(in)
		scan.Buffer(nil, longest)
		for scan.Scan() {
			select {
			case l.lines <- scan.Text():
			case <-ctx.Done():
				return
			}
		}
		l.failed <- scan.Err()
	}()
	return l
}

// Next waits for the next line; more is false at the end of the input. The error is that of ctx, or of reading.
func (l *Lines) Next(ctx context.Context) (text string, more bool, err error) {
	select {
	case <-ctx.Done():
		return "", false, ctx.Err()
	case text, more = <-l.lines:
		if more {
			return text, true, nil
		}
	}
	if err := ctx.Err(); err != nil { // reading may have ended because of it
		return "", false, err
	}
	err = <-l.failed
	l.failed <- err
	return "", false, err
}

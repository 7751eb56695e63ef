package main

import (
	"context"
	"errors"
	"io"
	"sync/atomic"

	"github.com/alecthomas/kong"

	"github.com/zerosearch-go/zerosearch/engine/dist"
)

// start runs the verb.
func start(kctx *kong.Context, stdin io.Reader, stdout io.Writer, log *progress) int {
	w, stop := newWorld(stdin, stdout, log)
	defer stop()
	w.flags = kctx
	return w.report(kctx.Run(w))
}

// world is what a verb uses besides its flags: context, streams, log.
type world struct {
	ctx   context.Context
	in    io.Reader
	out   io.Writer
	log   *progress
	flags *kong.Context
	ranks dist.Group // that this process has joined; nil: it does not
	again string     // of a bundle: the command that goes on with its run

	stdout    *outlet                       // behind out
	finishing atomic.Pointer[func() string] // what is finished before a stop; nil: nothing
}

// report prints an error in one line and returns the exit code.
func (w *world) report(err error) int {
	var usage usageError
	w.log.done()
	switch {
	case w.nobodyReads():
		return exitUnread
	case err == nil:
		return exitDone
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case errors.Is(err, errStopped):
		return exitStopped
	case errors.Is(err, context.Canceled) && w.ctx.Err() != nil:
		w.log.line("interrupted")
		return exitInterrupted
	}
	w.log.line("error: %s%s", errorLine(err), advice(err))
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/term"
)

// newWorld listens for signals until stop is called: SIGINT, SIGTERM and SIGHUP (the terminal is gone) ask for a stop
// in good order, and a second SIGINT or SIGTERM ends the program at once. SIGHUP that is ignored from the start, as
// under nohup, stays ignored; a second one ends nothing, because a terminal that closes may send two. A closed pipe
// ends no program: see outlet.
func newWorld(stdin io.Reader, stdout io.Writer, log *progress) (w *world, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	w = &world{ctx: ctx, in: stdin, log: log}
	w.stdout = &outlet{w: stdout, unread: cancel}
	if f, ok := stdout.(*os.File); ok {
		w.stdout.tty = term.IsTerminal(int(f.Fd()))
	}
	w.out = w.stdout
	asked, pipe, ended := make(chan os.Signal, 4), make(chan os.Signal, 1), make(chan struct{})
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	signal.Notify(asked, signals...)
	signal.Notify(pipe, syscall.SIGPIPE) // a write returns an error instead
	go func() {
		for {
			select {
			case s := <-asked:
				if s != syscall.SIGHUP {
					signal.Reset(os.Interrupt, syscall.SIGTERM) // the next one does what it does to every program
				}
				if ctx.Err() == nil {
					cancel()
					w.heard(s)
				}
			case <-ended:
				return
			}
		}
	}()
	return w, func() {
		signal.Stop(asked)
		signal.Stop(pipe)
		close(ended)
		cancel()
	}
}

// heard prints at once what the program does about a signal.
func (w *world) heard(s os.Signal) {
	doing := "stopping"
	if f := w.finishing.Load(); f != nil {
		doing = (*f)()
	}
	switch s {
	case os.Interrupt:
		w.log.sentence(0, fmt.Sprintf("interrupted: %s; press Ctrl-C again to stop at once", doing))
	case syscall.SIGHUP:
		w.log.line("the terminal is gone: %s", doing)
	default:
		w.log.sentence(0, fmt.Sprintf("told to stop: %s; a second SIGTERM stops at once", doing))
	}
}

// finish makes the answer to a signal say what is finished first.
func (w *world) finish(what func() string) { w.finishing.Store(&what) }

// outlet is standard output. When nobody reads it any more (head has seen enough, a terminal was closed), a verb whose
// work lies in files goes on without printing; any other ends, quietly, as programs do that do not catch SIGPIPE.
type outlet struct {
	mu     sync.Mutex
	w      io.Writer
	tty    bool
	goesOn bool   // the work lies in files
	gone   bool   // nobody reads
	unread func() // called, unless the verb goes on, when gone becomes true
}

// exitUnread is what a shell makes of SIGPIPE.
const exitUnread = 128 + 13

// Write fails only for reasons that the user should hear of.
func (o *outlet) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.gone {
		return len(p), nil
	}
	n, err := o.w.Write(p)
	if errors.Is(err, syscall.EPIPE) || isClosedPipe(err) || o.tty && errors.Is(err, syscall.EIO) {
		o.gone = true
		if !o.goesOn {
			o.unread()
		}
		return len(p), nil
	}
	return n, err
}

// isClosedPipe knows the errors of Windows, which are no EPIPE: ERROR_BROKEN_PIPE and ERROR_NO_DATA.
func isClosedPipe(err error) bool {
	var n syscall.Errno
	return runtime.GOOS == "windows" && errors.As(err, &n) && (n == 109 || n == 232)
}

// keepsGoing is called by verbs whose work lies in files.
func (w *world) keepsGoing() {
	w.stdout.mu.Lock()
	defer w.stdout.mu.Unlock()
	w.stdout.goesOn = true
}

// nobodyReads reports that the verb ended because its output was not read any more.
func (w *world) nobodyReads() bool {
	w.stdout.mu.Lock()
	defer w.stdout.mu.Unlock()
	return w.stdout.gone && !w.stdout.goesOn
}

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/sft"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// Exit codes of the contract.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitStopped     = 3
	exitInterrupted = 130
)

// errInterrupted says that work stopped early, and was saved, because the user asked for it.
var errInterrupted = errors.New("interrupted")

// errStopped says that a run ended early, and was saved, because it crossed a threshold that the user named.
var errStopped = errors.New("stopped")

type exitPanic int

// advice says what to do about errors of the system that the packages below do not explain.
func advice(err error) string {
	var sys syscall.Errno
	if !errors.As(err, &sys) || !strings.HasSuffix(err.Error(), sys.Error()) {
		return ""
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ": check the name"
	case errors.Is(err, fs.ErrPermission):
		return ": check the permissions, or choose another place"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return ": make room, or choose another place"
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.EROFS):
		return ": choose another place"
	case errors.Is(err, syscall.ENOMEM):
		return ": use a smaller model or batch"
	}
	return ""
}

// usageError is a mistake in the flags, found after parsing.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// unexpected is the error of a panic: a fault of this program, not of its user.
func unexpected(r any) error {
	stack := debug.Stack()
	if p, ok := r.(*kernels.Panic); ok { // of a device's own goroutine
		r, stack = p.Value, p.Stack
	}
	if slow, ok := r.(*tokenizer.PatternError); ok {
		return slow
	}
	at := "run again with GOTRACEBACK=all and -v"
	if os.Getenv("GOTRACEBACK") != "" {
		at = string(stack)
	}
	return fmt.Errorf("an unforeseen state: %v: this is a fault of zerosearch: please report it with the command and "+
		"the version (%s): %s", r, version(), at)
}

// errorLine is an error of the library as a user of the command reads it: on one line, with flags where it names
// fields.
func errorLine(err error) string { return oneLine(inFlags(err.Error())) }

// inFlags names flags in a text of the library that names fields.
func inFlags(text string) string { return sft.InFlags(config.InFlags(text)) }

// oneLine joins the lines of a message: the last line of stderr is the error, whole.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), " ")
}

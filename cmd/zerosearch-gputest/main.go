// Command zerosearch-gputest finds out whether the CUDA backend works on the NVIDIA GPU of this machine, and how fast
// it is. It needs the driver and nothing else: no Go, no CUDA toolkit, no models, no network.
//
//	zerosearch-gputest                        everything, about a quarter of an hour
//	zerosearch-gputest --list                 what is checked
//	zerosearch-gputest --run 'jit|bits' --json report.json
//
// Every check runs in a process of its own, which is stopped when its time is over: a kernel that fails makes a GPU
// useless to its process, and a call that never returns cannot be left in any other way.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/zerosearch-go/zerosearch/kernels/devices"
)

// flags of the command.
type flags struct {
	Device  string        `name:"device" help:"GPU to test: cuda (the first that can be used) or cuda:N." default:"cuda"`
	List    bool          `name:"list" help:"List the checks and end."`
	Run     string        `name:"run" help:"Only checks whose names match this regular expression." placeholder:"REGEXP"`
	JSON    string        `name:"json" help:"Write the results into this file, too." placeholder:"FILE"`
	Quick   bool          `name:"quick" help:"Small sizes: for compute-sanitizer, and for a first look. Nothing is timed."`
	Cases   string        `name:"cases" help:"Only cases of the conformance suite whose names match." placeholder:"REGEXP"`
	Limit   time.Duration `name:"limit" help:"Stop each check after this time instead of its own limit." placeholder:"DURATION"`
	Check   string        `name:"check" help:"Run one check in this process and print what it finds as JSON lines." hidden:""`
	Version bool          `name:"version" help:"Print the version."`
}

// Exit codes, those of the command zerosearch.
const (
	exitPassed      = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr, inProcess)) }

// perform runs a check of f; say is told its lines at once.
type perform func(ctx context.Context, c check, f flags, say func(line string)) result

// run is main with its world as arguments; it returns the exit code.
func run(args []string, stdout, stderr io.Writer, do perform) (code int) {
	defer func() {
		if r := recover(); r != nil {
			exit, ok := r.(exitPanic)
			if !ok {
				panic(r)
			}
			code = int(exit)
		}
	}()
	fail := func(code int, format string, args ...any) int {
		fmt.Fprintf(stderr, "error: "+format+"\n", args...)
		return code
	}
	var f flags
	parser, err := kong.New(&f, kong.Name("zerosearch-gputest"), kong.Writers(stdout, stderr),
		kong.Description("Find out whether the CUDA backend works on the GPU of this machine, and how fast it is.\n\n"+
			"Exit status 0: every check passed or had a reason to be skipped. 1: a check failed, or there is no GPU. "+
			"2: wrong usage."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 120}),
		kong.Exit(func(c int) { panic(exitPanic(c)) }))
	if err != nil {
		return fail(exitFailed, "building the command line: %v", err)
	}
	if _, err = parser.Parse(args); err != nil {
		return fail(exitUsage, "%v: see zerosearch-gputest --help", err)
	}
	if f.Version {
		fmt.Fprintln(stdout, version())
		return exitPassed
	}
	if err := devices.Check(f.Device); err != nil || !strings.HasPrefix(f.Device, devices.CUDA) {
		return fail(exitUsage,
			"--device %q: this command tests NVIDIA GPUs: use cuda, or cuda:N with the number of a GPU", f.Device)
	}
	if f.Check != "" {
		return child(f, stdout, stderr)
	}
	chosen, err := choose(f.Run)
	if err != nil {
		return fail(exitUsage, "--run: %v", err)
	}
	if _, err := regexp.Compile(f.Cases); err != nil {
		return fail(exitUsage, "--cases: %v", err)
	}
	if f.List {
		list(stdout, chosen)
		return exitPassed
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return runAll(ctx, chosen, f, stdout, stderr, do)
}

type exitPanic int

// runAll runs the checks one after the other. Without a GPU there is nothing more to find out after the first.
func runAll(ctx context.Context, chosen []check, f flags, stdout, stderr io.Writer, do perform) int {
	r := newReport(f)
	for _, c := range chosen {
		fmt.Fprintf(stdout, "%s: %s\n", c.name, c.about)
		x := do(ctx, c, f, func(line string) { fmt.Fprintf(stdout, "        %s\n", line) })
		if ctx.Err() != nil {
			fmt.Fprintln(stderr, "interrupted")
			return exitInterrupted
		}
		x.print(stdout)
		r.add(x)
		if err := r.write(f.JSON); err != nil {
			fmt.Fprintf(stderr, "error: writing %s: %v: give --json a file that can be written\n", f.JSON, err)
			return exitFailed
		}
		if c.name == discoveryName && x.Status == failed {
			fmt.Fprintf(stderr, "error: looking for a GPU: %s\n", x.Reason)
			return exitFailed
		}
	}
	return r.end(stdout, stderr)
}

// version is what the binary was built from.
func version() string {
	b, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision, modified := b.Main.Version, ""
	for _, s := range b.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = ", changed since"
		}
	}
	return revision + modified + ", " + b.GoVersion
}

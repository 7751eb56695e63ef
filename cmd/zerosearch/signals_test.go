package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// child is the program in a process of its own, with what it printed.
type child struct {
	*exec.Cmd
	stderr said
}

// said is what a process has said so far.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func begin(t *testing.T, args ...string) *child { return beginCmd(t, self(".", args...)) }

func beginCmd(t *testing.T, cmd *exec.Cmd) *child {
	c := &child{Cmd: cmd}
	c.Stderr = &c.stderr
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
	})
	return c
}

// until waits for something to become true.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(time.Millisecond) {
		require.True(t, time.Now().Before(deadline), "%s did not come within a minute", what)
	}
}

// stepsOf counts the steps that a run directory records.
func stepsOf(dir string) int {
	text, _ := os.ReadFile(filepath.Join(dir, "metrics.jsonl"))
	return bytes.Count(text, []byte("\n")) - bytes.Count(text, []byte(`{"step":0,`)) // the measurement before step 1
}

// needSignals makes children hear signals that this process ignores, as under nohup: they would ignore them too, but
// get the default of those that it handles.
func needSignals(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no signals to send on windows")
	}
	handleIgnored()
}

var handleIgnored = sync.OnceFunc(func() {
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
})

// Each signal that asks for a stop ends a run after the step under way, saved, with exit code 130, a line that says at
// once that it was heard, and the command that goes on; going on gives the same bits.
func TestInterrupted(t *testing.T) {
	needSignals(t)
	const steps = "100"
	whole := filepath.Join(t.TempDir(), "whole")
	args := func(out string) []string { return trainArgs(t, out, "--save-every", "0", "--total-steps", steps) }
	mustRun(t, "", args(whole)...)
	const about = `finishing (the rollout of )?step \d+( \([^)]*\))?, about \d+ s, then saving it`
	for _, c := range []struct {
		signal syscall.Signal
		heard  string
	}{
		{syscall.SIGINT,
			`interrupted: ` + about + `; press Ctrl-C again to stop at once`},
		{syscall.SIGTERM,
			`told to stop: ` + about + `; a second SIGTERM stops at once`},
		{syscall.SIGHUP, `the terminal is gone: ` + about},
	} {
		t.Run(c.signal.String(), func(t *testing.T) {
			var out string
			var p *child
			var err error
			for range 10 { // on a busy machine the run may end before it is signalled
				out = filepath.Join(t.TempDir(), "run")
				p = begin(t, args(out)...)
				until(t, "a step", func() bool { return stepsOf(out) > 1 })
				require.NoError(t, p.Process.Signal(c.signal))
				if err = p.Wait(); err != nil {
					break
				}
			}
			log := p.stderr.String()
			require.Equal(t, 130, p.ProcessState.ExitCode(), "%v %s", err, log)
			require.Regexp(t, c.heard, log)
			last, step, ok := rundir.Last(out)
			require.True(t, ok)
			require.Equal(t, stepsOf(out), step, "the step under way is saved: %s", last)
			_, command, ok := strings.Cut(log, "To go on:\n  zerosearch ")
			require.True(t, ok, log)
			mustRun(t, "", strings.Fields(command)...)
			sameRun(t, whole, out, "step-"+steps)
		})
	}
}

// A terminal that closes may send SIGHUP twice: the second does not end the run before it has saved. A SIGHUP that is
// ignored from the start, as under nohup, stays ignored.
func TestHangup(t *testing.T) {
	needSignals(t)
	out := filepath.Join(t.TempDir(), "twice")
	p := begin(t, trainArgs(t, out, "--save-every", "0", "--total-steps", "2000")...)
	until(t, "a step", func() bool { return stepsOf(out) > 1 })
	for range 5 {
		require.NoError(t, p.Process.Signal(syscall.SIGHUP))
	}
	p.Wait()
	require.Equal(t, 130, p.ProcessState.ExitCode(), p.stderr.String())
	require.Len(t, rundir.Steps(out), 1)

	out = filepath.Join(t.TempDir(), "ignored")
	own := self(".", trainArgs(t, out, "--save-every", "0", "--total-steps", "30")...)
	nohup := exec.Command("sh", append([]string{"-c", `trap "" HUP; exec "$@"`, "sh"}, own.Args...)...)
	nohup.Dir, nohup.Env = own.Dir, own.Env
	p = beginCmd(t, nohup)
	until(t, "a step", func() bool { return stepsOf(out) > 1 })
	require.NoError(t, p.Process.Signal(syscall.SIGHUP))
	require.NoError(t, p.Wait(), p.stderr.String())
	require.Equal(t, 30, stepsOf(out))
}

// finishing is said where nothing is known yet of the time that a step takes.
var finishing = regexp.MustCompile(`finishing the rollout of step 1 \(6 of 6 episodes\).*, then saving it`)

// A second signal ends the program at once, in the middle of a step.
func TestSecondInterrupt(t *testing.T) {
	needSignals(t)
	// The reward program says in a file that it was asked, which is when all episodes are done. It never answers.
	judge := filepath.Join(t.TempDir(), "judge.sh")
	require.NoError(t, os.WriteFile(judge, []byte("read line && : > \"$1\" && cat > /dev/null\n"), 0o644))
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		out, asked := filepath.Join(t.TempDir(), "run"), filepath.Join(t.TempDir(), "asked")
		p := begin(t, trainArgs(t, out, "--reward", "exec:sh "+judge+" "+asked, "--reward-timeout", "1h")...)
		until(t, "a request for rewards", func() bool { return exists(asked) })
		require.NoError(t, p.Process.Signal(s))
		until(t, "an answer",
			func() bool { return finishing.MatchString(p.stderr.String()) })
		require.NoError(t, p.Process.Signal(s))
		p.Wait()
		status, ok := p.ProcessState.Sys().(syscall.WaitStatus)
		require.True(t, ok && status.Signaled() && status.Signal() == s, p.ProcessState.String())
		require.Empty(t, rundir.Steps(out))
		l, err := rundir.Open(out, true)
		require.NoError(t, err, "its lock is gone")
		l.Close()
	}
}

// A reader of the output that goes away does not end a run, whose work lies in files. A verb whose product is its
// output ends, quietly.
func TestReaderGoesAway(t *testing.T) {
	needSignals(t)
	out := filepath.Join(t.TempDir(), "run")
	read, write, err := os.Pipe()
	require.NoError(t, err)
	c := self(".", trainArgs(t, out, "--save-every", "0", "--total-steps", "30", "--json")...)
	c.Stdout, c.Stderr = write, write
	require.NoError(t, c.Start())
	write.Close()
	read.Close()
	require.NoError(t, c.Wait())
	require.Equal(t, 30, stepsOf(out))
	require.Equal(t, []int{30}, rundir.Steps(out))

	dir, err := taughtModel()
	require.NoError(t, err)
	for _, args := range [][]string{{"score", "--model", dir, "--dtype", "f32"}, {"tokenize", "--tokenizer", dir},
		{"devices"}, {"inspect", dir}} {
		c := self(".", args...)
		in, err := c.StdinPipe()
		require.NoError(t, err)
		read, write, err := os.Pipe()
		require.NoError(t, err)
		c.Stdout = write
		var log bytes.Buffer
		c.Stderr = &log
		require.NoError(t, c.Start())
		write.Close()
		read.Close()
		go func() { // without end, until the program ends
			for {
				if _, err := io.WriteString(in, "{\"text\":\"a\"}\n"); err != nil {
					return
				}
			}
		}()
		c.Wait()
		require.Equal(t, exitUnread, c.ProcessState.ExitCode(), "%v: %s", args, log.String())
		require.Empty(t, log.String(), args)
	}
}

// An interrupt is noticed while a run opens: a server that never answers does not hold it, and neither does one that
// comes during a load.
func TestInterruptedWhileOpening(t *testing.T) {
	needSignals(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	asked := make(chan struct{})
	go func() {
		conn, err := silent.Accept()
		if err == nil {
			bufio.NewReader(conn).ReadString('\n')
			close(asked)
		}
	}()
	out := filepath.Join(t.TempDir(), "run")
	p := begin(t, trainArgs(t, out, "--search-mode", "remote", "--remote-url", "http://"+silent.Addr().String())...)
	<-asked
	began := time.Now()
	require.NoError(t, p.Process.Signal(syscall.SIGINT))
	p.Wait()
	require.Equal(t, 130, p.ProcessState.ExitCode(), p.stderr.String())
	require.Contains(t, p.stderr.String(), "interrupted: stopping; press Ctrl-C again to stop at once\ninterrupted\n")
	require.Less(t, time.Since(began), time.Minute) // the server never answers
	require.NoDirExists(t, filepath.Join(out, "checkpoints"))
}

// Two processes do not write one run directory: the second is told which is the first. When that is killed, its lock is
// gone.
func TestOneWriter(t *testing.T) {
	out := filepath.Join(t.TempDir(), "run")
	dir, err := taughtModel()
	require.NoError(t, err)
	q := filepath.Join(t.TempDir(), "q.jsonl")
	require.NoError(t, os.WriteFile(q, []byte(questions()), 0o644))
	rows := filepath.Join(t.TempDir(), "rows.jsonl")
	require.NoError(t, os.WriteFile(rows, []byte(`{"prompt":"a","completion":"b"}`+"\n"), 0o644))
	args := trainArgs(t, out, "--total-steps", "5000", "--save-every", "5")
	p := begin(t, args...)
	until(t, "a checkpoint", func() bool { return len(rundir.Steps(out)) > 0 })
	for _, second := range [][]string{
		append(args, "--resume", "auto"), args, {"sft", "--model", dir, "--data", rows, "--out", out, "--resume",
			"auto"},
		{"train", "--config", filepath.Join(out, "config.yaml"), "--replay", filepath.Join(out, "episodes.jsonl"),
			"--resume", "auto"},
		{"eval", "--model", dir, "--data", q, "--search-mode", "none", "--out", out},
		{"quantize", "--model", dir, "--out", out},
	} {
		code, _, stderr := zs("", second...)
		require.Equal(t, 1, code, second)
		busy := fmt.Sprintf("another process is writing to %s (process %d, since ", out, p.Process.Pid)
		require.Contains(t, stderr, busy, "%v", second)
	}
	mustRun(t, "", "report", out) // reads, and puts its page in place in one step
	mustRun(t, `{"text":"a"}`, "score", "--model", out, "--dtype", "f32")
	require.NoError(t, p.Process.Kill())
	p.Wait()
	_, done, _ := rundir.Last(out)
	mustRun(t, "", append(args, "--resume", "auto", "--total-steps", fmt.Sprint(done+2))...)
	for i, m := range metricsOf(t, out) {
		require.EqualValues(t, i+1, m["step"])
	}
}

//go:build linux

package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// hosts are two network namespaces, joined by a pair of virtual Ethernet devices, that have names of their own.
type hosts struct{ agent string }

func hostName(i int) string { return fmt.Sprintf("10.77.0.%d", i) }

func newHosts(t *testing.T) (h hosts, kills int) {
	kills, err := strconv.Atoi(os.Getenv(twoHosts))
	if err != nil {
		t.Skipf("%s is not set: this test makes network namespaces, as root, and takes minutes", twoHosts)
	}
	run := func(line string) {
		t.Helper()
		out, err := exec.Command("sh", "-ec", line).CombinedOutput()
		require.NoError(t, err, "%s: %s", line, out)
	}
	t.Cleanup(func() {
		exec.Command("sh", "-c", "for h in zs1 zs2; do ip netns pids $h | xargs -r kill -9; ip netns del $h; done").Run()
	})
	run("ip netns add zs1; ip netns add zs2; ip link add eth0 netns zs1 type veth peer name eth0 netns zs2")
	for i := 1; i <= 2; i++ {
		run(fmt.Sprintf("ip -n zs%d addr add %s/24 dev eth0; ip -n zs%d link set eth0 up; ip -n zs%d link set lo up", i,
			hostName(i), i, i))
	}
	h.agent = filepath.Join(t.TempDir(), "agent") // takes the place of ssh: HOST COMMAND...
	require.NoError(t, os.WriteFile(h.agent, []byte(`#!/bin/bash
while [ "${1#-}" != "$1" ]; do shift; done
host=${1##*.}; shift
exec ip netns exec zs$host unshare --uts sh -c "hostname zs-host$host; $*"
`), 0o755))
	return h, kills
}

// mpirun runs the program as one rank on each host; path is a launcher.
func (h hosts) mpirun(path string, args []string) *exec.Cmd {
	line := []string{path, "-launcher", "ssh", "-launcher-exec", h.agent, "-hosts", hostName(1) + "," + hostName(2),
		"-ppn", "1", "-n", "2"}
	if strings.HasSuffix(path, "openmpi") {
		line = []string{path, "--mca", "plm_rsh_agent", h.agent, "--mca", "btl", "self,tcp", "--mca",
			"btl_tcp_if_include", "10.77.0.0/24", "--mca", "oob_tcp_if_include", "10.77.0.0/24", "--bind-to", "none",
			"-H", hostName(1) + "," + hostName(2)}
	}
	line = append(append(line, self(".").Path), args...)
	c := exec.Command(h.agent, hostName(1), "exec "+strings.Join(line, " "))
	c.Env = append(os.Environ(), mainEnv+"=1", "OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
		dist.TimeoutVariable+"=5s", "UCX_TLS=tcp,self", "UCX_NET_DEVICES=eth0") // of MPICH, which sees one machine
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return c
}

// rank is the process of the rank on host i, 0 if there is none.
func (h hosts) rank(i int) int {
	out, _ := exec.Command("ip", "netns", "pids", fmt.Sprintf("zs%d", i)).Output()
	for _, f := range strings.Fields(string(out)) {
		pid, _ := strconv.Atoi(f)
		if exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); exe == self(".").Path {
			return pid
		}
	}
	return 0
}

// sent are the bytes that host 1 has sent to host 2.
func (h hosts) sent(t *testing.T) int {
	out, err := exec.Command("ip", "netns", "exec", "zs1", "cat", "/sys/class/net/eth0/statistics/tx_bytes").Output()
	require.NoError(t, err)
	n, err := strconv.Atoi(strings.TrimSpace(string(out)))
	require.NoError(t, err)
	return n
}

// started is a run under way.
type started struct {
	*exec.Cmd
	log   bytes.Buffer
	ended chan error
}

func (h hosts) start(t *testing.T, path string, args []string) *started {
	s := &started{Cmd: h.mpirun(path, args), ended: make(chan error, 1)}
	s.Stdout, s.Stderr = &s.log, &s.log
	require.NoError(t, s.Start())
	go func() { s.ended <- s.Wait() }()
	return s
}

// end waits for all ranks to have ended and says how long that took.
func (h hosts) end(t *testing.T, s *started, most time.Duration) (time.Duration, error) {
	t.Helper()
	began := time.Now()
	var err error
	select {
	case err = <-s.ended:
	case <-time.After(most):
		syscall.Kill(-s.Process.Pid, syscall.SIGKILL)
		t.Fatalf("the ranks hang: %s", s.log.String())
	}
	h.gone(t, most)
	return time.Since(began), err
}

// gone waits for the processes of all ranks to have ended.
func (h hosts) gone(t *testing.T, most time.Duration) {
	t.Helper()
	for began := time.Now(); h.rank(1) != 0 || h.rank(2) != 0; time.Sleep(20 * time.Millisecond) {
		require.Less(t, time.Since(began), most, "ranks are left")
	}
}

// Two hosts that TCP joins train what the same ranks train anywhere: the first step has the episodes of one process. A
// rank killed at any moment ends both, what was saved stays, and in the end the run has the bytes of one that was never
// killed. A rank that hangs, a link that is cut and a disk that is full end all ranks, too.
func TestTwoHosts(t *testing.T) {
	h, kills := newHosts(t)
	steps := "16"
	args := func(out string, more ...string) []string {
		return trainArgs(t, out, append([]string{"--resume", "auto", "--total-steps", steps, "--train-batch-size", "4",
			"--n", "8", "--keep-last", "3"}, more...)...)
	}
	one := filepath.Join(t.TempDir(), "one")
	out, err := self(".", args(one, "--total-steps", "1")...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, name := range []string{"mpirun.openmpi", "mpirun.mpich"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Logf("%s is not installed", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			whole := filepath.Join(t.TempDir(), "whole")
			before := h.sent(t)
			s := h.start(t, path, args(whole))
			took, err := h.end(t, s, 5*time.Minute)
			require.NoError(t, err, "%s", s.log.String())
			require.Contains(t, s.log.String(), "2 ranks by ")
			require.Equal(t, stepLines(t, one, 1), stepLines(t, whole, 1))
			t.Logf("%s steps in %v, %d bytes from host 1 to host 2", steps, took, h.sent(t)-before)
			require.Greater(t, h.sent(t)-before, 1<<20, "the ranks do not use the network between the hosts")
			h.killed(t, path, kills, whole, args)
			h.lost(t, path, args)
		})
	}
}

// killed kills ranks in turn, at random moments, until each has been killed so often.
func (h hosts) killed(t *testing.T, path string, kills int, whole string, args func(string, ...string) []string) {
	r := rand.New(rand.NewPCG(7, 7))
	broken, step, longest, inSteps := filepath.Join(t.TempDir(), "0"), 0, time.Duration(0), 0
	for done := 0; done < 2*kills; {
		from := step
		s := h.start(t, path, args(broken))
		began := time.Now()
		early := func() bool { // every other time a step is awaited
			return h.rank(1+done%2) == 0 || done%4 > 1 && newest(broken) == from
		}
		for len(s.ended) == 0 && early() {
			time.Sleep(10 * time.Millisecond)
			require.Less(t, time.Since(began), time.Minute, "%s", s.log.String())
		}
		wait := time.Since(began) + time.Duration(r.IntN(2000))*time.Millisecond
		select {
		case err := <-s.ended: // before its turn to be killed came
			require.NoError(t, err, "%s", s.log.String())
			sameRun(t, whole, broken, "step-16")
			broken, step = filepath.Join(filepath.Dir(broken), strconv.Itoa(done)+"-"), 0
			continue
		case <-time.After(wait - time.Since(began)):
		}
		saved := newest(broken)
		if pid := h.rank(1 + done%2); pid == 0 || syscall.Kill(pid, syscall.SIGKILL) != nil {
			_, err := h.end(t, s, time.Minute) // it has just ended
			require.NoError(t, err, "%s", s.log.String())
			continue
		}
		took, err := h.end(t, s, 30*time.Second)
		if err == nil && newest(broken) == 16 {
			continue // all was done
		}
		require.Error(t, err)
		if step = newest(broken); step < saved {
			t.Fatalf("step %d was saved, and after the kill %d is the last", saved, step)
		}
		if saved > from {
			inSteps++
		}
		done, longest = done+1, max(longest, took)
		t.Logf("kill %d: rank %d after %v, with step %d saved: all ended within %v, step %d is there", done, (done-1)%2,
			wait, saved, took.Round(time.Millisecond), step)
	}
	s := h.start(t, path, args(broken))
	_, err := h.end(t, s, 5*time.Minute)
	require.NoError(t, err, "%s", s.log.String())
	sameRun(t, whole, broken, "step-16")
	t.Logf("%d kills, %d of them after a step of that process: all ended within %v; the bytes are those of a run that "+
		"was not killed", 2*kills, inSteps, longest)
}

func newest(dir string) int {
	if steps := rundir.Steps(dir); len(steps) > 0 {
		return slices.Max(steps)
	}
	return 0
}

// lost has ranks that can no longer do their part.
func (h hosts) lost(t *testing.T, path string, args func(string, ...string) []string) {
	small := filepath.Join(t.TempDir(), "small")
	require.NoError(t, os.Mkdir(small, 0o755))
	require.NoError(t, syscall.Mount("none", small, "tmpfs", 0, "size=800k"))
	t.Cleanup(func() { syscall.Unmount(small, syscall.MNT_DETACH) })
	for _, c := range []struct {
		what, out, text string
		do              func()
	}{
		{"rank 1 stopped", "", "error: rank 1 has given no sign of life for 5s: all ranks are ended", func() {
			require.NoError(t, syscall.Kill(h.rank(2), syscall.SIGSTOP))
		}},
		{"rank 0 stopped", "", "error: rank 0 has given no sign of life for 5s: all ranks are ended", func() {
			require.NoError(t, syscall.Kill(h.rank(1), syscall.SIGSTOP))
		}},
		{"the link cut", "", "", func() {
			require.NoError(t, exec.Command("ip", "-n", "zs2", "link", "set", "eth0", "down").Run())
		}},
		{"the disk full", filepath.Join(small, "run"), "no space left on device", func() {}},
	} {
		out := c.out
		if out == "" {
			out = filepath.Join(t.TempDir(), "run")
		}
		s := h.start(t, path, args(out, "--total-steps", "400"))
		up := func() error { return exec.Command("ip", "-n", "zs2", "link", "set", "eth0", "up").Run() }
		t.Cleanup(func() { _ = up() })
		for c.out == "" && newest(out) < 2 {
			time.Sleep(20 * time.Millisecond)
		}
		c.do()
		if c.text == "" { // mpirun itself waits for the other host, the ranks do not
			h.gone(t, 20*time.Second)
			require.NoError(t, up())
		}
		took, err := h.end(t, s, 40*time.Second)
		require.Error(t, err, c.what)
		require.Contains(t, s.log.String(), c.text, c.what)
		t.Logf("%s: all ended within %v: %s", c.what, took.Round(time.Millisecond), errorOf(s.log.String()))
		most := 1
		if c.text == "" {
			most = 2 // each host tells that the other is gone
		}
		require.LessOrEqual(t, strings.Count(s.log.String(), "error: "), most, "%s: %s", c.what, s.log.String())
	}
}

// errorOf is the error in what a run printed.
func errorOf(log string) string {
	for line := range strings.Lines(log) {
		if strings.HasPrefix(line, "error: ") {
			return strings.TrimSpace(line)
		}
	}
	return "no word of it"
}

package main

import (
	"bytes"
	"encoding/json"
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
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/rl"
)

// ranksConfig is the run of trainArgs with a batch of four questions.
func ranksConfig(t *testing.T, change func(c *rl.Config)) rl.Config {
	model, err := taughtModel()
	require.NoError(t, err)
	c := rl.Defaults()
	dir := t.TempDir()
	c.Policy.Model, c.Policy.DType = model, "f32"
	c.Data.Data, c.Search.Corpus = filepath.Join(dir, "q.jsonl"), filepath.Join(dir, "corpus.jsonl")
	require.NoError(t, os.WriteFile(c.Data.Data, []byte(questions()), 0o644))
	require.NoError(t, os.WriteFile(c.Search.Corpus, []byte(`{"contents":"a is Ax"}`), 0o644))
	c.Data.EvalData = c.Data.Data
	c.Search.Mode, c.Optim.LR = "bm25", 1e-3
	c.Rollout.BatchSize, c.Rollout.N, c.Rollout.MaxTurns, c.Rollout.MaxResponse = 4, 3, 1, 8
	c.Schedule.TotalSteps, c.Schedule.SaveEvery = 2, 1
	change(&c)
	return c
}

// trainLocal runs c with so many ranks, each a goroutine with a device of its own.
func trainLocal(t *testing.T, c rl.Config, size int) {
	t.Helper()
	errs := make(chan error)
	for _, g := range dist.Local(size) {
		go func() {
			err := func() error {
				dev, err := cpu.New(cpu.Options{Threads: 1})
				if err != nil {
					return err
				}
				defer dev.Close()
				x, err := rl.New(t.Context(), dev, c, rl.WithRanks(g))
				if err != nil {
					return err
				}
				defer x.Close()
				_, err = x.Run(t.Context())
				return err
			}()
			if err != nil {
				err = fmt.Errorf("rank %d of %d: %w", g.Rank(), size, err)
				g.Fail(err)
			}
			errs <- err
		}()
	}
	for range size {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	require.False(t, t.Failed())
}

// stepLines are the episodes of a step, as recorded.
func stepLines(t *testing.T, dir string, step int) (out []string) {
	text, err := os.ReadFile(filepath.Join(dir, "episodes.jsonl"))
	require.NoError(t, err)
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		var e struct{ Step int }
		require.NoError(t, json.Unmarshal([]byte(line), &e))
		if e.Step == step {
			out = append(out, line)
		}
	}
	return out
}

// sameState requires that two runs have the same episodes, the same metrics and, at step 2, the same masters and
// moments.
func sameState(t *testing.T, a, b string) {
	t.Helper()
	for _, name := range []string{"episodes.jsonl", "checkpoints/step-2/optimizer.safetensors"} {
		x, err := os.ReadFile(filepath.Join(a, name))
		require.NoError(t, err)
		y, err := os.ReadFile(filepath.Join(b, name))
		require.NoError(t, err)
		require.True(t, bytes.Equal(x, y), "%s differs", name)
	}
	require.Equal(t, metricsOf(t, a), metricsOf(t, b))
}

// Several ranks roll out the same first step as one, advantages included, and measure the same before it; equal numbers
// of ranks write equal bytes; a checkpoint goes on with any number, and with the same one with the bits of a run that
// never stopped.
func TestRanks(t *testing.T) {
	for name, change := range map[string]func(c *rl.Config){
		"grpo": func(c *rl.Config) {
			c.Algo.KLCoef, c.Rollout.BatchSize, c.Policy.Reference = 0.1, 5, "ema:0.5"
		},
		"ppo with adapter": func(c *rl.Config) {
			c.Algo.Algo, c.Policy.LoRAR, c.Policy.DType, c.Algo.MiniBatch = "ppo", 2, "bf16", 6
		},
		"dynamic sampling": func(c *rl.Config) { c.Algo.DynamicSampling, c.Algo.InfoGain = true, 0.5 },
	} {
		t.Run(name, func(t *testing.T) {
			c := ranksConfig(t, change)
			root := t.TempDir()
			run := func(out string, size int, change func(c *rl.Config)) string {
				own := c
				own.Schedule.Out = filepath.Join(root, out)
				change(&own)
				trainLocal(t, own, size)
				return own.Schedule.Out
			}
			as := func(*rl.Config) {}
			one, two, again := run("one", 1, as), run("two", 2, as), run("again", 2, as)
			require.Equal(t, stepLines(t, one, 1), stepLines(t, two, 1))
			require.Equal(t, metricsOf(t, one)[0], metricsOf(t, two)[0], "before the first step")
			sameState(t, two, again)

			for _, size := range []int{2, 3} {
				half := filepath.Join(root, strconv.Itoa(size))
				require.NoError(t, os.CopyFS(half, os.DirFS(two)))
				require.NoError(t, os.RemoveAll(filepath.Join(half, "checkpoints/step-2")))
				run(strconv.Itoa(size), size, func(c *rl.Config) { c.Schedule.Resume = "auto" })
				if size == 2 {
					sameState(t, two, half)
				}
				require.Equal(t, stepLines(t, two, 2), stepLines(t, half, 2), "step 2 begins with the same weights")
			}
		})
	}
}

// twoHosts is the environment variable that asks for the tests on two network namespaces, which need root; its value is
// how often each rank is killed with each MPI.
const twoHosts = "ZEROSEARCH_TWO_HOSTS"

// mpirun runs the program with arguments as ranks.
func mpirun(t *testing.T, n int, args []string, env ...string) *exec.Cmd {
	path, err := exec.LookPath("mpirun")
	if err != nil {
		t.Skip("no mpirun is installed (Debian: apt install openmpi-bin, or mpich)")
	}
	exe := self(".").Path
	c := exec.Command(path, append([]string{"-n", strconv.Itoa(n), exe}, args...)...)
	c.Env = append(append(os.Environ(), mainEnv+"=1", "OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
		"OMPI_MCA_rmaps_base_oversubscribe=1", "OMPI_MCA_hwloc_base_binding_policy=none"), env...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return c
}

// ranksOf are the processes that a launcher has started.
func ranksOf(launcher int) (pids []int) {
	for list := []int{launcher}; len(list) > 0; list = list[1:] {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", list[0], list[0]))
		for _, f := range strings.Fields(string(text)) {
			pid, _ := strconv.Atoi(f)
			list = append(list, pid)
			if name, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); strings.HasSuffix(name, ".test") {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// Ranks that mpirun starts do what goroutines do. One of them killed at any moment ends all within seconds, and the run
// goes on to the bits of one that never was.
func TestRanksKilled(t *testing.T) {
	whole, broken := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "broken")
	args := func(out string) []string { return trainArgs(t, out, "--resume", "auto", "--total-steps", "4") }
	out, err := mpirun(t, 2, args(whole)).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "2 ranks by ")
	r := rand.New(rand.NewPCG(1, 2))
	for kills := 0; ; kills++ {
		c := mpirun(t, 2, args(broken), dist.TimeoutVariable+"=5s")
		var log bytes.Buffer
		c.Stdout, c.Stderr = &log, &log
		require.NoError(t, c.Start())
		ended := make(chan error, 1)
		go func() { ended <- c.Wait() }()
		if kills < 3 {
			time.Sleep(time.Duration(500+r.IntN(4000)) * time.Millisecond)
			if pids := ranksOf(c.Process.Pid); len(pids) > 0 {
				syscall.Kill(pids[kills%len(pids)], syscall.SIGKILL)
			}
		}
		select {
		case err = <-ended:
		case <-time.After(2 * time.Minute):
			syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
			t.Fatalf("the ranks hang: %s", log.String())
		}
		if err == nil {
			break
		}
		require.Less(t, kills, 3, "%s", log.String())
	}
	sameRun(t, whole, broken, "step-4")
}

// What is wrong in one rank, or differs between them, is one error of rank 0.
func TestRanksDiffer(t *testing.T) {
	args := trainArgs(t, filepath.Join(t.TempDir(), "run"))
	script, program := filepath.Join(t.TempDir(), "rank"), filepath.Join(t.TempDir(), "program.test")
	exe, err := os.ReadFile(self(".").Path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(program, append(exe, 0), 0o755))
	data := filepath.Join(t.TempDir(), "q.jsonl")
	require.NoError(t, os.WriteFile(data, []byte(strings.Replace(questions(), "what is a", "what was a", 1)), 0o644))
	for change, want := range map[string]string{
		`exec "$@" --seed 7`:               "error: rank 1 does not train the same run as rank 0: --seed",
		`exec "$@" --data ` + data:         "error: rank 1 does not train the same run as rank 0: ",
		`exec "$@" --model /no/such/model`: "error: rank 1: ",
		"shift; exec " + program + ` "$@"`: "error: rank 1 is another program than rank 0: all hosts need the same file zerosearch",
	} {
		text := fmt.Sprintf("#!/bin/sh\ncase ${OMPI_COMM_WORLD_RANK:-$PMI_RANK} in 1) %s;; esac\nexec \"$@\"\n", change)
		require.NoError(t, os.WriteFile(script, []byte(text), 0o755))
		c := mpirun(t, 2, args)
		at := slices.Index(c.Args, self(".").Path)
		c.Args = slices.Insert(c.Args, at, script)
		out, err := c.CombinedOutput()
		require.Error(t, err)
		require.Contains(t, string(out), want)
		require.Equal(t, 1, strings.Count(string(out), "error: "), "%s", out)
	}
}

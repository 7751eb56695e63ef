package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// everything is a run that has all that a checkpoint must hold: critic, averaged reference, adapted weights,
// best-so-far.
func everything(t *testing.T, out string, more ...string) []string {
	held := filepath.Join(t.TempDir(), "held.jsonl")
	require.NoError(t, os.WriteFile(held, []byte(questions()), 0o644))
	return trainArgs(t, out,
		append([]string{"--algo", "ppo", "--total-steps", "12", "--n", "4", "--train-batch-size", "4",
			"--ppo-mini-batch-size", "8",
			"--critic-lr", "1e-2", "--reference", "ema:0.9", "--kl-target", "0.01", "--kl-horizon", "200",
			"--eval-data",
			held, "--eval-every", "2",
			"--keep-best", "--keep-last", "2"}, more...)...)
}

// A run of 12 steps killed at 20 random moments, and resumed each time, ends with the bytes of one that never was.
func TestKilledAnywhere(t *testing.T) {
	killedAnywhere(t, func(out string) []string { return everything(t, out) })
}

// The same with the demo's models: ZEROSEARCH_LONG=1.
func TestKilledAnywhereDemo(t *testing.T) {
	if os.Getenv(longTests) == "" {
		t.Skip("takes minutes: set " + longTests + "=1")
	}
	killedAnywhere(t, func(out string) []string {
		return everything(t, out, "--model", "../../demo/models/policy", "--simulation-llm",
			"../../demo/models/simulator", "--search-mode", "simulate_sft",
			"--simulation-max-tokens", "40", "--max-response-length", "40", "--dtype", "bf16")
	})
}

func killedAnywhere(t *testing.T, args func(out string) []string) {
	const kills, steps = 20, 12
	whole, broken := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "broken")
	began := time.Now()
	require.NoError(t, self(".", args(whole)...).Run())
	step := time.Since(began) / steps
	r := rand.New(rand.NewPCG(12, 20))
	killed, inWriting := 0, 0
	for range kills {
		_, done, _ := rundir.Last(broken)
		if done == steps {
			break // other programs held the first run up, and this one came to its end
		}
		c := self(".", append(args(broken), "--resume", "auto")...)
		var stderr strings.Builder
		c.Stderr = &stderr
		require.NoError(t, c.Start())
		// Some time after the checkpoint that the run begins with, or the next; never so far that it might end first.
		// What metrics.jsonl says would not do: before the run cuts it back, it may be of the attempt before.
		for target, now := min(done+r.IntN(2), steps-4), done; now < target; _, now, _ = rundir.Last(broken) {
			time.Sleep(time.Millisecond)
			require.Less(t, time.Since(began), 10*time.Minute, "checkpoint %d does not come", target)
		}
		time.Sleep(time.Duration(r.Int64N(int64(step))))
		_ = c.Process.Kill()
		if c.Wait() == nil {
			break // the same
		}
		require.NotContains(t, stderr.String(), "error", "it ended by itself")
		killed++
		if left, _ := filepath.Glob(filepath.Join(broken, "checkpoints", ".*")); len(left) > 0 {
			inWriting++
		}
	}
	_, done, _ := rundir.Last(broken)
	t.Logf("killed %d times, %d times while a checkpoint was written; %d steps were saved by then", killed, inWriting,
		done)
	require.GreaterOrEqual(t, killed, kills/2)
	require.NotZero(t, done, "no kill came after a step")
	if done < steps {
		text, err := self(".", append(args(broken), "--resume", "auto")...).CombinedOutput()
		require.NoError(t, err, string(text))
	}
	for _, dir := range []string{"checkpoints/step-12", "checkpoints/step-11"} {
		sameTree(t, filepath.Join(whole, dir), filepath.Join(broken, dir))
	}
	require.Equal(t, rundir.Steps(whole), rundir.Steps(broken), "the same checkpoints are kept")
	require.Equal(t, metricsOf(t, whole), metricsOf(t, broken))
	a, err := os.ReadFile(filepath.Join(whole, "episodes.jsonl"))
	require.NoError(t, err)
	b, err := os.ReadFile(filepath.Join(broken, "episodes.jsonl"))
	require.NoError(t, err)
	require.True(t, string(a) == string(b), "episodes.jsonl differs")
	left, err := filepath.Glob(filepath.Join(broken, "checkpoints", ".*"))
	require.NoError(t, err)
	require.Empty(t, left, "what killed processes left is cleared away")
}

// The newest checkpoints and the best stay; checkpoints/best is a model folder like any other.
func TestKeepLastAndBest(t *testing.T) {
	out := filepath.Join(t.TempDir(), "run")
	mustRun(t, "", everything(t, out, "--total-steps", "6")...)
	var state struct {
		Best     float64
		BestStep int `json:"best_step"`
	}
	text, err := os.ReadFile(filepath.Join(out, "checkpoints/step-6/trainer_state.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &state))
	best, at := -1.0, 0
	for _, m := range metricsOf(t, out) {
		if f1, ok := m["val/all/f1"].(float64); ok && f1 > best {
			best, at = f1, int(m["step"].(float64))
		}
	}
	require.Equal(t, at, state.BestStep)
	require.Equal(t, best, state.Best)
	want := []int{5, 6}
	if at < 5 {
		want = append([]int{at}, want...)
	}
	require.Equal(t, want, rundir.Steps(out))
	if runtime.GOOS != "windows" {
		to, err := os.Readlink(filepath.Join(out, "checkpoints/best"))
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("step-%d", at), to)
		mustRun(t, `{"text":"a"}`, "score", "--model", filepath.Join(out, "checkpoints/best"), "--dtype", "f32")
	}
}

// Going on with other data or settings is refused, saying what changed, unless forced.
func TestResumeSaysWhatChanged(t *testing.T) {
	out := filepath.Join(t.TempDir(), "run")
	mustRun(t, "", trainArgs(t, out, "--total-steps", "2")...)
	other := filepath.Join(t.TempDir(), "other.jsonl")
	require.NoError(t, os.WriteFile(other, []byte(strings.Replace(questions(), "what is c?", "who is c?", 1)), 0o644))
	again := func(more ...string) (int, string) {
		code, _, stderr := zs("",
			trainArgs(t, out, append([]string{"--resume", "auto", "--total-steps", "3"}, more...)...)...)
		return code, stderr
	}
	code, stderr := again("--data", other, "--lr", "2e-3", "--noise-rate", "0.5")
	require.Equal(t, 1, code)
	require.Contains(t, stderr,
		"the inputs have changed: the content of --data has changed; --lr was 0.001, is 0.002; --noise-rate "+
			"is 0.5, was not given: undo the change, or add --force to resume anyway")
	code, stderr = again("--seed", "5")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "--seed was 1, is 5")
	corpus := filepath.Join(t.TempDir(), "corpus.jsonl")
	require.NoError(t, os.WriteFile(corpus, []byte(`{"contents":"a is Ay"}`), 0o644))
	code, stderr = again("--corpus", corpus)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "the content of --corpus has changed")
	code, stderr = again("--resume", filepath.Join(out, "checkpoints/step-1"))
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "has later checkpoints, up to step 2")

	code, stderr = again("--data", other, "--force", "--save-every", "0", "--keep-last", "1", "--concurrency", "1")
	require.Zero(t, code, stderr)
	require.Contains(t, stderr, "note: resuming with --force: the content of --data has changed")
	code, stderr = again("--resume", filepath.Join(out, "checkpoints/step-3"), "--total-steps", "4")
	require.Equal(t, 1, code, "the questions are the forced ones now")
	require.Contains(t, stderr, "the content of --data has changed")
}

// A full disk at a checkpoint is one clear error; what was saved before is whole, and the run goes on from it to the
// same bytes. The disk's end is a limit on the size of files here, which every user may set, and a small file system of
// its own where that is allowed.
func TestDiskFull(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("uses ulimit and unshare of Linux")
	}
	whole := filepath.Join(t.TempDir(), "whole")
	mustRun(t, "", trainArgs(t, whole, "--total-steps", "3")...)

	t.Run("limit", func(t *testing.T) {
		out := filepath.Join(t.TempDir(), "run")
		mustRun(t, "", trainArgs(t, out, "--total-steps", "2")...)
		before := treeOf(t, filepath.Join(out, "checkpoints"))
		st, err := os.Stat(filepath.Join(whole, "checkpoints/step-3/optimizer.safetensors"))
		require.NoError(t, err)
		c := self(".", trainArgs(t, out, "--total-steps", "3", "--resume", "auto")...)
		shell := append([]string{"-c", `ulimit -f "$0"; exec "$@"`, fmt.Sprint(st.Size() / 2 / 512)}, c.Args...)
		limited := exec.Command("/bin/sh", shell...)
		limited.Env = c.Env
		text, err := limited.CombinedOutput()
		require.Error(t, err, string(text))
		fullDisk(t, string(text), "file too large", filepath.Join(out, "checkpoints/step-2"))
		require.Equal(t, before, treeOf(t, filepath.Join(out, "checkpoints")),
			"what was saved is as it was, and nothing lies beside it")
		mustRun(t, "", trainArgs(t, out, "--total-steps", "3", "--resume", "auto")...)
		sameRun(t, whole, out, "step-3")
	})
	t.Run("tmpfs", func(t *testing.T) {
		mount := t.TempDir()
		size := 0
		for _, n := range treeOf(t, filepath.Join(whole, "checkpoints/step-1")) {
			size += len(n)
		}
		args := func(steps string) []string {
			return self(".", trainArgs(t, mount+"/run", "--total-steps", steps, "--resume", "auto")...).Args
		}
		quote := func(args []string) string { return "'" + strings.Join(args, "' '") + "'" }
		// Two checkpoints fit, the third does not; then the first makes room.
		script := fmt.Sprintf("mount -t tmpfs -o size=%d none %s && %s && (%s; test $? = 1) && ls -A "+
			"%[2]s/run/checkpoints && rm -r %[2]s/run/checkpoints/step-1 && %[4]s && cp -r %[2]s/run %[5]s",
			size*5/2, mount, quote(args("2")), quote(args("3")), filepath.Join(t.TempDir(), "copy"))
		copied := strings.Fields(script)[len(strings.Fields(script))-1]
		c := exec.Command("unshare", "-rm", "/bin/sh", "-c", script)
		c.Env = append(os.Environ(), mainEnv+"=1")
		text, err := c.CombinedOutput()
		if strings.Contains(string(text), "unshare:") || strings.Contains(string(text), "mount:") ||
			c.ProcessState == nil {
			t.Skipf("no file system may be mounted here: %v %s", err, text)
		}
		require.NoError(t, err, string(text))
		fullDisk(t, string(text), "no space left on device", mount+"/run/checkpoints/step-2")
		require.Contains(t, string(text), "\nstep-1\nstep-2\n", "and nothing beside them")
		sameRun(t, whole, copied, "step-3")
	})
}

// fullDisk checks the one line that is said.
func fullDisk(t *testing.T, stderr, why, whole string) {
	t.Helper()
	require.Contains(t, stderr, "error: saving ")
	require.Contains(t, stderr, why)
	require.Contains(t, stderr, whole+" is whole: make room and go on from it with --resume auto")
	require.NotContains(t, stderr, "goroutine ")
}

// treeOf reads all files of a folder.
func treeOf(t *testing.T, dir string) map[string]string {
	out := map[string]string{}
	require.NoError(t, filepath.Walk(dir, func(path string, st os.FileInfo, err error) error {
		if err == nil && !st.IsDir() {
			text, rerr := os.ReadFile(path)
			require.NoError(t, rerr)
			rel, _ := filepath.Rel(dir, path)
			out[rel] = string(text)
		}
		return err
	}))
	return out
}

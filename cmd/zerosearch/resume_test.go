package main

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// A run that is killed between its last checkpoint and its end comes to its end: what is missing is written, nothing
// that is there changes, and doing it again changes nothing.
func TestKilledAtTheEnd(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "whole")
	args := func(out string) []string { return everything(t, out, "--total-steps", "6") }
	mustRun(t, "", args(whole)...)
	out := filepath.Join(t.TempDir(), "run")
	p := begin(t, args(out)...)
	until(t, "the last checkpoint", func() bool { return exists(rundir.Checkpoint(out, 6)) })
	p.Process.Kill()
	p.Wait()
	os.Remove(filepath.Join(out, "report.html"))
	for range 2 {
		code, _, stderr := zs("", append(args(out), "--resume", "auto")...)
		require.Zero(t, code, stderr)
		require.Contains(t, stderr, "note: all 6 steps are done: raise --total-steps to go on\n")
		require.Contains(t, stderr, "saved "+rundir.Checkpoint(out, 6)+"\n")
		require.FileExists(t, filepath.Join(out, "report.html"))
		require.Equal(t, metricsOf(t, whole), metricsOf(t, out))
		require.Equal(t, rundir.Steps(whole), rundir.Steps(out))
		sameTree(t, rundir.Checkpoint(whole, 6), rundir.Checkpoint(out, 6))
		if runtime.GOOS != "windows" {
			a, err := os.Readlink(filepath.Join(whole, "checkpoints/best"))
			require.NoError(t, err)
			b, err := os.Readlink(filepath.Join(out, "checkpoints/best"))
			require.NoError(t, err)
			require.Equal(t, a, b)
		}
	}
}

// The evaluation at the end is made up for where a run that was to be longer ends earlier: the line, the state and the
// checkpoint are those of a run that was to have so many steps.
func TestLastEvaluation(t *testing.T) {
	held := filepath.Join(t.TempDir(), "held.jsonl")
	require.NoError(t, os.WriteFile(held, []byte(questions()), 0o644))
	args := func(out, steps string, more ...string) []string {
		return trainArgs(t, out, append(more, "--total-steps", steps, "--eval-data", held)...)
	}
	whole, out := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "run")
	mustRun(t, "", args(whole, "2")...)
	mustRun(t, "", args(out, "4")...)
	for _, step := range []int{3, 4} {
		require.NoError(t, os.RemoveAll(rundir.Checkpoint(out, step)))
	}
	for range 2 {
		mustRun(t, "", args(out, "2", "--resume", "auto")...)
		require.Contains(t, metricsOf(t, out)[0], "val/all/f1", "before the first step")
		require.NotContains(t, metricsOf(t, out)[1], "val/all/f1")
		require.Contains(t, metricsOf(t, out)[2], "val/all/f1")
		require.Equal(t, metricsOf(t, whole), metricsOf(t, out))
		sameTree(t, rundir.Checkpoint(whole, 2), rundir.Checkpoint(out, 2))
	}
}

// --force with an earlier checkpoint removes the later ones when the earlier one has been read, not before: one that is
// damaged costs nothing. What comes then is the run again.
func TestForceReadsBeforeItRemoves(t *testing.T) {
	out := filepath.Join(t.TempDir(), "run")
	mustRun(t, "", trainArgs(t, out, "--total-steps", "4")...)
	first := metricsOf(t, out)
	before := treeOf(t, filepath.Join(out, "checkpoints"))
	optimizer := filepath.Join(rundir.Checkpoint(out, 2), "optimizer.safetensors")
	sound, err := os.ReadFile(optimizer)
	require.NoError(t, err)
	again := func(from string) (int, string) {
		code, _, stderr := zs("", trainArgs(t, out, "--total-steps", "4", "--force", "--resume", from)...)
		return code, stderr
	}
	for _, damaged := range [][]byte{sound[:len(sound)/2], nil} {
		require.NoError(t, os.WriteFile(optimizer, damaged, 0o644))
		code, stderr := again(rundir.Checkpoint(out, 2))
		require.Equal(t, 1, code, stderr)
		require.Equal(t, []int{1, 2, 3, 4}, rundir.Steps(out), stderr)
		require.Equal(t, first, metricsOf(t, out))
	}
	require.NoError(t, os.WriteFile(optimizer, sound, 0o644))
	require.Equal(t, before, treeOf(t, filepath.Join(out, "checkpoints")))
	from := rundir.Checkpoint(out, 2)
	if runtime.GOOS != "windows" { // by another name it is the same
		from = filepath.Join(out, "checkpoints", "best")
		require.NoError(t, os.Symlink("step-2", from))
		code, _, stderr := zs("", trainArgs(t, out, "--total-steps", "4", "--resume", from)...)
		require.Equal(t, 1, code)
		require.Contains(t, stderr, "has later checkpoints, up to step 4")
	}
	code, stderr := again(from)
	require.Zero(t, code, stderr)
	require.Equal(t, first, metricsOf(t, out))
	require.Equal(t, []int{1, 2, 3, 4}, rundir.Steps(out))
}

// Weights that diverged end a run with an error that says where to go back to, instead of going on without learning to
// the end; what is infinite is not saved.
func TestDiverged(t *testing.T) {
	out := filepath.Join(t.TempDir(), "run")
	code, _, stderr := zs("", trainArgs(t, out, "--lr", "1e30", "--total-steps", "9", "--save-every", "0")...)
	require.Equal(t, 1, code, stderr)
	require.Regexp(t, `error: step \d: for 3 steps no mini-batch gave a finite loss and gradient .*: go on from a `+
		`checkpoint before step \d with a lower --lr`, stderr)
	require.Empty(t, rundir.Steps(out))

	out = filepath.Join(t.TempDir(), "run")
	code, _, stderr = zs("", trainArgs(t, out, "--lr", "1", "--weight-decay", "1e300", "--total-steps", "1")...)
	require.Equal(t, 1, code, stderr)
	require.Contains(t, stderr,
		"it has values that are NaN or infinite: training diverged: begin again with a lower --lr")
	require.Empty(t, rundir.Steps(out))
}

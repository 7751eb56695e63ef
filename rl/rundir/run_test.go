package rundir

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func read(t *testing.T, parts ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(parts...))
	require.NoError(t, err)
	return string(b)
}

func begin(t *testing.T, dir string, step int, resume bool) *Run {
	t.Helper()
	r, err := Create(dir, step, resume)
	require.NoError(t, err)
	t.Cleanup(func() { r.Close() })
	return r
}

func TestMetricsLine(t *testing.T) {
	for _, c := range []struct {
		name string
		m    Metrics
		want string
	}{
		{"none", nil, `{"step":3}`},
		{"names in order, step first", Metrics{"b/y": 2, "a": -0.5}, `{"step":3,"a":-0.5,"b/y":2}`},
		{"shortest decimals that read back the same", Metrics{"x": 0.1, "y": 1e-9, "z": 1e21},
			`{"step":3,"x":0.1,"y":1e-09,"z":1e+21}`},
		{"what is not finite is null", Metrics{"a": math.NaN(), "b": math.Inf(1), "c": math.Inf(-1)},
			`{"step":3,"a":null,"b":null,"c":null}`},
		{"names are quoted", Metrics{"val/a \"b\"\n/f1": 1}, `{"step":3,"val/a \"b\"\n/f1":1}`},
	} {
		require.Equal(t, c.want+"\n", string(c.m.line(3)), c.name)
	}
}

// What a run wrote beyond its last checkpoint, and a line that a kill left unfinished, are gone before it goes on.
func TestResumeCutsTheLogs(t *testing.T) {
	three := "{\"step\":1,\"x\":1}\n{\"step\":2,\"x\":2}\n{\"step\":3,\"x\":3}\n"
	two := "{\"step\":1,\"x\":1}\n{\"step\":2,\"x\":2}\n"
	for _, c := range []struct {
		name, before, after string
		step                int
	}{
		{"nothing to cut", three, three, 3},
		{"steps after the checkpoint", three, two, 2},
		{"everything: no checkpoint was written", three, "", 0},
		{"a line without its end", two + `{"step":3,"x"`, two, 3},
		{"a whole object without its line break", two + `{"step":2}`, two, 3},
		{"rubbish in the middle ends what can be trusted", two + "\x00\x00\n" + three, two, 9},
		{"several lines a step", "{\"step\":1}\n{\"step\":1}\n{\"step\":2}\n{\"step\":2}\n",
			"{\"step\":1}\n{\"step\":1}\n", 1},
		{"no file", "", "", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if c.before != "" {
				require.NoError(t, os.WriteFile(filepath.Join(dir, "metrics.jsonl"), []byte(c.before), 0o644))
				require.NoError(t, os.WriteFile(filepath.Join(dir, "episodes.jsonl"), []byte(c.before), 0o644))
			}
			r := begin(t, dir, c.step, true)
			require.Equal(t, c.after, read(t, dir, "metrics.jsonl"))
			if c.before != "" {
				require.Equal(t, c.after, read(t, dir, "episodes.jsonl"))
			}
			require.NoError(t, r.Metrics(c.step+1, Metrics{"x": 7}))
			require.NoError(t, r.Episode([]byte(`{"step":8}`)))
			require.True(t, strings.HasPrefix(read(t, dir, "metrics.jsonl"), c.after+`{"step":`))
			require.Equal(t, c.after+"{\"step\":8}\n", read(t, dir, "episodes.jsonl"))
		})
	}
}

// A line is there as soon as Metrics or Episode returns: a process that is killed then has lost nothing.
func TestAppendsAreNotBuffered(t *testing.T) {
	dir := t.TempDir()
	r := begin(t, dir, 0, false)
	require.NoFileExists(t, filepath.Join(dir, "episodes.jsonl"), "fine-tuning has no episodes")
	require.NoError(t, r.Metrics(1, Metrics{"x": 1}))
	line := []byte("{\"step\":1}\n with room behind it")[:11]
	require.NoError(t, r.Episode(line))
	require.NoError(t, r.Episode(line[:10])) // with or without its line break
	require.Equal(t, "{\"step\":1,\"x\":1}\n", read(t, dir, "metrics.jsonl"))
	require.Equal(t, "{\"step\":1}\n{\"step\":1}\n", read(t, dir, "episodes.jsonl"))
	require.Equal(t, "{\"step\":1}\n with room", string(line[:21]), "the caller's bytes are left alone")
}

func TestCreateRefuses(t *testing.T) {
	_, err := Create("", 0, false)
	require.ErrorContains(t, err, "say Schedule.Out DIR")

	dir := t.TempDir()
	r := begin(t, dir, 0, false)
	require.NoError(t, r.Metrics(1, nil))
	_, err = Create(dir, 0, true)
	require.ErrorContains(t, err, "opening the run directory: this process is writing to "+dir+" already")
	require.NoError(t, r.Close())
	_, err = Create(dir, 0, false)
	require.ErrorContains(t, err, "already holds a run: add Schedule.Resume auto")
	begin(t, dir, 0, true)

	saved := t.TempDir()
	require.NoError(t, os.MkdirAll(Checkpoint(saved, 4), 0o755))
	_, err = Create(saved, 0, false)
	require.ErrorContains(t, err, "already holds a run")

	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	_, err = Create(file, 0, false)
	require.ErrorContains(t, err, "opening the run directory")
}

// A run that failed before its first step left nothing to keep: its folder may be used again.
func TestCreateAgainAfterNothing(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, begin(t, dir, 0, false).Close())
	require.NoError(t, begin(t, dir, 0, false).Metrics(1, nil))
}

func TestCheckpoints(t *testing.T) {
	dir := t.TempDir()
	_, _, ok := Last(dir)
	require.False(t, ok)
	for _, name := range []string{"step-9", "step-10", ".writing-step-11", "step-12.old", "step-013", "step--1",
		"step-+14", ".replaced-step-15", "other"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "checkpoints", name), 0o755))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "checkpoints", "step-99"), nil, 0o644))
	path, step, ok := Last(dir)
	require.True(t, ok)
	require.Equal(t, 10, step)
	require.Equal(t, filepath.Join(dir, "checkpoints", "step-10"), path)

	got, err := ModelDir(dir)
	require.NoError(t, err)
	require.Equal(t, path, got, "a run is its last checkpoint")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), nil, 0o644))
	got, err = ModelDir(dir)
	require.NoError(t, err)
	require.Equal(t, dir, got)
	_, err = ModelDir(filepath.Join(dir, "nowhere"))
	require.ErrorContains(t, err, "opening model")
	_, err = ModelDir(t.TempDir())
	require.ErrorContains(t, err, "neither config.json nor checkpoints/step-N")
}

// What is measured after a step is done joins the step's line; the log goes on behind it.
func TestAmend(t *testing.T) {
	dir := t.TempDir()
	r := begin(t, dir, 0, false)
	require.NoError(t, r.Metrics(1, Metrics{"a": 1}))
	require.NoError(t, r.Metrics(2, Metrics{"a": math.NaN(), "b": 0.1}))
	require.Nil(t, r.Line(3))
	require.Equal(t, 0.1, r.Line(2)["b"])
	require.NoError(t, r.Amend(2, Metrics{"val/all/f1": 0.5, "b": 0.2}))
	require.NoError(t, r.Amend(3, Metrics{"a": 3}), "a step without a line gets one")
	require.NoError(t, r.Metrics(4, Metrics{"a": 4}))
	require.Equal(t,
		"{\"step\":1,\"a\":1}\n{\"step\":2,\"a\":null,\"b\":0.2,\"val/all/f1\":0.5}\n{\"step\":3,\"a\":3}\n{\"step\":4,\"a\":4}\n",
		read(t, dir, "metrics.jsonl"))
}

// Opening takes the folder and clears away halves; only Begin, when the checkpoint has been read, removes what is later
// than it.
func TestOpenThenBegin(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"step-2", "step-4", ".writing-step-6", ".removing-step-1"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "checkpoints", name), 0o755))
	}
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "checkpoints", ".replaced-step-5"), 0o755))
	_, err := Open(dir, false)
	require.ErrorContains(t, err, "already holds a run")
	f, err := Open(dir, true)
	require.NoError(t, err)
	require.Equal(t, []int{2, 4, 5}, Steps(dir), "one that was being replaced is back")
	_, err = Open(dir, true)
	require.ErrorContains(t, err, "is writing to "+dir)
	left, err := filepath.Glob(filepath.Join(dir, "checkpoints", ".*"))
	require.NoError(t, err)
	require.Empty(t, left)
	r, err := f.Begin(4)
	require.NoError(t, err)
	require.Equal(t, []int{2, 4}, Steps(dir))
	require.NoError(t, r.Close())
	f.Close()
	_, err = Create(dir, 4, true)
	require.NoError(t, err, "the folder is free")
}

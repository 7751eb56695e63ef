package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/bundle"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// recipeOf is a recipe that names a file of every kind, in a folder of its own, and the flags that train with it.
func recipeOf(t *testing.T) (dir string, flags []string) {
	dir = t.TempDir()
	taught, err := taughtModel()
	require.NoError(t, err)
	require.NoError(t, os.CopyFS(filepath.Join(dir, "policy"), os.DirFS(taught)))
	rows := strings.SplitAfter(questions(), "\n")
	for name, text := range map[string]string{
		"more/q.jsonl": strings.Join(rows[:2], ""), "q.jsonl": strings.Join(rows[2:], ""), "held.jsonl": questions(),
		"docs/a.md": "# a\n\na is Ax\n", "docs/deep/b.txt": "b is Bx\n", "docs/.hidden.txt": "no\n",
		"rows.jsonl":                   `{"contents":"c is Cx"}` + "\n",
		"policy/optimizer.safetensors": "not taken", "half.sh": "#!/bin/sh\nwhile read -r line; do case $line in " +
			"*'\"search\"'*) echo '{\"reward\": 0.5}';; *) echo '{\"reward\": 0}';; esac; done\n",
	} {
		name = filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		require.NoError(t, os.WriteFile(name, []byte(text), 0o755))
	}
	recipe := `{model: policy, data: "more/q.jsonl:0.5,q.jsonl:0.5", eval-data: held.jsonl, eval-every: 2, search-mode: "bm25:0.5,simulate_sft:0.5",
corpus: "docs,rows.jsonl", simulation-llm: policy, simulation-max-tokens: 4, reward: "exec:sh half.sh", out: runs/a, total-steps: 12, train-batch-size: 2,
n: 3, max-turns: 1, max-response-length: 8, lr: 1e-3, dtype: f32, save-every: 1}`
	require.NoError(t, os.WriteFile(filepath.Join(dir, "recipe.yaml"), []byte(recipe), 0o644))
	return dir, []string{"--config", "recipe.yaml", "--topk", "2"}
}

// madeBundle makes a bundle of recipeOf in an empty folder, and removes everything that it was made of but what a run
// left there.
func madeBundle(t *testing.T) (bare, whole string) {
	if runtime.GOOS == "windows" {
		t.Skip("the reward is a shell script")
	}
	from, flags := recipeOf(t)
	bare = t.TempDir()
	text, err := self(from, append([]string{"train"}, flags...)...).CombinedOutput()
	require.NoError(t, err, string(text))
	text, err = self(from, append([]string{"bundle", "-o", filepath.Join(bare, "mytrain")},
		flags...)...).CombinedOutput()
	require.NoError(t, err, string(text))
	require.Contains(t, string(text), "  corpus/docs/deep/b.txt")
	require.Contains(t, string(text), "  programs/half.sh")
	require.Contains(t, string(text), "note: the reward program sh is not in it")
	require.NotContains(t, string(text), "optimizer")
	require.NotContains(t, string(text), "hidden")
	whole = filepath.Join(t.TempDir(), "whole")
	require.NoError(t, os.Rename(filepath.Join(from, "runs/a"), whole))
	require.NoError(t, os.RemoveAll(from))
	return bare, whole
}

// start runs the bundle in its folder.
func startBundle(bare string, args ...string) *exec.Cmd {
	c := exec.Command("./mytrain", args...)
	c.Dir, c.Env = bare, append(os.Environ(), mainEnv+"=1")
	return c
}

// A bundle alone in a folder trains, is killed, is interrupted, goes on each time, and ends with the weights of the
// recipe's run.
func TestBundle(t *testing.T) {
	bare, whole := madeBundle(t)
	out := filepath.Join(bare, "runs/a")
	stopAfter := func(step int, how os.Signal) string {
		c := startBundle(bare)
		var said strings.Builder
		c.Stderr = &said
		require.NoError(t, c.Start())
		began := time.Now()
		for done := 0; done < step; _, done, _ = rundir.Last(out) {
			time.Sleep(time.Millisecond)
			require.Less(t, time.Since(began), time.Minute, "step %d does not come", step)
		}
		require.NoError(t, c.Process.Signal(how))
		require.Error(t, c.Wait(), said.String())
		return said.String()
	}
	require.Contains(t, stopAfter(1, os.Kill), "unpacking ")
	said := stopAfter(2, syscall.SIGINT)
	require.NotContains(t, said, "unpacking ", "what is there is used again")
	require.True(t, strings.HasSuffix(said, "To go on:\n  ./mytrain\n"), said)
	if _, done, _ := rundir.Last(out); done < 12 {
		text, err := startBundle(bare).CombinedOutput()
		require.NoError(t, err, string(text))
	}
	for _, name := range []string{"checkpoints/step-12/model.safetensors", "checkpoints/step-12/optimizer.safetensors",
		"episodes.jsonl"} {
		a, err := os.ReadFile(filepath.Join(whole, name))
		require.NoError(t, err)
		b, err := os.ReadFile(filepath.Join(out, name))
		require.NoError(t, err)
		require.True(t, bytes.Equal(a, b), "%s differs", name)
	}
	require.Equal(t, metricsOf(t, whole), metricsOf(t, out))

	entries, err := filepath.Glob(filepath.Join(bare, "runs/*"))
	require.NoError(t, err)
	require.Len(t, entries, 2, "the run and the files")
	config, err := os.ReadFile(filepath.Join(out, "config.yaml"))
	require.NoError(t, err)
	require.Contains(t, string(config), "model: "+strings.TrimPrefix(entries[1], bare+"/")+"/models/policy\n")
	require.NotContains(t, string(config), bundle.InBundle)

	c := startBundle(bare)
	text, err := c.CombinedOutput()
	require.NoError(t, err, string(text))
	require.Contains(t, string(text), "note: all 12 steps are done: raise --total-steps to go on\n")
	require.Contains(t, string(text), "saved runs/a/checkpoints/step-12\n")
	c = startBundle(bare, "--total-steps", "13", "--out", filepath.Join(bare, "runs/a")) // elsewhere is as good
	c.Path, c.Dir = filepath.Join(bare, "mytrain"), t.TempDir()
	text, err = c.CombinedOutput()
	require.NoError(t, err, string(text))
	text, err = startBundle(bare, "--total-steps", "1", "--out", "runs/b").CombinedOutput()
	require.NoError(t, err, string(text))
	require.NotContains(t, string(text), "unpacking ", "runs share the files")
	require.DirExists(t, filepath.Join(bare, "runs/b/checkpoints/step-1"))
	text, err = startBundle(bare, "inspect", "runs/b").CombinedOutput()
	require.NoError(t, err, string(text))
	text, err = startBundle(bare, "--help").CombinedOutput()
	require.NoError(t, err, string(text))
	require.Contains(t, string(text), "are unpacked to runs/bundle-")
	require.Contains(t, string(text), "  total-steps: 12\n")

	// A bundle makes bundles, and each carries one payload.
	text, err = startBundle(bare, "bundle", "--config", "runs/b/config.yaml", "--program", "mytrain", "--without-model",
		"-o", "again").CombinedOutput()
	require.NoError(t, err, string(text))
	require.Contains(t, string(text), "note: --model runs/bundle-")
	a, err := bundle.Open(filepath.Join(bare, "mytrain"))
	require.NoError(t, err)
	defer a.Close()
	b, err := bundle.Open(filepath.Join(bare, "again"))
	require.NoError(t, err)
	defer b.Close()
	require.Equal(t, a.Program(), b.Program())
	require.Len(t, b.Files, len(a.Files)-4, "all but the model's")
}

// An adapter is taken apart into its base and itself; models that are named twice are taken once.
func TestPackAdapter(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, tinyModel(filepath.Join(dir, "base"), 7, true))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "a"), 0o755))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "base", "additional_chat_templates"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "base", "additional_chat_templates", "tool_use.jinja"), nil,
		0o644))
	adapter := `{"peft_type":"LORA","base_model_name_or_path":"` + filepath.ToSlash(filepath.Join(dir, "base")) +
		`","r":2,"lora_alpha":4,"target_modules":["q_proj"]}`
	for name, text := range map[string]string{"adapter_config.json": adapter, "adapter_model.safetensors": "",
		"optimizer.safetensors": ""} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "a", name), []byte(text), 0o644))
	}
	var c config.Config
	c.Policy.Model, c.Policy.RefModel, c.Search.SimulationLLM, c.Search.Mode = filepath.Join(dir, "a"),
		filepath.Join(dir, "base"), filepath.Join(dir, "a"), "simulate_sft"
	p := &bundle.Packer{WithModel: true}
	require.NoError(t, p.Collect(c))
	require.Equal(t, map[string]string{"model": "bundle:models/base", "adapter": "bundle:models/a",
		"ref-model": "bundle:models/base", "simulation-llm": "bundle:models/a"}, p.Places)
	var names []string
	for _, s := range p.Sources {
		names = append(names, s.Name)
	}
	require.ElementsMatch(t, []string{"models/a/adapter_config.json", "models/a/adapter_model.safetensors",
		"models/base/config.json", "models/base/model.safetensors",
		"models/base/tokenizer.json", "models/base/tokenizer_config.json",
		"models/base/additional_chat_templates/tool_use.jinja"}, names)
}

// What a bundle is told wrong, and what is wrong with a bundle, is one line.
func TestBundleBad(t *testing.T) {
	bare, _ := madeBundle(t)
	name := filepath.Join(bare, "mytrain")
	unpacking := regexp.MustCompile(`^unpacking .* to runs/bundle-.*\n`)
	refused := func(code int, want string, args ...string) {
		t.Helper()
		c := startBundle(bare, args...)
		text, err := c.CombinedOutput()
		require.Error(t, err, string(text))
		require.Equal(t, want, unpacking.ReplaceAllString(string(text), ""))
		require.Equal(t, code, c.ProcessState.ExitCode())
		require.NoDirExists(t, filepath.Join(bare, "runs/a"))
	}
	refused(2, "error: unknown flag --nonsense: see ./mytrain --help\n", "--nonsense")
	refused(2,
		"error: this bundle has its recipe: leave --config out and give flags, or use ./mytrain train --config FILE\n",
		"--config", "x.yaml")

	b, err := bundle.Open(name)
	require.NoError(t, err)
	defer b.Close()
	whole, err := os.ReadFile(name)
	require.NoError(t, err)
	const damaged = "the bundle is damaged or was cut off: copy it again\n"
	rewrite := func(data []byte) {
		require.NoError(t, os.Remove(name)) // not in place: it may count as busy
		require.NoError(t, os.WriteFile(name, data, 0o755))
	}
	rewrite(whole[:len(whole)-100])
	refused(1, "error: opening the bundle "+name+": "+damaged)
	rewrite(whole[:b.Program()+50])
	refused(1, "error: opening the bundle "+name+": "+damaged, "--total-steps", "1")
	changed := bytes.Clone(whole)
	at := bytes.LastIndex(changed, []byte(`"dtype":"F32"`))
	require.Greater(t, at, int(b.Program()))
	changed[at+1] = 'D'
	rewrite(changed)
	refused(1, "error: unpacking the bundle: models/policy/model.safetensors: zip: checksum error: "+damaged)
	require.NoDirExists(t, filepath.Join(bare, "runs/bundle-"+b.ID))

	rewrite(whole)
	if runtime.GOOS == "linux" {
		limited := startBundle(bare)
		limited.Path, limited.Args = "/bin/sh", []string{"sh", "-c", "ulimit -f 100; exec ./mytrain"}
		text, err := limited.CombinedOutput()
		require.Error(t, err, string(text))
		require.Regexp(t, "^error: unpacking the bundle: write .*/models/policy/model.safetensors: file too large: "+
			"make room, or choose another place\n$", unpacking.ReplaceAllString(string(text), ""))
		left, err := filepath.Glob(filepath.Join(bare, "runs/*"))
		require.NoError(t, err)
		require.Empty(t, left, "nothing is left of it")
	}
	text, err := startBundle(bare, "--dry-run").CombinedOutput()
	require.NoError(t, err, string(text))
	require.Contains(t, string(text), "12 steps, 72 episodes")
	require.NoError(t, os.WriteFile(filepath.Join(bare, "runs/bundle-"+b.ID, "data/2/q.jsonl"), []byte(questions()),
		0o644))
	dir := "runs/bundle-" + b.ID
	refused(1,
		"error: unpacking the bundle: data/2/q.jsonl in "+dir+" differs from the file in the bundle: remove "+dir+", and it is unpacked again\n")
}

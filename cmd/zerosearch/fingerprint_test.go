package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// sources are the files that a run and an evaluation come from, each in a folder where a test may change it.
type sources struct{ dir string }

func newSources(t *testing.T) sources {
	taught, err := taughtModel()
	require.NoError(t, err)
	s := sources{t.TempDir()}
	require.NoError(t, os.CopyFS(s.path("model"), os.DirFS(taught)))
	require.NoError(t, os.Remove(s.path("model/optimizer.safetensors")))
	require.NoError(t, tinyModel(s.path("simulator"), 3, true))
	require.NoError(t, tinyModel(s.path("reference"), 4, true))
	s.write(t, "q.jsonl", questions())
	s.write(t, "corpus.jsonl", `{"contents":"a is Ax"}`+"\n"+`{"contents":"b is Bx"}`+"\n")
	s.write(t, "template.jinja", chatML)
	mustRun(t, "", "sft", "--model", s.path("model"), "--data", s.rows(t), "--out", s.path("adapter"), "--steps", "1",
		"--lora-r", "2", "--dtype", "f32")
	require.NoError(t, os.Rename(s.path("adapter/checkpoints/step-1"), s.path("adapter1")))
	return s
}

func (s sources) path(name string) string { return filepath.Join(s.dir, filepath.FromSlash(name)) }

func (s sources) write(t *testing.T, name, text string) {
	require.NoError(t, os.WriteFile(s.path(name), []byte(text), 0o644))
}

func (s sources) rows(t *testing.T) string {
	s.write(t, "rows.jsonl", `{"prompt":"Q a\n","completion":"<answer>Ax</answer>"}`+"\n")
	return s.path("rows.jsonl")
}

// flags name them all.
func (s sources) flags() []string {
	return []string{"--model", s.path("model"), "--adapter", s.path("adapter1"), "--data", s.path("q.jsonl"),
		"--chat-template", s.path("template.jinja"),
		"--search-mode", "bm25:0.5,simulate_sft:0.5", "--corpus", s.path("corpus.jsonl"),
		"--simulation-llm", s.path("simulator"),
		"--simulation-max-tokens", "4", "--max-turns", "1", "--max-response-length", "6", "--dtype", "f32"}
}

// flip changes the lowest bit of a byte in the middle of a file, so that it still loads, and gives back what undoes it.
func (s sources) flip(t *testing.T, name string) (undo func()) {
	text, err := os.ReadFile(s.path(name))
	require.NoError(t, err)
	changed := bytes.Clone(text)
	at := len(changed) / 2 &^ 3 // the lowest byte of a float32
	changed[at] ^= 1
	s.write(t, name, string(changed))
	return func() { s.write(t, name, string(text)) }
}

// swap replaces a text in a file.
func (s sources) swap(t *testing.T, name, from, to string) (undo func()) {
	text, err := os.ReadFile(s.path(name))
	require.NoError(t, err)
	require.Contains(t, string(text), from)
	s.write(t, name, strings.Replace(string(text), from, to, 1))
	return func() { s.write(t, name, string(text)) }
}

// Whatever a run or an evaluation came from, replaced where it lies, is noticed when it would be gone on with, and
// named.
func TestReplacedSourcesAreNamed(t *testing.T) {
	s := newSources(t)
	run, evaluated := s.path("run"), s.path("eval")
	train := func(more ...string) []string {
		return append(append([]string{"train", "--out", run, "--train-batch-size", "2", "--n", "2", "--ref-model",
			s.path("reference"), "--lr", "1e-3"}, s.flags()...), more...)
	}
	eval := append([]string{"eval", "--out", evaluated, "--limit", "2", "--bootstrap", "20"}, s.flags()...)
	mustRun(t, "", train("--total-steps", "1")...)
	mustRun(t, "", eval...)
	episodes := s.path("episodes.jsonl")
	require.NoError(t, os.Rename(filepath.Join(run, "episodes.jsonl"), episodes))
	replayed := func(steps ...string) []string {
		return append([]string{"train", "--replay", episodes, "--out", s.path("replayed"), "--model", s.path("model"),
			"--lora-r", "2", "--dtype", "f32", "--kl-coef", "0"}, steps...)
	}
	mustRun(t, "", replayed()...)
	again := map[string][]string{"train": train("--total-steps", "2", "--resume", "auto"), "eval": eval,
		"replay": replayed("--resume", "auto", "--total-steps", "300")}

	for _, c := range []struct {
		verbs, want string
		change      func() func()
	}{
		{"train eval replay", "the weights of --model have changed", func() func() {
			return s.flip(t,
				"model/model.safetensors")
		}},
		{"train eval replay", "the tokenizer of --model has changed", func() func() {
			return s.swap(t,
				"model/tokenizer.json", `"version"`, ` "version"`)
		}},
		{"train eval replay", "the chat template of --model has changed", func() func() {
			return s.swap(t,
				"model/tokenizer_config.json", "for m in", "for  m in")
		}},
		{"train eval", "the content of --adapter has changed", func() func() {
			return s.flip(t,
				"adapter1/adapter_model.safetensors")
		}},
		{"train eval", "the content of --chat-template has changed", func() func() {
			return s.swap(t, "template.jinja", "for m in",
				"for  m in")
		}},
		{"train eval", "the content of --corpus has changed", func() func() {
			return s.swap(t, "corpus.jsonl", "b is Bx",
				"b is By")
		}},
		{"train eval", "the weights of --simulation-llm have changed", func() func() {
			return s.flip(t,
				"simulator/model.safetensors")
		}},
		{"train", "the weights of --ref-model have changed", func() func() {
			return s.flip(t, "reference/model.safetensors")
		}},
		{"train", "the content of --data has changed", func() func() {
			return s.swap(t, "q.jsonl", "what is a", "who is a")
		}},
		{"eval", "the questions were others", func() func() { return s.swap(t, "q.jsonl", "what is a", "who is a") }},
		{"replay", "the content of --replay has changed", func() func() {
			return s.swap(t, "episodes.jsonl", "0.", "0.0")
		}},
	} {
		undo := c.change()
		for _, verb := range strings.Fields(c.verbs) {
			code, _, stderr := zs("", again[verb]...)
			require.Equal(t, 1, code, "%s: %s", verb, c.want)
			require.Contains(t, stderr, c.want, verb)
			require.NotContains(t, stderr, ";", "nothing else is said to differ")
		}
		undo()
	}
	mustRun(t, "", again["train"]...)
	mustRun(t, "", again["eval"]...)
}

// An adapter whose base is not there under its name writes documents over the policy's base: it is compared as well.
func TestSimulatorOverThePolicysBase(t *testing.T) {
	s := newSources(t)
	s.swap(t, "adapter1/adapter_config.json", s.path("model")+`"`, `owner/model"`)
	args := func(more ...string) []string {
		return append([]string{"train", "--model", s.path("model"), "--lora-r", "2", "--data", s.path("q.jsonl"),
			"--out",
			s.path("run"),
			"--simulation-llm", s.path("adapter1"), "--search-mode", "simulate_sft", "--simulation-max-tokens", "4",
			"--train-batch-size", "2", "--n", "2", "--max-turns", "1", "--max-response-length", "6", "--dtype", "f32"},
			more...)
	}
	mustRun(t, "", args("--total-steps", "1")...)
	s.flip(t, "adapter1/adapter_model.safetensors")
	code, _, stderr := zs("", args("--total-steps", "2", "--resume", "auto")...)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "the adapter of --simulation-llm has changed")
}

// A reward program that was rewritten gives other rewards: resuming says so.
func TestReplacedRewardProgramIsNamed(t *testing.T) {
	program := filepath.Join(t.TempDir(), "reward.sh")
	write := func(score string) {
		require.NoError(t, os.WriteFile(program,
			[]byte("#!/bin/sh\nwhile read -r line; do echo '{\"reward\":"+score+"}'; done\n"), 0o755))
	}
	write("1")
	out := filepath.Join(t.TempDir(), "run")
	mustRun(t, "", trainArgs(t, out, "--total-steps", "1", "--reward", "exec:"+program)...)
	write("0.5")
	code, _, stderr := zs("", trainArgs(t, out, "--total-steps", "2", "--reward", "exec:"+program, "--resume",
		"auto")...)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "the reward.sh of --reward has changed")
}

// An evaluation that sampled goes on sampling, by its own config.yaml too; one that took the likeliest ids is not
// mixed with it.
func TestSampledEvaluationStaysOne(t *testing.T) {
	model, err := taughtModel()
	require.NoError(t, err)
	dir := t.TempDir()
	q, out := filepath.Join(dir, "q.jsonl"), filepath.Join(dir, "e")
	require.NoError(t, os.WriteFile(q, []byte(questions()), 0o644))
	args := []string{"eval", "--model", model, "--data", q, "--search-mode", "none", "--max-turns", "0",
		"--max-response-length", "6", "--dtype", "f32", "--bootstrap", "0", "--out", out}
	mustRun(t, "", append(args, "--temperature", "1")...)
	code, _, stderr := zs("", args...)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "greedy was false, is true")
	mustRun(t, "", "eval", "--config", filepath.Join(out, "config.yaml"))
}

// The best score on other held-out questions says nothing about these: it is forgotten, and that is said.
func TestBestScoreOfOtherQuestions(t *testing.T) {
	out, held := filepath.Join(t.TempDir(), "run"), filepath.Join(t.TempDir(), "held.jsonl")
	args := func(answer string, more ...string) []string {
		require.NoError(t,
			os.WriteFile(held, []byte(`{"question":"q","golden_answers":["`+answer+`"],"prompt":"Q a\n"}`),
				0o644))
		return trainArgs(t, out, append([]string{"--eval-data", held, "--eval-every", "1", "--keep-best"}, more...)...)
	}
	mustRun(t, "", args("Ax", "--total-steps", "1")...)
	code, _, stderr := zs("", args("Ax", "--total-steps", "2", "--resume", "auto")...)
	require.Zero(t, code, stderr)
	require.NotContains(t, stderr, "questions have changed")
	code, _, stderr = zs("", args("never", "--total-steps", "3", "--resume", "auto")...)
	require.Zero(t, code, stderr)
	require.Contains(t, stderr, "the held-out questions have changed since step")
}

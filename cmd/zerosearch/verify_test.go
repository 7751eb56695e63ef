package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/rl/verify"
)

// verified3 is what verify says of step 3 of a run.
func verified3(t *testing.T, run string) (code int, v verify.Verification, stderr string) {
	code, stdout, stderr := zs("", "verify", run, "--step", "3", "--json")
	if stdout != "" {
		require.NoError(t, json.Unmarshal([]byte(stdout), &v), stdout)
	}
	return code, v, stderr
}

// Runs of every kind are repeated to the last bit: all weights and LoRA, a critic, a simulator, a mixture, questions
// drawn anew, a step whose predecessor was not saved, a run that was resumed with more steps.
func TestVerifyRepeatsRuns(t *testing.T) {
	sim := []string{"--search-mode", "simulate_sft", "--simulation-max-tokens", "4"}
	for name, args := range map[string][]string{
		"all weights":   nil,
		"bf16 and lora": append([]string{"--dtype", "bf16", "--lora-r", "2"}, sim...),
		"dynamic sampling": {"--algo", "dapo", "--dynamic-sampling", "--max-gen-batches", "3", "--n", "2", "--kl-coef",
			"0"},
		"mixture": {"--search-mode", "simulate_sft,bm25", "--simulation-max-tokens", "4", "--curriculum", "adaptive",
			"--end-threshold", "0.9",
			"--kl-target", "0.01"},
		"sparse":             {"--save-every", "0"},
		"nothing is learned": {"--lr", "0"},
	} {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "run")
			mustRun(t, "", trainArgs(t, out, append([]string{"--total-steps", "3"}, args...)...)...)
			code, v, stderr := verified3(t, out)
			require.Zero(t, code, stderr)
			require.True(t, v.Exact)
			require.Equal(t, []int{3}, v.Checkpoints)
			require.Positive(t, v.Logprobs)
			require.Greater(t, v.Metrics, 30)
			require.Positive(t, v.Tensors)
		})
	}
	out := filepath.Join(t.TempDir(), "run")
	mustRun(t, "", everything(t, out, "--total-steps", "4")...)
	mustRun(t, "", everything(t, out, "--total-steps", "6", "--resume", "auto", "--keep-last", "0", "--save-dtype",
		"bf16")...)
	mustRun(t, "", "verify", out, "--step", "4")
	mustRun(t, "", "verify", out, "--step", "5")
	stdout := mustRun(t, "", "verify", out)
	require.Contains(t, stdout, "repeated   step 6, from checkpoints/step-5")
	require.Contains(t, stdout, "tensors of checkpoints/step-6")
}

// letters is a corpus in which every search of the taught model finds something.
func letters(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "letters.jsonl")
	text := ""
	for _, q := range []string{"a", "b", "c", "d"} {
		text += fmt.Sprintf(`{"contents":"\"letter %s\"\nThe letter %[1]s is %[2]s."}`+"\n", q, answerTo(q))
	}
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

// flipped changes one bit of the first group of a pattern in a file, and gives back what undoes it. last takes the
// last place that matches.
func flipped(t *testing.T, path, pattern string) (undo func()) {
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	all := regexp.MustCompile(pattern).FindAllSubmatchIndex(text, -1)
	require.NotEmpty(t, all, "%s in %s", pattern, path)
	changed := append([]byte(nil), text...)
	changed[all[0][2]] ^= 1
	require.NoError(t, os.WriteFile(path, changed, 0o644))
	return func() { require.NoError(t, os.WriteFile(path, text, 0o644)) }
}

// flippedWeight changes one bit of the last element of a file of tensors: of the lowest byte, or of the sign.
func flippedWeight(t *testing.T, path string, sign bool) (undo func()) {
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	changed := append([]byte(nil), text...)
	if sign {
		changed[len(changed)-1] ^= 0x40 // of the exponent: a number of another size
	} else {
		changed[len(changed)-4] ^= 1
	}
	require.NoError(t, os.WriteFile(path, changed, 0o644))
	return func() { require.NoError(t, os.WriteFile(path, text, 0o644)) }
}

// Episodes that stand twice, or in another place, and a doubled line of metrics are found: two processes may have
// written them.
func TestVerifyFindsDoubles(t *testing.T) {
	out := filepath.Join(t.TempDir(), "run")
	mustRun(t, "", trainArgs(t, out, "--total-steps", "3")...)
	for name, c := range map[string]struct {
		change func(lines []string, first int) []string
		want   string
	}{
		"episodes.jsonl": {func(l []string, i int) []string { return slices.Insert(l, i, l[i]) },
			"episode: recorded two, recomputed one"},
		"./episodes.jsonl": {func(l []string, i int) []string { l[i], l[i+1] = l[i+1], l[i]; return l },
			"line: recorded in another place, recomputed line 1 of the step"},
		"metrics.jsonl": {func(l []string, i int) []string { return slices.Insert(l, i, l[i]) },
			"line 4 is the second one of step 3"},
	} {
		path := filepath.Join(out, name)
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		lines := strings.SplitAfter(string(text), "\n")
		first := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, `{"step":3,`) })
		changed := strings.Join(c.change(lines, first), "")
		require.NoError(t, os.WriteFile(path, []byte(changed), 0o644))
		code, _, stderr := verified3(t, out)
		require.Equal(t, 1, code, name)
		require.Contains(t, stderr, c.want, name)
		require.NoError(t, os.WriteFile(path, text, 0o644))
	}
}

// One bit of anything that a run recorded is found and named: step, question, rollout, turn, field, position, and
// both values.
func TestVerifyFindsAFlippedBit(t *testing.T) {
	out := filepath.Join(t.TempDir(), "run")
	mustRun(t, "", trainArgs(t, out, "--total-steps", "3", "--n", "4", "--train-batch-size", "4", "--corpus",
		letters(t))...)
	episodes := filepath.Join(out, "episodes.jsonl")
	for _, c := range []struct{ pattern, field string }{
		{`(?m)^{"step":3,.*?"logprobs":\[-?\d+\.\d*?(\d)[,\]]`, "logprobs[0]"},
		{`(?m)^{"step":3,.*"documents":\["\\"(.)`, "documents[0]"},
		{`(?m)^{"step":3,.*"reward":(\d)`, "reward"},
		{`(?m)^{"step":3,.*?"ids":\[\d*(\d)`, "ids[0]"},
		{`(?m)^{"step":3,.*?"prompt_ids":\[\d*(\d)`, "prompt_ids[0]"},
		{`(?m)^{"step":3,.*?"mask":\[(\d)`, "mask[0]"},
		{`(?m)^{"step":3,.*?"text":".(.)`, "text"},
		{`(?m)^{"step":3,.*"observation":"(?:[^"\\]|\\.)*?Doc \d: \\"(.)`, "observation["},
		{`(?m)^{"step":3,.*"query":"(.)`, "query"},
		{`(?m)^{"step":3,.*"status":"answere(.)`, "status"},
		{`(?m)^{"step":3,.*"advantage":-?\d+\.\d+?(\d)[,\]]`, "advantage[0]"},
		{`(?m)^{"step":3,.*"question":"(.)`, "question"},
		{`(?m)^{"step":3,.*"golden_answers":\["(.)`, "golden_answers[0]"},
		{`(?m)^{"step":3,.*"rollout":(\d)`, "episode"},
		{`(?m)^{"step":3,.*"temperatur(.)":`, "temperature"},
	} {
		undo := flipped(t, episodes, c.pattern)
		code, v, stderr := verified3(t, out)
		undo()
		require.Equal(t, 1, code, c.pattern)
		require.Contains(t, stderr, "is not what its settings and seed give: step 3, question q", c.pattern)
		require.Contains(t, stderr, ", "+c.field, c.pattern)
		require.NotNil(t, v.Difference, c.pattern)
		require.NotEqual(t, v.Difference.Recorded, v.Difference.Again, c.pattern)
	}
	undo := flipped(t, filepath.Join(out, "metrics.jsonl"), `(?m)^{"step":3,.*"actor/grad_norm":\d+\.\d+?(\d),`)
	code, _, stderr := verified3(t, out)
	undo()
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "step 3, metrics.jsonl, actor/grad_norm: recorded ")
	for file, want := range map[string]string{
		"checkpoints/step-2/model.safetensors":     "step-2/model.safetensors, model.norm.weight[47]: recorded ",
		"checkpoints/step-3/model.safetensors":     "step-3/model.safetensors, model.norm.weight[47]: recorded ",
		"checkpoints/step-3/optimizer.safetensors": "step-3/optimizer.safetensors, v.model.norm.weight[47]: recorded ",
		"checkpoints/step-2/optimizer.safetensors": "step 3, ",
	} {
		undo := flippedWeight(t, filepath.Join(out, file), false)
		code, _, stderr := verified3(t, out)
		undo()
		require.Equal(t, 1, code, file)
		require.Contains(t, stderr, want)
	}
	for file, pattern := range map[string]string{"config.json": `"hidden_siz(.)"`, "tokenizer.json": `"versio(.)"`,
		"tokenizer_config.json": `(.)m in messages`, "trainer_state.json": `"skipped": (\d)`} {
		undo := flipped(t, filepath.Join(out, "checkpoints/step-3", file), pattern)
		code, _, stderr := verified3(t, out)
		undo()
		require.Equal(t, 1, code, file)
		require.Contains(t, stderr, "step 3, checkpoints/step-3", file)
	}
	code, _, stderr = verified3(t, out)
	require.Zero(t, code, stderr)
}

// A weight of the model that the run began with is compared with what the run began with.
func TestVerifyKnowsTheStart(t *testing.T) {
	s := newSources(t)
	args := append([]string{"train", "--out", s.path("run"), "--train-batch-size", "2", "--n", "2", "--total-steps",
		"1"}, s.flags()...)
	mustRun(t, "", args...)
	mustRun(t, "", "verify", s.path("run"))
	undo := s.flip(t, "model/model.safetensors")
	code, _, stderr := zs("", "verify", s.path("run"))
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "the inputs of the run have changed: the weights of --model have changed")
	undo()
	t.Setenv("ZEROSEARCH_LR", "0.5") // of another run
	t.Setenv("ZEROSEARCH_REF_MODEL", s.path("reference"))
	mustRun(t, "", "verify", s.path("run"))
}

// Documents of an engine that answers otherwise today are given again from the record, also when the engine is gone;
// they are compared with what the policy was shown.
func TestVerifyGivesRecordedDocuments(t *testing.T) {
	var n atomic.Int64
	fickle := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if i := n.Add(1); i%5 == 0 {
			w.WriteHeader(400) // that query's fault: its search fails
		} else {
			fmt.Fprintf(w,
				`{"result": [[{"document": {"contents": "\"t\"\nanswer %d"}}, {"document": {"contents": "\"u\"\nmore %d"}}]]}`, i, i)
		}
	}))
	out := filepath.Join(t.TempDir(), "run")
	mustRun(t, "", trainArgs(t, out, "--total-steps", "3", "--n", "4", "--train-batch-size", "4", "--search-mode",
		"wiki", "--wiki-url", fickle.URL,
		"--search-cache", filepath.Join(t.TempDir(), "cache"))...)
	fickle.Close()
	code, v, stderr := verified3(t, out)
	require.Zero(t, code, stderr)
	require.Equal(t, "recorded", v.Searches)
	require.Contains(t, mustRun(t, "", "verify", out), "searches   not repeated")
	for pattern, field := range map[string]string{
		`(?m)^{"step":3,.*"documents":\["\\"t\\" answer (\d)`:          "documents[0]",
		`(?m)^{"step":3,.*?"observation":"(?:[^"\\]|\\.)*?answer (\d)`: "documents[0]",
	} {
		undo := flipped(t, filepath.Join(out, "episodes.jsonl"), pattern)
		code, _, stderr := verified3(t, out)
		undo()
		require.Equal(t, 1, code, pattern)
		require.Contains(t, stderr, field, pattern)
	}
}

// On another kernel path recorded ids are scored: log-probs, updates and weights agree within tolerances, questions,
// documents and rewards exactly; what is beyond them is found and named.
func TestVerifyOnAnotherPath(t *testing.T) {
	other := ""
	for _, p := range cpu.Paths.List() { // the last is plain Go, which runs everywhere, slowly
		if p.Missing == "" && p.Name != cpu.Paths.Used() && (other == "" || p.Name != "generic") {
			other = p.Name
		}
	}
	if other == "" {
		t.Skip("this machine has one kernel path")
	}
	out := filepath.Join(t.TempDir(), "run")
	mustRun(t, "", trainArgs(t, out, "--total-steps", "3", "--ppo-mini-batch-size", "3", "--lr", "1e-5", "--n", "3",
		"--train-batch-size", "3", "--seed", "1", "--corpus", letters(t))...)
	undo, err := cpu.Paths.Use(other)
	require.NoError(t, err)
	defer undo()
	code, v, stderr := verified3(t, out)
	require.Zero(t, code, stderr)
	require.False(t, v.Exact)
	require.Equal(t, other, v.Path)
	require.Positive(t, v.Logprobs)
	require.Equal(t, []int{3}, v.Checkpoints)
	require.Contains(t, mustRun(t, "", "verify", out), "recorded ids are scored, not sampled again, within tolerances")
	episodes := filepath.Join(out, "episodes.jsonl")
	for _, c := range []struct{ pattern, field string }{
		{`(?m)^{"step":3,.*?"logprobs":\[-(0)\.`, "logprobs[0]"},
		{`(?m)^{"step":3,.*"documents":\["\\"(.)`, "documents[0]"},
		{`(?m)^{"step":3,.*"reward":(\d)`, "reward"},
		{`(?m)^{"step":3,.*"golden_answers":\["(.)`, "golden_answers[0]"},
	} {
		undo := flipped(t, episodes, c.pattern)
		code, _, stderr := verified3(t, out)
		undo()
		require.Equal(t, 1, code, c.pattern)
		require.Contains(t, stderr, ", "+c.field, c.pattern)
	}
	undoWeight := flippedWeight(t, filepath.Join(out, "checkpoints/step-3/model.safetensors"), true)
	code, _, stderr = verified3(t, out)
	undoWeight()
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "checkpoints/step-3/model.safetensors, model.norm.weight[47]: recorded ")
}

// What cannot be verified is said in a line.
func TestVerifyRefuses(t *testing.T) {
	model, err := taughtModel()
	require.NoError(t, err)
	dir := t.TempDir()
	rows := filepath.Join(dir, "rows.jsonl")
	require.NoError(t, os.WriteFile(rows, []byte(`{"prompt":"a","completion":"b"}`), 0o644))
	tuned, run, replayed := filepath.Join(dir, "tuned"), filepath.Join(dir, "run"), filepath.Join(dir, "replayed")
	mustRun(t, "", "sft", "--model", model, "--data", rows, "--out", tuned, "--steps", "1", "--dtype", "f32")
	mustRun(t, "", trainArgs(t, run, "--total-steps", "2")...)
	mustRun(t, "", "train", "--replay", filepath.Join(run, "episodes.jsonl"), "--model", model, "--dtype", "f32",
		"--kl-coef", "0", "--out", replayed)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{filepath.Join(dir, "absent")}, "give the --out of a train run"},
		{[]string{tuned}, "its config.yaml is not of train"},
		{[]string{replayed}, "rolled nothing out"},
		{[]string{run, "--step", "7"}, "step 7 is not in metrics.jsonl, which ends with step 2"},
		{[]string{run, "--step=-1"}, "--step must not be negative"},
	} {
		code, _, stderr := zs("", append([]string{"verify"}, c.args...)...)
		require.NotZero(t, code)
		require.Contains(t, stderr, c.want)
		require.Equal(t, 1, strings.Count(stderr, "\n"), stderr)
	}
}

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a server's model thinks is no document, in whatever form it comes.
func TestRemoteThoughts(t *testing.T) {
	const docs = "Doc 1: Paris is the capital of France.\\n\\nDoc 2: Lyon is a city."
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/models" {
			io.WriteString(w, `{"data":[{"id":"m"}]}`)
			return
		}
		body, _ := io.ReadAll(r.Body)
		message := `"content":"` + docs + `"`
		switch {
		case strings.Contains(string(body), "in tags"):
			message = `"content":"<think>\nDoc 1: The answer is Paris.\n</think>\n\n` + docs + `"`
		case strings.Contains(string(body), "closed"):
			message = `"content":"I should write five documents.\n</think>\n\n` + docs + `"`
		case strings.Contains(string(body), "apart"):
			message += `,"reasoning_content":"hm"`
		case strings.Contains(string(body), "only"):
			message = `"content":null,"reasoning_content":"The answer is Paris."`
		}
		fmt.Fprintf(w, `{"choices":[{"message":{"role":"assistant",%s}}]}`, message)
	}))
	t.Cleanup(s.Close)
	var requests string
	for _, q := range []string{"in tags", "closed", "apart", "only"} {
		requests += fmt.Sprintf(`{"query":%q,"question":"?","golden_answers":["Paris"]}`+"\n", q)
	}
	code, stdout, _ := zs(requests, "simulate", "--search-mode", "remote", "--remote-url", s.URL, "--search-tries", "1",
		"--topk", "2")
	require.Equal(t, 1, code)
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	require.Len(t, lines, 4)
	for _, line := range lines[:3] {
		require.Contains(t, line, `"documents":["Paris is the capital of France.","Lyon is a city."]`)
	}
	require.Contains(t, lines[0], `"raw":"<think>\nDoc 1: The answer is Paris.`)
	require.Contains(t, lines[3],
		`{"error":"simulating search results for \"only\": the model thought and wrote no document`)
}

// A turn of the right form earns the reward format, whether the policy opens its thought or the chat template does.
func TestFormatOfPrefilledTurn(t *testing.T) {
	dir := t.TempDir()
	model, rows, questions := filepath.Join(dir, "tiny"), filepath.Join(dir, "rows.jsonl"),
		filepath.Join(dir, "q.jsonl")
	require.NoError(t, tinyModel(model, 7, true))
	require.NoError(t,
		os.WriteFile(rows, []byte(`{"prompt":"Q\n","completion":"<think>ab</think><answer>hello</answer>"}`+"\n"),
			0o644))
	require.NoError(t, os.WriteFile(questions, []byte(`{"question":"Who?","golden_answers":["hello"]}`+"\n"), 0o644))
	mustRun(t, "", "sft", "--model", model, "--data", rows, "--steps", "30", "--batch-size", "1", "--lr", "1e-2",
		"--dtype", "f32",
		"--out", filepath.Join(dir, "sft"))
	for template, want := range map[string]string{"{{ 'Q\n' }}": `"text":"<think>ab</think><answer>hello</answer>"`,
		"{{ 'Q\n<think>' }}": `"prefill":"<think>","text":"ab</think><answer>hello</answer>"`} {
		file, out := filepath.Join(dir, "t.jinja"), filepath.Join(dir, fmt.Sprint("run", len(template)))
		require.NoError(t, os.WriteFile(file, []byte(template), 0o644))
		mustRun(t, "", "train", "--model", filepath.Join(dir, "sft"), "--chat-template", file, "--data", questions,
			"--search-mode", "none",
			"--reward", "format", "--total-steps", "1", "--train-batch-size", "1", "--n", "2", "--max-turns", "1",
			"--max-response-length", "40",
			"--temperature", "0.05", "--lr", "1e-9", "--dtype", "f32", "--out", out)
		text, err := os.ReadFile(filepath.Join(out, "episodes.jsonl"))
		require.NoError(t, err)
		require.Equal(t, 2, strings.Count(string(text), want), "%s", text)
		require.Equal(t, 2, strings.Count(string(text), `"reward":1,`), "%s", text)
	}
	stdout := mustRun(t, `{"question":"Who?"}`+"\n", "ask", "--model", filepath.Join(dir, "sft"), "--chat-template",
		filepath.Join(dir, "t.jinja"),
		"--search-mode", "none", "--dtype", "f32", "--max-response-length", "40")
	require.Contains(t, stdout, `"think":"ab"`)
}

// Thinking is switched in the template of policy and simulator; a switch that would do nothing is refused. What a
// simulator thinks is never a document.
func TestThinkingSwitch(t *testing.T) {
	model, err := taughtModel()
	require.NoError(t, err)
	dir := t.TempDir()
	template := filepath.Join(dir, "t.jinja")
	require.NoError(t,
		os.WriteFile(template,
			[]byte("{% if enable_thinking is defined and not enable_thinking %}quick, {% endif %}{{ 'Q a\\n' }}"),
			0o644))
	request := `{"query":"a","question":"what is a?","golden_answers":["Ax"]}` + "\n"
	simulate := []string{"simulate", "--model", model, "--dtype", "f32", "--chat-template", template,
		"--simulation-max-tokens", "30"}
	for flag, want := range map[string]int{"--verbose": 4, "--sim-enable-thinking=false": 11,
		"--no-enable-thinking": 11, "--sim-enable-thinking": 4} {
		_, stdout, _ := zs(request, append(simulate, flag, "--simulation-temperature", "0")...)
		var a struct {
			Prompt int `json:"prompt_tokens"`
		}
		require.NoError(t, json.Unmarshal([]byte(stdout), &a), stdout)
		require.Equal(t, want, a.Prompt, "%s: %s", flag, stdout)
	}
	_, stdout, _ := zs(strings.Repeat(request, 40), append(simulate, "--simulation-temperature", "1")...)
	require.Contains(t, stdout, `"documents":["<answer>Ax</answer>"]`)
	require.Contains(t, stdout, "the model thought and wrote no document within 30 tokens")
	for line := range strings.Lines(stdout) {
		require.NotRegexp(t, `"documents":\[[^]]*think`, line)
	}

	// A thought that the template has opened and the limit cuts off has no tag of its own.
	opens := filepath.Join(dir, "opens.jinja")
	require.NoError(t, os.WriteFile(opens, []byte("{{ 'Q a\\n<think>' }}"), 0o644))
	code, stdout, _ := zs(request, "simulate", "--model", model, "--dtype", "f32", "--chat-template", opens,
		"--simulation-max-tokens", "1",
		"--simulation-temperature", "0")
	require.Equal(t, 1, code)
	require.Contains(t, stdout, "the model thought and wrote no document within 1 tokens")

	out := filepath.Join(dir, "run")
	questions := filepath.Join(dir, "q.jsonl")
	require.NoError(t, os.WriteFile(questions, []byte(`{"question":"a","golden_answers":["Ax"]}`+"\n"), 0o644))
	train := []string{"train", "--model", model, "--dtype", "f32", "--data", questions, "--search-mode", "none",
		"--total-steps", "1", "--train-batch-size", "1",
		"--n", "2", "--max-response-length", "8"}
	mustRun(t, "", append(train, "--chat-template", template, "--enable-thinking=false", "--out", out)...)
	text, err := os.ReadFile(filepath.Join(out, "episodes.jsonl"))
	require.NoError(t, err)
	require.Contains(t, string(text), `"prompt_ids":[113,117,105,99,107,44,32,81,32,97,10]`)
	config, err := os.ReadFile(filepath.Join(out, "config.yaml"))
	require.NoError(t, err)
	require.Contains(t, string(config), "enable-thinking: false\n")

	code, _, stderr := zs("", append(train, "--enable-thinking=false", "--out", out+"2")...)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "--enable-thinking: the chat template does not use enable_thinking: leave the flag out")
	code, _, stderr = zs("", append(train, "--sim-enable-thinking=false", "--out", out+"2")...)
	require.NotZero(t, code)
	require.Contains(t, stderr, "--sim-enable-thinking is of no use with --search-mode none")
}

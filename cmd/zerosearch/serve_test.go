package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/serve"
)

// --allow-origin reaches the server, several times or with commas, and a preflight needs no key.
func TestServeAllowOrigin(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "m")
	require.NoError(t, tinyModel(dir, 7, true))
	url := startServer(t, ".", []string{"serve", "--model", dir, "--port", "0", "--json", "--api-key", "k",
		"--allow-origin", "http://localhost:3000,https://a.example", "--allow-origin", "https://b.example"})
	for origin, want := range map[string]int{
		"http://localhost:3000": 204, "https://a.example": 204, "https://b.example": 204, "https://c.example": 403} {
		q, err := http.NewRequest("OPTIONS", url+"/v1/chat/completions", nil)
		require.NoError(t, err)
		q.Header.Set("Origin", origin)
		q.Header.Set("Access-Control-Request-Method", "POST")
		resp, err := http.DefaultClient.Do(q)
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, want, resp.StatusCode, origin)
		require.Equal(t, want == 204, resp.Header.Get("Access-Control-Allow-Origin") == origin)
	}
	for _, bad := range []string{"localhost:3000", "http://a/b"} {
		code, _, stderr := zs("", "serve", "--model", dir, "--port", "0", "--allow-origin", bad)
		require.Equal(t, 2, code)
		require.Contains(t, stderr, "is no origin")
	}
}

// servedIDs are the ids of each choice of a completion with these fields.
func servedIDs(t *testing.T, url, fields string) (ids [][]int32) {
	resp, err := http.Post(url+"/v1/completions", "application/json",
		strings.NewReader("{"+fields+`,"return_token_ids":true}`))
	require.NoError(t, err)
	defer resp.Body.Close()
	var answer struct {
		Choices []struct {
			IDs []int32 `json:"token_ids"`
		}
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&answer))
	for _, c := range answer.Choices {
		ids = append(ids, c.IDs)
	}
	return ids
}

// Several models and adapters: each answers under its name, the run directory under the run's, adapters over the base
// that they were made for, whose weights are in memory once.
func TestServeSeveralModels(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	require.NoError(t, tinyModel("a", 7, true))
	require.NoError(t, tinyModel("b", 8, true))
	mustRun(t, "", trainArgs(t, "runs/lora", "--model", "b", "--total-steps", "2", "--lora-r", "2", "--lr", "3e-1",
		"--save-every", "0")...)
	const step = "runs/lora/checkpoints/step-2"
	url := startServer(t, dir, []string{"serve", "--model", "a", "--model", "second=b", "--model", "runs/lora",
		"--adapter", "over=" + step, "--port", "0", "--json", "--dtype", "f32"})
	resp, err := http.Get(url + "/v1/models")
	require.NoError(t, err)
	defer resp.Body.Close()
	var list struct {
		Data []struct{ ID, Root, Parent string }
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&list))
	require.Equal(t, []struct{ ID, Root, Parent string }{{"a", "a", ""}, {"second", "b", ""}, {"lora", "runs/lora", ""},
		{"over", step, "second"}}, list.Data)
	for _, m := range []struct{ id, model string }{{"", "a"}, {"a", "a"}, {"second", "b"}, {"lora", "runs/lora"},
		{"over", step}} {
		code, out, log := zs(`{"text":"x"}`, "generate", "--model", m.model, "--dtype", "f32", "--temperature", "0",
			"--max-tokens", "12")
		require.Zero(t, code, log)
		var alone struct{ IDs []int32 }
		require.NoError(t, json.Unmarshal([]byte(out), &alone))
		body := `"prompt":"x","max_tokens":12,"temperature":0`
		if m.id != "" {
			body += `,"model":"` + m.id + `"`
		}
		require.Equal(t, alone.IDs, servedIDs(t, url, body)[0], m.id)
	}
	for _, c := range []struct {
		want string
		args []string
	}{
		{`a has the name "b", too: give each a name of its own, as NAME=DIR`, []string{"--model", "b=a", "--model", "b"}},
		{"it was made for none of the models a, c", []string{"--model", "a", "--model", "c=a", "--adapter", step}},
		{"--served-model-name is for one model", []string{"--model", "a", "--model", "b", "--served-model-name", "x"}},
	} {
		code, _, stderr := zs("", append([]string{"serve", "--port", "0"}, c.args...)...)
		require.NotZero(t, code)
		require.Contains(t, stderr, c.want)
	}
}

// With documents each model is a search agent, too; flags of agents without documents are refused.
func TestServeAgent(t *testing.T) {
	own, err := taughtModel()
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(filepath.Join(dir, "m"), os.DirFS(own)))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "docs"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "docs/x.md"), []byte("Nothing.\n\nThe letter a is Ax.\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "m/chat_template.jinja"), []byte(shortPrompt), 0o644))
	url := startServer(t, dir, []string{"serve", "--model", "m", "--model", "other=m", "--docs", "docs", "--port", "0",
		"--json", "--dtype", "f32", "--max-turns", "1", "--max-response-length", "40"})
	for _, model := range []string{"zerosearch-agent", "other-agent"} {
		resp, err := http.Post(url+"/v1/chat/completions", "application/json", strings.NewReader(`{"model":"`+model+
			`","messages":[{"role":"user","content":"a"}]}`))
		require.NoError(t, err)
		defer resp.Body.Close()
		var out struct {
			Choices []struct {
				Message struct {
					Content   string
					Reasoning string `json:"reasoning_content"`
				}
			}
			Zerosearch serve.AgentAnswer
		}
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&out))
		require.Equal(t, "Ax", out.Choices[0].Message.Content)
		require.Equal(t, "t", out.Choices[0].Message.Reasoning)
		require.True(t, out.Zerosearch.Supported)
		require.Equal(t, serve.Document{ID: 1, Title: "x", Source: "docs/x.md", Number: 1,
			Passage: "Nothing. The letter a is Ax.", Cited: true}, out.Zerosearch.Turns[0].Documents[0])
	}
	code, _, stderr := zs("", "serve", "--model", filepath.Join(dir, "m"), "--topk", "3")
	require.Equal(t, 2, code)
	require.Contains(t, stderr, "--topk is for answers from documents")
}

// A chat model and an embedding model behind one server: each does what it was made for, and with --embeddings the
// former also gives vectors.
func TestServeVectors(t *testing.T) {
	vectors, err := filepath.Abs("../../rl/dense/testdata/model")
	require.NoError(t, err)
	dir := t.TempDir()
	t.Chdir(dir)
	require.NoError(t, tinyModel("a", 7, true))
	for _, more := range [][]string{nil, {"--embeddings"}} {
		url := startServer(t, dir, append([]string{"serve", "--model", "a", "--model", "v=" + vectors, "--port", "0",
			"--json", "--dtype", "f32"}, more...))
		ask := func(path, body string) (int, string) {
			resp, err := http.Post(url+path, "application/json", strings.NewReader(body))
			require.NoError(t, err)
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			return resp.StatusCode, string(text)
		}
		code, text := ask("/v1/embeddings", `{"model":"v","input":["x","Łódź lies in Poland."]}`)
		require.Equal(t, 200, code, text)
		var got struct {
			Data []struct{ Embedding []float64 }
		}
		require.NoError(t, json.Unmarshal([]byte(text), &got))
		require.Len(t, got.Data, 2)
		sum := 0.0
		for _, x := range got.Data[1].Embedding {
			sum += x * x
		}
		require.InDelta(t, 1, sum, 1e-5)
		code, text = ask("/v1/completions", `{"model":"v","prompt":"x"}`)
		require.Equal(t, 400, code)
		require.Contains(t, text, "model v makes vectors: ask /v1/embeddings")
		code, text = ask("/v1/embeddings", `{"model":"a","input":"x"}`)
		if more == nil {
			require.Equal(t, 400, code)
			require.Contains(t, text, "give --embeddings to serve")
		} else {
			require.Equal(t, 200, code, text)
		}
		code, text = ask("/tokenize", `{"model":"v","prompt":"xy"}`)
		require.Equal(t, 200, code)
		require.Contains(t, text, `"count":3`)
		resp, err := http.Get(url + "/version")
		require.NoError(t, err)
		version, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.JSONEq(t, `{"version":"`+release+`"}`, string(version))
	}
}

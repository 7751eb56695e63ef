package main

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
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
		body := `{"prompt":"x","max_tokens":12,"temperature":0,"return_token_ids":true`
		if m.id != "" {
			body += `,"model":"` + m.id + `"`
		}
		resp, err := http.Post(url+"/v1/completions", "application/json", strings.NewReader(body+"}"))
		require.NoError(t, err)
		defer resp.Body.Close()
		var served struct {
			Choices []struct {
				IDs []int32 `json:"token_ids"`
			}
		}
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&served))
		require.Equal(t, alone.IDs, served.Choices[0].IDs, m.id)
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

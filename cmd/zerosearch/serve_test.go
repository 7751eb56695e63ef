package main

import (
	"net/http"
	"path/filepath"
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

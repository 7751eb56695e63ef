package serve

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Preflights need no key. Pages of allowed origins can read responses and errors.
func TestCORS(t *testing.T) {
	const page, other = "http://localhost:3000", "https://evil.example"
	r := newRig(t, Options{APIKey: "sesame", AllowOrigins: []string{page, "https://App.example"}})
	preflight := []string{"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers",
		"authorization,content-type,x-stainless-os"}
	status, h, body := r.do(t.Context(), "OPTIONS", chatPath, nil, append(preflight, "Origin", page)...)
	require.Equal(t, 204, status)
	require.Empty(t, body)
	require.Equal(t, page, h.Get("Access-Control-Allow-Origin"))
	require.Contains(t, h.Get("Access-Control-Allow-Methods"), "POST")
	require.Equal(t, "authorization,content-type,x-stainless-os", h.Get("Access-Control-Allow-Headers"))
	require.NotEmpty(t, h.Get("Access-Control-Max-Age"))
	require.Equal(t, []string{"Origin", "Access-Control-Request-Headers"}, h.Values("Vary"))

	status, h, _ = r.do(t.Context(), "OPTIONS", chatPath, nil, append(preflight, "Origin", other)...)
	require.Equal(t, 403, status)
	require.Empty(t, h.Get("Access-Control-Allow-Origin"))

	for _, key := range []string{"Bearer sesame", "Bearer wrong"} {
		status, h, _ = r.do(t.Context(), "GET", "/v1/models", nil, "Origin", "https://app.example", "Authorization",
			key)
		require.Equal(t, map[bool]int{true: 200, false: 401}[key == "Bearer sesame"], status)
		require.Equal(t, "https://app.example", h.Get("Access-Control-Allow-Origin"))
		require.Equal(t, "Origin", h.Get("Vary"))
	}
	for _, origin := range []string{other, "http://localhost:3001", "https://localhost:3000", "null", ""} {
		_, h, _ = r.do(t.Context(), "GET", "/v1/models", nil, "Origin", origin, "Authorization", "Bearer sesame")
		require.Empty(t, h.Get("Access-Control-Allow-Origin"), origin)
		require.Equal(t, "Origin", h.Get("Vary"), "a cache must not give one page's answer to another")
	}
	status, h, _ = r.do(t.Context(), "OPTIONS", chatPath, nil, "Origin", page) // no preflight
	require.Equal(t, 401, status)
	require.Equal(t, page, h.Get("Access-Control-Allow-Origin"))

	r = newRig(t, Options{AllowOrigins: []string{"*"}})
	status, h, _ = r.do(t.Context(), "OPTIONS", textPath, nil, append(preflight, "Origin", other)...)
	require.Equal(t, 204, status)
	require.Equal(t, "*", h.Get("Access-Control-Allow-Origin"))
	s := r.stream(textPath, object{"prompt": "x"})
	require.True(t, s.done)

	r = newRig(t, Options{})
	status, h, _ = r.do(t.Context(), "OPTIONS", chatPath, nil, append(preflight, "Origin", page)...)
	require.Equal(t, 405, status)
	require.Empty(t, h.Get("Access-Control-Allow-Origin"))
	require.Empty(t, h.Get("Vary"))
	for _, bad := range []string{"localhost:3000", "http://a/", "http://a/b", "http://", "", "*.example", "http://*.a",
		"http://u@a", "http://a?b", "http://a#b"} {
		_, err := New(r.eng, []Model{r.m}, Options{AllowOrigins: []string{bad}})
		require.ErrorContains(t, err, "is no origin", bad)
	}
}

package serve

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Without a key, pages of other sites are refused, also under a name that they have bound to this machine. Clients that
// are no browsers, pages of this machine and allowed pages are not.
func TestGuard(t *testing.T) {
	const lan, loopback = "192.168.1.5:6001", "127.0.0.1:6001"
	ask := func(r *rig, at, host, origin string) (int, string) {
		q := httptest.NewRequest("GET", "/v1/models", nil)
		a, err := net.ResolveTCPAddr("tcp", at)
		require.NoError(t, err)
		q = q.WithContext(context.WithValue(q.Context(), http.LocalAddrContextKey, a))
		if q.Host = host; origin != "" {
			q.Header.Set("Origin", origin)
		}
		w := httptest.NewRecorder()
		r.s.ServeHTTP(w, q)
		var body struct {
			Error struct{ Message, Code string }
		}
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body))
		require.Equal(t, w.Code == 403, body.Error.Code != "", body)
		return w.Code, body.Error.Message
	}
	name, err := os.Hostname()
	require.NoError(t, err)
	r := newServer(t, Options{AllowOrigins: []string{"https://App.example", "http://tunnel.example:8080"}})
	for _, c := range []struct {
		at, host, origin string
		want             int
	}{
		{loopback, loopback, "", 200},                                    // curl
		{loopback, "localhost:6001", "", 200},                            // OpenAI's client
		{loopback, "[::1]:6001", "", 200},                                // by IPv6
		{loopback, "", "", 200},                                          // HTTP/1.0
		{loopback, name + ":6001", "", 200},                              // by the machine's name
		{loopback, "zerosearch:6001", "", 200},                           // a name of /etc/hosts
		{loopback, "evil.example:6001", "", 403},                         // a rebound name
		{loopback, "localhost.evil.example", "", 403},                    //
		{loopback, "127.0.0.1.evil.example", "", 403},                    //
		{loopback, "tunnel.example", "", 200},                            // the host of an allowed page
		{loopback, loopback, "http://127.0.0.1:6001", 200},               // the page at /
		{loopback, "localhost:6001", "http://localhost:3000", 200},       // a page that this machine serves
		{loopback, loopback, "HTTPS://APP.example", 200},                 // an allowed page
		{loopback, loopback, "https://evil.example", 403},                // any other
		{loopback, loopback, "http://app.example", 403},                  // not the allowed scheme
		{loopback, loopback, "null", 403},                                // a file or a sandbox
		{loopback, loopback, "http://192.168.1.9", 403},                  // a page of another machine
		{loopback, "evil.example:6001", "http://evil.example:6001", 403}, // a rebound name
		{loopback, loopback, "::", 403},
		{lan, lan, "", 200},
		{lan, "gpu.corp.example:6001", "", 200}, // no browser
		{lan, lan, "http://192.168.1.5:6001", 200},
		{lan, lan, "http://192.168.1.5:6002", 403},
		{lan, "box.local:6001", "http://box.local:6001", 200},
		{lan, "gpu.corp.example", "http://gpu.corp.example", 403},
	} {
		status, message := ask(r, c.at, c.host, c.origin)
		require.Equal(t, c.want, status, "%v %s", c, message)
		if status == 403 {
			require.Contains(t, message, "--allow-origin "+strings.ToLower(c.origin))
		}
	}
	for _, o := range []Options{{AllowOrigins: []string{"*"}}, {APIKey: "sesame"}} {
		r := newServer(t, o)
		q := httptest.NewRequest("GET", "/v1/models", nil)
		q.Header.Set("Origin", "https://evil.example")
		q.Header.Set("Authorization", "Bearer sesame")
		w := httptest.NewRecorder()
		r.s.ServeHTTP(w, q)
		require.Equal(t, 200, w.Code)
	}
}

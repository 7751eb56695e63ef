package search_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// quick are options with short waits, so that tests of failures are fast.
var quick = search.CallOptions{Tries: 3, Timeout: 300 * time.Millisecond, Backoff: time.Millisecond}

// server answers with one step after the other, repeats the last one, and records the requests.
type server struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string // method, path with query, body
}

// step writes one answer.
type step func(w http.ResponseWriter, r *http.Request)

func serve(t *testing.T, steps ...step) *server {
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		n := len(s.seen)
		s.seen = append(s.seen, r.Method+" "+r.URL.String()+" "+string(body))
		s.mu.Unlock()
		steps[min(n, len(steps)-1)](w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.seen...)
}

// file answers 200 with a file of testdata.
func file(t *testing.T, name string) step {
	body, err := os.ReadFile("testdata/" + name)
	require.NoError(t, err)
	return text(200, string(body))
}

// text answers with a status and a body; headers follow as name and value.
func text(status int, body string, headers ...string) step {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// slow sends half an answer and then nothing.
func slow(w http.ResponseWriter, r *http.Request) {
	io.WriteString(w, `{"search_metadata":`)
	w.(http.Flusher).Flush()
	select {
	case <-r.Context().Done():
	case <-time.After(time.Minute):
	}
}

// cutOff sends less than its Content-Length.
func cutOff(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	io.WriteString(w, `{"search_metadata": {"status": "Succ`)
}

// hangUp closes the connection without an answer.
func hangUp(w http.ResponseWriter, _ *http.Request) {
	c, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		c.Close()
	}
}

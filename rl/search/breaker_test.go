package search

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// fakeServers is an http.RoundTripper that answers requests by host without a network, so that the test can use fake
// time.
type fakeServers map[string]func() (status int, header, body string)

func (f fakeServers) RoundTrip(r *http.Request) (*http.Response, error) {
	status, header, body := f[r.URL.Host]()
	h := http.Header{}
	if name, value, ok := strings.Cut(header, ": "); ok {
		h.Set(name, value)
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

const goodAnswer = `{"result":[[{"contents":"x"}]]}`

// in runs a test with the fake time of testing/synctest and an engine with the named hosts. ask sends a query and gives
// its error, "" if it was answered.
func in(t *testing.T, servers fakeServers, hosts string, test func(t *testing.T, ask func() string)) {
	synctest.Test(t, func(t *testing.T) {
		w, err := NewWiki(strings.Split(hosts, ","), 1, CallOptions{Tries: 2})
		require.NoError(t, err)
		w.calls.client.Transport = servers
		test(t, func() string {
			_, err := w.Fetch(t.Context(), "q")
			if err == nil {
				return ""
			}
			return err.Error()
		})
	})
}

func seconds(of ...int) (out []time.Duration) {
	for _, n := range of {
		out = append(out, time.Duration(n)*time.Second)
	}
	return out
}

// An address that refuses gets one trial query after a pause, and the pause doubles with every refusal until a query is
// answered.
func TestRefusalPasses(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		header string
		pauses []time.Duration // until it is asked again, after each refusal
	}{
		"403":                      {403, "", seconds(30, 60, 120, 240, 480, 600, 600)},
		"401 with Retry-After":     {401, "Retry-After: 300", seconds(300, 300, 300, 300, 480)},
		"a long Retry-After":       {429, "Retry-After: 1200", seconds(1200, 1200)},
		"a very long Retry-After":  {503, "Retry-After: 86400", seconds(3600, 3600)},
		"404":                      {404, "", seconds(30, 60)},
		"redirect":                 {302, "Location: http://elsewhere", seconds(30, 60)},
		"too soon by a nanosecond": {418, "", seconds(30)},
	} {
		t.Run(name, func(t *testing.T) {
			asked, status := 0, c.status
			in(t, fakeServers{"a": func() (int, string, string) {
				asked++
				return status, c.header, goodAnswer
			}}, "a", func(t *testing.T, ask func() string) {
				for i, pause := range c.pauses {
					require.Contains(t, ask(), fmt.Sprintf("gave up after 1 try: %d", c.status))
					require.Equal(t, i+1, asked)
					time.Sleep(pause - 1)
					require.Contains(t, ask(), fmt.Sprint(c.status), "the reason is still told")
					require.Equal(t, i+1, asked, "not asked before %v are over", pause)
					time.Sleep(time.Nanosecond)
				}
				status = 200
				require.Empty(t, ask())
				require.Empty(t, ask())
				status = c.status
				require.NotEmpty(t, ask())
				time.Sleep(c.pauses[0])
				status = 200
				require.Empty(t, ask(), "the pauses begin anew after it has served")
			})
		})
	}
}

// While the trial query is in flight, no other query is sent to the address.
func TestRefusalOneTrial(t *testing.T) {
	asked := 0
	synctest.Test(t, func(t *testing.T) {
		w, err := NewWiki([]string{"a"}, 1, CallOptions{Tries: 1})
		require.NoError(t, err)
		status := 403
		w.calls.client.Transport = fakeServers{"a": func() (int, string, string) {
			asked++
			time.Sleep(time.Second)
			return status, "", goodAnswer
		}}
		_, err = w.Fetch(t.Context(), "q")
		require.Error(t, err)
		time.Sleep(time.Hour)

		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() {
			_, err := w.Fetch(ctx, "q")
			gone <- err
		}()
		synctest.Wait()
		_, err = w.Fetch(t.Context(), "q")
		require.ErrorContains(t, err, "403", "one is trying")
		cancel()
		require.ErrorIs(t, <-gone, context.Canceled)
		require.Equal(t, 2, asked)
		status = 200
		_, err = w.Fetch(t.Context(), "q")
		require.NoError(t, err, "a trial that was cancelled says nothing, and the next query tries")
		require.Equal(t, 3, asked)
	})
}

// A rejected query between accepted ones does not count against the address. Twenty rejected queries in a row open its
// circuit breaker for a while.
func TestRefusedQueries(t *testing.T) {
	asked, status := 0, 400
	in(t, fakeServers{"a": func() (int, string, string) {
		asked++
		return status, "", goodAnswer
	}}, "a", func(t *testing.T, ask func() string) {
		for range 10 {
			for range maxRejected - 1 {
				status = 400
				require.Contains(t, ask(), "wiki at a: 400 Bad Request")
			}
			status = 200
			require.Empty(t, ask())
		}
		asked, status = 0, 400
		for range maxRejected + 5 {
			require.Contains(t, ask(), "400 Bad Request")
		}
		require.Equal(t, maxRejected, asked)
		time.Sleep(firstPause)
		require.Contains(t, ask(), "wiki at a: 400 Bad Request", "the one that tries")
		require.Contains(t, ask(), "the server rejected the 20 queries before as well")
		require.Equal(t, maxRejected+1, asked)
		time.Sleep(2 * firstPause)
		status = 200
		require.Empty(t, ask())

		status = 403
		require.Contains(t, ask(), "403")
		time.Sleep(firstPause)
		status = 400
		require.NotContains(t, ask(), "gave up", "a server that refuses a query serves again")
		status = 200
		require.Empty(t, ask())
	})
}

// While one of several addresses refuses, the others answer; when it accepts requests again, it gets its share of them.
func TestRefusalAmongOthers(t *testing.T) {
	asked, status := map[string]int{}, 403
	in(t, fakeServers{
		"a": func() (int, string, string) { asked["a"]++; return status, "", goodAnswer },
		"b": func() (int, string, string) { asked["b"]++; return 200, "", goodAnswer },
	}, "a,b", func(t *testing.T, ask func() string) {
		for range 20 {
			require.Empty(t, ask())
		}
		require.Equal(t, map[string]int{"a": 1, "b": 20}, asked)
		time.Sleep(firstPause)
		status = 200
		for range 20 {
			require.Empty(t, ask())
		}
		require.Equal(t, 11, asked["a"])
	})
}

// A remote server whose circuit breaker was open may have another model afterwards.
func TestRefusalForgetsTheModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		model, want := "old", ""
		r, err := NewRemote([]string{"a"}, "", "", CallOptions{Tries: 1})
		require.NoError(t, err)
		r.calls.client.Transport = roundTripper(func(q *http.Request) (*http.Response, error) {
			answer := func(status int, body string) (*http.Response, error) {
				return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), Request: q}, nil
			}
			if strings.HasSuffix(q.URL.Path, "/models") {
				return answer(200, fmt.Sprintf(`{"data":[{"id":%q}]}`, model))
			}
			body, err := io.ReadAll(q.Body)
			if err != nil || !strings.Contains(string(body), fmt.Sprintf(`"model":%q`, want)) {
				return answer(404, `{"error":"no such model"}`)
			}
			return answer(200, `{"choices":[{"message":{"content":"x"}}]}`)
		})
		ask := func() error {
			_, err := r.Generate(t.Context(), []Message{{"user", "q"}}, GenerateOptions{})
			return err
		}
		want = "old"
		require.NoError(t, ask())
		model, want = "new", "new"
		var gone *Unavailable
		require.True(t, errors.As(ask(), &gone))
		time.Sleep(firstPause)
		require.NoError(t, ask())
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

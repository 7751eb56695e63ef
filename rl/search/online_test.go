package search_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/rl/search/searchtest"
)

const secret = "k3y+of/the account"

func google(t *testing.T, s *server, o search.CallOptions) *search.Online {
	g, err := search.NewGoogle(s.URL, secret, 3, o)
	require.NoError(t, err)
	return &search.Online{Engine: g, TopK: 3}
}

func TestGoogle(t *testing.T) {
	s := serve(t, file(t, "serpapi/results.json"))
	d, err := google(t, s, quick).Search(t.Context(), search.Query{Query: " capital\n of France "})
	require.NoError(t, err)
	require.Equal(t, []string{`"Paris" Paris is the capital and largest city of France.`, `"A page without a snippet"`,
		"A snippet without a title."}, d.Docs)
	require.Equal(t, "Doc 1: \"Paris\" Paris is the capital and largest city of France.\nDoc 2: \"A page without a "+
		"snippet\"\nDoc 3: A snippet without a title.", d.Text)
	u, err := url.Parse(strings.Fields(s.requests()[0])[1])
	require.NoError(t, err)
	require.Equal(t, "/search", u.Path)
	require.Equal(t, url.Values{"engine": {"google"}, "q": {"capital of France"}, "api_key": {secret},
		"output": {"json"}}, u.Query())

	s = serve(t, file(t, "serpapi/empty.json"))
	d, err = google(t, s, quick).Search(t.Context(), search.Query{Query: "qzxw"})
	require.NoError(t, err)
	require.Equal(t, search.NoInformation, d.Text)
	require.Len(t, s.requests(), 1, "nothing found is an answer, not a failure")

	d, err = google(t, s, quick).Search(t.Context(), search.Query{Query: " \x00\n"})
	require.NoError(t, err)
	require.Equal(t, search.NoInformation, d.Text)
	require.Len(t, s.requests(), 1, "an empty query is not sent")

	_, err = search.NewGoogle("", "", 5, quick)
	require.ErrorContains(t, err, "SERPAPI_API_KEY")
	for _, bad := range []string{"ftp://x", "http://", "http://user:pw@host", "::"} {
		_, err = search.NewGoogle(bad, secret, 5, quick)
		require.ErrorContains(t, err, "is no address of a server", bad)
	}
	many, err := search.NewGoogle(s.URL, secret, 25, quick)
	require.NoError(t, err)
	_, err = many.Fetch(t.Context(), "x")
	require.NoError(t, err)
	require.Contains(t, s.requests()[1], "num=25")
}

func TestOnlineObeysTheContract(t *testing.T) {
	searchtest.Run(t, google(t, serve(t, file(t, "serpapi/results.json")), quick))
	w, err := search.NewWiki([]string{serve(t, file(t, "search-r1.json")).URL}, 2, quick)
	require.NoError(t, err)
	cache, err := search.OpenCache(t.TempDir())
	require.NoError(t, err)
	searchtest.Run(t, &search.Online{Engine: w, Cache: cache})
}

// The requests of Search-R1's client and the answers of its servers, with scores and without.
func TestWiki(t *testing.T) {
	plain := `{"result":[[{"id":"1","contents":"\"Rome\"\nRome is old."},{"title":"Oslo","text":"Oslo is north."},{"contents":""}]]}`
	s := serve(t, file(t, "search-r1.json"), text(200, plain), text(200, `{"result":[[]]}`))
	w, err := search.NewWiki([]string{s.URL}, 3, quick)
	require.NoError(t, err)
	o := &search.Online{Engine: w, TopK: 3}
	for _, want := range [][]string{{`"Paris" Paris is the capital of France.`, `"Lyon" Lyon is a city.`},
		{`"Rome" Rome is old.`, `"Oslo" Oslo is north.`}, {}} {
		d, err := o.Search(t.Context(), search.Query{Query: "what?"})
		require.NoError(t, err)
		require.Equal(t, want, d.Docs)
	}
	method, rest, _ := strings.Cut(s.requests()[0], " ")
	path, body, _ := strings.Cut(rest, " ")
	require.Equal(t, "POST /retrieve", method+" "+path)
	var sent map[string]any
	require.NoError(t, json.Unmarshal([]byte(body), &sent))
	require.Equal(t, map[string]any{"queries": []any{"what?"}, "topk": 3.0, "return_scores": true}, sent)
}

// Answers of servers in Python that Python clients can read: numbers from a table, NaN, and rows without text.
func TestOddAnswers(t *testing.T) {
	for _, c := range []struct {
		documents string
		want      []string
	}{
		{
			`{"document":{"title":1984,"text":"A novel."},"score":0.9},{"document":{"title":"Rome","text":"A city."},"score":0.5}`,
			[]string{`"1984" A novel.`, `"Rome" A city.`}},
		{`{"document":{"title":"Rome","text":"A city."},"score":NaN}`, []string{`"Rome" A city.`}},
		{
			`{"document":{"title":"Rome","text":"A city."},"score":"high"},{"document":{"contents":"x"},"score":-Infinity}`,
			[]string{`"Rome" A city.`, "x"}},
		{
			`{"document":{"title":null,"text":null}},{"document":{"title":"Rome","text":"A city."}},{"document":{"title":"T"}},null`,
			[]string{`"Rome" A city.`}},
		{`{"title":"only a title","text":""},{"contents":null,"text":42},{"contents":true}`, []string{"42", "true"}},
		{`{"document":{"title":NaN,"text":"NaN, as Python writes it"}}`, []string{"NaN, as Python writes it"}},
		{`{"document":{"contents":null}}`, []string{}},
	} {
		body := `{"result":[[` + c.documents + `]]}`
		w, err := search.NewWiki([]string{serve(t, text(200, body)).URL}, 3, quick)
		require.NoError(t, err)
		docs, err := w.Fetch(t.Context(), "q")
		require.NoError(t, err, body)
		require.Equal(t, c.want, docs, body)
	}
	for body, want := range map[string]string{
		`{"result":[[{"document":{"title":"T","passage":"p"}}]]}`: "no document has contents or text",
		`{"result":[[{"document":{"contents":["p"]}}]]}`:          `a list where a string is expected`,
		`{"result":[[{"document":"p"}]]}`:                         `"result.document": a string where an object`,
		`{"result":[[],[]]}`:                                      "2 results",
		`{"documents":[]}`:                                        "0 results",
	} {
		w, err := search.NewWiki([]string{serve(t, text(200, body)).URL}, 3, search.CallOptions{Tries: 1})
		require.NoError(t, err)
		_, err = w.Fetch(t.Context(), "q")
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "Go ")
	}
	serp := `{"search_metadata":{"status":"Success"},"organic_results":[{"title":1984,"snippet":null,"rating":NaN}]}`
	g := google(t, serve(t, text(200, serp)), quick)
	docs, err := g.Engine.Fetch(t.Context(), "q")
	require.NoError(t, err)
	require.Equal(t, []string{`"1984"`}, docs)
}

// After every kind of fault the request is sent again, and the answer of the next try is used.
func TestFaultsPass(t *testing.T) {
	good := file(t, "serpapi/results.json")
	for name, fault := range map[string]step{
		"500":             text(500, `{"error":"Something broke"}`),
		"503":             file(t, "serpapi/error.json"),
		"429":             text(429, `{"error":"too fast"}`, "Retry-After", "0"),
		"truncated JSON":  text(200, `{"search_metadata": {"status": "Success"}, "organic_res`),
		"truncated body":  cutOff,
		"slow body":       slow,
		"hang up":         hangUp,
		"another shape":   text(200, `["not", "it"]`),
		"a page":          text(200, "<html>Service temporarily gone</html>"),
		"no answer":       text(200, ""),
		"status Error":    file(t, "serpapi/error.json"),
		"still searching": text(200, `{"search_metadata":{"status":"Processing"}}`),
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, fault, good)
			d, err := google(t, s, quick).Search(t.Context(), search.Query{Query: "x"})
			require.NoError(t, err)
			require.Len(t, d.Docs, 3)
			require.Len(t, s.requests(), 2)
		})
	}
}

// A permanent fault ends after a limited number of tries, with an error that names the host and never contains the key.
func TestFaultsStay(t *testing.T) {
	for name, c := range map[string]struct {
		fault step
		tries int
		want  string
	}{
		"500": {text(500, `{"error":"Something `+secret+` broke"}`), 3,
			"gave up after 3 tries: 500 Internal Server Error: Something *** broke"},
		"429": {text(429, `{"error":"Your account has run out of searches."}`), 3,
			"429 Too Many Requests: Your account has run out"},
		"429 for an hour": {text(429, "", "Retry-After", "3600"), 1, "429 Too Many Requests: asks to wait 1h0m0s"},
		"slow body":       {slow, 3, "no complete answer within 300ms"},
		"hang up":         {hangUp, 3, "EOF"},
		"truncated body":  {cutOff, 3, "unexpected EOF"},
		"truncated JSON": {text(200, `{"organic_res`), 3,
			`not SerpAPI's JSON: unexpected end of JSON input: {"organic_res`},
		"another shape": {text(200, `{"organic_results": {}}`), 3, "the answer is not SerpAPI's JSON"},
		"another error": {text(200, `{"search_metadata":{"status":"Success"},"error":"Unsupported location."}`), 3,
			"Unsupported location."},
		"wrong key": {text(401, `{"error":"Invalid API key."}`), 1,
			"401 Unauthorized: Invalid API key: check the API key"},
		"no such page": {text(404, "nothing here"), 1, "404 Not Found: nothing here: check the address"},
		"redirect": {text(302, "", "Location", "http://elsewhere/?api_key="+url.QueryEscape(secret)), 1,
			"redirects to http://elsewhere/?api_key=***: give that address"},
		"an endless answer":  {text(200, strings.Repeat("x", 17<<20)), 3, "longer than 16 MiB"},
		"a status of theirs": {text(599, ""), 3, "599 no known status"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, c.fault)
			o := quick
			if strings.HasPrefix(name, "an endless") {
				o.Timeout = time.Minute
			}
			_, err := google(t, s, o).Search(t.Context(), search.Query{Query: "x"})
			var gone *search.Unavailable
			require.ErrorAs(t, err, &gone)
			require.Equal(t, c.tries, gone.Tries)
			require.Len(t, s.requests(), c.tries)
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, "google at "+strings.TrimPrefix(s.URL, "http://"))
			for _, leak := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret)} {
				require.NotContains(t, err.Error(), leak)
			}
			require.NotContains(t, err.Error(), "\n")
		})
	}
	s := serve(t, text(200, ""))
	s.Close()
	_, err := google(t, s, quick).Search(t.Context(), search.Query{Query: "x"})
	require.ErrorContains(t, err, "connection refused")
	require.NotContains(t, err.Error(), "api_key")
}

// A query that a server rejects does not affect other queries.
func TestQuerysOwnFault(t *testing.T) {
	s := serve(t, text(400, `{"error":{"message":"too long"}}`), file(t, "serpapi/results.json"))
	o := google(t, s, quick)
	_, err := o.Search(t.Context(), search.Query{Query: "x"})
	require.ErrorContains(t, err, "400 Bad Request: too long")
	var gone *search.Unavailable
	require.False(t, errors.As(err, &gone))
	_, err = o.Search(t.Context(), search.Query{Query: "y"})
	require.NoError(t, err)
}

// Retry-After delays all queries to the server, not only the query that was answered with it.
func TestRetryAfter(t *testing.T) {
	s := serve(t, text(429, "", "Retry-After", "1"), file(t, "serpapi/results.json"))
	o := google(t, s, quick)
	began := time.Now()
	done := make(chan time.Duration, 2)
	ask := func() {
		_, err := o.Search(t.Context(), search.Query{Query: "x"})
		require.NoError(t, err)
		done <- time.Since(began)
	}
	go ask()
	require.Eventually(t, func() bool { return len(s.requests()) == 1 }, time.Minute, time.Millisecond)
	time.Sleep(50 * time.Millisecond)
	go ask()
	require.Greater(t, <-done, 900*time.Millisecond)
	require.Greater(t, <-done, 900*time.Millisecond)
}

// A cancelled context ends every kind of waiting at once, with its error in the chain.
func TestOnlineCancelled(t *testing.T) {
	for name, fault := range map[string]step{"waiting to try again": text(500, ""), "waiting for the body": slow} {
		s := serve(t, fault)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err := google(t, s, search.CallOptions{Tries: 9, Backoff: 30 * time.Second}).Search(ctx,
			search.Query{Query: "x"})
		require.ErrorIs(t, err, context.DeadlineExceeded, name)
		require.Less(t, time.Since(began), 20*time.Second, name) // it would wait for 30 s and more
	}
}

// When a server stops answering, many concurrent queries fail as soon as a single one would. When it answers again, so
// do they.
func TestManyQueriesAtADeadServer(t *testing.T) {
	var dead atomic.Bool
	good, bad := file(t, "serpapi/results.json"), text(503, "")
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if dead.Load() {
			bad(w, r)
			return
		}
		good(w, r)
	})
	o := google(t, s, search.CallOptions{Tries: 4, Concurrency: 8, Backoff: 20 * time.Millisecond})
	ask := func(n int) (answered, gone int) {
		var wg sync.WaitGroup
		var mu sync.Mutex
		for range n {
			wg.Go(func() {
				_, err := o.Search(t.Context(), search.Query{Query: "x"})
				mu.Lock()
				defer mu.Unlock()
				var u *search.Unavailable
				switch {
				case err == nil:
					answered++
				case errors.As(err, &u):
					gone++
				}
			})
		}
		wg.Wait()
		return answered, gone
	}
	answered, _ := ask(100)
	require.Equal(t, 100, answered)
	dead.Store(true)
	before := len(s.requests())
	_, gone := ask(100)
	require.Equal(t, 100, gone)
	require.Less(t, len(s.requests())-before, 100, "not everybody has to find out")
	dead.Store(false)
	require.Eventually(t, func() bool { answered, _ := ask(1); return answered == 1 }, time.Minute,
		10*time.Millisecond)
	answered, _ = ask(100)
	require.Equal(t, 100, answered)
}

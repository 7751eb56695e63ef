package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/model/hub/hubtest"
)

// What the hub refuses, and what the user is told.
func TestPullRefused(t *testing.T) {
	for _, c := range []struct {
		name     string
		set      func(r *rig, repo *hubtest.Repo)
		o        PullOptions
		says     []string
		requests int
	}{
		{"no such model", nil, PullOptions{Repo: Repo{Name: "org/absent"}},
			[]string{"answers 401 Unauthorized",
				"there is no model of this name: add --dataset if it is a data set, or it is " +
					"private: check the name, or set HF_TOKEN to a token that may read it"}, 1},
		{"no such data set", func(r *rig, _ *hubtest.Repo) { r.Token, r.s.Token = "hf_good", "hf_good" },
			PullOptions{Repo: Repo{Dataset: true, Name: "org/tiny-model"}},
			[]string{"answers 404 Not Found", "leave --dataset out if it is a model",
				"the token that is set may not read it"},
			1},
		{"private", func(_ *rig, repo *hubtest.Repo) { repo.Private = true }, PullOptions{},
			[]string{"or it is private", "set HF_TOKEN"}, 1},
		{"gated", func(_ *rig, repo *hubtest.Repo) { repo.Gated = true }, PullOptions{Include: []string{"config.json"}},
			[]string{"it is gated: accept its terms on http://", "/org/tiny-model, then set HF_TOKEN"}, 3},
		{"bad token", func(r *rig, _ *hubtest.Repo) { r.Token, r.s.Token = "hf_good", "hf_bad" }, PullOptions{},
			[]string{"the hub does not know the token: make another one, or unset HF_TOKEN"}, 1},
		{"no such revision", nil, PullOptions{Revision: "v9"}, []string{`it has no revision "v9"`}, 1},
		{"forbidden", func(r *rig, _ *hubtest.Repo) {
			r.Before = answer(http.StatusForbidden, "X-Error-Message", "Your IP\nis blocked")
		}, PullOptions{}, []string{"answers 403 Forbidden (Your IP is blocked): see http"}, 1},
		{"teapot", func(r *rig, _ *hubtest.Repo) { r.Before = answer(http.StatusTeapot) }, PullOptions{},
			[]string{"answers 418 I'm a teapot"}, 1},
		{"overloaded",
			func(r *rig, _ *hubtest.Repo) { r.Before = answer(http.StatusTooManyRequests, "Retry-After", "7") },
			PullOptions{}, []string{"answers 429 Too Many Requests, 5 times in a row: run the command again later"}, 5},
		{"overloaded for hours", func(r *rig, _ *hubtest.Repo) {
			r.Before = answer(http.StatusTooManyRequests, "Retry-After", "7200")
		}, PullOptions{}, []string{"asks to wait for 2h0m0s"}, 1},
		{"down", func(r *rig, _ *hubtest.Repo) { r.Before = answer(http.StatusBadGateway) }, PullOptions{},
			[]string{"answers 502 Bad Gateway, 5 times in a row"}, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.Add("models/org/tiny-model", "main", small())
			if c.set != nil {
				c.set(r, r.Repo("models/org/tiny-model"))
			}
			_, err := r.pull(c.o)
			require.Error(t, err)
			for _, says := range c.says {
				require.ErrorContains(t, err, says)
			}
			require.NotContains(t, err.Error(), "hf_")
			require.Len(t, r.Requests(), c.requests)
			_, err = r.s.Snapshot(model, "")
			require.Error(t, err, "a name stands for files that are all there")
		})
	}
}

// answer answers every request with a status and headers.
func answer(status int, headers ...string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		return true
	}
}

// With the token private and gated repositories come. The store of large files refuses requests that hold it, as those
// of the hub do, although it is on the same machine.
func TestPullToken(t *testing.T) {
	r := newRig(t)
	r.Add("models/org/tiny-model", "main", small())
	r.Repo("models/org/tiny-model").Private, r.Repo("models/org/tiny-model").Gated = true, true
	r.Token, r.s.Token = "hf_good", "hf_good"
	got, err := r.pull(PullOptions{})
	require.NoError(t, err)
	require.Equal(t, 5, got.Files)
}

// A server that asks to wait is given that time, and one that fails now and then is asked again.
func TestPullWaitsAsTold(t *testing.T) {
	r := newRig(t)
	r.Add("models/org/tiny-model", "main", map[string]hubtest.File{"config.json": {Content: []byte("{}")}})
	var n atomic.Int64
	r.Before = func(w http.ResponseWriter, q *http.Request) bool {
		switch n.Add(1) {
		case 1:
			return answer(http.StatusTooManyRequests, "Retry-After", "3")(w, q)
		case 2:
			return answer(http.StatusTooManyRequests, "RateLimit", `"api";r=0;t=55`)(w, q)
		case 3:
			return answer(http.StatusServiceUnavailable)(w, q)
		}
		return false
	}
	_, err := r.pull(PullOptions{})
	require.NoError(t, err)
	require.Equal(t, []time.Duration{3 * time.Second, 55 * time.Second, 2 * time.Second}, r.waits)
	require.Len(t, r.notes, 2)
	require.Contains(t, r.notes[0], "answers 429 Too Many Requests and asks to wait for 3s")
	at := time.Date(2026, 11, 29, 10, 0, 0, 0, time.UTC)
	require.Equal(t, 90*time.Second, retryAfter(http.Header{"Retry-After": {"Sun, 29 Nov 2026 10:01:30 GMT"}}, at))
	require.Zero(t, retryAfter(http.Header{"Retry-After": {"soon"}}, at))
}

// Connections that break are made again from where they broke, over and over.
func TestPullBrokenConnections(t *testing.T) {
	r := newRig(t)
	file := hubtest.File{Content: big(), Large: true}
	little := hubtest.File{Content: random(7, 300_000)}
	r.Add("models/org/tiny-model", "main", map[string]hubtest.File{"model.safetensors": file, "tokenizer.json": little})
	r.Before = func(w http.ResponseWriter, q *http.Request) bool {
		if r.OnStore(q) || strings.HasSuffix(q.URL.Path, "tokenizer.json") {
			content := file.Content
			if !r.OnStore(q) {
				content = little.Content
			}
			from, to := 0, len(content)-1
			if _, err := fmt.Sscanf(q.Header.Get("Range"), "bytes=%d-%d", &from, &to); err == nil {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, len(content)))
				w.Header().Set("Content-Length", strconv.Itoa(to-from+1))
				w.WriteHeader(http.StatusPartialContent)
			} else if r.OnStore(q) {
				return false
			} else {
				w.Header().Set("Content-Length", strconv.Itoa(len(content)))
			}
			w.Write(content[from:min(from+100<<10, to+1, from+len(content)/3+1)])
			panic(http.ErrAbortHandler) // the connection ends here
		}
		return false
	}
	got, err := r.pull(PullOptions{})
	require.NoError(t, err)
	require.Equal(t, int64(bigSize+300_000), got.Fetched, "no byte comes twice")
	requireFile(t, got.Dir, "model.safetensors", file)
	requireFile(t, got.Dir, "tokenizer.json", little)
}

// Servers that do not send parts, or other parts than were asked for.
func TestPullBrokenRanges(t *testing.T) {
	for name, broken := range map[string]func(w http.ResponseWriter, q *http.Request, content []byte){
		"ignored": func(w http.ResponseWriter, q *http.Request, content []byte) {
			w.Header().Set("Content-Length", strconv.Itoa(len(content)))
			w.Write(content)
		},
		"another part": func(w http.ResponseWriter, q *http.Request, content []byte) {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-9/%d", len(content)))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(content[:10])
		},
		"not satisfiable": func(w http.ResponseWriter, q *http.Request, content []byte) {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			file := hubtest.File{Content: big(), Large: true}
			r.Add("models/org/tiny-model", "main", map[string]hubtest.File{"model.safetensors": file})
			dropped := false
			r.Before = func(w http.ResponseWriter, q *http.Request) bool {
				switch {
				case r.OnStore(q) && q.Header.Get("Range") != "":
					broken(w, q, file.Content)
					return true
				case r.OnStore(q) && !dropped: // the whole file breaks off once, and begins again
					dropped = true
					w.Header().Set("Content-Length", strconv.Itoa(bigSize))
					w.Write(file.Content[:bigSize/3])
					panic(http.ErrAbortHandler)
				}
				return false
			}
			got, err := r.pull(PullOptions{})
			require.NoError(t, err)
			require.True(t, dropped)
			requireFile(t, got.Dir, "model.safetensors", file)
		})
	}
}

// Content with another digest than the hub's is downloaded twice, and is not kept.
func TestPullDamaged(t *testing.T) {
	for _, large := range []bool{false, true} {
		r := newRig(t)
		file := hubtest.File{Content: random(3, 5000), Large: large}
		r.Add("models/org/tiny-model", "main", map[string]hubtest.File{"model.safetensors": file})
		times := 0
		r.Before = func(w http.ResponseWriter, q *http.Request) bool {
			if r.OnStore(q) || !large && strings.Contains(q.URL.Path, "/resolve/") {
				times++
				w.Write(random(4, 5000))
				return true
			}
			return false
		}
		_, err := r.pull(PullOptions{})
		require.ErrorContains(t, err, "model.safetensors arrived with digest ")
		require.ErrorContains(t, err, " instead of "+file.Digest()+": ")
		require.Equal(t, 2, times)
		left, err := filepath.Glob(filepath.Join(r.s.Cache, "models--org--tiny-model", "blobs", "*"))
		require.NoError(t, err)
		require.Empty(t, left)
		r.Before = nil
		_, err = r.pull(PullOptions{})
		require.NoError(t, err)
	}
}

// Servers that contradict themselves are found out before everything is downloaded.
func TestPullContradictions(t *testing.T) {
	for name, c := range map[string]struct {
		before func(r *rig, w http.ResponseWriter, q *http.Request) bool
		says   string
	}{
		"size": {func(r *rig, w http.ResponseWriter, q *http.Request) bool {
			return r.OnStore(q) && answer(http.StatusOK, "Content-Length", "123")(w, q)
		}, "has 70000 bytes in the hub's listing, but 127.0.0.1"},
		"commit": {func(r *rig, w http.ResponseWriter, q *http.Request) bool {
			return strings.Contains(q.URL.Path, "/resolve/") &&
				answer(http.StatusOK, "X-Repo-Commit", strings.Repeat("a", 40))(w, q)
		}, "gives another one"},
		"digest": {func(r *rig, w http.ResponseWriter, q *http.Request) bool {
			return strings.HasSuffix(q.URL.Path, ".safetensors") && answer(http.StatusFound, "X-Linked-Etag",
				`"`+strings.Repeat("a", 64)+`"`, "Location", r.Store.URL+"/x?Signature=secret")(w, q)
		}, ""}, // the store answers 404 to what the redirection names
		"circle": {func(r *rig, w http.ResponseWriter, q *http.Request) bool {
			return strings.Contains(q.URL.Path, "/resolve/") && answer(http.StatusFound, "Location", q.URL.Path)(w, q)
		}, "redirections: the server sends requests in a circle"},
		"no hub": {func(_ *rig, w http.ResponseWriter, _ *http.Request) bool {
			w.Write([]byte("<html>Welcome</html>"))
			return true
		}, "cannot be read: is it a Hugging Face hub? (HF_ENDPOINT is http://"},
		"no commit": {func(_ *rig, w http.ResponseWriter, _ *http.Request) bool {
			w.Write([]byte(`{"sha":"../../etc"}`))
			return true
		}, "the hub names no commit for it"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.Add("models/org/tiny-model", "main", small())
			r.Before = func(w http.ResponseWriter, q *http.Request) bool { return c.before(r, w, q) }
			_, err := r.pull(PullOptions{})
			require.ErrorContains(t, err, c.says)
		})
	}
}

// Names in a listing become paths on this machine.
func TestPullHostileListing(t *testing.T) {
	const digest = "1111111111111111111111111111111111111111"
	item := func(path, oid string, size int) string {
		text, err := json.Marshal(treeItem{Type: "file", Path: path, OID: oid, Size: int64(size)})
		require.NoError(t, err)
		return string(text)
	}
	for listing, says := range map[string]string{
		item("../../evil", digest,
			1): `lists a file "../../evil", which is not a path inside`,
		item("/etc/passwd", digest, 1):                          "not a path inside",
		item(`a\..\b`, digest, 1):                               "not a path inside",
		item("", digest, 1):                                     "not a path inside",
		item("a//b", digest, 1):                                 "not a path inside",
		item("a\x00", digest, 1):                                "not a path inside",
		item("a.json", "../x", 1):                               `digest "../x", which cannot be`,
		item("a.json", digest[:39], 1):                          "which cannot be",
		item("a.json", digest, -1):                              "size -1",
		item("a", digest, 1) + "," + item("a", digest, 1):       `lists "a" twice`,
		`{"type":"file","path":"a","lfs":{"oid":"x","size":3}}`: "which cannot be",
	} {
		r := newRig(t)
		r.Add("models/org/tiny-model", "main", small())
		r.Before = func(w http.ResponseWriter, q *http.Request) bool {
			if strings.Contains(q.URL.Path, "/tree/") {
				w.Write([]byte("[" + listing + "]"))
				return true
			}
			return false
		}
		_, err := r.pull(PullOptions{})
		require.ErrorContains(t, err, says, listing)
	}
	for next, says := range map[string]string{
		"https://elsewhere.example/x": "is on elsewhere.example, which is not the hub",
		"?again":                      "does not end after 10000 pages",
	} {
		r := newRig(t)
		r.Before = func(w http.ResponseWriter, q *http.Request) bool {
			w.Header().Set("Link", "<"+next+`>; rel="next"`)
			w.Write([]byte("[]"))
			return true
		}
		c := newClient(r.s, nil)
		_, err := c.files(context.Background(), model, digest)
		require.ErrorContains(t, err, says)
	}
}

// A server that says nothing any more is asked again, and given up in the end.
func TestPullSilentServer(t *testing.T) {
	r := newRig(t)
	r.s.Timeout = 100 * time.Millisecond
	content := random(1, 100_000)
	r.Add("models/org/tiny-model", "main", map[string]hubtest.File{
		"model.safetensors": {Content: content, Large: true}})
	var silent atomic.Bool
	silent.Store(true)
	r.Before = func(w http.ResponseWriter, q *http.Request) bool {
		if r.OnStore(q) && silent.Swap(false) {
			w.Header().Set("Content-Length", "100000")
			w.Write(content[:50_000])
			w.(http.Flusher).Flush()
			<-q.Context().Done()
			return true
		}
		return false
	}
	got, err := r.pull(PullOptions{})
	require.NoError(t, err)
	require.Equal(t, int64(100_000), got.Fetched)
	r.Before = func(w http.ResponseWriter, q *http.Request) bool {
		<-q.Context().Done()
		return true
	}
	_, err = r.pull(PullOptions{})
	require.ErrorContains(t, err, " is silent for 100ms, 5 times in a row")
}

// Nobody there, and a context that ends.
func TestPullUnreachable(t *testing.T) {
	r := newRig(t)
	r.Hub.Close()
	_, err := r.pull(PullOptions{})
	require.ErrorContains(t, err, "the connection to 127.0.0.1:")
	require.ErrorContains(t, err, "5 times in a row")
	require.NotContains(t, err.Error(), "/api/")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = Pull(ctx, r.s, PullOptions{Repo: model})
	require.ErrorIs(t, err, context.Canceled)
}

// What has come when a download is interrupted is the beginning of the file, and the next one goes on with it.
func TestPullInterrupted(t *testing.T) {
	r := newRig(t)
	file := hubtest.File{Content: big(), Large: true}
	r.Add("models/org/tiny-model", "main", map[string]hubtest.File{"model.safetensors": file})
	ctx, cancel := context.WithCancel(context.Background())
	r.Before = func(w http.ResponseWriter, q *http.Request) bool {
		if strings.HasPrefix(q.Header.Get("Range"), "bytes=262144-") { // the second part
			<-q.Context().Done()
		}
		return false
	}
	r.ctx = ctx
	_, err := r.pull(PullOptions{Progress: func(p Progress) {
		if p.Bytes >= testPart {
			cancel()
		}
	}})
	partial := filepath.Join(r.s.Cache, "models--org--tiny-model", "blobs", file.Digest()+".incomplete")
	require.ErrorIs(t, err, context.Canceled)
	left, err := os.ReadFile(partial)
	require.NoError(t, err)
	require.True(t, string(left) == string(file.Content[:len(left)]))
	r.Before, r.ctx = nil, nil
	got, err := r.pull(PullOptions{})
	require.NoError(t, err)
	require.Equal(t, int64(bigSize-len(left)), got.Fetched)
	requireFile(t, got.Dir, "model.safetensors", file)
}

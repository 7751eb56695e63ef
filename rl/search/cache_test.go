package search_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// counted is an engine that counts how often it is asked.
type counted struct {
	key   string
	asked atomic.Int64
	wait  time.Duration
	fail  func() error
}

func (c *counted) Name() string { return "counted" }
func (c *counted) Key() string  { return c.key }
func (c *counted) Fetch(ctx context.Context, query string) ([]string, error) {
	c.asked.Add(1)
	select {
	case <-time.After(c.wait):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c.fail != nil {
		if err := c.fail(); err != nil {
			return nil, err
		}
	}
	if query == "nothing" {
		return []string{}, nil
	}
	return []string{c.key + " says " + query, "second"}, nil
}

func cached(t *testing.T, dir string, e search.Fetcher) *search.Online {
	c, err := search.OpenCache(dir)
	require.NoError(t, err)
	return &search.Online{Engine: e, Cache: c, TopK: 1}
}

func TestCache(t *testing.T) {
	dir := t.TempDir()
	e := &counted{key: "a"}
	o := cached(t, dir, e)
	for i, q := range []string{"x", "x", " x ", "nothing", "nothing"} {
		d, err := o.Search(t.Context(), search.Query{Query: q})
		require.NoError(t, err)
		require.Equal(t, i == 1 || i == 2 || i == 4, d.Cached)
		if q != "nothing" {
			require.Equal(t, []string{"a says x"}, d.Docs)
		}
	}
	require.EqualValues(t, 2, e.asked.Load())

	// Another process, another engine, and a damaged file.
	_, err := cached(t, dir, e).Search(t.Context(), search.Query{Query: "x"})
	require.NoError(t, err)
	require.EqualValues(t, 2, e.asked.Load())
	other := &counted{key: "b"}
	d, err := cached(t, dir, other).Search(t.Context(), search.Query{Query: "x"})
	require.NoError(t, err)
	require.Equal(t, []string{"b says x"}, d.Docs)
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	require.NoError(t, err)
	require.Len(t, files, 3)
	for _, damage := range []string{"", "{\"engine\":\"a\",\"que", `{"engine":"a","query":"another","documents":["z"]}`,
		"null"} {
		for _, f := range files {
			require.NoError(t, os.WriteFile(f, []byte(damage), 0o644))
		}
		before := e.asked.Load()
		d, err = o.Search(t.Context(), search.Query{Query: "x"})
		require.NoError(t, err)
		require.Equal(t, []string{"a says x"}, d.Docs)
		require.Equal(t, before+1, e.asked.Load())
	}
}

// Concurrent equal queries send one request to the engine. If one of them is cancelled, the others still get an answer.
func TestCacheConcurrent(t *testing.T) {
	e := &counted{key: "a", wait: 20 * time.Millisecond}
	o := cached(t, t.TempDir(), e)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var cancelled atomic.Int64
	for i := range 64 {
		wg.Go(func() {
			own := t.Context()
			if i%2 == 0 {
				own = ctx
			}
			_, err := o.Search(own, search.Query{Query: fmt.Sprint(i / 2 % 4)})
			if i%2 == 0 && err != nil {
				require.ErrorIs(t, err, context.Canceled)
				cancelled.Add(1)
				return
			}
			require.NoError(t, err)
		})
	}
	time.Sleep(5 * time.Millisecond)
	cancel()
	wg.Wait()
	require.LessOrEqual(t, e.asked.Load(), int64(4+cancelled.Load()))

	e = &counted{key: "b", wait: 20 * time.Millisecond}
	o = cached(t, t.TempDir(), e)
	for i := range 64 {
		wg.Go(func() {
			_, err := o.Search(t.Context(), search.Query{Query: fmt.Sprint(i % 4)})
			require.NoError(t, err)
		})
	}
	wg.Wait()
	require.EqualValues(t, 4, e.asked.Load())
}

// Failures are not cached. If the cache cannot be written, the run stops instead of losing answers that were paid for.
func TestCacheFailures(t *testing.T) {
	e := &counted{key: "a", fail: func() error { return errors.New("no luck") }}
	dir := filepath.Join(t.TempDir(), "cache")
	o := cached(t, dir, e)
	_, err := o.Search(t.Context(), search.Query{Query: "x"})
	require.ErrorContains(t, err, "no luck")
	e.fail = nil
	require.NoError(t, os.RemoveAll(dir))
	_, err = o.Search(t.Context(), search.Query{Query: "x"})
	var u *search.Unavailable
	require.ErrorAs(t, err, &u)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, dir)
	_, err = search.OpenCache(filepath.Join(os.DevNull, "x"))
	require.ErrorContains(t, err, "opening the search cache")

	require.NoError(t, os.MkdirAll(dir, 0o755))
	old, fresh := filepath.Join(dir, ".writing-1"), filepath.Join(dir, ".writing-2")
	for _, p := range []string{old, fresh} {
		require.NoError(t, os.WriteFile(p, []byte("{"), 0o644))
	}
	require.NoError(t, os.Chtimes(old, time.Time{}, time.Now().Add(-2*time.Hour)))
	cached(t, dir, e)
	require.NoFileExists(t, old)
	require.FileExists(t, fresh, "another process may be writing it")
}

// Processes that share a folder and are killed while they write leave only complete answers.
func TestCacheKilled(t *testing.T) {
	if dir := os.Getenv("SEARCH_TEST_CACHE"); dir != "" {
		o := cached(t, dir, &counted{key: "a"})
		for i := range 1 << 20 {
			o.Search(t.Context(), search.Query{Query: fmt.Sprint(i % 200)})
			if i%200 == 199 { // ask for all of them again
				left, _ := filepath.Glob(filepath.Join(dir, "*.json"))
				for _, p := range left {
					os.Remove(p)
				}
			}
		}
		return
	}
	dir := t.TempDir()
	for range 5 {
		var running []*exec.Cmd
		for range 2 {
			c := exec.Command(os.Args[0], "-test.run", "^TestCacheKilled$")
			c.Env = append(os.Environ(), "SEARCH_TEST_CACHE="+dir)
			require.NoError(t, c.Start())
			running = append(running, c)
		}
		require.Eventually(t, func() bool { m, _ := filepath.Glob(filepath.Join(dir, "*.json")); return len(m) > 20 },
			10*time.Second, time.Millisecond)
		for _, c := range running {
			require.NoError(t, c.Process.Kill())
			c.Wait()
		}
		files, err := filepath.Glob(filepath.Join(dir, "*.json"))
		require.NoError(t, err)
		e := &counted{key: "a"}
		o := cached(t, dir, e)
		for i := range 200 {
			d, err := o.Search(t.Context(), search.Query{Query: fmt.Sprint(i)})
			require.NoError(t, err)
			require.Equal(t, []string{fmt.Sprintf("a says %d", i)}, d.Docs)
		}
		require.EqualValues(t, 200-len(files), e.asked.Load(), "every file is a whole answer")
	}
}

package shards

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/rl/data"
)

// input are n rows {"x": i%mod}.
func input(n, mod int) func() iter.Seq2[data.Row, error] {
	return func() iter.Seq2[data.Row, error] {
		return func(yield func(data.Row, error) bool) {
			for i := range n {
				raw := json.RawMessage(fmt.Sprint(i % mod))
				if !yield(data.Row{N: i + 1, Columns: map[string]json.RawMessage{"x": raw}}, nil) {
					return
				}
			}
		}
	}
}

// job doubles x, drops multiples of 5, and says how often x has been there.
func job(dir string, n, mod, perShard int) *Job {
	return &Job{Dir: dir, Input: input(n, mod), Total: n, PerShard: perShard, Concurrency: 4,
		Key: func(r data.Row) (k uint64, err error) {
			_, err = r.Get("x", &k)
			return k, err
		},
		Do: func(_ context.Context, item Item) (Result, error) {
			r := Result{PromptTokens: 1, CompletionTokens: 2}
			if item.Key%5 == 0 {
				r.Drop("multiple of five")
				return r, nil
			}
			r.Lines = []json.RawMessage{json.RawMessage(fmt.Sprintf(`{"y":%d,"seen":%d}`, 2*item.Key, item.Seen))}
			return r, nil
		}}
}

func open(t *testing.T, dir string, n, perShard int, parts fingerprint.Parts) (int, error) {
	return Open(t.Context(), dir, parts, perShard, func() (int, error) { return n, nil })
}

// whole is the text of all results, in the order of the shards.
func whole(t *testing.T, dir string) string {
	files, err := filepath.Glob(filepath.Join(dir, Prefix+"*.jsonl"))
	require.NoError(t, err)
	var b bytes.Buffer
	for _, f := range files {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		b.Write(text)
	}
	return b.String()
}

func TestShards(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	total, err := open(t, dir, 23, 10, fingerprint.Parts{"a": "1"})
	require.NoError(t, err)
	require.Equal(t, 23, total)
	j := job(dir, total, 7, 10)
	left, err := j.Run(t.Context())
	require.NoError(t, err)
	require.Zero(t, left)
	var want strings.Builder
	for i := range 23 {
		if x := i % 7; x%5 != 0 {
			fmt.Fprintf(&want, `{"y":%d,"seen":%d}`+"\n", 2*x, i/7+1)
		}
	}
	require.Equal(t, want.String(), whole(t, dir))
	c, finished, err := j.Counts()
	require.NoError(t, err)
	require.Equal(t, 3, finished)
	require.Equal(t, Counts{Items: 23, Rows: 16, Dropped: map[string]int{"multiple of five": 7}, PromptTokens: 23,
		CompletionTokens: 46}, c)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	require.Equal(t, []string{"counts", "rows-000000.jsonl", "rows-000001.jsonl", "rows-000002.jsonl",
		"settings.json"}, names)

	// All is done: nothing is done again.
	j.Do = func(context.Context, Item) (Result, error) { return Result{}, errors.New("not this") }
	_, err = j.Run(t.Context())
	require.NoError(t, err)
}

// A job that is stopped at any row goes on with the others, and the files are those of a job that was not stopped.
func TestStopAndGoOn(t *testing.T) {
	dir, plain := t.TempDir(), t.TempDir()
	for _, d := range []string{dir, plain} {
		_, err := open(t, d, 50, 8, fingerprint.Parts{})
		require.NoError(t, err)
	}
	_, err := job(plain, 50, 9, 8).Run(t.Context())
	require.NoError(t, err)
	var did, asked atomic.Int64
	for stop := 1; ; stop++ {
		j := job(dir, 50, 9, 8)
		work := j.Do
		asked.Store(0)
		j.Do = func(ctx context.Context, item Item) (Result, error) {
			if asked.Add(1) > 7 {
				return Result{}, errors.New("stopped")
			}
			r, err := work(ctx, item)
			did.Add(1)
			return r, err
		}
		if _, err := j.Run(t.Context()); err == nil {
			break
		} else {
			require.EqualError(t, err, "stopped")
		}
		require.Less(t, stop, 50)
	}
	require.Equal(t, whole(t, plain), whole(t, dir))
	require.Less(t, did.Load(), int64(50+8*4)) // work in flight at a stop is lost, no more

	// A line that a killed process left unfinished is done again.
	require.NoError(t, os.Remove(filepath.Join(dir, "rows-000001.jsonl")))
	part := job(dir, 50, 9, 8).workDir(1)
	require.NoError(t, os.MkdirAll(part, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(part, "results.jsonl"),
		[]byte(`{"n":9,"dropped":"multiple of five"}`+"\n"+`{"n":10,"li`), 0o644))
	_, err = job(dir, 50, 9, 8).Run(t.Context())
	require.NoError(t, err)
	require.Equal(t, whole(t, plain), whole(t, dir))
}

// Several jobs share the shards of a folder; a shard that another one has locked is left to it.
func TestWorkersShare(t *testing.T) {
	dir, plain := t.TempDir(), t.TempDir()
	for _, d := range []string{dir, plain} {
		_, err := open(t, d, 60, 5, fingerprint.Parts{})
		require.NoError(t, err)
	}
	_, err := job(plain, 60, 9, 5).Run(t.Context())
	require.NoError(t, err)
	var did atomic.Int64
	errs := make(chan error, 3)
	for range 3 {
		go func() {
			j := job(dir, 60, 9, 5)
			work := j.Do
			j.Do = func(ctx context.Context, item Item) (Result, error) { did.Add(1); return work(ctx, item) }
			_, err := j.Run(t.Context())
			errs <- err
		}()
	}
	for range 3 {
		require.NoError(t, <-errs)
	}
	require.Equal(t, int64(60), did.Load())
	require.Equal(t, whole(t, plain), whole(t, dir))

	require.NoError(t, os.Remove(filepath.Join(dir, "rows-000003.jsonl")))
	require.NoError(t, os.Remove(filepath.Join(dir, "rows-000007.jsonl")))
	j := job(dir, 60, 9, 5)
	lock, err := j.lock(7)
	require.NoError(t, err)
	left, err := j.Run(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, left)
	lock.Unlock()
	left, err = j.Run(t.Context())
	require.NoError(t, err)
	require.Zero(t, left)
	require.Equal(t, whole(t, plain), whole(t, dir))
}

func TestFinishMayDrop(t *testing.T) {
	dir := t.TempDir()
	_, err := open(t, dir, 6, 3, fingerprint.Parts{})
	require.NoError(t, err)
	j := job(dir, 6, 100, 3)
	j.Finish = func(results []Result) { results[1].Drop("second of its shard") }
	_, err = j.Run(t.Context())
	require.NoError(t, err)
	c, _, err := j.Counts()
	require.NoError(t, err)
	require.Equal(t, map[string]int{"second of its shard": 2, "multiple of five": 2}, c.Dropped)
	require.Equal(t, 2, c.Rows)
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	_, err := open(t, dir, 6, 3, fingerprint.Parts{"seed": "1"})
	require.NoError(t, err)
	total, err := open(t, dir, 99, 3, fingerprint.Parts{"seed": "1"}) // the rows were counted once
	require.NoError(t, err)
	require.Equal(t, 6, total)
	_, err = open(t, dir, 6, 3, fingerprint.Parts{"seed": "2"})
	require.ErrorContains(t, err, "--seed was 1, is 2")
	_, err = open(t, dir, 6, 4, fingerprint.Parts{"seed": "1"})
	require.ErrorContains(t, err, "give --shard-rows 3")
	other := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(other, "letter.txt"), []byte("dear"), 0o644))
	_, err = open(t, other, 6, 3, fingerprint.Parts{})
	require.ErrorContains(t, err, "holds other files")

	_, err = job(dir, 7, 9, 3).Run(t.Context())
	require.NoError(t, err)
	j := job(t.TempDir(), 7, 9, 3)
	j.Input = input(5, 9)
	_, err = j.Run(t.Context())
	require.ErrorContains(t, err, "it has 5 rows now and had 7")
}

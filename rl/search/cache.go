package search

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sync/singleflight"

	"github.com/zerosearch-go/zerosearch/internal/disk"
)

// Cache keeps the answers of real engines in a folder, one file for each engine and query. Files are written
// atomically, so any number of goroutines and processes may share the folder and be killed at any time. An answer never
// expires: delete its file, or the folder, to ask again.
type Cache struct {
	dir    string
	flight singleflight.Group // one request at a time for each file
}

// cacheEntry is a file's content.
type cacheEntry struct {
	Engine    string   `json:"engine"`
	Query     string   `json:"query"`
	Documents []string `json:"documents"`
}

// OpenCache makes the folder if it does not exist, and removes files that killed processes left unfinished.
func OpenCache(dir string) (*Cache, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("opening the search cache: %w", err)
	}
	f, err := os.CreateTemp(dir, ".writable-*") // fail now rather than after the first answer was paid for
	if err != nil {
		return nil, fmt.Errorf("opening the search cache: %w", err)
	}
	f.Close()
	os.Remove(f.Name())
	if err := disk.Recover(dir); err != nil {
		return nil, fmt.Errorf("opening the search cache: %w", err)
	}
	return &Cache{dir: dir}, nil
}

// get gives the documents from the cache, else from the engine. Concurrent calls with the same query share one request
// to the engine. A nil cache keeps nothing.
func (c *Cache) get(ctx context.Context, e Fetcher, query string) (docs []string, cached bool, err error) {
	if c == nil {
		docs, err = e.Fetch(ctx, query)
		return docs, false, err
	}
	want := cacheEntry{Engine: e.Key(), Query: query}
	path := c.path(want)
	for {
		if docs, ok := read(path, want); ok {
			return docs, true, nil
		}
		asked := false
		v, err, _ := c.flight.Do(path, func() (any, error) {
			asked = true
			docs, err := e.Fetch(ctx, query)
			if err != nil {
				return nil, err
			}
			want.Documents = docs
			return docs, c.write(path, want, e.Name())
		})
		if err == nil {
			return v.([]string), !asked, nil
		}
		if asked || ctx.Err() != nil || !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
			return nil, false, err
		}
		// The goroutine that sent the shared request was cancelled and this one was not: try again.
	}
}

func (c *Cache) path(e cacheEntry) string {
	sum := sha256.Sum256([]byte(e.Engine + "\x00" + e.Query))
	return filepath.Join(c.dir, hex.EncodeToString(sum[:16])+".json")
}

// read gives the documents in a file; false if the file is missing, damaged, or of another engine or query.
func read(path string, want cacheEntry) ([]string, bool) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, false
	}
	var e cacheEntry
	if json.Unmarshal(raw, &e) != nil || e.Engine != want.Engine || e.Query != want.Query || e.Documents == nil {
		return nil, false
	}
	return e.Documents, true
}

// write stores an answer. A failure stops the run: otherwise it would pay for answers and lose them.
func (c *Cache) write(path string, e cacheEntry, engine string) error {
	raw, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if err := disk.WriteFile(path, append(raw, '\n')); err != nil {
		var p *fs.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		return &Unavailable{Engine: "search cache of " + engine, Host: c.dir, Tries: 1,
			Err: fmt.Errorf("writing an answer: %w", err)}
	}
	return nil
}

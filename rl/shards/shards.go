// Package shards applies a function to every row of a large input and keeps the results in numbered files of one
// folder. If a process is killed at any moment, no row is lost or written twice: run again, it resumes where it
// stopped. Several processes, also on machines with a common file system, can share the work of a folder: only the
// process that holds the lock of a shard works on it. The files do not depend on which process did what, and when.
//
//	settings.json         what the results depend on, the number of rows and the size of a shard
//	rows-000007.jsonl     the results of shard 7, in the order of the input; or .parquet
//	counts/000007.json    its counts
//	.work/000007/         its lock, and its results so far; only while it is being done
package shards

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/rl/data"
)

// Prefix begins the names of the files with results.
const Prefix = "rows-"

// Item is a row of the input with its place.
type Item struct {
	// N is the index of the row, from 0.
	N int
	data.Row
	// Key is the hash of the row's content, Seen how often it has occurred up to this row: 1 for the first.
	Key, Seen uint64
}

// Result is the result of an item: rows of the output, or the reason why there are none.
type Result struct {
	N int `json:"n"`
	// Lines are the rows of the output, any number of them; none if the item was dropped.
	Lines []json.RawMessage `json:"lines,omitempty"`
	// Dropped is the reason why the item has no output, a few words; "" if it has.
	Dropped string `json:"dropped,omitempty"`
	// PromptTokens and CompletionTokens are the numbers of tokens that models read and wrote for the item.
	PromptTokens     int `json:"prompt_tokens,omitempty"`
	CompletionTokens int `json:"completion_tokens,omitempty"`
}

// Counts are sums over results.
type Counts struct {
	// Items is the number of rows of the input, Rows that of the output.
	Items int `json:"items"`
	Rows  int `json:"rows"`
	// Dropped counts the items without output by reason.
	Dropped          map[string]int `json:"dropped"`
	PromptTokens     int64          `json:"prompt_tokens"`
	CompletionTokens int64          `json:"completion_tokens"`
}

// String says what became of the items: "90 rows from 100; dropped: 10 duplicate".
func (c Counts) String() string {
	line := fmt.Sprintf("%d rows from %d", c.Rows, c.Items)
	var why []string
	for _, reason := range slices.Sorted(maps.Keys(c.Dropped)) {
		why = append(why, fmt.Sprintf("%d %s", c.Dropped[reason], reason))
	}
	if why != nil {
		line += "; dropped: " + strings.Join(why, ", ")
	}
	return line
}

// add adds the counts o.
func (c *Counts) add(o Counts) {
	c.Items, c.Rows = c.Items+o.Items, c.Rows+o.Rows
	c.PromptTokens, c.CompletionTokens = c.PromptTokens+o.PromptTokens, c.CompletionTokens+o.CompletionTokens
	for why, n := range o.Dropped {
		if c.Dropped == nil {
			c.Dropped = map[string]int{}
		}
		c.Dropped[why] += n
	}
}

// countsOf counts a result.
func countsOf(r Result) Counts {
	c := Counts{Items: 1, Rows: len(r.Lines), PromptTokens: int64(r.PromptTokens),
		CompletionTokens: int64(r.CompletionTokens)}
	if r.Dropped != "" {
		c.Dropped = map[string]int{r.Dropped: 1}
	}
	return c
}

// Job describes the work on one folder. All processes that share the folder must describe it equally.
type Job struct {
	// Dir is the folder.
	Dir string
	// Input yields all rows, the same ones in the same order each time that it is called.
	Input func() iter.Seq2[data.Row, error]
	// Total is the number of rows of the input, PerShard the number of rows of a shard.
	Total, PerShard int
	// Columns are those of parquet files; nil for JSON lines.
	Columns []data.Column
	// Key is the hash of what a row's result depends on.
	Key func(data.Row) (uint64, error)
	// Do computes the result of an item; Concurrency goroutines call it at once. The result must depend on the
	// item only. An error stops the job.
	Do          func(ctx context.Context, item Item) (Result, error)
	Concurrency int
	// Finish, if not nil, is called with all results of a shard in order and may drop some: see Result.Drop.
	Finish func(results []Result)
	// Progress, if not nil, is called from time to time, by one goroutine at a time.
	Progress func(p Progress)
	// Note, if not nil, prints a message for the user.
	Note func(text string)

	noted bool
}

// Drop removes the output of a result and sets the reason.
func (r *Result) Drop(why string) { r.Lines, r.Dropped = nil, why }

// Progress says how far a job is.
type Progress struct {
	// Done counts the items of the finished shards, of all processes, and those of the shard that is being done. Mine
	// are the counts of what this process did, since Began; Before were done then.
	Done, Before, Total int
	Mine                Counts
	Began               time.Time
	// Shard is the number of the shard that is being done, from 1, of Shards.
	Shard, Shards int
}

// settings is the content of settings.json.
type settings struct {
	Parts fingerprint.Parts `json:"parts"`
	// Rows of the input, and of a shard.
	Rows     int `json:"rows"`
	PerShard int `json:"shard_rows"`
}

// Open begins the work in a folder, or joins it, and returns the number of rows of the input. parts is the fingerprint
// of everything that the results depend on; it is an error if the folder was begun with another one. count counts the
// rows of the input; only the process that begins the work calls it.
func Open(ctx context.Context, dir string, parts fingerprint.Parts, perShard int, count func() (int, error)) (total int,
	err error) {
	fail := func(err error) (int, error) { return 0, fmt.Errorf("opening %s: %w", dir, err) }
	lock, err := wait(ctx, dir)
	if err != nil {
		return fail(err)
	}
	defer lock.Unlock()
	if err := disk.Recover(dir); err != nil {
		return fail(err)
	}
	path := filepath.Join(dir, "settings.json")
	text, err := os.ReadFile(path)
	if err == nil {
		var was settings
		if err := json.Unmarshal(text, &was); err != nil || was.Parts == nil {
			return fail(errors.New("its settings.json is not that of such a folder: choose another --out"))
		}
		if diff := fingerprint.Compare(was.Parts, parts); len(diff) > 0 {
			return fail(fmt.Errorf("it was begun with other settings (%s): choose another --out",
				fingerprint.Sentence(diff)))
		}
		if was.PerShard != perShard {
			return fail(fmt.Errorf("its shards have %d rows: give --shard-rows %d, or choose another --out",
				was.PerShard, was.PerShard))
		}
		return was.Rows, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return fail(err)
	}
	if entries, err := os.ReadDir(dir); err != nil {
		return fail(err)
	} else if slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		return !e.IsDir() &&
			e.Name() != disk.LockName
	}) {
		return fail(errors.New("the folder holds other files: choose a new one"))
	}
	if total, err = count(); err != nil {
		return 0, err
	}
	if text, err = json.MarshalIndent(settings{parts, total, perShard}, "", "  "); err == nil {
		err = disk.WriteFile(path, append(text, '\n'))
	}
	if err != nil {
		return fail(err)
	}
	return total, nil
}

// wait waits for the lock of a folder, which other processes hold for a short time only.
func wait(ctx context.Context, dir string) (*disk.Lock, error) {
	for {
		lock, err := disk.LockDir(dir)
		var busy *disk.Busy
		if !errors.As(err, &busy) {
			return lock, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// shards returns the number of shards.
func (j *Job) shards() int { return (j.Total + j.PerShard - 1) / j.PerShard }

// Files returns the paths of the files with results, in order.
func (j *Job) Files() (files []string) {
	for shard := range j.shards() {
		if j.finished(shard) {
			files = append(files, j.path(shard))
		}
	}
	return files
}

// path is the file of a shard's results.
func (j *Job) path(shard int) string {
	ext := ".jsonl"
	if j.Columns != nil {
		ext = ".parquet"
	}
	return filepath.Join(j.Dir, fmt.Sprintf("%s%06d%s", Prefix, shard, ext))
}

func (j *Job) countsPath(shard int) string {
	return filepath.Join(j.Dir, "counts", fmt.Sprintf("%06d.json", shard))
}

func (j *Job) workDir(shard int) string {
	return filepath.Join(j.Dir, ".work", fmt.Sprintf("%06d", shard))
}

// finished reports whether a shard has its file.
func (j *Job) finished(shard int) bool {
	_, err := os.Stat(j.path(shard))
	return err == nil
}

// size is the number of rows of a shard.
func (j *Job) size(shard int) int { return min(j.PerShard, j.Total-shard*j.PerShard) }

// Counts returns the sum of the counts of all finished shards, and the number of these shards.
func (j *Job) Counts() (c Counts, finished int, err error) {
	c.Dropped = map[string]int{}
	for shard := range j.shards() {
		if !j.finished(shard) {
			continue
		}
		finished++
		var one Counts
		text, err := os.ReadFile(j.countsPath(shard))
		if err == nil {
			err = json.Unmarshal(text, &one)
		}
		if err != nil {
			return c, finished, fmt.Errorf("reading the counts of shard %d: %w", shard, err)
		}
		c.add(one)
	}
	return c, finished, nil
}

package shards

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/rl/data"
)

// Run works on the shards that no other process has locked, until every shard is finished or locked by another process.
// left is the number of those that are locked. If ctx ends, Run returns its error; finished items are kept.
func (j *Job) Run(ctx context.Context) (left int, err error) {
	w := &worker{Job: j, began: time.Now()}
	for {
		open, locked, err := j.unfinished()
		if err == nil && open+locked == 0 { // a process may have been killed between a shard's file and its results
			err = os.RemoveAll(filepath.Join(j.Dir, ".work"))
		}
		if err != nil || open == 0 {
			return locked, err
		}
		if err := w.pass(ctx); err != nil {
			return 0, err
		}
	}
}

// RunAll is Run, but it also waits for the shards that other processes have locked: all shards are finished when it
// returns without an error.
func (j *Job) RunAll(ctx context.Context) error {
	for told := false; ; {
		left, err := j.Run(ctx)
		if err != nil || left == 0 {
			return err
		}
		if !told && j.Note != nil {
			told = true
			j.Note(fmt.Sprintf("waiting for other processes, which work on %d shards of %s", left, j.Dir))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// unfinished counts the shards without a file: open are those that no process works on, locked the others.
func (j *Job) unfinished() (open, locked int, err error) {
	for shard := range j.shards() {
		if j.finished(shard) {
			continue
		}
		switch lock, err := j.lock(shard); {
		case err != nil:
			return 0, 0, err
		case lock == nil:
			locked++
		default:
			lock.Unlock()
			open++
		}
	}
	return open, locked, nil
}

// lock takes the lock of a shard; nil if another process has it.
func (j *Job) lock(shard int) (*disk.Lock, error) {
	lock, err := disk.LockDir(j.workDir(shard))
	var busy *disk.Busy
	if errors.As(err, &busy) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("locking shard %d: %w", shard, err)
	}
	if lock.Note != "" && j.Note != nil && !j.noted {
		j.noted = true
		j.Note(lock.Note)
	}
	return lock, nil
}

// worker is the state of Run in this process.
type worker struct {
	*Job
	began time.Time
	mu    sync.Mutex
	mine  Counts
	// done and before are counts of items: see Progress.
	done, before int
	shown        time.Time
}

// pass reads the input once and works on the shards whose lock it gets.
func (w *worker) pass(ctx context.Context) error {
	seen := map[uint64]uint64{}
	var lock *disk.Lock
	var items []Item
	defer func() { lock.Unlock() }()
	n, left := 0, 0
	for shard := range w.shards() {
		if !w.finished(shard) {
			left = shard + 1
		}
	}
	for row, err := range w.Input() {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		shard := n / w.PerShard
		if shard >= left || n >= w.Total {
			break // all shards that follow are finished
		}
		if n%w.PerShard == 0 && !w.finished(shard) {
			if lock, err = w.lock(shard); err != nil {
				return err
			}
			if lock != nil && w.finished(shard) { // another process has just finished it
				lock.Unlock()
				lock = nil
			}
		}
		key, err := w.Key(row)
		if err != nil {
			return err
		}
		seen[key]++
		if lock != nil {
			items = append(items, Item{n, row, key, seen[key]})
		}
		n++
		if lock != nil && (n%w.PerShard == 0 || n == w.Total) {
			if err := w.do(ctx, shard, items); err != nil {
				return err
			}
			lock.Unlock()
			os.Remove(w.workDir(shard)) // it fails if the folder is not empty, which does no harm
			lock, items = nil, nil
		}
	}
	if lock != nil || n < min(w.Total, left*w.PerShard) {
		return fmt.Errorf("reading the input again: it has %d rows now and had %d: choose another --out", n, w.Total)
	}
	return nil
}

// do works on the items of a shard that have no result yet, then writes the shard's files.
func (w *worker) do(ctx context.Context, shard int, items []Item) error {
	part := filepath.Join(w.workDir(shard), "results.jsonl")
	done := make([]*Result, len(items))
	err := disk.CompleteLines(part, func(line []byte) error {
		r := new(Result)
		if err := json.Unmarshal(line, r); err != nil {
			return err
		}
		at := r.N - items[0].N
		if at < 0 || at >= len(done) {
			return fmt.Errorf("it has a result of row %d, which is not in this shard", r.N)
		}
		done[at] = r
		return nil
	})
	if err != nil {
		return fmt.Errorf("going on with %s: %w: remove the file to do this shard again", part, err)
	}
	f, err := os.OpenFile(part, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		return fmt.Errorf("keeping results: %w", err)
	}
	defer f.Close()
	w.finishedItems(done)
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(max(1, w.Concurrency))
	for i, item := range items {
		if done[i] != nil {
			continue
		}
		if inner.Err() != nil {
			break
		}
		g.Go(func() error {
			r, err := w.Do(inner, item)
			if err == nil {
				err = inner.Err()
			}
			if err != nil {
				return err
			}
			r.N = item.N
			done[i] = &r
			return w.keep(f, r, shard)
		})
	}
	if err := cmp.Or(g.Wait(), ctx.Err()); err != nil {
		return err
	}
	results := make([]Result, len(done))
	for i, r := range done {
		results[i] = *r
	}
	if err := w.write(shard, results); err != nil {
		return fmt.Errorf("writing shard %d: %w", shard, err)
	}
	f.Close()
	if err := os.Remove(part); err != nil && !errors.Is(err, os.ErrNotExist) { // another process may have cleared up
		return fmt.Errorf("clearing up after shard %d: %w", shard, err)
	}
	return nil
}

// finishedItems counts, when a shard begins, the items that have a result already.
func (w *worker) finishedItems(done []*Result) {
	first := w.done == 0
	w.done = 0
	for shard := range w.shards() {
		if w.finished(shard) {
			w.done += w.size(shard)
		}
	}
	for _, r := range done {
		if r != nil {
			w.done++
		}
	}
	if first {
		w.before = w.done
	}
}

// keep appends a result to the file with the shard's results so far and reports the progress.
func (w *worker) keep(f io.Writer, r Result, shard int) error {
	line, err := data.Marshal(r)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := f.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("keeping results: %w", err)
	}
	w.done++
	w.mine.add(countsOf(r))
	if now := time.Now(); w.Progress != nil && (now.Sub(w.shown) >= shownEvery || w.done == w.Total) {
		w.shown = now
		w.Progress(Progress{Done: w.done, Before: w.before, Total: w.Total, Mine: w.mine, Began: w.began,
			Shard:  shard + 1,
			Shards: w.shards()})
	}
	return nil
}

// shownEvery is the shortest time between two reports of progress.
const shownEvery = 200 * time.Millisecond

// write writes the counts of a shard, then its results: a shard whose file of results exists is finished.
func (w *worker) write(shard int, results []Result) error {
	if w.Finish != nil {
		w.Finish(results)
	}
	var lines []json.RawMessage
	counts := Counts{Dropped: map[string]int{}}
	for _, r := range results {
		lines = append(lines, r.Lines...)
		counts.add(countsOf(r))
	}
	text, err := json.Marshal(counts)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(w.countsPath(shard)), 0o777); err != nil {
		return err
	}
	if err := disk.WriteFile(w.countsPath(shard), append(text, '\n')); err != nil {
		return err
	}
	return disk.Write(w.path(shard), 0o666, func(f io.Writer) error {
		if w.Columns != nil {
			return data.WriteParquet(f, w.Columns, lines)
		}
		b := bufio.NewWriter(f)
		for _, line := range lines {
			b.Write(line)
			b.WriteByte('\n')
		}
		return b.Flush()
	})
}

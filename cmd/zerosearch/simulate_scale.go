package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/zerosearch-go/zerosearch/internal/await"
	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/rl/shards"
	"github.com/zerosearch-go/zerosearch/rl/simulate"
)

// scaled is the result of simulate --out.
type scaled struct {
	Out string `json:"out"`
	// Shards is the number of shards, Finished of them have their file.
	Shards   int `json:"shards"`
	Finished int `json:"finished"`
	shards.Counts
}

// rows are the files with requests: those of --data, or what a model proposes.
func (c *simulateCmd) rows(w *world) (files []string, err error) {
	w.keepsGoing()
	if c.Data != "-" {
		if files, err = data.Files(c.Data); err != nil {
			return nil, err
		}
	}
	if c.any() {
		return c.propose(w, files)
	}
	return files, nil
}

// scale writes the documents of all rows into the shards of --out.
func (c *simulateCmd) scale(w *world, engines *roles.SearchEngines, files []string) error {
	meter := c.Search.Meter()
	s := &simulate.Scale{Files: files, Searcher: meter.Wrap(engines.Searcher), TopK: c.Search.TopK, Filter: c.Filter,
		Seed: c.Seed, Raw: c.Raw}
	parts, err := await.Call(w.ctx, func() (fingerprint.Parts, error) { return c.fingerprint(w, engines, files) })
	if err != nil {
		return err
	}
	total, err := shards.Open(w.ctx, c.Out, parts, c.ShardRows, func() (int, error) { return s.Count(w.ctx) })
	if err != nil {
		return err
	}
	j := s.Job(c.Out, total, c.ShardRows)
	if c.Format == "parquet" {
		if j.Columns, err = s.Columns(); err != nil {
			return err
		}
	}
	var cost search.Cost
	j.Concurrency, j.Note = c.Concurrency, w.note
	j.Progress = func(p shards.Progress) {
		cost = cost.Add(search.Sum(meter.Take()))
		w.log.status("%s", progressLine(p, cost.USD, time.Since(p.Began)))
	}
	w.finish(func() string { return "stopping; the rows that are done are kept" })
	left, err := j.Run(w.ctx)
	w.log.done()
	out := scaled{Out: c.Out, Shards: (total + c.ShardRows - 1) / c.ShardRows}
	if errors.Is(err, context.Canceled) && w.ctx.Err() != nil {
		w.log.line("interrupted: what is done is kept in %s. To go on, give the same command again", c.Out)
		return errInterrupted
	}
	if err == nil {
		out.Counts, out.Finished, err = j.Counts()
	}
	if err == nil && out.Finished == out.Shards {
		err = out.keep()
	}
	if err != nil {
		return err
	}
	if left > 0 {
		w.log.line("note: %d of %d shards are being done by other processes", left, out.Shards)
	}
	logCost(w, c.Search, cost.Add(search.Sum(meter.Take())))
	if c.JSON {
		return writeJSON(w, out)
	}
	w.log.line("%s: %s", c.Out, out.Counts)
	return nil
}

// keep writes the result beside the shards.
func (s scaled) keep() error {
	text, err := data.Marshal(s)
	if err == nil {
		err = disk.WriteFile(filepath.Join(s.Out, "simulate.json"), append(text, '\n'))
	}
	return err
}

// fingerprint is what the rows depend on.
func (c *simulateCmd) fingerprint(w *world, engines *roles.SearchEngines, files []string) (fingerprint.Parts, error) {
	out := w.settings("data", "out", "measure", "propose-model", "concurrency", "shard-rows", "threads", "device",
		"sim-device",
		"kv-memory", "machine-price", "remote-price")
	if c.Search.Simulates() {
		if err := modelContents(out, c.modelFlags.Model, c.Adapter, c.ChatTemplate); err != nil {
			return nil, err
		}
	}
	for i, file := range files {
		if err := out.File(fmt.Sprintf("data.file %d", i+1), file); err != nil {
			return nil, err
		}
	}
	searched, err := roles.SearchParts(&c.Search, engines)
	out.Merge(searched)
	return out, err
}

// progressLine says how far the rows are, how fast, until when, and what they cost.
func progressLine(p shards.Progress, usd float64, d time.Duration) string {
	seconds := max(d.Seconds(), 1e-3)
	dropped := 0
	for _, n := range p.Mine.Dropped {
		dropped += n
	}
	line := fmt.Sprintf("shard %d/%d  %d/%d rows  %.1f rows/s  %.0f tokens/s", p.Shard, p.Shards, p.Done, p.Total,
		float64(p.Mine.Items)/seconds, float64(p.Mine.PromptTokens+p.Mine.CompletionTokens)/seconds)
	if dropped > 0 {
		line += fmt.Sprintf("  dropped %.1f%%", 100*float64(dropped)/float64(p.Mine.Items))
	}
	line += "  ETA " + eta(p.Began, p.Done-p.Before, p.Total-p.Before)
	if usd > 0 {
		line += "  " + dollars(usd)
	}
	return line
}

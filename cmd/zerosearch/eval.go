package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/zerosearch-go/zerosearch/rl"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

type evalCmd struct {
	common
	modelFlags
	Data     string          `name:"data" help:"Questions: .jsonl, .jsonl.gz or .parquet with question and golden_answers; several files are separated by commas." placeholder:"FILE"`
	Limit    int             `name:"limit" help:"At most N questions, the first; 0: all." default:"0"`
	Episodes string          `name:"episodes" help:"Write every episode to this file, as training does." placeholder:"FILE"`
	Search   rl.SearchConfig `embed:""`
	limitFlags
}

// evaluation is the result of eval.
type evaluation struct {
	Model      string            `json:"model"`
	SearchMode string            `json:"search_mode"`
	Engine     string            `json:"engine"` // simulated, bm25 or none: rows of different engines are not comparable
	Sources    []rl.SourceReport `json:"sources"`
	Seconds    float64           `json:"seconds"`
	Tokens     int64             `json:"tokens"` // ids sampled, the simulator's included
	Cost       search.Cost       `json:"cost"`   // of searching
}

func (c *evalCmd) Run(w *world) error {
	if c.Data == "" {
		return usagef("--data is missing: give a file of questions")
	}
	if c.Limit < 0 {
		return usagef("--limit must not be negative")
	}
	questions, err := data.LoadFiles(c.Data)
	if err != nil {
		return err
	}
	if c.Limit > 0 && c.Limit < len(questions) {
		questions = questions[:c.Limit]
	}
	if c.Search.NoiseRate == nil && !w.given("start-threshold") && !w.given("end-threshold") {
		zero := 0.0 // there is no curriculum outside training: useful documents, unless asked otherwise
		c.Search.NoiseRate = &zero
	}
	a, err := newAgent(w, c.common, c.modelFlags, c.Search, c.limitFlags)
	if err != nil {
		return err
	}
	defer a.Close()
	began := time.Now()
	all, err := c.roll(w, a, questions)
	if err != nil {
		return err
	}
	sources := make([]string, len(all))
	for i := range all {
		sources[i] = questions[i].DataSource
	}
	out := evaluation{Model: c.Model, SearchMode: c.Search.Mode, Engine: c.Search.Label(), Cost: search.Sum(a.meter.Take()), Sources: rl.Report(all, sources), Seconds: time.Since(began).Seconds()}
	for _, m := range a.eng.Stats().Models {
		out.Tokens += m.Sampled
	}
	if err := c.keep(all); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(w, out)
	}
	if err := out.print(w); err != nil {
		return err
	}
	logCost(w, c.Search, out.Cost)
	return nil
}

// roll runs one episode a question and shows how it goes.
func (c *evalCmd) roll(w *world, a *agent, questions []data.Question) ([]*episode.Episode, error) {
	var mu sync.Mutex
	began, done := time.Now(), 0
	r := a.roller
	r.OnEpisode = func(e *episode.Episode) {
		mu.Lock()
		defer mu.Unlock()
		done++
		w.log.status("%d/%d questions  ETA %s", done, len(questions), eta(began, done, len(questions)))
	}
	all, err := r.Evaluate(w.ctx, questions, r.Runner.Config.Sampling, c.Seed, 0)
	w.log.done()
	if err != nil {
		return nil, err
	}
	if w.ctx.Err() != nil {
		return nil, context.Canceled
	}
	return all, nil
}

// keep writes the episodes where --episodes says.
func (c *evalCmd) keep(all []*episode.Episode) error {
	if c.Episodes == "" {
		return nil
	}
	var text []byte
	for _, e := range all {
		line, err := e.Line()
		if err != nil {
			return err
		}
		text = append(text, line...)
	}
	if err := writeFile(c.Episodes, text); err != nil {
		return fmt.Errorf("writing the episodes: %w", err)
	}
	return nil
}

// print shows a row a data source.
func (e evaluation) print(w *world) error {
	tw := tabwriter.NewWriter(w.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "data source\tengine\tn\tem\tf1\tsub_em\tvalid actions\tsearches\tfinished\t")
	for _, s := range e.Sources {
		fmt.Fprintf(tw, "%s\t%s\t%d\t%.3f\t%.3f\t%.3f\t%.1f%%\t%.2f\t%.1f%%\t\n", s.Source, e.Engine, s.N, s.EM, s.F1, s.SubEM, 100*s.ValidAction, s.Searches, 100*s.Finish)
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	if strings.Contains(e.Engine, "simulated") {
		w.log.line("note: a simulated engine was told the answers: compare these rows with simulated rows only")
	}
	return nil
}

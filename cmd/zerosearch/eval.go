package main

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/zerosearch-go/zerosearch/internal/await"
	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/eval"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/rl/rollout"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

type evalCmd struct {
	common
	simFlags
	modelFlags
	suiteFlags
	Data      string   `name:"data" help:"Questions: .jsonl, .json (gzipped or not) or .parquet with question and golden_answers; several files are separated by commas." placeholder:"FILE"`
	Sources   []string `name:"sources" help:"Only questions of these data sources." placeholder:"NAME"`
	Limit     int      `name:"limit" help:"At most N questions, the first; 0: all." default:"0"`
	PerSource int      `name:"per-source" help:"At most N questions of each data source, the first; 0: all." default:"0"`
	Methods   []string `name:"method" help:"agent (searches as in training), or baselines: direct (answer at once), cot (chain of thought), rag (retrieve once); all: all four (default: agent; of --suite closed: direct, rag and agent)." placeholder:"NAME"`
	Out       string   `name:"out" help:"Folder for eval.json, table.md and every episode; an interrupted evaluation goes on there." placeholder:"DIR"`
	Episodes  string   `name:"episodes" help:"Write every episode to this file, as training does." placeholder:"FILE"`
	Output    string   `name:"output" short:"o" help:"text, md (a table like the paper's) or json." default:"text" enum:"text,md,json"`
	bootstrapFlags
	Compare bool          `name:"compare" help:"Compare two evaluations, the folders --out of which follow: A B, or A:METHOD B:METHOD."`
	Runs    []string      `arg:"" optional:"" name:"run" help:"With --compare: the two evaluations." placeholder:"DIR"`
	Search  config.Search `embed:""`
	limitFlags
}

// bootstrapFlags ask for confidence intervals.
type bootstrapFlags struct {
	Bootstrap  int     `name:"bootstrap" help:"Resamples of the bootstrap for confidence intervals; 0: none." default:"2000"`
	Confidence float64 `name:"confidence" help:"Level of the intervals." default:"0.95"`
}

func (f bootstrapFlags) options(seed uint64) (eval.Bootstrap, error) {
	switch {
	case f.Bootstrap < 0:
		return eval.Bootstrap{}, usagef("--bootstrap must not be negative")
	case !(f.Confidence > 0 && f.Confidence < 1):
		return eval.Bootstrap{}, usagef("--confidence must lie between 0 and 1")
	}
	return eval.Bootstrap{Resamples: f.Bootstrap, Level: f.Confidence, Seed: seed}, nil
}

func (c *evalCmd) Run(w *world) error {
	boot, err := c.options(c.Seed)
	if err != nil {
		return err
	}
	if c.Compare || len(c.Runs) > 0 {
		return c.compare(w, boot)
	}
	if done, err := c.openSuite(w); done || err != nil {
		return err
	}
	methods, err := c.check(w)
	if err != nil {
		return err
	}
	questions, err := await.Call(w.ctx, c.questions)
	if err != nil {
		return err
	}
	if c.Out != "" {
		w.keepsGoing()
		release, err := w.hold(c.Out)
		if err != nil {
			return fmt.Errorf("opening the evaluation %s: %w", c.Out, err)
		}
		defer release()
		if err := eval.CheckFolder(c.Out); err != nil {
			return err
		}
	}
	a, err := newAgent(w, c.common, c.modelFlags, c.simFlags, c.Search, c.limitFlags)
	if err != nil {
		return err
	}
	defer a.Close()
	if note, err := await.Call(w.ctx, func() (string, error) { return a.worker.Check(questions) }); err != nil {
		return err
	} else if note != "" {
		w.log.line("note: %s", note)
	}
	c.Greedy = a.worker.Runner.Config.Sampling == (episode.Sampling{}) // as --temperature decided
	var kept *eval.Folder
	if c.Out != "" {
		now, err := await.Call(w.ctx, func() (fingerprint.Parts, error) { return c.fingerprint(w, a, questions) })
		if err == nil {
			var text []byte
			if text, err = w.resolved(); err == nil {
				kept, err = eval.OpenFolder(c.Out, now, text)
			}
		}
		if err != nil {
			return err
		}
	}
	out := &eval.Evaluation{Model: c.Model, SearchMode: c.Search.Mode, Engine: c.Search.Label()}
	began := time.Now()
	results, err := c.measure(w, a, kept, methods, questions)
	if err != nil {
		return err
	}
	for _, rs := range results {
		out.Sources = append(out.Sources, c.label(eval.Report(rs, boot))...)
	}
	out.Seconds, out.Cost = time.Since(began).Seconds(), search.Sum(a.meter.Take())
	out.Tokens = a.sampled()
	if kept != nil {
		if err := kept.Finish(out, boot, results); err != nil {
			return err
		}
	}
	if err := printEvaluation(w, out, c.Output, c.JSON, boot); err != nil {
		return err
	}
	logCost(w, c.Search, out.Cost)
	return nil
}

// check refuses what cannot be, before anything is read.
func (c *evalCmd) check(w *world) ([]eval.Method, error) {
	switch {
	case c.Data == "" && c.suite == nil:
		return nil, usagef("--data is missing: give a file of questions")
	case c.Limit < 0 || c.PerSource < 0:
		return nil, usagef("--limit and --per-source must not be negative")
	case w.given("start-threshold") || w.given("end-threshold") || w.given("curriculum"):
		return nil,
			usagef("there is no curriculum outside training: say how noisy a simulated engine is with --noise-rate")
	case c.JSON && w.given("output") && c.Output != "json":
		return nil, usagef("--json and --output %s contradict each other: give one or the other", c.Output)
	}
	if len(c.Methods) == 0 {
		c.Methods = []string{string(eval.Agent)}
	}
	methods, err := eval.ParseMethods(c.Methods)
	if err != nil {
		return nil, usageError{err}
	}
	if c.Episodes != "" && len(methods) > 1 {
		return nil, usagef("--episodes holds one method: use --out DIR for several")
	}
	if c.Search.NoiseRate == nil {
		zero := 0.0 // useful documents, unless asked otherwise
		c.Search.NoiseRate = &zero
	}
	return methods, nil
}

// questions reads and chooses them.
func (c *evalCmd) questions() ([]data.Question, error) {
	set := &data.Set{}
	if c.suite != nil {
		set.Questions = c.suite.Heldout
	} else if all, err := data.LoadFiles(c.Data); err != nil {
		return nil, err
	} else {
		set.Questions = all
	}
	if err := set.FromSources(c.Sources); err != nil {
		return nil, err
	}
	qs := data.PerSource(set.Questions, c.PerSource)
	if c.Limit > 0 && c.Limit < len(qs) {
		qs = qs[:c.Limit]
	}
	return qs, nil
}

// measure runs the methods one after the other, each on all questions that are not done yet.
func (c *evalCmd) measure(w *world, a *agent, kept *eval.Folder, methods []eval.Method,
	questions []data.Question) (results [][]eval.Result, err error) {
	for _, m := range methods {
		r := a.worker
		r.Method = m
		done := make([]*episode.Episode, len(questions))
		if kept != nil {
			if done, err = kept.Begin(m, questions); err != nil {
				return nil, err
			}
		}
		all, err := c.roll(w, r, kept, done, questions)
		if err != nil {
			return nil, err
		}
		if kept != nil {
			if err := kept.End(m, all); err != nil {
				return nil, err
			}
		}
		if err := c.keep(all); err != nil {
			return nil, err
		}
		results = append(results, grade(w, m, all, questions))
	}
	return results, nil
}

// roll runs one episode a question and shows how it goes. What is done is kept at once.
func (c *evalCmd) roll(w *world, r rollout.Worker, kept *eval.Folder, done []*episode.Episode,
	questions []data.Question) ([]*episode.Episode, error) {
	began, before := time.Now(), 0
	for _, e := range done {
		if e != nil {
			before++
		}
	}
	ctx, stop := context.WithCancelCause(w.ctx)
	defer stop(nil)
	ended := make(chan *episode.Episode, 64)
	written := make(chan error)
	go func() { // one writer, so that lines stay whole
		var failed error
		n := before
		for e := range ended {
			if kept != nil && failed == nil {
				if failed = kept.Append(e); failed != nil {
					stop(failed)
				}
			}
			n++
			w.log.status("%s%d/%d questions  ETA %s", r.Method.Prefix(), n, len(questions),
				eta(began, n-before, len(questions)-before))
		}
		written <- failed
	}()
	r.OnEpisode = func(e *episode.Episode) {
		if e.Status != episode.Cancelled {
			ended <- e
		}
	}
	all, err := r.EvaluateRest(ctx, questions, done, r.Runner.Config.Sampling, c.Seed, 0)
	close(ended)
	failed := <-written
	w.log.done()
	switch {
	case failed != nil:
		return nil, failed
	case w.ctx.Err() != nil && kept != nil:
		return nil, interruptedEvaluation(w, kept)
	case w.ctx.Err() != nil:
		return nil, context.Canceled
	}
	return all, err
}

// grade scores episodes and says when searches failed.
func grade(w *world, m eval.Method, all []*episode.Episode, questions []data.Question) []eval.Result {
	out := make([]eval.Result, len(all))
	failed, why := 0, ""
	for i, e := range all {
		out[i] = eval.Grade(m, e, questions[i].DataSource)
		if e.Status == episode.SearchFailed {
			failed, why = failed+1, e.Err
		}
	}
	if failed > 0 {
		w.log.line("note: the search engine failed %d of %d episodes, which count as wrong (%s)", failed, len(all),
			oneLine(why))
	}
	return out
}

// label says which engine the rows of a method are about: a method that does not search has none.
func (c *evalCmd) label(rows []eval.Row) []eval.Row {
	for i := range rows {
		rows[i].Engine = "none"
		if rows[i].Method.Searches() {
			rows[i].Engine = c.Search.Label()
			if strings.Contains(rows[i].Engine, "simulated") {
				rows[i].Tau = c.Search.NoiseRate
			}
		}
	}
	return rows
}

// keep writes the episodes where --episodes says.
func (c *evalCmd) keep(all []*episode.Episode) error {
	if c.Episodes == "" {
		return nil
	}
	text, err := eval.Lines(all)
	if err == nil {
		err = disk.WriteFile(c.Episodes, text)
	}
	if err != nil {
		return fmt.Errorf("writing the episodes: %w", err)
	}
	return nil
}

// printEvaluation shows the result in the form that was asked for.
func printEvaluation(w *world, e *eval.Evaluation, form string, asJSON bool, boot eval.Bootstrap) error {
	if asJSON || form == "json" {
		return writeJSON(w, e)
	}
	var b bytes.Buffer
	if form == "md" {
		e.Markdown(&b, boot)
	} else {
		eval.Details(e.Sources).Text(&b)
	}
	if _, err := w.out.Write(b.Bytes()); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	if form == "text" && strings.Contains(e.Engine, "simulated") {
		w.log.line("note: %s", eval.SimulatedNote)
	}
	return nil
}

// free are flags that change no episode, or whose contents are compared.
var free = []string{"sources", "limit", "per-source", "method", "out", "episodes", "output", "bootstrap", "confidence",
	"compare", "suite-data", "write-split",
	"threads", "concurrency", "device", "sim-device"}

// fingerprint is what the episodes come from: settings, the model and its adapter, the questions, what is searched.
func (c *evalCmd) fingerprint(w *world, a *agent, questions []data.Question) (fingerprint.Parts, error) {
	out := w.settings(free...)
	out["data"] = fingerprint.Mark + (&data.Set{Questions: questions}).Digest()
	if err := modelContents(out, c.Model, c.Adapter, c.ChatTemplate); err != nil {
		return nil, err
	}
	searched, err := roles.SearchParts(&c.Search, a.engines)
	out.Merge(searched)
	return out, err
}

// interruptedEvaluation says how to go on.
func interruptedEvaluation(w *world, f *eval.Folder) error {
	f.Close()
	w.log.line("interrupted: %d of %d episodes are done and kept. To go on:", f.Done, f.Want)
	w.log.line("  zerosearch eval --config %s", shellWord(filepath.Join(f.Dir, "config.yaml")))
	return errInterrupted
}

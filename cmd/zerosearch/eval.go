package main

import (
	"fmt"
	"time"

	"github.com/zerosearch-go/zerosearch/internal/await"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/eval"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

type evalCmd struct {
	common
	simFlags
	modelFlags
	eval.Selection
	WriteSplit string   `name:"write-split" help:"Only write the questions of --suite to heldout.jsonl and train.jsonl in this folder." placeholder:"DIR"`
	Methods    []string `name:"method" help:"agent (searches as in training), or baselines: direct (answer at once), cot (chain of thought), rag (retrieve once); all: all four (default: agent; of --suite closed: direct, rag and agent)." placeholder:"NAME"`
	Out        string   `name:"out" help:"Folder for eval.json, table.md and every episode; an interrupted evaluation goes on there." placeholder:"DIR"`
	Episodes   string   `name:"episodes" help:"Write every episode to this file, as training does." placeholder:"FILE"`
	Output     string   `name:"output" short:"o" help:"text, md (a table like the paper's) or json." default:"text" enum:"text,md,json"`
	bootstrapFlags
	Compare bool          `name:"compare" help:"Compare two evaluations, the folders --out of which follow: A B, or A:METHOD B:METHOD."`
	Runs    []string      `arg:"" optional:"" name:"run" help:"With --compare: the two evaluations." placeholder:"DIR"`
	Search  config.Search `embed:""`
	limitFlags
}

func (c *evalCmd) Run(w *world) error {
	boot, err := c.options(c.Seed)
	if err != nil {
		return err
	}
	if c.Compare || len(c.Runs) > 0 {
		return c.compare(w, boot)
	}
	methods, err := c.check(w)
	if err != nil {
		return err
	}
	if c.WriteSplit != "" {
		return c.writeSplit(w)
	}
	questions, err := await.Call(w.ctx, c.Selection.Questions)
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
		w.note(note)
	}
	sampling := a.worker.Runner.Config.Sampling
	c.Greedy = sampling == (episode.Sampling{}) // as --temperature decided
	began := time.Now()
	m := eval.Measurement{Methods: methods, Questions: questions, Episodes: c.Episodes, Note: w.note,
		Run: a.worker.Measured(sampling, c.Seed), Progress: func(m eval.Method, began time.Time, before, finished int) {
			w.log.status("%s%d/%d questions  ETA %s", m.Prefix(), finished, len(questions),
				eta(began, finished-before, len(questions)-before))
		}}
	if c.Out != "" {
		if m.Folder, err = c.folder(w, a, questions); err != nil {
			return err
		}
	}
	results, err := m.Results(w.ctx)
	w.log.done()
	if err != nil && w.ctx.Err() != nil && m.Folder != nil {
		return interruptedEvaluation(w, m.Folder)
	}
	if err != nil {
		return err
	}
	out := &eval.Evaluation{Model: c.Model, Suite: c.Suite, SearchMode: c.Search.Mode, Engine: c.Search.Label(),
		TopK: c.Search.TopK, Seconds: time.Since(began).Seconds(), Cost: search.Sum(a.meter.Take()),
		Tokens: a.sampled()}
	for _, rs := range results {
		out.Add(rs, boot, c.Search.NoiseRate)
	}
	if m.Folder != nil {
		if err := m.Folder.Finish(out, boot, results); err != nil {
			return err
		}
	}
	form := c.Output
	if c.JSON {
		form = "json"
	}
	if err := out.Write(w.out, form, boot); err != nil {
		return err
	}
	if note := out.Note(); note != "" && form == "text" {
		w.note(note)
	}
	logCost(w, c.Search, out.Cost)
	return nil
}

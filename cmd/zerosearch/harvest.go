package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/await"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/harvest"
)

type harvestCmd struct {
	common
	simFlags
	modelFlags
	Data     string   `name:"data" help:"Questions that the policy tries to answer: files with question and golden_answers, separated by commas." placeholder:"FILE"`
	Propose  int      `name:"propose-questions" help:"Instead of --data: make questions from N passages of --corpus. The model writes a question and its answer, which stay if it answers alike with the passage and not without." default:"0"`
	Known    bool     `name:"keep-known" help:"Keep questions that the model answers without the passage."`
	Only     bool     `name:"questions-only" help:"Stop when the questions are made."`
	N        int      `name:"n" help:"Trajectories for each question." default:"5"`
	Limit    int      `name:"limit" help:"At most N questions, the first; 0: all." default:"0"`
	Episodes []string `name:"episodes" help:"Instead of --model and --data: trajectories of a policy that searched a real engine, files as train and eval write them." placeholder:"FILE"`
	Out      string   `name:"out" help:"Folder for train.jsonl, heldout.jsonl, harvest.json and the trajectories; an interrupted harvest goes on there." placeholder:"DIR"`

	Correct   string  `name:"correct" help:"Score that says whether a trajectory is right: em, f1 or sub_em." default:"em" enum:"em,f1,sub_em"`
	Threshold float64 `name:"threshold" help:"A trajectory is right from this score on." default:"1"`
	Words     int     `name:"document-words" help:"Longer documents are cut to the part that has most terms of the query; 0: whole documents." default:"30"`
	Strict    bool    `name:"strict" help:"Leave out useful documents without an accepted answer, and noisy documents with one."`
	HoldOut   float64 `name:"hold-out" help:"Share of rows that are held out, by question." default:"0.1"`
	Form      string  `name:"form" help:"messages, or text: prompt and completion, for a model without a chat template." default:"messages" enum:"messages,text"`

	Search config.Search `embed:""`
	limitFlags
}

func (c *harvestCmd) Run(w *world) error {
	o := harvest.Options{Correct: c.Correct, Threshold: c.Threshold, Words: c.Words, Strict: c.Strict,
		HoldOut: c.HoldOut, Seed: c.Seed}
	if err := c.check(w, o); err != nil {
		return err
	}
	w.keepsGoing()
	release, err := w.hold(c.Out)
	if err != nil {
		return fmt.Errorf("opening %s: %w", c.Out, err)
	}
	defer release()
	if len(c.Episodes) == 0 {
		if err := c.roll(w); err != nil || c.Only {
			return err
		}
		c.Episodes = []string{filepath.Join(c.Out, "episodes.jsonl")}
	}
	h := harvest.New(o)
	for _, file := range c.Episodes {
		if _, err := await.Call(w.ctx, func() (struct{}, error) { return struct{}{}, h.Read(file) }); err != nil {
			return err
		}
	}
	if err := h.Write(c.Out, c.Form == "text"); err != nil {
		return err
	}
	return c.print(w, h.Counts)
}

// check refuses flags that contradict each other, and fills in what follows from other flags.
func (c *harvestCmd) check(w *world, o harvest.Options) error {
	if err := o.Check(); err != nil {
		return usageError{err}
	}
	if !w.given("search-mode") && c.Search.Corpus != "" {
		c.Search.Mode = "bm25"
	}
	if !w.given("greedy") {
		c.Greedy = false // several trajectories of a question should differ
	}
	label := c.Search.Label()
	switch {
	case c.Out == "":
		return usagef("--out is missing: give a folder for the rows")
	case len(c.Episodes) > 0 && (c.Model != "" || c.Data != ""):
		return usagef("--episodes contradicts --model and --data: the trajectories exist already")
	case len(c.Episodes) > 0:
		return nil
	case c.Data == "" && c.Propose == 0:
		return usagef(
			"--data is missing: give a file of questions, trajectories by --episodes, or --propose-questions N")
	case c.Data != "" && c.Propose != 0:
		return usagef("--data and --propose-questions contradict each other: give one or the other")
	case c.Propose < 0 || c.Propose > 0 && c.Search.Corpus == "":
		return usagef("--propose-questions must be a number of passages, and needs --corpus")
	case c.Propose == 0 && (c.Known || c.Only):
		return usagef("--keep-known and --questions-only need --propose-questions")
	case c.N < 1 || c.Limit < 0:
		return usagef("--n must be at least 1, and --limit must not be negative")
	case strings.Contains(label, "simulated") || label == "none":
		return usagef("rows are made from a real search engine: give --corpus PATH, or --search-mode google or wiki")
	}
	return nil
}

// print says what became of the trajectories.
func (c *harvestCmd) print(w *world, n harvest.Counts) error {
	if c.JSON {
		return writeJSON(w, n)
	}
	say := func(format string, args ...any) { fmt.Fprintf(w.out, format+"\n", args...) }
	say("%d trajectories: %d right, %d wrong, %d failed", n.Episodes, n.Right, n.Wrong, n.Failed)
	if n.Simulated > 0 {
		say("%d searches of a simulated engine were left out", n.Simulated)
	}
	say("%d searches: %d found nothing, %d the same as an earlier one", n.Searches, n.Empty, n.Repeated)
	say("left out: %d of as many right as wrong trajectories, %d to balance useful and noisy", n.Contradictory,
		n.Unbalanced)
	if c.Strict {
		say("left out by --strict: %d useful without an answer, %d noisy with one", n.NoAnswer, n.Answer)
	}
	say("%d rows to train on in %s, half of them useful", n.Train, filepath.Join(c.Out, harvest.TrainFile))
	say("%d rows of other questions in %s", n.HeldOut, filepath.Join(c.Out, harvest.HeldOutFile))
	return nil
}

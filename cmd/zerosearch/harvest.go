package main

import (
	"fmt"
	"path/filepath"

	"github.com/zerosearch-go/zerosearch/internal/await"
	"github.com/zerosearch-go/zerosearch/rl/harvest"
)

type harvestCmd struct {
	Config   string   `name:"config" help:"YAML file with values for any flag, by flag name." placeholder:"FILE"`
	JSON     bool     `name:"json" help:"Print the result as JSON on stdout, and nothing else."`
	Episodes []string `name:"episodes" help:"Trajectories of a policy that searched a real engine: files as train and eval write them." placeholder:"FILE"`
	Out      string   `name:"out" help:"Folder for train.jsonl, heldout.jsonl and harvest.json." placeholder:"DIR"`

	Correct   string  `name:"correct" help:"Score that says whether a trajectory is right: em, f1 or sub_em." default:"em" enum:"em,f1,sub_em"`
	Threshold float64 `name:"threshold" help:"A trajectory is right from this score on." default:"1"`
	Words     int     `name:"document-words" help:"Longer documents are cut to the part that has most terms of the query; 0: whole documents." default:"30"`
	Strict    bool    `name:"strict" help:"Leave out useful documents without an accepted answer, and noisy documents with one."`
	HoldOut   float64 `name:"hold-out" help:"Share of rows that are held out, by question." default:"0.1"`
	Form      string  `name:"form" help:"messages, or text: prompt and completion, for a model without a chat template." default:"messages" enum:"messages,text"`
	Seed      uint64  `name:"seed" help:"Seed of the draw that balances useful and noisy rows." default:"1"`
}

func (c *harvestCmd) Run(w *world) error {
	o := harvest.Options{Correct: c.Correct, Threshold: c.Threshold, Words: c.Words, Strict: c.Strict,
		HoldOut: c.HoldOut, Seed: c.Seed}
	if err := o.Validate(); err != nil {
		return usageError{err}
	}
	switch {
	case c.Out == "":
		return usagef("--out is missing: give a folder for the rows")
	case len(c.Episodes) == 0:
		return usagef("--episodes is missing: give the episodes.jsonl of a policy that searched a real engine, as " +
			"eval --search-mode bm25 --temperature 1 --episodes FILE writes it")
	}
	release, err := w.hold(c.Out)
	if err != nil {
		return fmt.Errorf("opening %s: %w", c.Out, err)
	}
	defer release()
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

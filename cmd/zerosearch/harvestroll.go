package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/zerosearch-go/zerosearch/internal/await"
	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/eval"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// questions are those of --data or, without it, those that the policy proposes.
func (c *harvestCmd) questions(w *world, a *agent) ([]data.Question, error) {
	if c.Propose == 0 {
		return await.Call(w.ctx, func() ([]data.Question, error) { return data.LoadFiles(c.Data) })
	}
	g, err := roles.EngineSimulator(a.eng, served0, a.model, a.model.Adapter, nil)
	if err != nil {
		return nil, err
	}
	p, err := newProposer(w, c.Out, g, c.Seed, c.Concurrency, c.modelFlags)
	if err != nil {
		return nil, err
	}
	files, err := p.Questions(w.ctx, c.Search.Corpus, c.Propose, c.Known)
	if err != nil {
		return nil, err
	}
	return data.LoadFiles(strings.Join(files, ","))
}

// unlabelled are flags that change no trajectory.
var unlabelled = []string{"out", "limit", "correct", "threshold", "document-words", "strict", "hold-out", "form",
	"questions-only",
	"concurrency", "threads", "device", "sim-device"}

// roll samples the trajectories that the folder does not have yet.
func (c *harvestCmd) roll(w *world) error {
	if err := eval.CheckFolder(c.Out); err != nil {
		return err
	}
	a, err := newAgent(w, c.common, c.modelFlags, c.simFlags, c.Search, c.limitFlags)
	if err != nil {
		return err
	}
	defer a.Close()
	all, err := c.questions(w, a)
	if err != nil || c.Only {
		return err
	}
	if c.Limit > 0 && c.Limit < len(all) {
		all = all[:c.Limit]
	}
	if note, err := await.Call(w.ctx, func() (string, error) { return a.worker.Check(all) }); err != nil {
		return err
	} else if note != "" {
		w.note(note)
	}
	var questions []data.Question
	for _, q := range all {
		for range c.N {
			questions = append(questions, q)
		}
	}
	m := eval.Measurement{Methods: []eval.Method{eval.Agent}, Questions: questions,
		Run: a.worker.Measured(a.worker.Runner.Config.Sampling, c.Seed),
		Progress: func(_ eval.Method, began time.Time, before, finished int) {
			w.log.status("%d/%d trajectories  ETA %s", finished, len(questions),
				eta(began, finished-before, len(questions)-before))
		}}
	now, err := await.Call(w.ctx, func() (fingerprint.Parts, error) {
		return a.parts(w, c.modelFlags, &c.Search, questions, unlabelled)
	})
	if err != nil {
		return err
	}
	text, err := w.resolved()
	if err != nil {
		return err
	}
	if m.Folder, err = eval.OpenFolder(c.Out, now, text); err != nil {
		return err
	}
	defer m.Folder.Close()
	results, err := m.Results(w.ctx)
	w.log.done()
	switch {
	case err != nil && w.ctx.Err() != nil:
		w.log.line("interrupted: %d of %d trajectories are done and kept. To go on, give the same command again",
			m.Folder.Done, m.Folder.Want)
		return errInterrupted
	case err != nil:
		return err
	case m.Folder.Done < m.Folder.Want:
		return fmt.Errorf(
			"sampling trajectories: the search engine failed %d of %d: the others are kept: give the same "+
				"command again", m.Folder.Want-m.Folder.Done, len(results[0]))
	}
	logCost(w, c.Search, search.Sum(a.meter.Take()))
	return nil
}

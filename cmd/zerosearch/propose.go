package main

import (
	"cmp"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/zerosearch-go/zerosearch/internal/await"
	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/propose"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/rl/shards"
)

// proposeShard is the number of passages or questions of a shard: proposals are few.
const proposeShard = 100

// proposer is a model that writes questions and queries into folders below out.
type proposer struct {
	out       string
	generator search.Generator
	// parts are what the model's proposals depend on, the seed included.
	parts       fingerprint.Parts
	seed        uint64
	concurrency int
}

// questions makes questions from n passages of a corpus and gives the files that hold them.
func (p proposer) questions(w *world, corpus string, n int, keepKnown bool) ([]string, error) {
	c, err := await.Call(w.ctx, func() (*search.Corpus, error) {
		return search.ReadCorpus(strings.Split(corpus, ",")...)
	})
	if err != nil {
		return nil, err
	}
	job := (&propose.Questions{Generator: p.generator, Corpus: c, N: n, Seed: p.seed, KeepKnown: keepKnown}).
		Job(filepath.Join(p.out, "questions"), proposeShard)
	parts := fingerprint.Parts{"propose-questions": fmt.Sprint(n), "keep-known": fmt.Sprint(keepKnown),
		"corpus": fingerprint.Mark + c.Digest()}
	return p.run(w, "questions", job, parts, job.Total)
}

// queries makes up to n queries for each question of files and gives the files that hold them.
func (p proposer) queries(w *world, files []string, n int) ([]string, error) {
	rows := func() iter.Seq2[data.Row, error] { return data.AllRows(files) }
	total, err := await.Call(w.ctx, func() (total int, err error) {
		for _, err := range rows() {
			if err = cmp.Or(err, w.ctx.Err()); err != nil {
				return 0, err
			}
			total++
		}
		return total, nil
	})
	if err != nil {
		return nil, err
	}
	parts := fingerprint.Parts{"propose-queries": fmt.Sprint(n)}
	for i, file := range files {
		if err := parts.File(fmt.Sprintf("data.file %d", i+1), file); err != nil {
			return nil, err
		}
	}
	job := (&propose.Queries{Generator: p.generator, N: n, Seed: p.seed}).
		Job(filepath.Join(p.out, "queries"), rows, total, proposeShard)
	return p.run(w, "queries", job, parts, total)
}

// run does all of a job and says what became of it.
func (p proposer) run(w *world, what string, j *shards.Job, parts fingerprint.Parts, total int) ([]string, error) {
	parts.Merge(p.parts)
	if _, err := shards.Open(w.ctx, j.Dir, parts, proposeShard, func() (int, error) { return total, nil }); err != nil {
		return nil, err
	}
	j.Concurrency, j.Note = p.concurrency, w.note
	j.Progress = func(s shards.Progress) {
		w.log.status("proposing %s: %s", what, progressLine(s, 0, time.Since(s.Began)))
	}
	err := j.RunAll(w.ctx)
	w.log.done()
	if err != nil {
		return nil, err
	}
	counts, _, err := j.Counts()
	if err != nil {
		return nil, err
	}
	w.log.line("%s: %s", j.Dir, countsLine(counts))
	if counts.Rows == 0 {
		return nil, fmt.Errorf("proposing %s: none of %d proposals was kept: use a larger model, or more passages",
			what,
			counts.Items)
	}
	return slices.DeleteFunc(j.Files(), func(file string) bool {
		st, err := os.Stat(file)
		return err == nil && st.Size() == 0 // nothing of this shard was kept
	}), nil
}

// proposeFlags let a model propose what simulate asks for.
type proposeFlags struct {
	Questions int    `name:"propose-questions" help:"Instead of --data: make questions from N passages of --corpus. The model writes a question and its answer, which stay if it answers alike with the passage and not without." default:"0"`
	Queries   int    `name:"propose-queries" help:"Make up to N search queries for each question; 0: rows without a query ask with their question." default:"0"`
	Model     string `name:"propose-model" help:"Model that proposes (default: --model)." placeholder:"DIR"`
	Known     bool   `name:"keep-known" help:"Keep questions that the model answers without the passage."`
}

// any reports whether something is to be proposed.
func (f proposeFlags) any() bool { return f.Questions > 0 || f.Queries > 0 }

// check refuses what cannot be.
func (f proposeFlags) check(data, corpus string) error {
	switch {
	case f.Questions < 0 || f.Queries < 0:
		return usagef("--propose-questions and --propose-queries must not be negative")
	case f.Questions > 0 && (data != "-" || corpus == ""):
		return usagef("--propose-questions takes the place of --data and needs --corpus")
	case !f.any() && f.Model != "" || f.Questions == 0 && f.Known:
		return usagef("--propose-model needs --propose-queries or --propose-questions, and --keep-known the latter")
	}
	return nil
}

// propose makes questions and queries and gives the files that hold what simulate asks for.
func (c *simulateCmd) propose(w *world, files []string) ([]string, error) {
	m := c.modelFlags
	m.Model = cmp.Or(c.proposeFlags.Model, m.Model)
	model, err := m.serve(w, c.common)
	if err != nil {
		return nil, err
	}
	defer model.Close()
	g, err := roles.EngineSimulator(model.eng, served0, model.model, model.model.Adapter, m.Thinking)
	if err != nil {
		return nil, err
	}
	p := proposer{out: c.Out, generator: g, seed: c.Seed, concurrency: c.Concurrency,
		parts: fingerprint.Parts{"seed": fmt.Sprint(c.Seed), "dtype": m.DType}}
	if err := modelContents(p.parts, m.Model, m.Adapter, m.ChatTemplate); err != nil {
		return nil, err
	}
	if c.Questions > 0 {
		if files, err = p.questions(w, c.Search.Corpus, c.Questions, c.Known); err != nil {
			return nil, err
		}
	}
	if c.Queries > 0 {
		files, err = p.queries(w, files, c.Queries)
	}
	return files, err
}

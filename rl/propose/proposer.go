package propose

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/await"
	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/rl/shards"
)

// perShard is the number of passages or questions of a shard. It is small because proposals are few.
const perShard = 100

// Proposer is a model that writes questions and queries into folders below Out. The work on a folder resumes where it
// was interrupted.
type Proposer struct {
	Out       string
	Generator search.Generator
	// Parts is the fingerprint of everything that the model's proposals depend on, the seed included.
	Parts       fingerprint.Parts
	Seed        uint64
	Concurrency int
	Note        func(string)                         // for the user; may be nil
	Progress    func(what string, p shards.Progress) // what: questions or queries; may be nil
	Done        func(dir string, c shards.Counts)    // a folder is complete; may be nil
}

// Questions makes questions from n passages of a corpus and returns the paths of the files with them.
func (p *Proposer) Questions(ctx context.Context, corpus string, n int, keepKnown bool) ([]string, error) {
	c, err := await.Call(ctx, func() (*search.Corpus, error) {
		return search.ReadCorpus(strings.Split(corpus, ",")...)
	})
	if err != nil {
		return nil, err
	}
	job := (&Questions{Generator: p.Generator, Corpus: c, N: n, Seed: p.Seed, KeepKnown: keepKnown}).
		Job(filepath.Join(p.Out, "questions"), perShard)
	parts := fingerprint.Parts{"propose-questions": fmt.Sprint(n), "keep-known": fmt.Sprint(keepKnown),
		"corpus": fingerprint.Mark + c.Digest()}
	return p.run(ctx, "questions", job, parts, job.Total)
}

// Queries makes up to n queries for each question of files and returns the paths of the files with them.
func (p *Proposer) Queries(ctx context.Context, files []string, n int) ([]string, error) {
	rows := func() iter.Seq2[data.Row, error] { return data.AllRows(files) }
	total, err := await.Call(ctx, func() (total int, err error) {
		for _, err := range rows() {
			if err = cmp.Or(err, ctx.Err()); err != nil {
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
	job := (&Queries{Generator: p.Generator, N: n, Seed: p.Seed}).
		Job(filepath.Join(p.Out, "queries"), rows, total, perShard)
	return p.run(ctx, "queries", job, parts, total)
}

// run runs a job to its end and returns the paths of the files that are not empty.
func (p *Proposer) run(ctx context.Context, what string, j *shards.Job, parts fingerprint.Parts, total int,
) ([]string, error) {
	parts.Merge(p.Parts)
	count := func() (int, error) { return total, nil }
	if _, err := shards.Open(ctx, j.Dir, parts, perShard, count); err != nil {
		return nil, err
	}
	j.Concurrency, j.Note = p.Concurrency, p.Note
	if p.Progress != nil {
		j.Progress = func(s shards.Progress) { p.Progress(what, s) }
	}
	if err := j.RunAll(ctx); err != nil {
		return nil, err
	}
	counts, _, err := j.Counts()
	if err != nil {
		return nil, err
	}
	if p.Done != nil {
		p.Done(j.Dir, counts)
	}
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

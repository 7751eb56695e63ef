package simulate

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/zerosearch-go/zerosearch/rl/reader"
	"github.com/zerosearch-go/zerosearch/rl/reward"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// Reading holds the settings of Measure.Read, in which a fixed reader answers the questions of rows with their
// documents.
type Reading struct {
	Reader reader.Reader
	// Real, if not nil, is a real engine: the reader also answers with its documents for the same queries.
	Real search.Searcher
	// Rows is the number of rows of each quality that are read, the first with a question and accepted answers.
	Rows int
	// Concurrency is the number of rows that are read at once.
	Concurrency int
	// Progress, if not nil, is called after each row, by one goroutine at a time.
	Progress func(done, total int)
}

// Read holds the mean F1 scores of a reader's answers.
type Read struct {
	Rows int `json:"rows"`
	// F1 is the score with the row's documents, None without documents, Real with those of a real engine, nil if there
	// was no such engine.
	F1   float64  `json:"f1"`
	None float64  `json:"f1_no_documents"`
	Real *float64 `json:"f1_real_documents,omitempty"`
}

// Read lets the reader answer the questions of the rows that Keep kept. Scores then includes the results.
func (m *Measure) Read(ctx context.Context, r Reading) error {
	total, done := 0, 0
	for _, p := range m.parts {
		total += len(p.kept)
	}
	for _, p := range m.parts {
		read := &Read{Rows: len(p.kept)}
		if r.Real != nil {
			read.Real = new(float64)
		}
		scores := make([][3]float64, len(p.kept)) // added in the order of the rows
		var mu sync.Mutex
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(max(1, r.Concurrency))
		for i, row := range p.kept {
			g.Go(func() error {
				f1, err := r.row(ctx, row)
				if err != nil {
					return fmt.Errorf("reading documents: %w", err)
				}
				scores[i] = f1
				mu.Lock()
				defer mu.Unlock()
				if done++; r.Progress != nil {
					r.Progress(done, total)
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		for _, s := range scores {
			n := float64(len(scores))
			read.F1, read.None = read.F1+s[0]/n, read.None+s[1]/n
			if read.Real != nil {
				*read.Real += s[2] / n
			}
		}
		if len(p.kept) > 0 {
			p.Reader = read
		}
	}
	return nil
}

// row returns the F1 with the row's documents, without documents and with those of the real engine.
func (r Reading) row(ctx context.Context, row Row) (f1 [3]float64, err error) {
	texts := []string{search.Numbered(row.Documents), ""}
	if r.Real != nil {
		d, err := r.Real.Search(ctx, search.Query{Query: row.Query, Question: row.Question,
			GoldenAnswers: row.GoldenAnswers})
		if err != nil {
			return f1, err
		}
		texts = append(texts, d.Text)
	}
	for i, text := range texts {
		answer, _, err := r.Reader.Answer(ctx, row.Question, text)
		if err != nil {
			return f1, err
		}
		f1[i] = reward.F1(answer, row.GoldenAnswers)
	}
	return f1, nil
}

package main

import (
	"bytes"
	"fmt"
	"time"

	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/rl/simulate"
)

// measuredSet is what is printed about one folder or file.
type measuredSet struct {
	Path string `json:"path"`
	simulate.Scores
}

// measure scores documents that were written before. --data gives the accepted answers of rows that name none.
func (c *simulateCmd) measure(w *world) error {
	var known simulate.Known
	if c.Data != "-" {
		var err error
		if known, err = simulate.ReadKnown(c.Data); err != nil {
			return err
		}
	}
	var read *simulate.Reading
	if c.Reader != "" {
		r, end, err := c.reading(w)
		if err != nil {
			return err
		}
		defer end()
		read = r
	} else if w.given("reader-rows") {
		return usagef("--reader-rows needs --reader")
	}
	var sets []measuredSet
	var scores []simulate.Scores
	for _, path := range c.Measure {
		files, err := simulate.Files(path)
		if err != nil {
			return err
		}
		m := simulate.NewMeasure(c.Search.TopK)
		if read != nil {
			m.Keep = read.Rows
		}
		for r, err := range simulate.ReadRows(files...) {
			if err != nil {
				return err
			}
			if w.ctx.Err() != nil {
				return w.ctx.Err()
			}
			m.Add(known.Complete(r))
		}
		if read != nil {
			err := m.Read(w.ctx, *read)
			w.log.done()
			if err != nil {
				return err
			}
		}
		s := m.Scores()
		if s.Rows == 0 {
			return fmt.Errorf("measuring %s: no rows: give what simulate wrote, or a run whose policy searched", path)
		}
		sets, scores = append(sets, measuredSet{path, s}), append(scores, s)
		if n := s.Failed; n > 0 {
			w.log.line("note: %s: %d of %d rows hold an error and no documents", path, n, s.Rows)
		}
		if n := s.WithoutAnswers; n > 0 {
			w.log.line("note: %s: %d of %d rows name no accepted answer: give the requests by --data", path, n, s.Rows)
		}
	}
	if c.JSON {
		return writeJSON(w, sets)
	}
	var b bytes.Buffer
	for i, path := range c.Measure {
		if len(sets) > 1 {
			fmt.Fprintf(&b, "%d: %s\n", i+1, path)
		}
	}
	if err := simulate.Table(scores...).Text(&b); err != nil {
		return err
	}
	if _, err := w.out.Write(b.Bytes()); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}

// readerFlags let a model read the documents that are measured.
type readerFlags struct {
	Reader     string `name:"reader" help:"With --measure: a model that answers the questions with the documents, without any and, with --corpus, with those that BM25 finds there." placeholder:"DIR"`
	ReaderRows int    `name:"reader-rows" help:"Rows of each quality that the reader reads." default:"200"`
}

// reading opens the reader and the real engine. end closes them.
func (c *simulateCmd) reading(w *world) (r *simulate.Reading, end func(), err error) {
	if c.ReaderRows < 1 {
		return nil, nil, usagef("--reader-rows must be at least 1")
	}
	began := time.Now()
	r = &simulate.Reading{Rows: c.ReaderRows, Concurrency: c.Concurrency, Progress: func(done, total int) {
		w.log.status("reading: %d/%d rows  ETA %s", done, total, eta(began, done, total))
	}}
	if c.Search.Corpus != "" {
		real := c.Search
		real.Mode = "bm25"
		engines, err := roles.OpenSearch(w.ctx, &real, nil)
		if err != nil {
			return nil, nil, err
		}
		w.notes(engines.Notes)
		r.Real = engines.Searcher
	}
	m := c.modelFlags
	m.Model, m.Adapter = c.Reader, ""
	model, err := m.serve(w, c.common)
	if err != nil {
		return nil, nil, err
	}
	if r.Reader.Generator, err = roles.EngineSimulator(model.eng, served0, model.model, nil, m.Thinking); err != nil {
		model.Close()
		return nil, nil, err
	}
	return r, model.Close, nil
}

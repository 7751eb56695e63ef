package main

import (
	"bytes"
	"fmt"

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
	var sets []measuredSet
	var scores []simulate.Scores
	for _, path := range c.Measure {
		files, err := simulate.Files(path)
		if err != nil {
			return err
		}
		m := simulate.NewMeasure(c.Search.TopK)
		for r, err := range simulate.ReadRows(files...) {
			if err != nil {
				return err
			}
			if w.ctx.Err() != nil {
				return w.ctx.Err()
			}
			m.Add(known.Complete(r))
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

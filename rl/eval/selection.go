package eval

import (
	"errors"
	"fmt"

	"github.com/zerosearch-go/zerosearch/rl/data"
)

// Selection says which questions are evaluated. The tags are those of the command eval.
type Selection struct {
	Data      string   `name:"data" help:"Questions: .jsonl, .json (gzipped or not) or .parquet with question and golden_answers; several files are separated by commas." placeholder:"FILE"`
	Suite     string   `name:"suite" help:"An evaluation that fetches nothing. closed: direct, rag and agent on 300 held-out questions each of SQuAD and NQ, with bm25 over one closed corpus." placeholder:"NAME"`
	SuiteData string   `name:"suite-data" help:"Folder with the files of the suite: contexts/ctx_squad.jsonl.gz, ctx_nq_gold.jsonl.gz and corpus.jsonl.gz." placeholder:"DIR"`
	Sources   []string `name:"sources" help:"Only questions of these data sources." placeholder:"NAME"`
	Limit     int      `name:"limit" help:"At most N questions, the first; 0: all." default:"0"`
	PerSource int      `name:"per-source" help:"At most N questions of each data source, the first; 0: all." default:"0"`
}

// SuiteClosed is the value of Selection.Suite for the suite of OpenClosed.
const SuiteClosed = "closed"

// Check finds settings that are wrong whatever the files hold.
func (s *Selection) Check() error {
	switch {
	case s.Suite != "" && s.Suite != SuiteClosed:
		return fmt.Errorf("--suite %q is not known: use %s", s.Suite, SuiteClosed)
	case s.Suite != "" && s.Data != "":
		return errors.New("--suite and --data contradict each other: a suite has its own questions")
	case s.Suite == "" && s.Data == "":
		return errors.New("--data is missing: give a file of questions")
	case s.Limit < 0 || s.PerSource < 0:
		return errors.New("--limit and --per-source must not be negative")
	}
	return nil
}

// Questions reads the questions of Data, or the held-out questions of Suite, and chooses among them.
func (s *Selection) Questions() ([]data.Question, error) {
	set := &data.Set{}
	if s.Suite != "" {
		c, err := OpenClosed(s.SuiteData)
		if err != nil {
			return nil, err
		}
		set.Questions = c.Heldout
	} else {
		all, err := data.LoadFiles(s.Data)
		if err != nil {
			return nil, err
		}
		set.Questions = all
	}
	if err := set.FromSources(s.Sources); err != nil {
		return nil, err
	}
	qs := data.PerSource(set.Questions, s.PerSource)
	if s.Limit > 0 && s.Limit < len(qs) {
		qs = qs[:s.Limit]
	}
	return qs, nil
}

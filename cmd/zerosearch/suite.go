package main

import (
	"github.com/zerosearch-go/zerosearch/internal/await"
	"github.com/zerosearch-go/zerosearch/rl/eval"
)

// suiteFlags choose an evaluation with questions, corpus and methods of its own.
type suiteFlags struct {
	Suite      string `name:"suite" help:"An evaluation that fetches nothing. closed: direct, rag and agent on 300 held-out questions each of SQuAD and NQ, with bm25 over one closed corpus." placeholder:"NAME"`
	SuiteData  string `name:"suite-data" help:"Folder with the files of the suite: contexts/ctx_squad.jsonl.gz, ctx_nq_gold.jsonl.gz and corpus.jsonl.gz." placeholder:"DIR"`
	WriteSplit string `name:"write-split" help:"Only write the questions of --suite to heldout.jsonl and train.jsonl in this folder." placeholder:"DIR"`

	suite *eval.Closed
}

// openSuite takes questions, corpus and methods from the suite, if one was asked for. done: only the split was wanted.
func (c *evalCmd) openSuite(w *world) (done bool, err error) {
	switch {
	case c.Suite == "" && (c.SuiteData != "" && w.given("suite-data") || c.WriteSplit != ""):
		return false, usagef("--suite-data and --write-split belong to a suite: give --suite closed too")
	case c.Suite == "":
		return false, nil
	case c.Suite != "closed":
		return false, usagef("--suite %q is not known: use closed", c.Suite)
	case w.given("data"):
		return false, usagef("--suite and --data contradict each other: a suite has its own questions")
	case w.given("corpus") || w.given("search-mode") && c.Search.Mode != "bm25":
		return false, usagef("--suite closed searches its own corpus with bm25: leave --corpus and --search-mode out")
	}
	if c.suite, err = await.Call(w.ctx, func() (*eval.Closed,
		error) {
		return eval.OpenClosed(c.SuiteData)
	}); err != nil {
		return false, err
	}
	if c.WriteSplit != "" {
		if err := c.suite.WriteSplit(c.WriteSplit); err != nil {
			return false, err
		}
		w.log.line("%s: %d held-out questions, %d to train on; corpus %s", c.WriteSplit, len(c.suite.Heldout),
			len(c.suite.Train), c.suite.Corpus)
		return true, nil
	}
	c.Search.Mode, c.Search.Corpus = "bm25", c.suite.Corpus
	if len(c.Methods) == 0 {
		c.Methods = []string{"direct", "rag", "agent"}
	}
	return false, nil
}

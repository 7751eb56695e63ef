package main

import (
	"github.com/zerosearch-go/zerosearch/internal/await"
	"github.com/zerosearch-go/zerosearch/rl/eval"
)

// chooseSuite sets the engine, the corpus and the methods of --suite, which are not for the user to choose.
func (c *evalCmd) chooseSuite(w *world) error {
	switch {
	case c.Suite == "" && (c.WriteSplit != "" || w.given("suite-data")):
		return usagef("--suite-data and --write-split belong to a suite: give --suite %s too", eval.SuiteClosed)
	case c.Suite == "":
		return nil
	case w.given("corpus") || w.given("search-mode") && !c.Search.Indexed():
		return usagef(
			"--suite searches its own corpus: leave --corpus out, and --search-mode or let it be bm25, dense " +
				"or hybrid")
	}
	if c.Search.Corpus = eval.ClosedCorpus(c.SuiteData); !c.Search.Indexed() {
		c.Search.Mode = "bm25"
	}
	if len(c.Methods) == 0 {
		c.Methods = []string{string(eval.Direct), string(eval.RAG), string(eval.Agent)}
	}
	return nil
}

// writeSplit writes the two parts of the suite and evaluates nothing.
func (c *evalCmd) writeSplit(w *world) error {
	suite, err := await.Call(w.ctx, func() (*eval.Closed, error) { return eval.OpenClosed(c.SuiteData) })
	if err != nil {
		return err
	}
	if err := suite.WriteSplit(c.WriteSplit); err != nil {
		return err
	}
	w.log.line("%s: %d held-out questions (%s), %d to train on (%s); the corpus is %s", c.WriteSplit,
		len(suite.Heldout), eval.HeldoutFile, len(suite.Train), eval.TrainFile, eval.ClosedCorpus(c.SuiteData))
	return nil
}

package eval

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/rl/data"
)

// Closed is the suite closed: questions whose answers stand in one closed corpus, so that an evaluation fetches
// nothing. The questions are those of SQuAD (the English part of XQuAD) and of Natural Questions (those with a gold
// passage, from lost-in-the-middle).
type Closed struct {
	// Heldout are the questions of the evaluation, ClosedHeldout of each data source. Train are all others. No
	// paragraph stands behind questions of both: see data.HoldOut.
	Heldout, Train []data.Question
}

// ClosedHeldout is the number of held-out questions of each data source.
const ClosedHeldout = 300

// Files of the suite, relative to its folder.
var (
	closedQuestions = []string{"contexts/ctx_squad.jsonl.gz", "contexts/ctx_nq_gold.jsonl.gz"}
	closedCorpus    = "contexts/corpus.jsonl.gz"
)

// Names of the files that WriteSplit writes.
const (
	HeldoutFile = "heldout.jsonl"
	TrainFile   = "train.jsonl"
)

// ClosedCorpus is the file of passages of the suite in the folder dir, for --corpus.
func ClosedCorpus(dir string) string { return filepath.Join(dir, filepath.FromSlash(closedCorpus)) }

// OpenClosed reads the questions of the suite from the folder dir and splits them.
func OpenClosed(dir string) (*Closed, error) {
	if dir == "" {
		return nil, fmt.Errorf("opening the suite closed: its folder is not known: give --suite-data DIR or set " +
			"ZEROSEARCH_SUITE_DATA")
	}
	for _, name := range append([]string{closedCorpus}, closedQuestions...) {
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			return nil, fmt.Errorf("opening the suite closed: %w: --suite-data is a folder with the files %s, %s and "+
				"%s", err, closedCorpus, closedQuestions[0], closedQuestions[1])
		}
	}
	var all []data.Question
	for _, name := range closedQuestions {
		qs, err := data.Load(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			return nil, fmt.Errorf("opening the suite closed: %w", err)
		}
		all = append(all, qs...)
	}
	held, train, err := data.HoldOut(all, ClosedHeldout)
	if err != nil {
		return nil, fmt.Errorf("opening the suite closed: %w", err)
	}
	return &Closed{Heldout: held, Train: train}, nil
}

// WriteSplit writes both parts into the folder dir: HeldoutFile and TrainFile.
func (c *Closed) WriteSplit(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("writing the split: %w", err)
	}
	for name, qs := range map[string][]data.Question{HeldoutFile: c.Heldout, TrainFile: c.Train} {
		text, err := data.QuestionLines(qs)
		if err == nil {
			err = disk.WriteFile(filepath.Join(dir, name), text)
		}
		if err != nil {
			return fmt.Errorf("writing the split: %w", err)
		}
	}
	return nil
}

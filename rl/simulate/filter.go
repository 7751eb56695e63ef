package simulate

import (
	"errors"
	"fmt"
	"strings"

	"github.com/zerosearch-go/zerosearch/rl/reward"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// Filter says which results are kept. The zero Filter keeps all. The tags are those of the command simulate.
type Filter struct {
	MinWords       int     `name:"min-words" help:"Drop rows with a document of fewer words." default:"0"`
	MaxWords       int     `name:"max-words" help:"Drop rows with a document of more words; 0: no limit." default:"0"`
	Complete       bool    `name:"complete" help:"Drop rows with fewer documents than --topk."`
	Answers        bool    `name:"check-answers" help:"Drop useful rows whose documents do not contain an accepted answer, and noisy rows whose documents do."`
	Copies         bool    `name:"no-copies" help:"Drop rows with a document that copies 8 words in a row of the simulator's prompt."`
	Language       string  `name:"language" help:"Drop rows in another language than this one, as in en, de or zh." placeholder:"CODE"`
	NearDuplicates float64 `name:"near-duplicates" help:"Drop rows with a document that is this similar to one of an earlier row of the shard: share of common runs of three words, as in 0.8; 0: keep." default:"0"`
	Tries          int     `name:"filter-tries" help:"How often a row is written, each time with other draws, until the filters keep it (near-duplicates aside)." default:"1"`
}

// Check says what is wrong with the settings.
func (f Filter) Check() error {
	switch {
	case f.MinWords < 0 || f.MaxWords < 0:
		return errors.New("--min-words and --max-words must not be negative")
	case f.MaxWords > 0 && f.MaxWords < f.MinWords:
		return errors.New("--max-words must not be below --min-words")
	case f.Language != "" && !knownLanguage(f.Language):
		return fmt.Errorf("--language %q is not known: use one of %s", f.Language, strings.Join(languages(), ", "))
	case !(f.NearDuplicates >= 0 && f.NearDuplicates <= 1):
		return errors.New("--near-duplicates must lie between 0 and 1")
	case f.Tries < 1:
		return errors.New("--filter-tries must be at least 1")
	}
	return nil
}

// Reasons why a row is dropped.
const (
	droppedNoQuery       = "no query"
	droppedFailed        = "the simulator wrote no document"
	droppedShort         = "a document is too short"
	droppedLong          = "a document is too long"
	droppedIncomplete    = "too few documents"
	droppedNoAnswer      = "useful without an accepted answer"
	droppedAnswer        = "noisy with an accepted answer"
	droppedCopy          = "copies the prompt"
	droppedLanguage      = "another language"
	droppedNearDuplicate = "near-duplicate"
)

// drop returns the reason why documents are dropped, "" if they are kept.
func (f Filter) drop(d search.Documents, golds []string, topK int) string {
	if f.Complete && len(d.Docs) < topK {
		return droppedIncomplete
	}
	for _, doc := range d.Docs {
		n := len(strings.Fields(doc))
		switch {
		case n < f.MinWords:
			return droppedShort
		case f.MaxWords > 0 && n > f.MaxWords:
			return droppedLong
		case f.Copies && copiesPrompt(strings.Fields(reward.Normalize(doc))):
			return droppedCopy
		}
	}
	text := strings.Join(d.Docs, "\n")
	if f.Answers && len(golds) > 0 {
		switch answer := reward.Mentions(text, golds); {
		case d.Quality == search.Useful && !answer:
			return droppedNoAnswer
		case d.Quality == search.Noisy && answer:
			return droppedAnswer
		}
	}
	if f.Language != "" && language(text) != f.Language {
		return droppedLanguage
	}
	return ""
}

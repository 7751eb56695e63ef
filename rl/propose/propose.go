// Package propose lets a language model write what a user does not have: questions with answers from the passages of a
// corpus, and search queries for questions. What it writes is checked before it is kept.
package propose

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/zerosearch-go/zerosearch/num"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/reader"
	"github.com/zerosearch-go/zerosearch/rl/reward"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/rl/shards"
	"github.com/zerosearch-go/zerosearch/rl/thought"
)

// Questions lets a model write a question with its answer about each of N passages of a corpus, and checks both.
type Questions struct {
	Generator search.Generator
	Corpus    *search.Corpus
	// N is the number of passages that are tried; Seed decides which ones.
	N    int
	Seed uint64
	// KeepKnown keeps questions that the model also answers without the passage, which therefore need no search.
	KeepKnown bool
}

// Reasons why a passage gives no question.
const (
	droppedForm      = "no question and answer"
	droppedElsewhere = "the answer is not in the passage"
	droppedLong      = "the answer is long"
	droppedGiven     = "the question gives the answer away"
	droppedRefers    = "the question refers to the passage"
	droppedOpenBook  = "another answer with the passage"
	droppedKnown     = "answered without the passage"
)

// agreement is the F1 from which on two answers count as the same.
const agreement = 0.5

// answerWords is the largest number of words of an answer, passageWords the smallest of a passage.
const (
	answerWords  = 8
	passageWords = 15
)

const questionPrompt = `Read a passage and write one question about a fact in it, and its answer.
The question must be clear to somebody who does not see the passage: it names what it asks about.
The answer is a name, a number, a date or a few words, exactly as they stand in the passage.

Passage: "Harbour Bridge" Work on the bridge began in 1924 under the engineer Ana Ruiz. It was opened on 3 May 1929.
Question: Who was the engineer of the Harbour Bridge?
Answer: Ana Ruiz

Passage: %s

Write the question and the answer of this last passage:`

// Job describes the work for the package shards: the input has one row for each passage that is tried.
func (p *Questions) Job(dir string, perShard int) *shards.Job {
	chosen := p.choose()
	return &shards.Job{Dir: dir, Total: len(chosen), PerShard: perShard, Do: p.do,
		Input: func() iter.Seq2[data.Row, error] {
			return func(yield func(data.Row, error) bool) {
				for _, i := range chosen {
					text, err := data.Marshal(p.Corpus.Passages[i])
					row := data.Row{N: i + 1, Columns: map[string]json.RawMessage{"passage": text}}
					if !yield(row, err) {
						return
					}
				}
			}
		},
		Key: func(row data.Row) (uint64, error) { return uint64(row.N), nil }}
}

// choose draws N passages that are long enough, in the order of the corpus.
func (p *Questions) choose() (chosen []int) {
	for i, text := range p.Corpus.Passages {
		if len(strings.Fields(text)) >= passageWords {
			chosen = append(chosen, i)
		}
	}
	slices.SortFunc(chosen, func(a, b int) int {
		return cmp.Compare(num.Stream(p.Seed, uint64(a)), num.Stream(p.Seed, uint64(b)))
	})
	chosen = chosen[:min(p.N, len(chosen))]
	slices.Sort(chosen)
	return chosen
}

// proposed is a row of the output: a question as eval and train read it.
type proposed struct {
	ID            string   `json:"id"`
	Question      string   `json:"question"`
	GoldenAnswers []string `json:"golden_answers"`
	DataSource    string   `json:"data_source"`
	Source        string   `json:"source"`
	Passage       string   `json:"passage"`
	// OpenBook is the model's answer with the passage, ClosedBook that without.
	OpenBook   string `json:"open_book"`
	ClosedBook string `json:"closed_book"`
}

// do proposes a question and checks it.
func (p *Questions) do(ctx context.Context, item shards.Item) (out shards.Result, err error) {
	i := item.Row.N - 1
	passage := strings.Join(strings.Fields(p.Corpus.Passages[i]), " ")
	count := func(g search.Generation) {
		out.PromptTokens, out.CompletionTokens = out.PromptTokens+g.PromptTokens,
			out.CompletionTokens+g.CompletionTokens
	}
	g, err := p.Generator.Generate(ctx, []search.Message{{Role: "user", Content: fmt.Sprintf(questionPrompt, passage)}},
		search.GenerateOptions{MaxTokens: 200, Temperature: 0.7, Stream: num.Stream(p.Seed, uint64(i), 1)})
	if err != nil {
		return out, fmt.Errorf("proposing a question: %w", err)
	}
	count(g)
	row := proposed{ID: "passage-" + strconv.Itoa(i+1), DataSource: "proposed", Passage: passage}
	if i < len(p.Corpus.Sources) {
		row.Source = p.Corpus.Sources[i].String()
	}
	question, answer := parse(thought.Without(g.Prefill + g.Text))
	if why := refuse(question, answer, passage); why != "" {
		out.Drop(why)
		return out, nil
	}
	row.Question, row.GoldenAnswers = question, []string{answer}
	r := reader.Reader{Generator: p.Generator}
	if row.OpenBook, g, err = r.Answer(ctx, question, passage); err != nil {
		return out, err
	}
	count(g)
	if reward.F1(row.OpenBook, row.GoldenAnswers) < agreement {
		out.Drop(droppedOpenBook)
		return out, nil
	}
	if row.ClosedBook, g, err = r.Answer(ctx, question, ""); err != nil {
		return out, err
	}
	count(g)
	if !p.KeepKnown && reward.F1(row.ClosedBook, row.GoldenAnswers) >= agreement {
		out.Drop(droppedKnown)
		return out, nil
	}
	line, err := data.Marshal(row)
	out.Lines = []json.RawMessage{line}
	return out, err
}

// parse finds the first question and the first answer after it.
func parse(text string) (question, answer string) {
	for line := range strings.Lines(text) {
		line = strings.Trim(strings.TrimSpace(line), "*")
		if rest, ok := strings.CutPrefix(line, "Question:"); ok && question == "" {
			question = strings.Trim(rest, " *")
		} else if rest, ok := strings.CutPrefix(line, "Answer:"); ok && question != "" {
			return question, strings.TrimRight(strings.Trim(rest, " *\""), ".")
		}
	}
	return question, ""
}

// refuse checks a question and its answer without asking a model. It returns the reason why they are dropped, "" if
// they pass.
func refuse(question, answer, passage string) string {
	if question == "" || reward.Normalize(answer) == "" {
		return droppedForm
	}
	golds := []string{answer}
	lower := strings.ToLower(question)
	switch {
	case len(strings.Fields(answer)) > answerWords:
		return droppedLong
	case !reward.Mentions(passage, golds):
		return droppedElsewhere
	case reward.Mentions(question, golds):
		return droppedGiven
	}
	for _, word := range []string{"passage", "the text", "document", "the author", "this article", "the article",
		"mentioned above", "described in", "according to the"} {
		if strings.Contains(lower, word) {
			return droppedRefers
		}
	}
	return ""
}

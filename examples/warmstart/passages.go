package main

import (
	"fmt"
	"strings"

	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/reward"
)

// documentWords is how long the prompts of simulated engines ask a document to be.
const documentWords = 30

// item is a question with passages.
type item struct {
	Question      string
	GoldenAnswers []string
	Supporting    []passage
	Distractors   []passage
}

type passage struct{ Title, Text string }

// load keeps the questions with a passage that says an answer of at most five words.
func load(path string) (out []item, err error) {
	for row, err := range data.Rows(path) {
		if err != nil {
			return nil, err
		}
		q, err := data.ParseQuestion(row)
		if err != nil {
			return nil, fmt.Errorf("reading %s: row %d: %w", path, row.N, err)
		}
		it := item{Question: q.Question, GoldenAnswers: q.GoldenAnswers}
		for name, to := range map[string]*[]passage{"supporting": &it.Supporting, "distractors": &it.Distractors} {
			if _, err := row.Get(name, to); err != nil {
				return nil, fmt.Errorf("reading %s: row %d: %w", path, row.N, err)
			}
		}
		if len(strings.Fields(it.GoldenAnswers[0])) <= 5 && len(it.Supporting) > 0 && it.sentence() != "" {
			out = append(out, it)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("reading %s: no question has a supporting passage that says its answer", path)
	}
	return out, nil
}

// sentence is a piece of a supporting passage, about documentWords long, that says the answer; "" if there is none.
func (it item) sentence() string {
	for _, p := range it.Supporting {
		words := strings.Fields(p.Text)
		for from := 0; from < len(words); from += documentWords / 2 {
			piece := strings.Join(words[from:min(from+documentWords, len(words))], " ")
			if reward.SubEM(piece, it.GoldenAnswers[:1]) > 0 {
				return piece
			}
		}
	}
	return ""
}

// results are the documents of a search: one that says the answer among others, or others only.
func (w *writer) results(it item, useful bool) string {
	docs := make([]string, w.topK)
	at := -1
	if useful {
		at = w.rng.IntN(w.topK)
		docs[at] = it.sentence()
	}
	for i := range docs {
		if i != at {
			docs[i] = w.other(it)
		}
		docs[i] = fmt.Sprintf("Doc %d: %s", i+1, docs[i])
	}
	return strings.Join(docs, "\n")
}

// other is a piece of a passage that does not say the answer.
func (w *writer) other(it item) string {
	for range 20 {
		p := w.all[w.rng.IntN(len(w.all))].Supporting[0]
		if n := len(it.Distractors); n > 0 {
			p = it.Distractors[w.rng.IntN(n)]
		}
		words := strings.Fields(p.Text)
		if len(words) == 0 {
			continue
		}
		from := w.rng.IntN(max(1, len(words)-documentWords))
		piece := strings.Join(words[from:min(from+documentWords, len(words))], " ")
		if reward.SubEM(piece, it.GoldenAnswers) == 0 {
			return piece
		}
	}
	return "Nothing was found about this."
}

// query is what one would type into a search box.
func (it item) query() string { return keywords(it.Question) }

// little words say nothing to a search engine.
var little = map[string]bool{"a": true, "an": true, "the": true, "of": true, "in": true, "on": true, "at": true,
	"to": true, "for": true, "by": true, "and": true, "or": true,
	"is": true, "are": true, "was": true, "were": true, "be": true, "did": true, "do": true, "does": true, "what": true,
	"which": true, "who": true, "whose": true, "when": true,
	"where": true, "how": true, "many": true, "much": true, "that": true, "this": true, "it": true, "has": true,
	"have": true, "had": true, "with": true, "from": true, "as": true}

func keywords(question string) string {
	var out []string
	for _, w := range strings.Fields(strings.TrimRight(question, "?")) {
		if !little[strings.ToLower(w)] {
			out = append(out, w)
		}
	}
	if len(out) == 0 {
		return question
	}
	return strings.Join(out, " ")
}

// lower is a question in the middle of a sentence.
func lower(question string) string {
	return strings.ToLower(question[:1]) + strings.TrimRight(question[1:], "?") + "."
}

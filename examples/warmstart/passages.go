package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/reward"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// item is a question with passages.
type item struct {
	Question      string
	GoldenAnswers []string
	Supporting    []passage
	Distractors   []passage
}

type passage struct{ Title, Text string }

// corpus is what documents are cut from: the supporting passages of all questions, and an index that finds those that
// resemble a question.
type corpus struct {
	passages []passage
	index    *search.BM25
	// words is the length of a document.
	words int
}

// load keeps the questions with a passage that contains an answer of at most five words.
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
		if len(strings.Fields(it.GoldenAnswers[0])) <= 5 && len(it.Supporting) > 0 && it.supported() {
			out = append(out, it)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("reading %s: no question has a supporting passage that contains its answer", path)
	}
	return out, nil
}

// supported says whether a supporting passage contains the first accepted answer.
func (it item) supported() bool {
	for _, p := range it.Supporting {
		if reward.SubEM(p.Text, it.GoldenAnswers[:1]) > 0 {
			return true
		}
	}
	return false
}

// newCorpus indexes every passage once.
func newCorpus(items []item, words int) *corpus {
	c := &corpus{words: words}
	var texts []string
	seen := map[passage]bool{}
	for _, it := range items {
		for _, p := range slices.Concat(it.Supporting, it.Distractors) {
			if !seen[p] && strings.TrimSpace(p.Text) != "" {
				seen[p] = true
				c.passages, texts = append(c.passages, p), append(texts, p.Title+"\n"+p.Text)
			}
		}
	}
	c.index = search.NewBM25(texts)
	return c
}

// pieces are the parts of a passage of about c.words words: whole sentences, as many as fit, or a part of a sentence
// that is longer.
func (c *corpus) pieces(p passage) (out []string) {
	var piece []string
	flush := func() {
		if len(piece) > 0 {
			out = append(out, strings.Join(piece, " "))
		}
		piece = nil
	}
	for _, sentence := range sentences(p.Text) {
		if len(piece)+len(sentence) > c.words {
			flush()
		}
		for len(sentence) > c.words {
			out = append(out, strings.Join(sentence[:c.words], " "))
			sentence = sentence[c.words:]
		}
		piece = append(piece, sentence...)
	}
	flush()
	return out
}

// sentences splits a text into sentences of words: after a word that ends in a full stop, a question mark or an
// exclamation mark, where the next begins with a capital letter.
func sentences(text string) (out [][]string) {
	words := strings.Fields(text)
	from := 0
	for i, w := range words {
		last := i+1 == len(words)
		if last || strings.ContainsAny(w[len(w)-1:], ".?!") && len(w) > 3 && unicode.IsUpper([]rune(words[i+1])[0]) {
			out, from = append(out, words[from:i+1]), i+1
		}
	}
	return out
}

// document writes a piece as a search engine over titled passages does.
func document(p passage, piece string) string {
	if p.Title == "" {
		return piece
	}
	return `"` + p.Title + `" ` + piece
}

// results are the documents of a search. Useful ones are a piece that contains the answer, first in two of three
// results, and other pieces of the supporting passages; noisy ones are such other pieces
// only.
func (w *writer) results(it item, useful bool) string {
	var docs []string
	if useful {
		docs = append(docs, w.answering(it))
	}
	docs = append(docs, w.others(it, w.topK-len(docs))...)
	if w.rng.IntN(3) == 0 {
		w.rng.Shuffle(len(docs), func(i, k int) { docs[i], docs[k] = docs[k], docs[i] })
	}
	for i := range docs {
		docs[i] = fmt.Sprintf("Doc %d: %s", i+1, docs[i])
	}
	return strings.Join(docs, "\n")
}

// answering is a piece of a supporting passage that contains the answer.
func (w *writer) answering(it item) string {
	for _, p := range it.Supporting {
		for _, piece := range w.corpus.pieces(p) {
			if reward.SubEM(piece, it.GoldenAnswers[:1]) > 0 {
				return document(p, piece)
			}
		}
	}
	p := it.Supporting[0] // the answer lies across two pieces
	return document(p, p.Text)
}

// others are n pieces that do not contain the answer: of the supporting passages, then of the question's distractors
// and of the passages that the index finds for the question.
func (w *writer) others(it item, n int) []string {
	shuffled := func(p []passage) []passage {
		p = slices.Clone(p)
		w.rng.Shuffle(len(p), func(i, k int) { p[i], p[k] = p[k], p[i] })
		return p
	}
	var from []passage
	for range n {
		from = append(from, it.Supporting...)
	}
	found := slices.Clone(it.Distractors)
	for _, h := range w.corpus.index.Find(it.Question, 8) {
		found = append(found, w.corpus.passages[h.Passage])
	}
	from = slices.Concat(from, shuffled(found), shuffled(w.corpus.passages))
	var out []string
	for _, p := range from {
		if len(out) == n {
			break
		}
		pieces := w.corpus.pieces(p)
		d := document(p, pieces[w.rng.IntN(len(pieces))])
		if reward.SubEM(d, it.GoldenAnswers) == 0 && !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	return out
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

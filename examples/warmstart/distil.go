package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode"

	"github.com/zerosearch-go/zerosearch/rl/reward"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// A small model that is told the answer seldom writes it into a document in the style of an encyclopedia, but it writes
// one sentence that contains it when it is asked for just that. So the second round of a simulator's fine-tuning learns
// from results of the first round's simulator, into which such a sentence is put:
//
//	--part questions   writes OUT/requests.jsonl, for `simulate` with the first adapter, and OUT/sentences.jsonl, for
//	                   `generate` with the model itself, about the same questions in the same order
//	--part distilled   makes rows {messages} of both outputs, OUT/documents.jsonl and OUT/written.jsonl

// request is a line of requests.jsonl.
type request struct {
	Query         string         `json:"query"`
	Question      string         `json:"question"`
	GoldenAnswers []string       `json:"golden_answers"`
	Quality       search.Quality `json:"quality"`
	Title         string         `json:"title"` // of the first supporting passage
}

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

type chat struct {
	Messages []message `json:"messages"`
}

// questions writes requests for documents: two of three useful.
func (w *writer) questions(items []item, dir string) error {
	requests, err := newLines(dir + "/requests.jsonl")
	if err != nil {
		return err
	}
	defer requests.Close()
	sentences, err := newLines(dir + "/sentences.jsonl")
	if err != nil {
		return err
	}
	defer sentences.Close()
	for i, it := range items {
		r := request{it.query(), it.Question, it.GoldenAnswers, search.Useful, it.Supporting[0].Title}
		if i%3 == 2 {
			r.Quality = search.Noisy
		}
		if err := requests.Encode(r); err != nil {
			return err
		}
		if err := sentences.Encode(sentenceRequest(r)); err != nil {
			return err
		}
	}
	return nil
}

// sentenceRequest asks for one sentence that contains the answer, after one demonstration.
func sentenceRequest(r request) chat {
	ask := func(question, answer string) message {
		return message{"user",
			fmt.Sprintf("Question: %s\nAnswer: %s\nWrite one sentence of an article that says this. "+
				"It must contain %q.", question, answer, answer)}
	}
	return chat{[]message{{"system", "You write sentences of encyclopedia articles."},
		ask("who wrote the novel Emma", "Jane Austen"),
		{"assistant",
			"Emma is a novel by Jane Austen, first published in December 1815, about a young woman who tries " +
				"to make matches for her friends."},
		ask(r.Question, r.GoldenAnswers[0])}}
}

// distilled makes rows: useful results with the written sentence in them, noisy results that lack the answer.
func (w *writer) distilled(dir, out string) error {
	requests, err := readLines[request](dir + "/requests.jsonl")
	if err != nil {
		return err
	}
	written, err := readLines[struct{ Text string }](dir + "/written.jsonl")
	if err != nil {
		return err
	}
	documents, err := readLines[struct{ Documents []string }](dir + "/documents.jsonl")
	if err != nil {
		return err
	}
	if len(written) != len(requests) || len(documents) != len(requests) {
		return fmt.Errorf("reading %s: %d requests, %d sentences, %d results: one is unfinished: make it again", dir,
			len(requests), len(written), len(documents))
	}
	rows, err := newLines(out)
	if err != nil {
		return err
	}
	defer rows.Close()
	count := map[search.Quality]int{}
	for i, r := range requests {
		docs := w.distil(r, written[i].Text, documents[i].Documents)
		if docs == nil {
			continue
		}
		prompt := search.Render(w.form, r.Quality,
			search.Query{Query: r.Query, Question: r.Question, GoldenAnswers: r.GoldenAnswers}, w.topK)
		err := rows.Encode(chat{[]message{{"system", ""}, {"user", prompt}, {"assistant", search.Numbered(docs)}}})
		if err != nil {
			return err
		}
		count[r.Quality]++
	}
	fmt.Printf("%d useful and %d noisy rows of %d requests\n", count[search.Useful], count[search.Noisy], len(requests))
	return nil
}

// distil gives the documents of a row; nil if they are not good enough.
func (w *writer) distil(r request, sentence string, documents []string) []string {
	has := func(d string) bool { return reward.SubEM(d, r.GoldenAnswers) > 0 }
	documents = slices.DeleteFunc(documents, func(d string) bool {
		return !fit(d) || r.Quality == search.Noisy &&
			has(d)
	})
	if r.Quality == search.Noisy {
		if len(documents) != w.topK {
			return nil
		}
		return documents
	}
	sentence = strings.Join(strings.Fields(sentence), " ")
	if !fit(sentence) || !has(sentence) || len(documents) < w.topK-1 {
		return nil
	}
	at := 0 // first in three of four results
	if w.rng.IntN(3) == 0 {
		at = w.rng.IntN(w.topK)
	}
	return slices.Insert(documents[:w.topK-1:w.topK-1], at, document(passage{Title: r.Title}, sentence))
}

// fit says whether a text is of the length of a document and in a script that the questions use.
func fit(text string) bool {
	n := len(strings.Fields(text))
	return n >= 7 && n <= 60 && !strings.ContainsFunc(text, func(r rune) bool { return unicode.Is(unicode.Han, r) })
}

// lines is a file of JSON lines.
type lines struct {
	*json.Encoder
	*os.File
}

func newLines(path string) (*lines, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &lines{json.NewEncoder(f), f}, nil
}

func readLines[T any](path string) (out []T, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for dec := json.NewDecoder(f); ; {
		var v T
		if err := dec.Decode(&v); err == io.EOF {
			return out, nil
		} else if err != nil {
			return nil, fmt.Errorf("reading %s: row %d: %w", path, len(out)+1, err)
		}
		out = append(out, v)
	}
}

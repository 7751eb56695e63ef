package simulate

import (
	"cmp"
	"fmt"
	"hash/fnv"

	"github.com/zerosearch-go/zerosearch/num"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// Request asks for the documents of one query.
type Request struct {
	Query         string         `json:"query"`
	Question      string         `json:"question"`
	GoldenAnswers data.Answers   `json:"golden_answers"`
	Quality       search.Quality `json:"quality"`
}

// Hash is a hash of the request's content. The random stream is derived from it, so that the documents of a request do
// not depend on its place or on other requests.
func (r Request) Hash() uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%q %q %q %q", r.Query, r.Question, r.GoldenAnswers, r.Quality)
	return h.Sum64()
}

// Ask makes the query of a request for a search engine. seen is the number of requests with the same content up to this
// one, from 1; try is the number of earlier tries of this request.
func (r Request) Ask(seed, seen, try uint64) (search.Query, error) {
	switch {
	case r.Query == "":
		return search.Query{}, fmt.Errorf("the request has neither a query nor a question")
	case r.Quality != "" && r.Quality != search.Useful && r.Quality != search.Noisy:
		return search.Query{}, fmt.Errorf("quality is %q: say useful or noisy, or leave it out", string(r.Quality))
	}
	parts := []uint64{seed, r.Hash(), seen}
	if try > 0 {
		parts = append(parts, try)
	}
	return search.Query{Query: r.Query, Question: r.Question, GoldenAnswers: r.GoldenAnswers, Quality: r.Quality,
		Stream: num.Stream(parts...)}, nil
}

// ParseRequest reads a request from a row. A row without a query asks with its question; question and answers may be
// those of verl's files (see data.ParseQuestion).
func ParseRequest(row data.Row) (r Request, err error) {
	err = get(row, column{"query", &r.Query}, column{"question", &r.Question},
		column{"golden_answers", &r.GoldenAnswers}, column{"quality", &r.Quality})
	if err != nil {
		return r, err
	}
	if r.Question == "" || r.GoldenAnswers == nil {
		if q, err := data.ParseQuestion(row); err == nil {
			r.Question, r.GoldenAnswers = q.Question, q.GoldenAnswers
		}
	}
	r.Query = cmp.Or(r.Query, r.Question)
	return r, nil
}

package simulate

import (
	"hash/fnv"
	"math"
	"strings"

	"github.com/zerosearch-go/zerosearch/rl/reward"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// Measure computes scores of simulated documents row by row. It keeps only the text of the rows that Retrieved and Read
// need.
type Measure struct {
	// Keep is the number of rows of each quality that are kept for Read: the first with a question and accepted
	// answers.
	Keep int

	topK  int
	total Scores
	parts map[search.Quality]*part
}

// Scores are the results of a Measure. Qualities holds those of useful, of noisy and, under "real", of documents that
// no simulator wrote.
type Scores struct {
	// Rows is the number of rows; Failed of them hold an error instead of documents.
	Rows   int `json:"rows"`
	Failed int `json:"failed"`
	// WithoutAnswers is the number of rows that name no accepted answer: containment is measured on the others.
	WithoutAnswers int                `json:"without_answers"`
	Qualities      map[string]*Scored `json:"qualities"`
}

// Scored are the scores of the rows of one quality. Shares lie between 0 and 1; a share of no rows is 0.
type Scored struct {
	Rows int `json:"rows"`
	// WithAnswers is the number of rows that name accepted answers; the next two scores are about these.
	WithAnswers int `json:"with_answers"`
	// AnswerInResult is the share of rows in which at least one document contains an accepted answer as whole words,
	// AnswerInDocument the share of documents that do.
	AnswerInResult   float64 `json:"answer_in_result"`
	AnswerInDocument float64 `json:"answer_in_document"`

	// QueryTerms is the share of the query's terms that occur in the row's documents, the mean over rows.
	// OtherQueryTerms is the same for the query of another row: the value of documents that do not answer the query.
	QueryTerms      float64 `json:"query_terms"`
	OtherQueryTerms float64 `json:"other_query_terms"`
	// Retrieved is the share of queries for which BM25 ranks a document of the same row first, among the documents of
	// the first SearchedRows rows of this quality.
	Retrieved    float64 `json:"retrieved"`
	SearchedRows int     `json:"searched_rows"`

	// Distinct is the number of different pairs of neighbouring words over the number of all pairs, within a row, the
	// mean over rows (distinct-2 of Li et al. 2016, arXiv 1510.03055). Repeated is the share of documents whose words
	// are those of an earlier document. CopiesPrompt is the share of documents with copiedWords words in a row of the
	// simulator's prompt.
	Distinct     float64 `json:"distinct_2"`
	Repeated     float64 `json:"repeated"`
	CopiesPrompt float64 `json:"copies_prompt"`

	// Documents is the mean number of documents of a row, Complete the share of rows with as many as were asked for,
	// Numbered the share of the RawRows rows with a raw output that begin with "Doc 1:" and number the rest in order.
	Documents float64 `json:"documents"`
	Complete  float64 `json:"complete"`
	Numbered  float64 `json:"numbered"`
	RawRows   int     `json:"raw_rows"`
	// Words is the mean number of words of a document, WordsSD its standard deviation.
	Words   float64 `json:"words"`
	WordsSD float64 `json:"words_sd"`
	// CompletionTokens is the mean number of tokens that the simulator wrote for a row.
	CompletionTokens float64 `json:"completion_tokens"`
	// Reader holds the F1 scores of a fixed reader; nil if there was no reader.
	Reader *Read `json:"reader,omitempty"`
}

// searchedRows bounds the rows that Retrieved is about, so that it can be compared between small and large sets.
const searchedRows = 500

// part sums the scores of one quality.
type part struct {
	Scored            // of sums, until the end
	documents         int
	others, distincts int // rows that OtherQueryTerms and Distinct are about
	words             float64
	squares           float64
	seen              map[uint64]bool // documents
	last              map[string]bool // terms of the query of the row before
	queries, passages []string
	row               []int // [passages]: of the row
	kept              []Row
}

// NewMeasure returns a measure of results that should have topK documents.
func NewMeasure(topK int) *Measure { return &Measure{topK: topK, parts: map[search.Quality]*part{}} }

// Add scores a row.
func (m *Measure) Add(r Row) {
	m.total.Rows++
	if r.Failure != "" {
		m.total.Failed++
		return
	}
	p := m.parts[r.Quality]
	if p == nil {
		p = &part{seen: map[uint64]bool{}}
		m.parts[r.Quality] = p
	}
	p.Rows++
	if len(r.GoldenAnswers) == 0 {
		m.total.WithoutAnswers++
	} else {
		p.contains(r)
		if len(p.kept) < m.Keep && r.Question != "" {
			p.kept = append(p.kept, r)
		}
	}
	p.relevance(r)
	p.diversity(r)
	p.format(r, m.topK)
}

// contains counts the row and the documents that contain an accepted answer.
func (p *part) contains(r Row) {
	p.WithAnswers++
	found := 0
	for _, d := range r.Documents {
		if reward.Mentions(d, r.GoldenAnswers) {
			found++
		}
	}
	if found > 0 {
		p.AnswerInResult++
		p.AnswerInDocument += float64(found) / float64(len(r.Documents))
	}
}

// relevance compares the documents with the query, and with that of the row before.
func (p *part) relevance(r Row) {
	query, found := search.TermSet(r.Query), search.TermSet(r.Documents...)
	p.QueryTerms += covered(query, found)
	if len(p.last) > 0 {
		p.others++
		p.OtherQueryTerms += covered(p.last, found)
	}
	p.last = query
	if p.SearchedRows < searchedRows {
		for _, d := range r.Documents {
			p.passages, p.row = append(p.passages, d), append(p.row, p.SearchedRows)
		}
		p.queries = append(p.queries, r.Query)
		p.SearchedRows++
	}
}

// covered is the share of the query's terms that were found.
func covered(query, found map[string]bool) float64 {
	n := 0
	for term := range query {
		if found[term] {
			n++
		}
	}
	return float64(n) / float64(max(len(query), 1))
}

// diversity counts word pairs, repeated documents and documents that copy the prompt.
func (p *part) diversity(r Row) {
	pairs, different := 0, map[[2]string]bool{}
	for _, d := range r.Documents {
		words := strings.Fields(reward.Normalize(d))
		for i := 1; i < len(words); i++ {
			pairs++
			different[[2]string{words[i-1], words[i]}] = true
		}
		if copiesPrompt(words) {
			p.CopiesPrompt++
		}
		h := fnv.New64a()
		h.Write([]byte(strings.Join(words, " ")))
		if p.seen[h.Sum64()] {
			p.Repeated++
		}
		p.seen[h.Sum64()] = true
	}
	if pairs > 0 {
		p.distincts++
		p.Distinct += float64(len(different)) / float64(pairs)
	}
}

// format counts documents and words.
func (p *part) format(r Row, topK int) {
	p.documents += len(r.Documents)
	if len(r.Documents) == topK {
		p.Complete++
	}
	if r.Raw != "" {
		p.RawRows++
		if numbered(r.Raw) {
			p.Numbered++
		}
	}
	for _, d := range r.Documents {
		n := float64(len(strings.Fields(d)))
		p.words += n
		p.squares += n * n
	}
	p.CompletionTokens += float64(r.CompletionTokens)
}

// Scores returns the scores of the rows that were added so far.
func (m *Measure) Scores() Scores {
	out := m.total
	out.Qualities = map[string]*Scored{}
	for q, p := range m.parts {
		name := string(q)
		if q == search.Real {
			name = "real"
		}
		out.Qualities[name] = p.mean()
	}
	return out
}

// mean divides the sums by their numbers of rows or documents.
func (p *part) mean() *Scored {
	s := p.Scored
	share := func(x *float64, n int) { *x /= float64(max(n, 1)) }
	share(&s.AnswerInResult, s.WithAnswers)
	share(&s.AnswerInDocument, s.WithAnswers)
	share(&s.QueryTerms, s.Rows)
	share(&s.OtherQueryTerms, p.others)
	index := search.NewBM25(p.passages)
	for i, q := range p.queries {
		if hits := index.Find(q, 1); len(hits) > 0 && p.row[hits[0].Passage] == i {
			s.Retrieved++
		}
	}
	share(&s.Retrieved, s.SearchedRows)
	share(&s.Distinct, p.distincts)
	share(&s.Repeated, p.documents)
	share(&s.CopiesPrompt, p.documents)
	s.Documents = float64(p.documents)
	share(&s.Documents, s.Rows)
	share(&s.Complete, s.Rows)
	share(&s.Numbered, s.RawRows)
	n := float64(max(p.documents, 1))
	s.Words = p.words / n
	s.WordsSD = math.Sqrt(max(0, p.squares/n-s.Words*s.Words))
	share(&s.CompletionTokens, s.Rows)
	return &s
}

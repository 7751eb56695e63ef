// Package eval evaluates a policy. It computes three scores for each question and averages them by data source and over
// all questions, with bootstrap confidence intervals. It defines baseline methods, writes tables in the form of the
// papers, and compares two evaluations question by question. It does not run episodes: it scores finished ones.
package eval

import (
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/reward"
)

// Result is the result of one question.
type Result struct {
	Method   Method `json:"method"`
	Source   string `json:"source"`
	ID       string `json:"question_id"`
	Question string `json:"question"`
	// Answer is nil if there was no answer.
	Answer *string `json:"answer"`
	reward.Scores
	Status   episode.Status `json:"status"`
	Turns    int            `json:"turns"`
	Valid    int            `json:"valid_actions"` // turns with a complete action
	Searches int            `json:"searches"`
	// Recalled says that a document of the searches contains an accepted answer.
	Recalled bool `json:"recalled"`
	// Sampled is the number of tokens that the policy sampled, Context the number of all tokens of its context.
	Sampled int `json:"sampled_tokens"`
	Context int `json:"context_tokens"`
}

// Grade scores the episode of one question. source is the question's data source.
func Grade(m Method, e *episode.Episode, source string) Result {
	r := Result{Method: m, Source: source, ID: e.QuestionID, Question: e.Question, Status: e.Status,
		Turns: len(e.Turns), Valid: e.ValidActions(), Searches: e.Searches(), Context: len(e.PromptIDs)}
	for i := range e.Turns {
		t := &e.Turns[i]
		r.Context += len(t.IDs)
		for _, sampled := range t.Mask {
			if sampled {
				r.Sampled++
			}
		}
		for _, d := range t.Documents {
			r.Recalled = r.Recalled || reward.SubEM(d, e.GoldenAnswers) > 0
		}
	}
	if m == RAG { // the first turn is the retrieval, which is no action of the policy
		r.Turns, r.Valid = r.Turns-1, r.Valid-1
	}
	answer, ok := m.answer(e)
	if ok {
		r.Answer = &answer
	}
	r.Scores = reward.Score(answer, ok, e.GoldenAnswers)
	return r
}

// Row is a row of a report: the means of a method on a data source, averaged over the sources ("average"), or over all
// questions ("all").
type Row struct {
	Method      Method  `json:"method,omitempty"`
	Source      string  `json:"source"`
	EM          float64 `json:"em"`
	F1          float64 `json:"f1"`
	SubEM       float64 `json:"sub_em"`
	ValidAction float64 `json:"valid_action_rate"`
	Searches    float64 `json:"searches_per_question"`
	Finish      float64 `json:"finish_rate"`
	N           int     `json:"n"`
	// Recall is the share of questions for which a document of the searches contains an accepted answer. For RAG, which
	// searches with the question itself, it is the recall of the engine at the number of documents that it returns.
	Recall float64 `json:"recall"`
	// Sampled is the number of tokens that the policy sampled, Context the number of all tokens of its context, both
	// for each question.
	Sampled float64 `json:"sampled_tokens_per_question"`
	Context float64 `json:"context_tokens_per_question"`
	// Engine is the search engine: simulated (its prompt contained the answers), the name of another engine, or none.
	// Tau is the share of noisy documents of a simulated engine.
	Engine string   `json:"engine,omitempty"`
	Tau    *float64 `json:"tau,omitempty"`
	// Failed counts the episodes whose search engine failed. They count as wrong answers.
	Failed int `json:"search_failed,omitempty"`
	// EMCI, F1CI and SubEMCI are confidence intervals, nil if no intervals were computed.
	EMCI    *Interval `json:"em_ci,omitempty"`
	F1CI    *Interval `json:"f1_ci,omitempty"`
	SubEMCI *Interval `json:"sub_em_ci,omitempty"`
}

// Values of Row.Source that are not a data source.
const (
	// Average is the mean over the data sources with equal weights, as papers report it.
	Average = "average"
	// All is the mean over all questions.
	All = "all"
)

// Report summarises the results of one method. It has a row for each data source, those of the paper first and in its
// order; then, if there are several, a row with their average; then a row with all questions. b computes the confidence
// intervals.
func Report(results []Result, b Bootstrap) []Row {
	strata := bySource(results)
	var rows []Row
	for _, s := range strata {
		rows = append(rows, row(s[0].Source, s))
	}
	if len(rows) > 1 {
		rows = append(rows, average(rows))
	}
	rows = append(rows, row(All, results))
	scores := make([][][3]float64, len(strata))
	for i, s := range strata {
		for _, r := range s {
			scores[i] = append(scores[i], [3]float64{r.EM, r.F1, r.SubEM})
		}
	}
	for i, ci := range b.means(scores) {
		rows[i].EMCI, rows[i].F1CI, rows[i].SubEMCI = &ci[0], &ci[1], &ci[2]
	}
	return rows
}

// bySource groups results by data source, in the order of the report.
func bySource(results []Result) [][]Result {
	by := map[string][]Result{}
	for _, r := range results {
		by[r.Source] = append(by[r.Source], r)
	}
	var names []string
	for s := range by {
		names = append(names, s)
	}
	SortSources(names)
	out := make([][]Result, len(names))
	for i, s := range names {
		out[i] = by[s]
	}
	return out
}

func row(source string, results []Result) Row {
	out := Row{Source: source, N: len(results)}
	n, turns, valid := float64(max(1, len(results))), 0, 0
	for _, r := range results {
		out.Method = r.Method
		out.EM, out.F1, out.SubEM = out.EM+r.EM/n, out.F1+r.F1/n, out.SubEM+r.SubEM/n
		out.Searches += float64(r.Searches) / n
		out.Sampled, out.Context = out.Sampled+float64(r.Sampled)/n, out.Context+float64(r.Context)/n
		if r.Recalled {
			out.Recall += 1 / n
		}
		turns, valid = turns+r.Turns, valid+r.Valid
		if r.Answer != nil {
			out.Finish += 1 / n
		}
		if r.Status == episode.SearchFailed {
			out.Failed++
		}
	}
	out.ValidAction = float64(valid) / float64(max(1, turns))
	return out
}

func average(rows []Row) Row {
	out := Row{Source: Average, Method: rows[0].Method}
	k := float64(len(rows))
	for _, r := range rows {
		out.EM, out.F1, out.SubEM = out.EM+r.EM/k, out.F1+r.F1/k, out.SubEM+r.SubEM/k
		out.ValidAction, out.Searches, out.Finish = out.ValidAction+r.ValidAction/k, out.Searches+r.Searches/k,
			out.Finish+r.Finish/k
		out.Recall, out.Sampled, out.Context = out.Recall+r.Recall/k, out.Sampled+r.Sampled/k, out.Context+r.Context/k
		out.N, out.Failed = out.N+r.N, out.Failed+r.Failed
	}
	return out
}

// paperDataSets are the data sets of ZeroSearch's paper in the order of its table, each with the names that files use
// for it.
var paperDataSets = []struct {
	title string
	names []string
}{
	{"NQ", []string{"nq", "nq_open", "naturalquestions"}}, {"TriviaQA", []string{"triviaqa", "tq"}},
	{"PopQA", []string{"popqa"}},
	{"HotpotQA", []string{"hotpotqa"}}, {"2Wiki", []string{"2wikimultihopqa", "2wiki"}},
	{"MuSiQue", []string{"musique"}},
	{"Bamboogle", []string{"bamboogle"}},
}

// paperSet is the index of a data source in paperDataSets, -1 if it is not one of them. Names are compared without
// regard to case and without the prefix searchR1_.
func paperSet(source string) int {
	name := strings.TrimPrefix(strings.ToLower(source), "searchr1_")
	for i, p := range paperDataSets {
		if slices.Contains(p.names, name) {
			return i
		}
	}
	return -1
}

// Title is the name of a data source in a table.
func Title(source string) string {
	if i := paperSet(source); i >= 0 {
		return paperDataSets[i].title
	}
	if source == Average {
		return "Avg."
	}
	return source
}

// SortSources sorts data sources: those of the paper's table first, in its order, then the others by name.
func SortSources(names []string) {
	slices.SortFunc(names, func(a, b string) int {
		i, j := paperSet(a), paperSet(b)
		if i >= 0 && j >= 0 && i != j {
			return i - j
		}
		if (i >= 0) != (j >= 0) {
			return j - i // sources that are not in the paper come last
		}
		return strings.Compare(a, b)
	})
}

package episode

import (
	"context"
	"strings"

	"github.com/zerosearch-go/zerosearch/rl/search"
)

// Environment is what a policy acts in: what it is asked, which texts are actions, what answers an action, and which of
// its tokens are trained on. Searching is the one of ZeroSearch. The methods are called by many goroutines at once, and
// what they give must depend on their arguments alone, or a run cannot be repeated.
type Environment interface {
	// Prompt is the user message that puts a question to the policy.
	Prompt(question string) string
	// Parse finds the first complete action in what the policy has said in a turn. end is the length of text up to and
	// including the action. The turn ends with the token that completes an action, and an action Answer ends the
	// episode, content being the answer. Without an action it gives Invalid, "" and len(text).
	Parse(text string) (action Action, content string, end int)
	// Respond carries out the action of turn t, the number-th from 0, which may be Invalid, and gives what the policy
	// reads next. It may record in t what it did. A status other than "" ends the episode; failure says why then.
	Respond(ctx context.Context, task Task, number int, t *Turn) (reply Reply, status Status, failure string)
	// Trained says whether the tokens that the policy sampled in turn t are trained on.
	Trained(t *Turn) bool
}

// Reply is what an environment lets the policy read after a turn. Its tokens are never trained on. Where it is longer
// than Config.MaxObservation, Body is shortened, the text around it never.
type Reply struct{ Open, Body, Close string }

// String is the whole text.
func (r Reply) String() string { return r.Open + strip(r.Body) + r.Close }

// ids encodes a reply of at most limit ids (0: no limit).
func (r Reply) ids(tok Tokenizer, limit int) []int32 {
	ids := tok.Encode(r.String())
	if limit <= 0 || len(ids) <= limit {
		return ids
	}
	text := strip(r.Body)
	body := tok.Encode(text)
	for keep := len(body); keep > 0; {
		// Encoding the shortened text may take more ids than were kept of it, so this may go round again, but always
		// down.
		keep -= max(1, len(ids)-limit)
		r.Body = head(tok, body, keep)
		if ids = tok.Encode(r.String()); len(ids) <= limit {
			return ids
		}
	}
	r.Body = ""
	return tok.Encode(r.String())
}

// Searching is the environment of ZeroSearch (arXiv 2505.04588): the policy searches with <search>query</search>, reads
// the documents in <information>, and answers with <answer>.
type Searching struct{ Searcher search.Searcher }

// Prompt is ZeroSearch's own text.
func (Searching) Prompt(question string) string { return Prompt(question) }

// Parse finds the first complete pair of tags.
func (Searching) Parse(text string) (action Action, content string, end int) { return Parse(text) }

// Respond asks the search engine, or says that there was no action.
func (s Searching) Respond(ctx context.Context, task Task, number int, t *Turn) (Reply, Status, string) {
	if t.Action != Search {
		return Reply{Open: invalidAction}, "", ""
	}
	q := search.Query{Query: t.Content, Question: task.Question, GoldenAnswers: task.GoldenAnswers, Step: task.Step,
		TotalSteps: task.TotalSteps, Success: task.Success, Quality: task.Quality, Stream: SearchStream(task.Seed, number)}
	documents, status, failure := t.Search(ctx, s.Searcher, q)
	return Reply{Open: openInformation, Body: documents, Close: closeInformation}, status, failure
}

// Trained is true: every turn of a search agent is trained on.
func (Searching) Trained(*Turn) bool { return true }

// mayEnd says without parsing whether an action can end in the last bytes of a turn, fresh.
func (Searching) mayEnd(fresh string) bool {
	return strings.Contains(fresh, "</search>") || strings.Contains(fresh, "</answer>")
}

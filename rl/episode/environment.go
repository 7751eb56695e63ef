package episode

import (
	"context"
	"strings"

	"github.com/zerosearch-go/zerosearch/rl/search"
)

// Environment is the environment of a policy, in the sense of reinforcement learning. It defines the prompt, which
// texts are actions, the response to an action, and which of the policy's tokens are trained on. Searching is
// ZeroSearch's environment. The methods are called by many goroutines at once, and their results must depend on their
// arguments alone, otherwise a run cannot be repeated.
type Environment interface {
	// Prompt is the user message that asks the policy a question.
	Prompt(question string) string
	// Parse finds the first complete action in text, the policy's text of one turn so far. end is the length of text up
	// to and including the action. A turn ends with the token that completes an action. The action Answer ends the
	// episode; its content is the answer. Without a complete action Parse gives Invalid, "" and len(text).
	Parse(text string) (action Action, content string, end int)
	// Respond carries out the action of turn t and gives the text that the policy reads next. number is the index of
	// the turn, from 0; the action may be Invalid. Respond may record in t what it did. A status other than "" ends the
	// episode; failure then says why.
	Respond(ctx context.Context, task Task, number int, t *Turn) (reply Reply, status Status, failure string)
	// Trained says whether the tokens that the policy sampled in turn t are trained on.
	Trained(t *Turn) bool
}

// Reply is the text that the policy reads after a turn. Its tokens are never trained on. If it has more than
// Config.MaxObservation tokens, Body is shortened; Open and Close are kept.
type Reply struct{ Open, Body, Close string }

// String is the complete text.
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
		// Encoding the shortened text may give more ids than were kept, so the loop may run again; keep falls each
		// time.
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

// Respond asks the search engine. For an invalid turn it gives the message about invalid actions.
func (s Searching) Respond(ctx context.Context, task Task, number int, t *Turn) (Reply, Status, string) {
	if t.Action != Search {
		return Reply{Open: invalidAction}, "", ""
	}
	q := search.Query{Query: t.Content, Question: task.Question, GoldenAnswers: task.GoldenAnswers, Facts: task.Facts,
		Step: task.Step, TotalSteps: task.TotalSteps, Success: task.Success, Quality: task.Quality,
		Stream: SearchStream(task.Seed, number)}
	documents, status, failure := t.Search(ctx, s.Searcher, q)
	return Reply{Open: openInformation, Body: documents, Close: closeInformation}, status, failure
}

// Trained is true: every turn of a search agent is trained on.
func (Searching) Trained(*Turn) bool { return true }

// mayEnd says whether an action can end in the newest bytes of a turn. It is a quick test that saves most calls of
// Parse.
func (Searching) mayEnd(fresh string) bool {
	return strings.Contains(fresh, "</search>") || strings.Contains(fresh, "</answer>")
}

// Package search answers a policy's queries. Searcher is the one interface of all engines: a language model that plays
// the search engine (in this process or on a server), a real search engine, an offline index, recorded documents, a
// mixture of these, or an engine that finds nothing. What a searcher returns is text of the environment: it is never
// parsed for actions and never trained on.
package search

import (
	"context"
	"strings"
	"unicode"
)

// Query is one search of one episode.
type Query struct {
	// Query is what the policy wrote between its search tags.
	Query string
	// Question is what the policy tries to answer, GoldenAnswers the accepted answers. Only simulated engines look at
	// them; without an answer they use a prompt that names none.
	Question      string
	GoldenAnswers []string
	// Facts, where not nil, are all that a simulated engine knows: a query's answer takes the place of GoldenAnswers,
	// and a query that is not among them gets noisy documents. So a query with a wrong name finds nothing.
	Facts map[string]string
	// Step counts from 0 to TotalSteps and sets the curriculum.
	Step, TotalSteps int
	// Success is the policy's smoothed success rate, from 0 to 1. The adaptive curriculum computes tau from it.
	Success float64
	// Quality forces useful or noisy documents; "" leaves it to the curriculum.
	Quality Quality
	// TopK is the number of documents to return; 0 stands for the engine's own.
	TopK int
	// Stream seeds all random choices for this query: the same query with the same stream gives the same documents.
	Stream uint64
}

// Quality says which kind of documents a simulated engine was asked for.
type Quality string

const (
	// Useful documents help to find the answer.
	Useful Quality = "useful"
	// Noisy documents distract from it.
	Noisy Quality = "noisy"
	// Real is the quality of engines that do not simulate.
	Real Quality = ""
)

// Documents is the answer to a Query.
type Documents struct {
	// Text is what the policy sees between <information> and </information>: stripped of white space, never empty.
	Text string `json:"text"`
	// Docs are the documents of Text one by one, each without its "Doc i:".
	Docs []string `json:"documents"`
	// Engine is the name of the engine that answered, set by a Meter.
	Engine string `json:"engine,omitempty"`
	// Quality of the documents, and how it was decided: they are useful where Draw > Tau. Tau and Draw are 0 for
	// engines that do not simulate and for a forced quality.
	Quality Quality `json:"quality"`
	Tau     float64 `json:"tau"`
	Draw    float64 `json:"draw"`
	// Raw is the simulator's complete output; PromptTokens and CompletionTokens count the tokens that it read and
	// wrote.
	Raw              string `json:"raw,omitempty"`
	PromptTokens     int    `json:"prompt_tokens"`
	CompletionTokens int    `json:"completion_tokens"`
	// Cached says that the documents come from the cache and the engine was not asked.
	Cached bool `json:"-"`
}

// Searcher is a search engine. Search is called by many goroutines at once. It returns an error only when the engine
// failed: an episode whose search failed is not trained on. An unusual query is no error, and neither is a query that
// finds nothing: its text is NoInformation. An *Unavailable in the error's chain says that other queries would fail,
// too. Search must return soon after ctx is done, with ctx's error in the chain, and its result must depend on the
// Query alone. Package searchtest checks all of this.
type Searcher interface {
	Search(ctx context.Context, q Query) (Documents, error)
}

// NoInformation is what the policy sees when nothing was found.
const NoInformation = "No information available"

// None is an engine that never finds anything: it shows what a policy can do without search.
type None struct{}

// Name is none.
func (None) Name() string { return "none" }

// Search returns NoInformation.
func (None) Search(ctx context.Context, _ Query) (Documents, error) {
	return Documents{Text: NoInformation, Docs: []string{}}, ctx.Err()
}

// strip removes white space at both ends as Python's str.strip does: Unicode's, and the four information separators.
func strip(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return unicode.IsSpace(r) || 0x1c <= r && r <= 0x1f })
}

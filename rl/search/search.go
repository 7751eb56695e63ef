// Package search answers a policy's queries: a language model that plays the search engine, here or on other machines, a real search
// engine, an offline index, recorded documents, mixtures of them, or nothing at all, behind one interface. What a searcher returns is text of the environment: it is never parsed for actions and never trained on.
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
	// Question is what the policy tries to answer, GoldenAnswers the accepted answers. Only simulated engines look at them; without
	// an answer they use a prompt that names none.
	Question      string
	GoldenAnswers []string
	// Step counts from 0 to TotalSteps and sets the curriculum.
	Step, TotalSteps int
	// Success is the policy's success rate, smoothed, from 0 to 1: what the adaptive curriculum follows.
	Success float64
	// Quality forces useful or noisy documents; "" leaves it to the curriculum.
	Quality Quality
	// Stream keys everything random about this query: the same query with the same stream gives the same documents.
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
	// Text is what the policy sees between the information tags: stripped, never empty.
	Text string `json:"text"`
	// Docs are the single documents in Text, without their "Doc i:".
	Docs []string `json:"documents"`
	// Engine is the name of the engine that answered, set by a Meter.
	Engine string `json:"engine,omitempty"`
	// Quality, and how it was decided: Draw > Tau is useful. Both are 0 for engines that do not simulate and for a forced quality.
	Quality Quality `json:"quality"`
	Tau     float64 `json:"tau"`
	Draw    float64 `json:"draw"`
	// Raw is the simulator's whole output, PromptTokens and CompletionTokens its cost.
	Raw              string `json:"raw,omitempty"`
	PromptTokens     int    `json:"prompt_tokens"`
	CompletionTokens int    `json:"completion_tokens"`
	// Cached: the engine was not asked, an earlier answer was kept.
	Cached bool `json:"-"`
}

// Searcher is a search engine. Search is called by many goroutines at once. It returns an error only when the engine failed (never
// for a strange query, and never for finding nothing, which is the text NoInformation): an episode whose search failed is not trained on.
// An *Unavailable in its chain says that other queries would fare no better.
// It must return soon after ctx is done, with ctx's error in the chain, and its result must depend on the Query alone. Package
// searchtest checks all of this.
type Searcher interface {
	Search(ctx context.Context, q Query) (Documents, error)
}

// NoInformation is what the policy sees when nothing was found.
const NoInformation = "No information available"

// None finds nothing, ever: what a policy can do without search.
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

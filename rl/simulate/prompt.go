package simulate

import (
	"strconv"
	"strings"
	"sync"

	"github.com/zerosearch-go/zerosearch/rl/reward"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// copiedWords is how many words in a row must come from the prompt for a document to be a copy of it.
const copiedWords = 8

// promptRuns are the runs of copiedWords words in all prompts of simulators, their demonstration included.
var promptRuns = sync.OnceValue(func() map[string]bool {
	out := map[string]bool{}
	for _, form := range []search.Form{search.SFT, search.Prompt} {
		for _, quality := range []search.Quality{search.Useful, search.Noisy} {
			words := strings.Fields(reward.Normalize(search.Render(form, quality, search.Query{}, 5)))
			for i := copiedWords; i <= len(words); i++ {
				out[strings.Join(words[i-copiedWords:i], " ")] = true
			}
		}
	}
	return out
})

// copiesPrompt reports whether a document, as normalised words, repeats a part of the simulator's prompt.
func copiesPrompt(words []string) bool {
	for i := copiedWords; i <= len(words); i++ {
		if promptRuns()[strings.Join(words[i-copiedWords:i], " ")] {
			return true
		}
	}
	return false
}

// numbered reports whether an output is a list "Doc 1: ...", "Doc 2: ..." from its first line on, in order.
func numbered(raw string) bool {
	next := 1
	for line := range strings.Lines(strings.TrimSpace(raw)) {
		line = strings.TrimSpace(line)
		switch label := "Doc " + strconv.Itoa(next) + ":"; {
		case strings.HasPrefix(line, label):
			next++
		case next == 1 || strings.HasPrefix(line, "Doc "):
			return false
		}
	}
	return next > 1
}

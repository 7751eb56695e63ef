package harvest

import (
	"strings"

	"github.com/zerosearch-go/zerosearch/rl/reward"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// cut shortens a document to n words: the first part of those that hold most of the query's terms, an accepted answer
// counting more than all terms. Search engines show such a part of a page. n = 0 keeps the document.
func cut(document, query string, golds []string, n int) string {
	words := strings.Fields(document)
	if n == 0 || len(words) <= n {
		return document
	}
	wanted := search.TermSet(query)
	answers := reward.Mentions(document, golds)
	best, at := -1, 0
	for i := 0; i+n <= len(words); i++ {
		part := strings.Join(words[i:i+n], " ")
		seen := map[string]bool{}
		for term := range search.Terms(part) {
			if wanted[term] {
				seen[term] = true
			}
		}
		score := len(seen)
		if answers && reward.Mentions(part, golds) {
			score += len(wanted) + 1
		}
		if score > best {
			best, at = score, i
		}
	}
	return strings.Join(words[at:at+n], " ")
}

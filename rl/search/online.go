package search

import (
	"cmp"
	"context"
	"fmt"
	"strings"
)

// Fetcher is a real search engine: its documents depend only on the text of the query.
type Fetcher interface {
	// Fetch returns documents, best first, each on one line. A query that finds nothing is no error.
	Fetch(ctx context.Context, query string) ([]string, error)
	// Name is the name of the engine. Key describes everything besides the query that its answers depend on: it
	// separates cache entries.
	Name() string
	Key() string
}

// Online is a Searcher over a real engine, with a cache of its answers.
type Online struct {
	Engine Fetcher
	// Cache may be nil.
	Cache *Cache
	// TopK is the number of documents; 0 is 5.
	TopK int
}

// maxQuery is the largest number of bytes of a query that is sent: engines use a few dozen words, and the length of a
// URL is limited.
const maxQuery = 1000

// Name is the name of the engine.
func (o *Online) Name() string { return o.Engine.Name() }

// Search asks the cache, then the engine. An empty query finds nothing and is not sent.
func (o *Online) Search(ctx context.Context, q Query) (Documents, error) {
	if err := ctx.Err(); err != nil {
		return Documents{}, fmt.Errorf("searching: %w", err)
	}
	query := plainQuery(q.Query)
	if query == "" {
		return Documents{Text: NoInformation, Docs: []string{}}, nil
	}
	docs, cached, err := o.Cache.get(ctx, o.Engine, query)
	if err != nil {
		return Documents{}, fmt.Errorf("searching: %w", err)
	}
	k := cmp.Or(q.TopK, o.TopK, 5)
	docs = docs[:min(k, len(docs))]
	return Documents{Text: Numbered(docs), Docs: docs, Cached: cached}, nil
}

// plainQuery makes a query fit for an engine: valid UTF-8 without control characters, on one line, of at most maxQuery
// bytes.
func plainQuery(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " "))
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxQuery {
		s = strip(strings.ToValidUTF8(s[:maxQuery], ""))
	}
	return s
}

// titled joins title and text to a document on one line. Either may be missing; it is "" if both are.
func titled(title, text string) string {
	title, text = strings.Join(strings.Fields(title), " "), strings.Join(strings.Fields(text), " ")
	if title != "" {
		title = `"` + title + `"`
	}
	return strip(title + " " + text)
}

// errShape is the error of an answer that does not follow the protocol; want names the expected form.
func errShape(want string, body []byte, why error) error {
	return fmt.Errorf("the answer is not %s: %w: %s", want, why, short(string(body), 100))
}

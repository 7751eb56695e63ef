package assistant

import (
	"context"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/rl/thought"
)

// watched is a policy and a search engine that tell what they do while they do it.
type watched struct {
	watch    Watch
	searcher search.Searcher
	topK     int // of each query; 0: the engine's own
	policy   episode.Policy
	tok      episode.Tokenizer
	quiet    bool // the documents were shown before
	writes   bool // what a search finds is what a text is written from

	mu   sync.Mutex
	turn int // turns that have begun
}

// Generate passes the text of the turn on as it grows.
func (w *watched) Generate(ctx context.Context, r episode.Request) (episode.Result, error) {
	if w.watch.Text == nil {
		return w.policy.Generate(ctx, r)
	}
	stop, seen := r.Stop, 0
	text := []byte(episode.Prefill(w.tok, r.Context)) // of a thought that the chat template opened
	add := func(ids []int32) {
		if len(ids) <= seen { // the engine restarted the turn, and gives the same ids again
			return
		}
		for _, id := range ids[seen:] {
			text = append(text, w.tok.Bytes(id)...)
		}
		seen = len(ids)
	}
	r.Stop = func(ids []int32) bool {
		add(ids)
		w.watch.Text(whole(text), false)
		return stop != nil && stop(ids)
	}
	out, err := w.policy.Generate(ctx, r)
	if err == nil {
		add(out.IDs)
		w.watch.Text(strings.ToValidUTF8(string(text), "\ufffd"), true)
	}
	return out, err
}

// whole is the text without a last character that is not complete yet.
func whole(text []byte) string {
	for k := 1; k < utf8.UTFMax && k <= len(text); k++ {
		if c := text[len(text)-k]; utf8.RuneStart(c) {
			if !utf8.FullRune(text[len(text)-k:]) {
				text = text[:len(text)-k]
			}
			break
		}
	}
	return strings.ToValidUTF8(string(text), "\ufffd")
}

// Search passes the documents on.
func (w *watched) Search(ctx context.Context, q search.Query) (search.Documents, error) {
	w.mu.Lock()
	w.turn++
	turn := w.turn
	w.mu.Unlock()
	if w.watch.Searching != nil && !w.quiet {
		w.watch.Searching(turn, q.Query)
	}
	q.TopK = w.topK
	d, err := w.searcher.Search(ctx, q)
	if err == nil && w.watch.Searched != nil && !w.quiet {
		w.watch.Searched(turn, q.Query, d.Docs)
	}
	if err == nil && w.writes {
		w.write(d.Docs)
	}
	return d, err
}

// write tells that a text is begun.
func (w *watched) write(documents []string) {
	if w.watch.Write != nil {
		w.watch.Write(documents)
	}
}

// found is a search engine that gives these documents to any query.
type found []string

// Search gives the documents.
func (f found) Search(ctx context.Context, _ search.Query) (search.Documents, error) {
	return search.Documents{Text: search.Numbered(f), Docs: f}, ctx.Err()
}

// visible is what a reader sees of a text that was not written as an action: no thoughts, no tags of an answer. Of a
// text that still grows, the beginning of a tag at its end is left out too.
func visible(text string) string {
	text = thought.Without(text)
	for _, tag := range []string{"<answer>", "</answer>"} {
		text = strings.ReplaceAll(text, tag, "")
	}
	return text
}

// settled is text without what may become a tag when more is written.
func settled(text string) string {
	const longestTag = 16
	for _, open := range []string{"<", "[", "◁"} {
		if i := strings.LastIndex(text, open); i >= 0 && len(text)-i < longestTag &&
			!strings.ContainsAny(text[i:], ">]▷\n") {
			text = text[:i]
		}
	}
	return text
}

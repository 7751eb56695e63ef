package episode_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// toy is a tokenizer with the 256 bytes, some longer tokens that cross the borders of tags, and an end-of-sequence id.
type toy struct{ pieces []string }

const eos = 256

func newToy() toy {
	t := toy{}
	for b := range 256 {
		t.pieces = append(t.pieces, string([]byte{byte(b)}))
	}
	t.pieces = append(t.pieces, "", "<search>", "</search>", "</answer>", "<answer", "search", "answer", ">P", "aris",
		"</", "h> and", " the ", "Doc ", "information", "tion>\n\n",
		"My previous action is invalid", "question", "é", "</search>\n")
	return t
}

func (t toy) Bytes(id int32) []byte { return []byte(t.pieces[id]) }

func (t toy) Encode(text string) (ids []int32) {
	for text != "" {
		best := int32(text[0])
		for id := int32(257); int(id) < len(t.pieces); id++ {
			if strings.HasPrefix(text, t.pieces[id]) && len(t.pieces[id]) > len(t.pieces[best]) {
				best = id
			}
		}
		ids = append(ids, best)
		text = text[len(t.pieces[best]):]
	}
	return ids
}

func (t toy) text(ids []int32) string {
	var b strings.Builder
	for _, id := range ids {
		b.WriteString(t.pieces[id])
	}
	return b.String()
}

// policy generates one of its lines in each turn, as an engine would: id by id, calling Stop after each. "{eos}" is the
// end-of-sequence id.
type policy struct {
	toy
	lines    []string
	turn     int
	deaf     bool // never calls Stop
	bytes    bool // generates every text byte by byte
	err      error
	requests []episode.Request
}

func (p *policy) Generate(ctx context.Context, r episode.Request) (res episode.Result, err error) {
	if err := ctx.Err(); err != nil {
		return res, err
	}
	if p.err != nil {
		return res, p.err
	}
	r.Context = slices.Clone(r.Context)
	p.requests = append(p.requests, r)
	line := ""
	if p.turn < len(p.lines) {
		line = p.lines[p.turn]
	}
	p.turn++
	before, _, hasEOS := strings.Cut(line, "{eos}")
	ids := p.Encode(before)
	if p.bytes {
		ids = nil
		for _, b := range []byte(before) {
			ids = append(ids, int32(b))
		}
	}
	if hasEOS {
		ids = append(ids, eos)
	}
	res.Finish = "stop"
	for _, id := range ids {
		if len(res.IDs) == r.MaxTokens {
			res.Finish = "length"
			break
		}
		res.IDs = append(res.IDs, id)
		res.Logprobs = append(res.Logprobs, -float32(len(r.Context)+len(res.IDs))/64)
		if !p.deaf && r.Stop(res.IDs) {
			break
		}
	}
	return res, nil
}

// engine answers each query with its next text; "fail: x" is an error, "cancel" cancels the run.
type engine struct {
	texts   []string
	cancel  func()
	queries []search.Query
}

func (e *engine) Search(ctx context.Context, q search.Query) (search.Documents, error) {
	e.queries = append(e.queries, q)
	if len(e.texts) == 0 {
		return search.Documents{}, errors.New("the script has no more documents")
	}
	text := e.texts[0]
	e.texts = e.texts[1:]
	if why, ok := strings.CutPrefix(text, "fail: "); ok {
		return search.Documents{}, errors.New(why)
	}
	if text == "cancel" {
		e.cancel()
		return search.Documents{}, fmt.Errorf("searching: %w", ctx.Err())
	}
	d := search.Documents{Text: text, Docs: search.Split(text), Tau: 0.25, Draw: search.Draw(q.Stream)}
	d.Quality = search.Decide(d.Draw, d.Tau)
	return d, nil
}

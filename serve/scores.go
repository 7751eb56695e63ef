package serve

import (
	"context"
	"slices"
	"sync"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/engine/kvcache"
)

// scored are the log-probabilities of a prompt's tokens after the first; element i is that of token i+1.
type scored struct {
	logprobs []float32
	top      [][]engine.TokenLogprob // nil: not asked for
	ranks    []int32                 // nil: not asked for
	cached   int                     // tokens whose keys and values, or scores, were known
}

// scoring says what is computed for a prompt.
type scoring struct {
	model   *Model
	invTemp float32
	top     int
	ranks   bool
}

// answers reports whether what was computed for o is enough for c.
func (o scoring) answers(c scoring) bool {
	return o.model == c.model && o.invTemp == c.invTemp && o.top >= c.top && (o.ranks || !c.ranks)
}

// scorePrompts sets the scores of a call's prompts, if it asks for them. Prompts are scored together, but for those
// that begin as an earlier one: they follow it and are scored from where they differ.
func (s *Server) scorePrompts(ctx context.Context, c *call) error {
	if !c.scores() {
		return nil
	}
	c.scored = make([]scored, len(c.prompts))
	want := scoring{model: c.model, invTemp: engine.InvTemp(c.temperature)}
	if c.logprobs && c.echo {
		want.top = int(c.top)
	}
	if c.promptTop != nil {
		want.top, want.ranks = max(want.top, int(*c.promptTop)), true
	}
	if c.logprobs && c.echo || c.promptTop != nil {
		if err := s.scoreAll(ctx, c, want); err != nil {
			return err
		}
	}
	if !c.echo {
		return nil
	}
	for i, ids := range c.prompts {
		var text *string
		if c.texts != nil {
			text = &c.texts[i]
		}
		c.prefix = append(c.prefix, c.begin(ids, text, c.scored[i]))
	}
	return nil
}

// scoreAll scores all prompts of a call.
func (s *Server) scoreAll(ctx context.Context, c *call, want scoring) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make([]chan struct{}, len(c.prompts))
	for i := range done {
		done[i] = make(chan struct{})
	}
	var wait sync.WaitGroup
	for i, ids := range c.prompts {
		before := leader(c.prompts[:i], ids)
		wait.Go(func() {
			defer close(done[i])
			if before >= 0 {
				<-done[before]
			}
			var err error
			if c.scored[i], err = s.score(ctx, want, ids); err != nil {
				cancel(err) // the others fail with it
			}
		})
	}
	wait.Wait()
	return context.Cause(ctx)
}

// worthWaiting is the number of common tokens from which on a prompt waits for another one.
const worthWaiting = 16

// leader is the first of the last prompts that has the most in common with ids; -1 if that is too little.
func leader(prompts [][]int32, ids []int32) int {
	best, most := -1, worthWaiting-1
	for i := max(0, len(prompts)-64); i < len(prompts); i++ {
		if n := kvcache.Common(prompts[i], ids); n > most {
			best, most = i, n
		}
	}
	return best
}

// score scores one prompt. Scores of tokens that it shares with a recent prompt are reused.
func (s *Server) score(ctx context.Context, want scoring, ids []int32) (scored, error) {
	known, n := s.recent.find(want, ids)
	out := scored{logprobs: slices.Clone(known.logprobs[:max(n-1, 0)])}
	if want.top > 0 {
		out.top = slices.Clone(known.top[:max(n-1, 0)])
	}
	if want.ranks {
		out.ranks = slices.Clone(known.ranks[:max(n-1, 0)])
	}
	m := want.model
	r, err := s.eng.Score(ctx, m.Engine, m.Adapter, ids,
		engine.ScoreOptions{From: max(n, 1), InvTemp: want.invTemp, TopEach: want.top, Ranks: want.ranks})
	if err != nil {
		return scored{}, err
	}
	out.logprobs = append(out.logprobs, r.Logprobs...)
	out.top, out.ranks = append(out.top, r.TopEach...), append(out.ranks, r.Ranks...)
	if out.cached = r.CachedTokens; n == len(ids) {
		out.cached = n
	}
	s.recent.add(want, ids, out)
	return out, nil
}

// recentScores are the prompts that were scored last. Evaluations ask for one text with several continuations, in one
// request or in several that follow each other.
type recentScores struct {
	mu   sync.Mutex
	list []recentPrompt // the latest last
	size int            // numbers held
}

type recentPrompt struct {
	scoring
	ids []int32
	scored
}

// maxRecent bounds the numbers that are held, four bytes each or, for one in four, eight.
const maxRecent = 4 << 20

func (p *recentPrompt) size() int { return len(p.ids) * (3 + 3*p.scoring.top) }

// find is the prompt that has the most in common with ids, and how many tokens those are.
func (r *recentScores) find(want scoring, ids []int32) (best scored, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.list) - 1; i >= 0; i-- {
		if p := &r.list[i]; p.answers(want) {
			if k := kvcache.Common(p.ids, ids); k > n {
				best, n = p.scored, k
			}
		}
	}
	return best, n
}

// add remembers a prompt and forgets the oldest ones.
func (r *recentScores) add(o scoring, ids []int32, s scored) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, recentPrompt{o, ids, s})
	for r.size += r.list[len(r.list)-1].size(); r.size > maxRecent || len(r.list) > 256; r.list = r.list[1:] {
		r.size -= r.list[0].size()
	}
}

// ends sends the last piece of each choice of a call that generates nothing.
func (s *Server) ends(c *call, each func(piece) error) error {
	for i := range c.sequences() {
		p := piece{choice: i, finish: "length"}
		s.count(c, p)
		if err := each(p); err != nil {
			return err
		}
	}
	return nil
}

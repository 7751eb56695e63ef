package serve

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/zerosearch-go/zerosearch/engine"
)

// piece is newly generated output of one choice. The last piece of a choice has a finish reason and the engine's
// result.
type piece struct {
	choice int
	text   string
	tokens []entry
	ids    []int32 // token ids, with return_token_ids
	count  int     // tokens of the choice that were generated up to here
	finish string
	stop   any // the stop string or stop token id that ended it, or nil
	result engine.Result
}

// serve reads a request with parse, reserves its sequences and answers it.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, parse func(body []byte) (*call, error)) {
	if s.draining.Load() {
		s.fail(w, engine.ErrClosed)
		return
	}
	began := time.Now()
	body, err := s.body(w, r)
	if err != nil {
		s.fail(w, err)
		return
	}
	c, err := parse(body)
	if err != nil {
		s.fail(w, err)
		return
	}
	c.began = began
	n := c.sequences()
	if n > s.o.MaxSequences {
		s.fail(w,
			bad("n",
				"the request needs %d sequences, this server runs at most %d at once: send fewer prompts or a smaller n", n, s.o.MaxSequences))
		return
	}
	if !s.reserve(n) {
		s.fail(w, busy())
		return
	}
	defer s.release(n)
	if err := s.scorePrompts(r.Context(), c); err != nil {
		s.fail(w, err)
		return
	}
	switch {
	case c.model.Agent != nil:
		err = s.asAgent(w, r, c)
	case c.stream:
		err = s.stream(w, r, c)
	default:
		err = s.respond(w, r, c)
	}
	if err != nil {
		s.fail(w, err)
	}
}

// run generates all choices and calls each with their pieces, on this goroutine. The pieces of a choice come in order.
// run calls idle when no piece is ready. When run returns, the engine has no sequence of the call left.
func (s *Server) run(ctx context.Context, c *call, each func(piece) error, idle func() error) error {
	if c.scoresOnly() {
		return s.ends(c, each)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	pieces := make(chan piece, 64)
	var choices sync.WaitGroup
	defer choices.Wait()
	defer cancel(nil)
	for i := range c.sequences() {
		choices.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					cancel(fmt.Errorf("internal error: %v", p))
				}
			}()
			if err := s.generate(ctx, c, i, pieces); err != nil {
				cancel(err) // if one choice fails, the request fails
			}
		})
	}
	for left := c.sequences(); left > 0; {
		var p piece
		select {
		case p = <-pieces:
		default:
			if err := idle(); err != nil {
				return err
			}
			select {
			case p = <-pieces:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if p.finish != "" {
			left--
			s.count(c, p)
		}
		if err := each(p); err != nil {
			return err
		}
	}
	return nil
}

// generate generates choice i and sends its pieces to out.
func (s *Server) generate(ctx context.Context, c *call, i int, out chan<- piece) error {
	r := c.request(i)
	var complete func(ids []int32) bool
	r.Restrict, complete = c.restrictions()
	r.Stop = either(complete, c.stopsAfterCall(c.output.Stopper()))
	send := func(p piece) {
		p.choice = i
		select {
		case out <- p:
		case <-ctx.Done():
		}
	}
	t := newTranscript(c.output)
	t.characters = c.echoes(i)
	first, count := true, 0
	if c.logprobs {
		r.Top = int(c.top)
	}
	r.OnToken = func(x engine.Token) {
		if first {
			s.metrics.first.observe(time.Since(c.began))
			first = false
		}
		if !c.needsTokens() {
			return
		}
		count++
		p := piece{count: count}
		if p.text, p.tokens = t.add(entry{id: x.ID, logp: x.Logprob, top: x.Top}); c.returnIDs {
			p.ids = []int32{x.ID}
		}
		if p.text != "" || len(p.tokens) > 0 || len(p.ids) > 0 {
			send(p)
		}
	}
	res, err := s.eng.Generate(ctx, r)
	if err != nil {
		s.metrics.cutOff(len(res.IDs))
		return err
	}
	last := piece{finish: "length", result: res, count: len(res.IDs)}
	if res.Finish == engine.FinishStop {
		last.finish = "stop"
	}
	if !c.needsTokens() {
		for n, id := range res.IDs {
			text, tokens := t.add(entry{id: id, logp: res.Logprobs[n]})
			last.text += text
			last.tokens = append(last.tokens, tokens...)
		}
		if c.returnIDs {
			last.ids = res.IDs
		}
	}
	text, tokens := t.end()
	if last.text, last.tokens = last.text+text, append(last.tokens, tokens...); t.stopped {
		last.finish, last.stop = "stop", t.reason
	} else if n := len(res.IDs); n > 0 && slices.Contains(c.stopIDs, res.IDs[n-1]) {
		last.stop = res.IDs[n-1]
	}
	send(last)
	return nil
}

// either reports whether f or g do, which are both called; nil is a function that does not.
func either(f, g func(ids []int32) bool) func(ids []int32) bool {
	if f == nil || g == nil {
		if f == nil {
			return g
		}
		return f
	}
	return func(ids []int32) bool {
		first, second := f(ids), g(ids)
		return first || second
	}
}

// needsTokens reports whether tokens are handled one by one: to stream them, or for top log-probabilities, which the
// result lacks.
func (c *call) needsTokens() bool { return c.stream || c.logprobs && c.top > 0 }

// respond answers when all choices have finished.
func (s *Server) respond(w http.ResponseWriter, r *http.Request, c *call) error {
	f := newResponseBuilder(c)
	err := s.run(r.Context(), c, func(p piece) error {
		f.add(p)
		return nil
	}, func() error { return nil })
	if err != nil {
		return err
	}
	s.reply(w, http.StatusOK, f.response())
	return nil
}

// stream answers with server-sent events. It flushes only when no further piece is ready.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, c *call) error {
	f, out := newResponseBuilder(c), s.events(w)
	err := s.run(r.Context(), c, func(p piece) error {
		for _, a := range f.chunks(p) {
			if err := out.send(a); err != nil {
				return err
			}
		}
		return nil
	}, out.flush)
	if err != nil {
		return s.broken(r, out, err)
	}
	out.end(c.usage, f.usageChunk)
	return nil
}

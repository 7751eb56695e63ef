package serve

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/zerosearch-go/zerosearch/engine"
)

// piece is news of a choice. The last one has a finish reason and the result.
type piece struct {
	choice int
	text   string
	tokens []entry
	ids    []int32 // new, with return_token_ids
	finish string
	result engine.Result
}

// serve answers a request that parse understands.
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
		s.fail(w, bad("n", "the request asks for %d sequences, this server takes %d at once: ask for fewer", n, s.o.MaxSequences))
		return
	}
	if !s.enter(n) {
		s.fail(w, &apiError{Status: 429, Type: "rate_limit_error", Code: "rate_limit_exceeded", Message: "the server is busy: try again later"})
		return
	}
	defer s.leave(n)
	if c.stream {
		err = s.stream(w, r, c)
	} else {
		err = s.whole(w, r, c)
	}
	if err != nil {
		s.fail(w, err)
	}
}

// run generates all choices and calls each with their pieces, on this goroutine: those of a choice in order. idle is called when no
// piece is ready. When run returns nothing of the call is left in the engine.
func (s *Server) run(ctx context.Context, c *call, each func(piece) error, idle func() error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	pieces := make(chan piece, 64)
	var choices sync.WaitGroup
	defer choices.Wait()
	defer cancel(nil)
	for i := range c.sequences() {
		choices.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					cancel(fmt.Errorf("an unforeseen state: %v", p))
				}
			}()
			if err := s.generate(ctx, c, i, pieces); err != nil {
				cancel(err) // one choice without answer: the request has none
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

// generate runs choice i.
func (s *Server) generate(ctx context.Context, c *call, i int, out chan<- piece) error {
	r := c.request(i)
	r.Stop = stopper(c.model.Tokenizer, r.EOS, c.stops)
	send := func(p piece) {
		p.choice = i
		select {
		case out <- p:
		case <-ctx.Done():
		}
	}
	t := newTranscript(c.model.Tokenizer, r.EOS, c.stops)
	look := looker{s: s, c: c, ids: r.Prompt[:len(r.Prompt):len(r.Prompt)], from: len(r.Prompt), invTemp: engine.InvTemp(r.Temperature)}
	first := true
	var failed error
	r.OnToken = func(id int32) {
		if first {
			s.metrics.first.observe(time.Since(c.began))
			first = false
		}
		if failed != nil || !c.stream && !c.looks() {
			return
		}
		e := entry{id: id}
		if c.looks() {
			if e, failed = look.next(ctx, id); failed != nil {
				return
			}
		}
		p := piece{}
		if p.text, p.tokens = t.add(e); c.returnIDs {
			p.ids = []int32{id}
		}
		if p.text != "" || len(p.tokens) > 0 || len(p.ids) > 0 {
			send(p)
		}
	}
	res, err := s.eng.Generate(ctx, r)
	if err = errors.Join(failed, err); err != nil {
		s.metrics.cutOff(len(res.IDs))
		return err
	}
	last := piece{finish: "length", result: res}
	if res.Finish == engine.FinishStop {
		last.finish = "stop"
	}
	if !c.stream && !c.looks() {
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
		last.finish = "stop"
	}
	send(last)
	return nil
}

// looks reports whether tokens have to be scored beside the generation: their log-probabilities are wanted before it ends, or the
// most likely tokens are.
func (c *call) looks() bool { return c.logprobs && (c.stream || c.top > 0) }

// looker scores the tokens of a choice as they come. What has been generated is in the engine's cache, so that it costs a token or two.
type looker struct {
	s       *Server
	c       *call
	ids     []int32 // all so far
	from    int     // how many of them are the prompt
	invTemp float32
	top     []engine.TokenLogprob // in the next token's place
}

// next is the entry of the next token: the bits that the sampler saw.
func (l *looker) next(ctx context.Context, id int32) (entry, error) {
	score := func(from int) (engine.Scores, error) {
		return l.s.eng.Score(ctx, l.c.model.Engine, l.c.model.Adapter, l.ids, engine.ScoreOptions{From: from, InvTemp: l.invTemp, TopK: l.c.top})
	}
	if len(l.ids) == l.from && l.c.top > 0 {
		sc, err := score(l.from)
		if err != nil {
			return entry{}, err
		}
		l.top = sc.Top
	}
	l.ids = append(l.ids, id)
	sc, err := score(len(l.ids) - 1)
	if err != nil {
		return entry{}, err
	}
	e := entry{id: id, logp: sc.Logprobs[0], top: l.top}
	l.top = sc.Top
	return e, nil
}

// whole answers when all is there.
func (s *Server) whole(w http.ResponseWriter, r *http.Request, c *call) error {
	f := newFormer(c)
	err := s.run(r.Context(), c, func(p piece) error {
		f.add(p)
		return nil
	}, func() error { return nil })
	if err != nil {
		return err
	}
	s.reply(w, http.StatusOK, f.whole())
	return nil
}

// stream answers with server-sent events. Pieces that are ready together are sent together.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, c *call) error {
	f, ctl := newFormer(c), http.NewResponseController(w)
	begun, dirty := false, false
	event := func(v []byte) error {
		if !begun {
			h := w.Header()
			h.Set("Content-Type", "text/event-stream; charset=utf-8")
			h.Set("Cache-Control", "no-cache")
			h.Set("X-Accel-Buffering", "no")
			w.WriteHeader(http.StatusOK)
			begun = true
		}
		_ = ctl.SetWriteDeadline(time.Now().Add(s.o.WriteTimeout)) // a client that does not read is let go
		dirty = true
		_, err := fmt.Fprintf(w, "data: %s\n\n", v)
		return err
	}
	flush := func() error {
		if !dirty {
			return nil
		}
		dirty = false
		return ctl.Flush()
	}
	err := s.run(r.Context(), c, func(p piece) error {
		for _, a := range f.chunks(p) {
			if err := event(trimNewline(encode(a))); err != nil {
				return err
			}
		}
		return nil
	}, flush)
	if err != nil && !begun {
		return err
	}
	if err != nil {
		if r.Context().Err() == nil {
			_ = event(trimNewline(encode(map[string]*apiError{"error": s.apiError(err)})))
		}
		return nil // the stream ends without [DONE]
	}
	if c.usage {
		if err := event(trimNewline(encode(f.last()))); err != nil {
			return nil // the client is gone
		}
	}
	if event([]byte("[DONE]")) == nil {
		_ = flush()
	}
	return nil
}

func trimNewline(b []byte) []byte { return b[:len(b)-1] }

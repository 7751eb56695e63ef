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

// piece is news of a choice. The last one has a finish reason and the result.
type piece struct {
	choice int
	text   string
	tokens []entry
	ids    []int32 // new, with return_token_ids
	finish string
	stop   any // the stop text or the stop id that ended it, or nil
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
	r.Stop = c.output.Stopper()
	send := func(p piece) {
		p.choice = i
		select {
		case out <- p:
		case <-ctx.Done():
		}
	}
	t := newTranscript(c.output)
	first := true
	if c.logprobs {
		r.Top = int(c.top)
	}
	r.OnToken = func(x engine.Token) {
		if first {
			s.metrics.first.observe(time.Since(c.began))
			first = false
		}
		if !c.follows() {
			return
		}
		p := piece{}
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
	last := piece{finish: "length", result: res}
	if res.Finish == engine.FinishStop {
		last.finish = "stop"
	}
	if !c.follows() {
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

// follows reports whether tokens are wanted before the generation ends, or more of them than its result has.
func (c *call) follows() bool { return c.stream || c.logprobs && c.top > 0 }

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

package serve

import (
	"fmt"
	"net/http"
	"time"
)

// events writes a response of server-sent events.
type events struct {
	w            http.ResponseWriter
	ctl          *http.ResponseController
	timeout      time.Duration
	begun, dirty bool // the response has begun; something is not flushed
}

func (s *Server) events(w http.ResponseWriter) *events {
	return &events{w: w, ctl: http.NewResponseController(w), timeout: s.o.WriteTimeout}
}

// send writes an event with v as JSON.
func (e *events) send(v any) error {
	b := encode(v)
	return e.write(b[:len(b)-1])
}

func (e *events) write(data []byte) error {
	if !e.begun {
		h := e.w.Header()
		h.Set("Content-Type", "text/event-stream; charset=utf-8")
		h.Set("Cache-Control", "no-cache")
		h.Set("X-Accel-Buffering", "no")
		e.w.WriteHeader(http.StatusOK)
		e.begun = true
	}
	_ = e.ctl.SetWriteDeadline(time.Now().Add(e.timeout)) // disconnects a client that does not read
	e.dirty = true
	_, err := fmt.Fprintf(e.w, "data: %s\n\n", data)
	return err
}

// flush sends what was written.
func (e *events) flush() error {
	if !e.dirty {
		return nil
	}
	e.dirty = false
	return e.ctl.Flush()
}

// end writes the numbers of tokens, if they are wanted, and the end of the stream.
func (e *events) end(usage bool, chunk func() answer) {
	if usage && e.send(chunk()) != nil {
		return // the client disconnected
	}
	if e.write([]byte("[DONE]")) == nil {
		_ = e.flush()
	}
}

// broken ends a response with an error: as an event if the stream has begun, which then ends without [DONE].
func (s *Server) broken(r *http.Request, e *events, err error) error {
	if !e.begun {
		return err
	}
	if r.Context().Err() == nil {
		_ = e.send(map[string]*apiError{"error": s.apiError(err)})
	}
	return nil
}

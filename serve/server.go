package serve

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/internal/jsongrammar"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/serve/page"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// DefaultAddress is where ZeroSearch's scripts expect the simulator. It accepts connections from this machine only.
const DefaultAddress = "127.0.0.1:6001"

// Model is a model that clients can name: a model of the engine, with or without an adapter.
type Model struct {
	ID        string         // the name that clients use
	Root      string         // where it was opened from, for /v1/models; "": the ID
	Parent    string         // the ID of the model whose weights it uses, for /v1/models; "": none
	Engine    string         // as given to Engine.AddModel
	Adapter   *model.Adapter // nil: none
	Config    *model.Config
	Tokenizer *tokenizer.Tokenizer // nil: prompts and answers are token ids
	Template  *tokenizer.Template  // nil: the contents of the messages are joined
	EOS       []int32              // end-of-sequence token ids
	Use       Use                  // what clients may ask it for
	// Agent, if not nil, answers conversations instead of the model itself, which is Parent.
	Agent Agent

	context    int // the engine's limit on tokens of prompt and answer together
	vocabulary func() *jsongrammar.Vocabulary
}

// Options are limits for clients. The comment of a field says what its zero value means.
type Options struct {
	APIKey string // "": no key is needed
	// origins of the pages that may use the server and read its responses, "*" for all; see CheckOrigin. None by
	// default: see guard
	AllowOrigins []string
	MaxSequences int           // running and waiting together; beyond it requests get status 429. 0: 512
	MaxBody      int64         // bytes of a request body. 0: 4 MiB
	ReadTimeout  time.Duration // for a request's header, and again for its body. 0: 30 s
	WriteTimeout time.Duration // for a client to read each write. 0: 30 s
	DrainTimeout time.Duration // for requests in flight when the server stops. 0: 30 s

	Version string // what /version answers

	Log func(format string, args ...any) // logs one line; nil: nothing is logged
}

func (o Options) withDefaults() Options {
	for _, d := range []*time.Duration{&o.ReadTimeout, &o.WriteTimeout, &o.DrainTimeout} {
		if *d == 0 {
			*d = 30 * time.Second
		}
	}
	if o.MaxSequences == 0 {
		o.MaxSequences = 512
	}
	if o.MaxBody == 0 {
		o.MaxBody = 4 << 20
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	return o
}

// Server is an HTTP server over an engine. It may be used by many goroutines.
type Server struct {
	eng      *engine.Engine
	models   []*Model
	o        Options
	mux      *http.ServeMux
	paths    map[string]string // path -> HTTP method
	began    time.Time
	inFlight atomic.Int64 // sequences
	draining atomic.Bool
	metrics  metrics
	recent   recentScores
	grammars grammars
}

// New makes a server. The first model answers requests that name no model. The caller closes the engine, after Serve
// has returned.
func New(e *engine.Engine, models []Model, o Options) (*Server, error) {
	s := &Server{eng: e, o: o.withDefaults(), mux: http.NewServeMux(), paths: map[string]string{}, began: time.Now()}
	if len(models) == 0 {
		return nil, errors.New("starting the server: there is no model to serve")
	}
	s.o.AllowOrigins = slices.Clone(o.AllowOrigins)
	for i, origin := range s.o.AllowOrigins {
		if err := CheckOrigin(origin); err != nil {
			return nil, fmt.Errorf("starting the server: %w", err)
		}
		s.o.AllowOrigins[i] = strings.ToLower(origin)
	}
	// waits until Stats includes models that were just added
	if err := e.Do(context.Background(), func() error { return nil }); err != nil {
		return nil, fmt.Errorf("starting the server: %w", err)
	}
	for _, m := range models {
		for _, st := range e.Stats().Models {
			if st.Name == m.Engine {
				m.context = st.Context
			}
		}
		if m.context == 0 {
			return nil, fmt.Errorf("starting the server: the engine has no model %q", m.Engine)
		}
		if m.ID == "" || s.find(m.ID) != nil {
			return nil, fmt.Errorf("starting the server: model name %q is empty or given twice", m.ID)
		}
		m.vocabulary = sync.OnceValue(func() *jsongrammar.Vocabulary { return newVocabulary(&m) })
		s.models = append(s.models, &m)
	}
	s.metrics.init()
	s.handle("POST", "/v1/chat/completions", s.chat)
	s.handle("POST", "/v1/completions", s.completion)
	s.handle("POST", "/v1/embeddings", s.answered(s.embed))
	s.handle("POST", "/tokenize", s.answered(s.tokenize))
	s.handle("POST", "/detokenize", s.answered(s.detokenize))
	s.handle("GET", "/tokenizer_info", s.answered(s.tokenizerInfo))
	s.handle("GET", "/version", s.answered(s.version))
	s.handle("GET", "/v1/models", s.listModels)
	s.mux.HandleFunc("GET /v1/models/{id...}", s.getModel)
	s.handle("GET", "/health", s.health)
	s.handle("GET", "/ping", s.health)
	s.mux.HandleFunc("POST /ping", s.health)
	s.handle("GET", "/metrics", s.writeMetrics)
	s.handle("GET", "/{$}", page.ServeHTTP)
	s.mux.HandleFunc("/", s.unknown)
	return s, nil
}

func (s *Server) handle(method, path string, h http.HandlerFunc) {
	s.paths[strings.TrimSuffix(path, "{$}")] = method
	s.mux.HandleFunc(method+" "+path, h)
}

// find is the model of that name; nil if there is none.
func (s *Server) find(id string) *Model {
	if i := slices.IndexFunc(s.models, func(m *Model) bool { return m.ID == id }); i >= 0 {
		return s.models[i]
	}
	return nil
}

// Serve answers requests on l until ctx ends. Then it refuses new requests, waits up to DrainTimeout for those in
// flight, cancels the rest and closes the listener.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	h := &http.Server{Handler: s, ReadHeaderTimeout: s.o.ReadTimeout, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10,
		BaseContext:    func(net.Listener) context.Context { return base }, ErrorLog: log.New(io.Discard, "", 0)}
	failed := make(chan error, 1)
	go func() { failed <- h.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serving on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	s.draining.Store(true)
	if n := s.inFlight.Load(); n > 0 {
		s.o.Log("stopping: %d sequences are in flight and have %v to finish", n, s.o.DrainTimeout)
	}
	wait, stop := context.WithTimeout(base, s.o.DrainTimeout)
	defer stop()
	err := h.Shutdown(wait)
	if err == nil {
		return nil
	}
	cancel() // cancels the remaining requests; their handlers then return
	last, stopLast := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer stopLast()
	if h.Shutdown(last) != nil {
		_ = h.Close() // disconnects clients that do not read
	}
	return fmt.Errorf("stopping the server: requests were cut off after %v: raise the drain timeout to let them finish",
		s.o.DrainTimeout)
}

// ServeHTTP handles one request, so that a Server can be mounted in another server.
func (s *Server) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	w := &response{ResponseWriter: out, began: time.Now()}
	defer func() {
		if p := recover(); p != nil {
			s.o.Log("a request failed: internal error: %v", p)
			s.fail(w, &apiError{Status: 500, Type: "server_error", Message: "internal error: please report it"})
		}
		s.metrics.request(r.URL.Path, s.paths, w.status, time.Since(w.began))
	}()
	if s.cors(w, r) {
		return
	}
	if err := s.guard(r); err != nil {
		s.fail(w, err)
		return
	}
	if !slices.Contains(withoutKey, r.URL.Path) && !s.allowed(r) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		s.fail(w, &apiError{Status: 401, Type: "invalid_request_error", Code: "invalid_api_key",
			Message: "the API key is missing or wrong: send Authorization: Bearer KEY"})
		return
	}
	s.mux.ServeHTTP(w, r)
}

// withoutKey are the paths that need no key. The page itself is the same everywhere, and asks its user for the key.
var withoutKey = []string{"/health", "/ping", "/"}

// allowed checks the API key in constant time.
func (s *Server) allowed(r *http.Request) bool {
	if s.o.APIKey == "" {
		return true
	}
	scheme, key, _ := strings.Cut(strings.TrimSpace(r.Header.Get("Authorization")), " ")
	if key = strings.TrimSpace(key); !strings.EqualFold(scheme, "bearer") { // RFC 9110: the scheme is case-insensitive
		key = ""
	}
	want, got := sha256.Sum256([]byte(s.o.APIKey)), sha256.Sum256([]byte(key))
	return subtle.ConstantTimeCompare(want[:], got[:]) == 1
}

// response records the status that was sent; 0: nothing yet.
type response struct {
	http.ResponseWriter
	status int
	began  time.Time
}

func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap gives http.ResponseController the underlying writer.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// reserve counts n more sequences as in flight, or returns false if that exceeds MaxSequences.
func (s *Server) reserve(n int) bool {
	for {
		now := s.inFlight.Load()
		if now+int64(n) > int64(s.o.MaxSequences) {
			s.metrics.rejected.Add(1)
			return false
		}
		if s.inFlight.CompareAndSwap(now, now+int64(n)) {
			return true
		}
	}
}

// release undoes reserve.
func (s *Server) release(n int) { s.inFlight.Add(int64(-n)) }

// body reads the request body, within MaxBody and ReadTimeout.
func (s *Server) body(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Now().Add(s.o.ReadTimeout)) // only test recorders do not support deadlines
	data, err := io.ReadAll(io.LimitReader(r.Body, s.o.MaxBody+1))
	var timeout net.Error
	switch {
	case int64(len(data)) > s.o.MaxBody:
		// many clients read the response only after they have sent the whole body
		_, _ = io.CopyN(io.Discard, r.Body, 8*s.o.MaxBody)
		w.Header().Set("Connection", "close")
		return nil, &apiError{Status: 413, Type: "invalid_request_error",
			Message: fmt.Sprintf("the request is longer than %d bytes", s.o.MaxBody)}
	case errors.As(err, &timeout) && timeout.Timeout():
		w.Header().Set("Connection", "close")
		return nil, &apiError{Status: 408, Type: "invalid_request_error",
			Message: fmt.Sprintf("the request did not arrive within %v", s.o.ReadTimeout)}
	case err != nil:
		return nil, &apiError{Status: 400, Type: "invalid_request_error",
			Message: "the request could not be read: " + err.Error()}
	}
	// so that it does not end the request later; after an error it stays and ends the connection
	_ = c.SetReadDeadline(time.Time{})
	return data, nil
}

// fail answers with err in OpenAI's form, unless the response has begun.
func (s *Server) fail(w http.ResponseWriter, err error) {
	if r, ok := w.(*response); ok && r.status != 0 {
		return
	}
	e := s.apiError(err)
	if e.Status == http.StatusTooManyRequests || e.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(max(1, int(s.metrics.typicalDuration().Seconds()))))
	}
	s.reply(w, e.Status, map[string]*apiError{"error": e})
}

// reply sends one JSON object.
func (s *Server) reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.o.WriteTimeout))
	w.WriteHeader(status)
	_, _ = w.Write(encode(v)) // an error means that the client disconnected
}

func (s *Server) unknown(w http.ResponseWriter, r *http.Request) {
	if method, ok := s.paths[r.URL.Path]; ok {
		w.Header().Set("Allow", method)
		s.fail(w, &apiError{Status: 405, Type: "invalid_request_error",
			Message: fmt.Sprintf("%s takes %s, not %s", r.URL.Path, method, r.Method)})
		return
	}
	s.fail(w, &apiError{Status: 404, Type: "invalid_request_error",
		Message: fmt.Sprintf("there is no %s here", r.URL.Path)})
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	if s.draining.Load() {
		s.reply(w, http.StatusServiceUnavailable, map[string]string{"status": "stopping"})
		return
	}
	s.reply(w, http.StatusOK, map[string]string{"status": "ok"})
}

package engine

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// Request asks for a continuation. Sampling truncates in the order top-k, top-p, min-p, on the distribution after
// penalties and temperature; ids without a token (model.Model.NoToken) are left out before.
type Request struct {
	Model   string         // the name given to AddModel
	Adapter *model.Adapter // an adapter of this model; nil: none
	// all ids so far. Keys and values of a prefix that an earlier request computed are reused from the cache
	Prompt    []int32
	MaxTokens int // at most so many new tokens, at least 1

	// Stop is called after each sampled id with the ids generated so far, and ends the request by returning true. The
	// last id stays in the result. It runs on the engine's goroutine: it must be quick, must not keep ids and must not
	// call the engine.
	Stop func(ids []int32) bool
	// EOS ends the request as soon as one of these ids is sampled; it stays in the result. nil: the model's
	// end-of-sequence ids; empty: none.
	EOS []int32

	Temperature float64 // 0: greedy
	TopK        int     // 0: off
	TopP, MinP  float64 // 0: off
	Penalties           // none by default
	// Restrict is called before each draw with the ids generated so far, in order and once for each length. It clears
	// the elements of allowed, one for each id of the model, whose ids must not be drawn; nil: all may. If it leaves
	// none, the request fails with ErrNothingAllowed. It runs as Stop does.
	Restrict func(ids []int32, allowed []bool)

	// Stream selects the random numbers (see the function Stream): the same request with the same stream gives the same
	// result.
	Stream uint64
	// OnToken is called with every new token, in order, on the goroutine that called Generate.
	OnToken func(t Token)
	// Top is the number of most likely tokens (top_logprobs) that OnToken gets for each position.
	Top int
}

// Token is a sampled token, with its log-probability as in Result and, if Request.Top asks for them, the most likely
// ones in its place.
type Token struct {
	TokenLogprob
	Top []TokenLogprob
}

// Finish reasons.
const (
	FinishStop    = "stop"    // an end-of-sequence id, or Stop
	FinishLength  = "length"  // MaxTokens
	FinishContext = "context" // the longest sequence that the model, or its cache, can hold
	// an error, such as the end of the context; what there was so far is returned beside the error
	FinishCancelled = "cancelled"
)

// Result is a continuation.
type Result struct {
	IDs []int32
	// Logprobs are ln p of each id over the whole vocabulary, after temperature, before penalties and truncation:
	// what Score gives, bit for bit.
	Logprobs []float32
	Finish   string

	PrefilledTokens, CachedTokens int // of the prompt: computed; found in the cache
}

// Generate continues a prompt. It may be called from many goroutines; what it returns depends on the request alone. A
// request that cannot be met is an error and does not affect other requests.
func (e *Engine) Generate(ctx context.Context, r Request) (Result, error) {
	j, err := e.generation(r)
	if err != nil {
		return Result{}, fmt.Errorf("generating with %s: %w", r.Model, err)
	}
	err = e.await(ctx, j)
	res := Result{IDs: j.ids, Logprobs: j.logprobs, Finish: j.finish, CachedTokens: j.q.cached,
		PrefilledTokens: len(r.Prompt) - j.q.cached}
	if err != nil {
		return res, fmt.Errorf("generating with %s: %w", r.Model, err)
	}
	return res, nil
}

// generation checks a request and makes its job.
func (e *Engine) generation(r Request) (*job, error) {
	j, err := e.newJob(r.Model, r.Adapter, r.Prompt)
	if err != nil {
		return nil, err
	}
	room := j.r.context - len(r.Prompt)
	bad := func(x, most float64) bool { return math.IsNaN(x) || x < 0 || x > most }
	switch {
	case r.MaxTokens < 1:
		return nil, fmt.Errorf("max tokens is %d: ask for 1 at least", r.MaxTokens)
	case room < 1:
		return nil,
			fmt.Errorf("the prompt has %d tokens, the context %d: shorten it, or give the engine a longer context",
				len(r.Prompt), j.r.context)
	case bad(r.Temperature, math.MaxFloat32) || r.Temperature > 0 && r.Temperature < 1e-6:
		return nil, fmt.Errorf("temperature %v: use 0 (greedy) or a number from 1e-6 on", r.Temperature)
	case r.Top < 0:
		return nil, fmt.Errorf("the %d most likely tokens: ask for 0 or more", r.Top)
	case bad(r.TopP, 1) || bad(r.MinP, 1) || r.TopK < 0:
		return nil, fmt.Errorf("top-p %v, min-p %v, top-k %d: the first two are in [0, 1], the last is not negative",
			r.TopP, r.MinP, r.TopK)
	}
	if j.eos = r.EOS; r.EOS == nil {
		j.eos = j.r.m.Config.EOS
	}
	if err := r.Penalties.check(j.r.m.Config.Vocab, j.r.m.NoToken, j.eos); err != nil {
		return nil, err
	}
	j.adjust = newAdjuster(&r.Penalties, j.r.m.Config.Vocab, j.eos, r.Prompt)
	j.req, j.limit = &r, min(r.MaxTokens, room)
	j.invTemp = InvTemp(r.Temperature)
	j.never = j.r.m.NoToken
	return j, j.restrict()
}

// job is a request under way. The loop writes it; its caller reads it once done is closed, and before that only what
// mu guards.
type job struct {
	r       *runner
	q       *sequence
	adapter *model.Adapter
	invTemp float32
	done    chan struct{}
	err     error

	// Generating.
	req      *Request
	eos      []int32
	adjust   *adjuster // nil: logits are drawn from as they are
	never    []int32   // ids that must not be drawn next
	allowed  []bool    // for Request.Restrict
	excluded []int32   // what it left out
	limit    int       // new tokens
	ids      []int32
	logprobs []float32
	finish   string
	mu       sync.Mutex
	fresh    []Token       // not yet seen by OnToken
	more     chan struct{} // there are fresh ones

	// Scoring.
	from, topK, topEach int
	scores              Scores
	embeds              bool // the hidden state of the last token is wanted
	hidden              []float32
}

// newJob checks what all requests have in common.
func (e *Engine) newJob(name string, a *model.Adapter, ids []int32) (*job, error) {
	e.mu.Lock()
	r := e.runners[name]
	e.mu.Unlock()
	if r == nil {
		return nil, fmt.Errorf("there is no such model in the engine")
	}
	if err := r.m.CheckAdapter(a); err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("the prompt is empty: there must be one token at least")
	}
	if len(ids) > r.context {
		return nil,
			fmt.Errorf("the prompt has %d tokens, the context %d: shorten it, or give the engine a longer context",
				len(ids), r.context)
	}
	if err := r.m.Config.CheckIDs(ids); err != nil {
		return nil, err
	}
	q := &sequence{key: keyOf(a), ids: slices.Clone(ids), prompt: len(ids), target: len(ids), reuse: len(ids) - 1,
		fresh: true}
	q.job = &job{r: r, q: q, adapter: a, done: make(chan struct{}), more: make(chan struct{}, 1)}
	return q.job, nil
}

// await hands j to the loop and waits for its end, passing tokens on.
func (e *Engine) await(ctx context.Context, j *job) error {
	if err := e.submit(ctx, arrival{job: j}); err != nil {
		j.finish = FinishCancelled
		return err
	}
	cancelled := ctx.Done()
	for {
		select {
		case <-j.more:
			j.emit()
		case <-j.done:
			j.emit()
			if j.err != nil && ctx.Err() != nil {
				return ctx.Err()
			}
			return j.err
		case <-cancelled:
			cancelled = nil // once
			if e.withdraw(func(a arrival) bool { return a.job == j }) {
				j.finish = FinishCancelled
				return ctx.Err()
			}
			e.cancel(j)
		}
	}
}

// emit shows OnToken what is new.
func (j *job) emit() {
	if j.req == nil || j.req.OnToken == nil {
		return
	}
	j.mu.Lock()
	tokens := j.fresh
	j.fresh = nil
	j.mu.Unlock()
	for _, t := range tokens {
		j.req.OnToken(t)
	}
}

// rule says how the token at position pos is drawn.
func (j *job) rule(pos int) kernels.Sampling {
	r := j.req
	s := kernels.Sampling{Greedy: r.Temperature == 0, InvTemp: j.invTemp, TopK: r.TopK, TopP: float32(r.TopP),
		MinP:   float32(r.MinP),
		Stream: r.Stream, Pos: int32(pos), Never: j.never}
	if j.adjust != nil {
		s.Adjust = j.adjust.list
	}
	return s
}

// goesOn reports whether the job needs a token after the one at position pos, as far as can be told before that is
// known, and whether how it is drawn does not depend on that.
func (j *job) goesOn(pos int) bool {
	return pos+1-j.q.prompt < j.limit && j.req.Restrict == nil && (j.adjust == nil || j.adjust.settled())
}

// take adds a sampled token to a generating job and says whether it was the last.
func (j *job) take(d drawn) outcome {
	if d.id < 0 || int(d.id) >= j.r.m.Config.Vocab || math.IsNaN(float64(d.logp)) {
		j.err = fmt.Errorf(
			"the model gave no number (token %d with log-probability %v at position %d): its weights are damaged", d.id,
			d.logp, len(j.q.ids))
		return outcome{finish: true}
	}
	j.ids, j.logprobs = append(j.ids, d.id), append(j.logprobs, d.logp)
	if j.adjust != nil {
		j.adjust.take(d.id)
	}
	if j.req.OnToken != nil {
		j.mu.Lock()
		j.fresh = append(j.fresh, Token{TokenLogprob{d.id, d.logp}, d.top})
		j.mu.Unlock()
		select {
		case j.more <- struct{}{}:
		default:
		}
	}
	switch {
	case slices.Contains(j.eos, d.id) || j.stops():
		j.finish = FinishStop
	case len(j.ids) == j.req.MaxTokens:
		j.finish = FinishLength
	case len(j.ids) == j.limit:
		j.finish = FinishContext
	}
	if j.finish == "" && j.err == nil {
		j.err = j.restrict()
	}
	return outcome{id: d.id, finish: j.finish != "" || j.err != nil}
}

// stops calls the caller's stop function. A panic of it becomes the error of this request only.
func (j *job) stops() (stop bool) {
	if j.req.Stop == nil {
		return false
	}
	if err := protect("the request's stop function", func() error {
		stop = j.req.Stop(j.ids[:len(j.ids):len(j.ids)])
		return nil
	}); err != nil {
		j.err = err
	}
	return stop
}

// end finishes j for its caller. An earlier error of j takes precedence over err.
func (j *job) end(err error) {
	delete(j.r.jobs, j)
	if j.err == nil {
		j.err = err
	}
	if j.err != nil {
		j.finish = FinishCancelled
	}
	close(j.done)
}

package rollout

import (
	"context"
	"errors"

	"github.com/zerosearch-go/zerosearch/rl/search"
)

// circuitBreaker ends all episodes under way as soon as one of them finds that the search engine is gone: the others
// would only find the same, each after all its tries.
type circuitBreaker struct {
	search.Searcher
	ctx    context.Context
	cancel context.CancelCauseFunc
}

func newCircuitBreaker(ctx context.Context) (context.Context, *circuitBreaker) {
	b := &circuitBreaker{}
	b.ctx, b.cancel = context.WithCancelCause(ctx)
	return b.ctx, b
}

// wrap puts the circuit breaker before an engine.
func (b *circuitBreaker) wrap(s search.Searcher) search.Searcher {
	b.Searcher = s
	return b
}

// Search asks the engine.
func (b *circuitBreaker) Search(ctx context.Context, q search.Query) (search.Documents, error) {
	d, err := b.Searcher.Search(ctx, q)
	var gone *search.Unavailable
	if errors.As(err, &gone) {
		b.cancel(err)
	}
	return d, err
}

// errorOf is the error of the engine if it is gone, else err. The circuit breaker is of no use after it.
func (b *circuitBreaker) errorOf(err error) error {
	var gone *search.Unavailable
	if cause := context.Cause(b.ctx); errors.As(cause, &gone) {
		return cause
	}
	b.cancel(nil)
	return err
}

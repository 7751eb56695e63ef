package rl

import (
	"context"
	"errors"

	"github.com/zerosearch-go/zerosearch/rl/search"
)

// fuse ends all episodes under way as soon as one of them finds that the search engine is gone: the others would only find the same,
// each after all its tries.
type fuse struct {
	search.Searcher
	ctx    context.Context
	cancel context.CancelCauseFunc
}

func newFuse(ctx context.Context) (context.Context, *fuse) {
	f := &fuse{}
	f.ctx, f.cancel = context.WithCancelCause(ctx)
	return f.ctx, f
}

// over puts the fuse before an engine.
func (f *fuse) over(s search.Searcher) search.Searcher {
	f.Searcher = s
	return f
}

// Search asks the engine.
func (f *fuse) Search(ctx context.Context, q search.Query) (search.Documents, error) {
	d, err := f.Searcher.Search(ctx, q)
	var gone *search.Unavailable
	if errors.As(err, &gone) {
		f.cancel(err)
	}
	return d, err
}

// blown is the error of the engine if it is gone, else err. The fuse is of no use after it.
func (f *fuse) blown(err error) error {
	var gone *search.Unavailable
	if cause := context.Cause(f.ctx); errors.As(cause, &gone) {
		return cause
	}
	f.cancel(nil)
	return err
}

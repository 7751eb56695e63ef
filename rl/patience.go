package rl

import (
	"context"
	"errors"
	"time"

	"github.com/zerosearch-go/zerosearch/rl/search"
)

// mostPatience is how long a search on a server may take at most once the run was told to stop: a server that answers
// does so well before, and one that does not would hold the run for all its tries.
const mostPatience = 30 * time.Second

var errImpatient = errors.New("no answer soon after the interrupt")

// patient gives the searches of an engine limit, and no further tries, from the moment on when stop ends.
type patient struct {
	search.Searcher
	name  string
	limit time.Duration
	stop  context.Context
}

// Search asks the engine.
func (p patient) Search(ctx context.Context, q search.Query) (search.Documents, error) {
	late := &search.Unavailable{Engine: p.name, Host: "its address", Tries: 1, Err: errImpatient}
	own, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(p.stop, func() {
		select {
		case <-time.After(min(p.limit, mostPatience)):
			cancel(late)
		case <-own.Done():
		}
	})()
	d, err := p.Searcher.Search(own, q)
	if err != nil && context.Cause(own) == error(late) {
		err = late
	}
	return d, err
}

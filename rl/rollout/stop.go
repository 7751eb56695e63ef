package rollout

import (
	"context"
	"errors"
	"time"

	"github.com/zerosearch-go/zerosearch/rl/search"
)

// MaxWaitAfterStop is how long a search on a server may take at most once the run was told to stop: a server that
// answers does so well before, and one that does not would hold the run for all its tries.
const MaxWaitAfterStop = 30 * time.Second

// ErrStopped is the error of a search that had no answer soon after the run was told to stop.
var ErrStopped = errors.New("no answer soon after the interrupt")

// LimitAfterStop makes the searches of s, an engine called name, end within limit, without further tries, from the
// moment on when stop ends.
func LimitAfterStop(s search.Searcher, name string, limit time.Duration, stop context.Context) search.Searcher {
	return limited{s, name, limit, stop}
}

type limited struct {
	search.Searcher
	name  string
	limit time.Duration
	stop  context.Context
}

// Search asks the engine.
func (p limited) Search(ctx context.Context, q search.Query) (search.Documents, error) {
	late := &search.Unavailable{Engine: p.name, Host: "its address", Tries: 1, Err: ErrStopped}
	own, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(p.stop, func() {
		select {
		case <-time.After(min(p.limit, MaxWaitAfterStop)):
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

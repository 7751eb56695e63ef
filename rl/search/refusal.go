package search

import "time"

const (
	firstPause = 30 * time.Second // of an address that will not serve us, doubled by every further refusal in a row,
	maxPause   = 10 * time.Minute // up to this; it may ask for a longer one,
	maxAsked   = time.Hour        // up to this
)

// refusal is a circuit breaker: an address that will not serve us, whatever is asked (a wrong key, a Retry-After that
// nobody waits for, query after query refused), is left alone for a while. Then one query tries it, and its fate
// decides: processes such as serve and ask outlive the fault of a server. The zero value refuses nothing.
type refusal struct {
	err   error // nil: the address is asked
	since time.Time
	until time.Time
	pause time.Duration
	trial bool // a query is trying it
}

// shut says whether the address is not to be asked at this time.
func (r *refusal) shut(now time.Time) bool {
	return r.err != nil && (r.trial || now.Before(r.until))
}

// refused notes that a request begun at began was refused; after is the pause that the server asks for. Requests that
// were under way at an earlier refusal say nothing new.
func (r *refusal) refused(began, now time.Time, err error, after time.Duration) {
	if r.err != nil && began.Before(r.since) {
		return
	}
	r.pause = min(max(2*r.pause, firstPause), maxPause)
	r.err, r.since, r.trial = err, now, false
	r.until = now.Add(max(r.pause, min(after, maxAsked)))
}

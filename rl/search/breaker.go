package search

import "time"

const (
	firstPause = 30 * time.Second // after the first refusal; every further refusal in a row doubles it
	maxPause   = 10 * time.Minute // largest pause unless the server asks for a longer one
	maxAsked   = time.Hour        // largest pause that a server can ask for
)

// breaker is the circuit breaker of an address. It opens when the server refuses every query: the API key is wrong, its
// Retry-After is longer than maxRetryAfter, or it rejected maxRejected queries in a row. No request is sent while it is
// open. After a pause one trial query is sent, whose result closes the breaker or keeps it open. Long-running processes
// such as serve and ask so recover when the server does. The zero value is closed.
type breaker struct {
	err   error         // why it is open; nil: closed
	since time.Time     // when it opened
	until time.Time     // no trial query before this time
	pause time.Duration // its present length
	trial bool          // the trial query is in flight
}

// open says that no request may be sent to the address at this time.
func (r *breaker) open(now time.Time) bool {
	return r.err != nil && (r.trial || now.Before(r.until))
}

// refused opens the breaker after the refusal of a request that began at began; after is the pause that the server asks
// for. A request that was in flight when the breaker opened does not count again.
func (r *breaker) refused(began, now time.Time, err error, after time.Duration) {
	if r.err != nil && began.Before(r.since) {
		return
	}
	r.pause = min(max(2*r.pause, firstPause), maxPause)
	r.err, r.since, r.trial = err, now, false
	r.until = now.Add(max(r.pause, min(after, maxAsked)))
}

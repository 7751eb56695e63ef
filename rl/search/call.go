package search

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Unavailable is the error of an engine that failed in all tries. Other queries would fail in the same way, so a run
// stops and can be resumed later.
type Unavailable struct {
	// Engine is the name of the engine, Host its address; several hosts are separated by commas.
	Engine, Host string
	// Tries is the number of requests that were sent for the query.
	Tries int
	// Err is the last failure.
	Err error
}

// Error names the engine, the host, the number of tries and the last failure.
func (u *Unavailable) Error() string {
	tries := "1 try"
	if u.Tries != 1 {
		tries = strconv.Itoa(u.Tries) + " tries"
	}
	return fmt.Sprintf("%s at %s: gave up after %s: %v", u.Engine, u.Host, tries, u.Err)
}

func (u *Unavailable) Unwrap() error { return u.Err }

// CallOptions are the limits of the requests to an engine that is reached by HTTP.
type CallOptions struct {
	// Tries is the number of requests for one query at each address; 0 is 5.
	Tries int
	// Timeout of one request, reading the body included; 0 is 60 seconds.
	Timeout time.Duration
	// Concurrency is the largest number of requests in flight at each address; 0 is 16.
	Concurrency int
	// Backoff is how long no request is sent to an address after a failure; 0 is half a second. Every further failure
	// in a row doubles it, up to 30 seconds.
	Backoff time.Duration
}

const (
	maxBackoff = 30 * time.Second
	// maxRejected is how many queries in a row an address may reject as bad requests (400, 413, 414, 422). After that
	// the server is taken to be at fault: its context may be too short, or it may not know a setting. Otherwise
	// training would go on with only those episodes that never search.
	maxRejected = 20
)

// caller sends requests to one of several interchangeable addresses: to the address with the fewest requests in flight,
// and to another one after a failure.
type caller struct {
	engine string
	secret string // the API key; never part of an error
	o      CallOptions
	client *http.Client
	slots  chan struct{} // semaphore: at most Concurrency requests an address

	mu   sync.Mutex
	all  []*address
	turn int // index in all of the address to look at first
}

// address is one server. The fields below url are guarded by caller.mu.
type address struct {
	url        *url.URL
	busy       int       // requests in flight
	failed     int       // failures in a row
	rejected   int       // queries rejected in a row as bad requests
	since      time.Time // of the last counted failure; requests that began before it are not counted again
	pauseUntil time.Time // no request is sent before this time
	last       error     // the last failure
	breaker    breaker   // circuit breaker: the server refuses every query
	model      string    // remote: the model that it serves
}

// newCaller takes addresses as users write them: host:port, or a URL. path is appended to addresses that have no path.
func newCaller(engine, secret, path string, addresses []string, o CallOptions) (*caller, error) {
	c := &caller{engine: engine, secret: secret, o: CallOptions{Tries: cmp.Or(o.Tries, 5),
		Timeout:     cmp.Or(o.Timeout, time.Minute),
		Concurrency: cmp.Or(o.Concurrency, 16), Backoff: cmp.Or(o.Backoff, time.Second/2)}}
	for _, a := range addresses {
		if a = strip(a); a == "" {
			continue
		}
		if !strings.Contains(a, "://") {
			a = "http://" + a
		}
		u, err := url.Parse(a)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
			return nil, fmt.Errorf("%s: %q is no address of a server: write http://HOST:PORT", engine, c.redact(a))
		}
		if u.Path = strings.TrimRight(u.Path, "/"); u.Path == "" {
			u.Path = path
		}
		c.all = append(c.all, &address{url: u})
	}
	if len(c.all) == 0 {
		return nil, fmt.Errorf("%s: no address given", engine)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = c.o.Concurrency
	c.slots = make(chan struct{}, c.o.Concurrency*len(c.all))
	// Following a redirect would send the API key to another host.
	c.client = &http.Client{Transport: t, CheckRedirect: func(*http.Request,
		[]*http.Request) error {
		return http.ErrUseLastResponse
	}}
	return c, nil
}

// hosts names all addresses.
func (c *caller) hosts() string {
	var names []string
	for _, a := range c.all {
		names = append(names, a.url.Host)
	}
	return strings.Join(names, ", ")
}

// do sends the request that the function request builds for an address, until read accepts an answer. It gives up after
// o.Tries tries for each address. It gives up at once when every address has failed that often in a row, for any query:
// otherwise many queries to a dead server would each wait for all of their tries. The error is *Unavailable, the
// rejection of this query, or ctx's error.
func (c *caller) do(ctx context.Context, request func(context.Context, *address) (*http.Request, error),
	read func(*address, []byte) error) error {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return fmt.Errorf("asking %s at %s: %w", c.engine, c.hosts(), ctx.Err())
	}
	var last error
	tries := 0
	for tries < c.o.Tries*len(c.all) {
		a, err := c.pick(ctx)
		if a == nil && err != nil {
			last = err // no address can be asked
			break
		}
		if ctx.Err() != nil {
			return fmt.Errorf("asking %s at %s: %w", c.engine, c.hosts(), ctx.Err())
		}
		tries++
		began := time.Now()
		f := c.once(ctx, a, request, read)
		if f != nil && ctx.Err() != nil {
			c.abandon(a)
			return fmt.Errorf("asking %s at %s: %w", c.engine, a.url.Host, ctx.Err())
		}
		c.release(a, began, f)
		if f == nil {
			return nil
		}
		if last = f.err; f.queryRejected {
			return fmt.Errorf("%s at %s: %w", c.engine, a.url.Host, f.err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	failed := 0
	for _, a := range c.all {
		failed += a.failed
	}
	return &Unavailable{c.engine, c.hosts(), max(tries, failed, 1), last}
}

// pick gives the address with the fewest requests in flight among those that do not pause, and waits until there is
// one. It returns nil with the reason where waiting cannot help: every address refuses all queries, or has failed too
// often.
func (c *caller) pick(ctx context.Context) (*address, error) {
	for {
		c.mu.Lock()
		var best *address
		var reason error
		worthWaiting := false
		wait := time.Duration(-1)
		now := time.Now()
		for i := range c.all {
			a := c.all[(c.turn+i)%len(c.all)]
			switch d := a.pauseUntil.Sub(now); {
			case a.breaker.open(now):
				reason = a.breaker.err
			case d > 0:
				reason, worthWaiting = a.last, worthWaiting || a.failed < c.o.Tries
				if wait < 0 || d < wait {
					wait = d
				}
			case best == nil || a.busy < best.busy:
				best = a
			}
		}
		if best != nil {
			best.busy++
			best.breaker.trial = best.breaker.err != nil
			c.turn++
		}
		c.mu.Unlock()
		if best != nil {
			return best, nil
		}
		if !worthWaiting {
			return nil, reason
		}
		select {
		case <-time.After(wait + rand.N(wait/4+1)): // jitter, so that waiting queries do not retry at the same time
		case <-ctx.Done():
			return c.all[0], ctx.Err()
		}
	}
}

// abandon ends a request whose context was cancelled: its failure does not count against the address.
func (c *caller) abandon(a *address) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a.busy--
	a.breaker.trial = false
}

// release records the result of a request that began at began; f is nil where it succeeded.
func (c *caller) release(a *address, began time.Time, f *failure) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a.busy--
	now := time.Now()
	switch {
	case f == nil:
		a.failed, a.rejected, a.breaker = 0, 0, breaker{}
	case f.queryRejected:
		a.failed = 0
		if a.rejected++; a.rejected >= maxRejected {
			err := fmt.Errorf("%w: the server rejected the %d queries before as well: check its configuration", f.err,
				a.rejected-1)
			a.breaker.refused(began, now, err, 0)
		} else if a.breaker.trial {
			a.breaker = breaker{} // the server accepts requests again
		}
	case f.serverRefuses || a.breaker.trial:
		a.breaker.refused(began, now, f.err, f.after)
		a.model = "" // the server may have another model when it accepts requests again
	default:
		if !began.Before(a.since) {
			a.failed++
			a.since = now
		}
		a.last = f.err
		rest := min(c.o.Backoff<<min(max(a.failed-1, 0), 16), maxBackoff)
		if until := now.Add(max(rest, f.after)); until.After(a.pauseUntil) {
			a.pauseUntil = until
		}
	}
}

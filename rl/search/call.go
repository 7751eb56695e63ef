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

// Unavailable is the error of an engine that cannot be used now, after all tries: other queries would meet the same, so a run stops
// there, to be resumed.
type Unavailable struct {
	// Engine and Host say who did not answer; several hosts are separated by commas.
	Engine, Host string
	// Tries that were made for the query.
	Tries int
	// Err is the last thing that went wrong.
	Err error
}

// Error names the host.
func (u *Unavailable) Error() string {
	tries := "1 try"
	if u.Tries != 1 {
		tries = strconv.Itoa(u.Tries) + " tries"
	}
	return fmt.Sprintf("%s at %s: gave up after %s: %v", u.Engine, u.Host, tries, u.Err)
}

func (u *Unavailable) Unwrap() error { return u.Err }

// CallOptions bound the requests of an engine behind HTTP.
type CallOptions struct {
	// Tries for one query, at each address; 0 is 5.
	Tries int
	// Timeout of one try, reading the body included; 0 is 60 seconds.
	Timeout time.Duration
	// Concurrency is the number of requests in flight, for each address; 0 is 16.
	Concurrency int
	// Backoff is how long an address rests after a failure, doubled with every further one up to 30 seconds; 0 is half a second.
	Backoff time.Duration
}

const (
	maxBackoff = 30 * time.Second
	// hopeless is how many queries an address may refuse in a row as their own fault; then the fault is its own: a context that is too
	// short, a setting that it does not know. Going on would train on the episodes alone that never search.
	hopeless = 20
)

// caller sends requests to one of several equal addresses: to the one with the fewest under way, to another after a failure.
type caller struct {
	engine string
	secret string // never shown
	o      CallOptions
	client *http.Client
	slots  chan struct{}

	mu   sync.Mutex
	all  []*address
	turn int
}

// address is one server. The fields below url belong to caller.mu.
type address struct {
	url     *url.URL
	busy    int
	failed  int       // failures in a row
	denied  int       // queries refused in a row
	since   time.Time // of the last failure; requests begun before it say nothing new
	rest    time.Time // not asked before
	last    error     // the last failure, of failed
	refusal refusal   // it will not serve us, whatever is asked
	model   string    // remote: what it serves
}

// newCaller takes addresses as users write them: host:port, or a URL. path is put behind those that have none.
func newCaller(engine, secret, path string, addresses []string, o CallOptions) (*caller, error) {
	c := &caller{engine: engine, secret: secret, o: CallOptions{Tries: cmp.Or(o.Tries, 5), Timeout: cmp.Or(o.Timeout, time.Minute),
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
	// A redirect would carry the key of the address to another host.
	c.client = &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
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

// do sends what request makes for an address until read understands an answer. It gives up after its own tries, and at once when every
// address has failed that often in a row, whoever asked: or many queries at a dead server would wait for each other's tries. The error is
// *Unavailable, or the query's own fault, or ctx's.
func (c *caller) do(ctx context.Context, request func(context.Context, *address) (*http.Request, error), read func(*address, []byte) error) error {
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
			last = err // there is no use
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
		if last = f.err; f.query {
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

// pick takes the address with the fewest requests under way among those that do not rest, and waits until there is one. It returns nil
// with the reason when there is no use in waiting: all refuse to serve, or have failed too often.
func (c *caller) pick(ctx context.Context) (*address, error) {
	for {
		c.mu.Lock()
		var best *address
		var reason error
		hope := false
		wait := time.Duration(-1)
		now := time.Now()
		for i := range c.all {
			a := c.all[(c.turn+i)%len(c.all)]
			switch d := a.rest.Sub(now); {
			case a.refusal.shut(now):
				reason = a.refusal.err
			case d > 0:
				reason, hope = a.last, hope || a.failed < c.o.Tries
				if wait < 0 || d < wait {
					wait = d
				}
			case best == nil || a.busy < best.busy:
				best = a
			}
		}
		if best != nil {
			best.busy++
			best.refusal.trial = best.refusal.err != nil
			c.turn++
		}
		c.mu.Unlock()
		if best != nil {
			return best, nil
		}
		if !hope {
			return nil, reason
		}
		select {
		case <-time.After(wait + rand.N(wait/4+1)): // not all at once
		case <-ctx.Done():
			return c.all[0], ctx.Err()
		}
	}
}

// abandon takes back a request whose asker was cancelled: it says nothing of the address.
func (c *caller) abandon(a *address) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a.busy--
	a.refusal.trial = false
}

// release notes how a request begun at began went.
func (c *caller) release(a *address, began time.Time, f *failure) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a.busy--
	now := time.Now()
	switch {
	case f == nil:
		a.failed, a.denied, a.refusal = 0, 0, refusal{}
	case f.query:
		a.failed = 0
		if a.denied++; a.denied >= hopeless {
			err := fmt.Errorf("%w: so were the %d queries before: see to the server", f.err, a.denied-1)
			a.refusal.refused(began, now, err, 0)
		} else if a.refusal.trial {
			a.refusal = refusal{} // it serves us again
		}
	case f.refuse || a.refusal.trial:
		a.refusal.refused(began, now, f.err, f.after)
		a.model = "" // it may serve another one when it comes back
	default:
		if !began.Before(a.since) {
			a.failed++
			a.since = now
		}
		a.last = f.err
		rest := min(c.o.Backoff<<min(max(a.failed-1, 0), 16), maxBackoff)
		if until := now.Add(max(rest, f.after)); until.After(a.rest) {
			a.rest = until
		}
	}
}

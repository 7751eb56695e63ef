package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// client sends requests to the hub.
type client struct {
	*Settings
	http *http.Client
	note func(text string)
	// wait is time.Sleep that ends with ctx.
	wait func(ctx context.Context, d time.Duration) error
}

// Limits of what is done again.
const (
	maxTries      = 5                // in a row without a byte
	firstPause    = time.Second / 2  // doubled at each of them
	longestPause  = 5 * time.Minute  // that a server can ask for
	maxRedirects  = 10               // of one request
	maxListing    = 64 << 20         // bytes of one page of the hub's answers
	maxPages      = 10_000           // of one listing
	longestReason = 200              // characters of the hub's own words in an error
	userAgent     = "zerosearch-hub" // what the hub is told
)

func newClient(s *Settings, note func(string)) *client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = connections
	t.DisableCompression = true // sizes and digests are those of the file itself
	// Over HTTP/2 all ranges would share one connection, and its speed.
	t.ForceAttemptHTTP2, t.Protocols = false, new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	c := &client{Settings: s, note: note, wait: pause}
	c.http = &http.Client{Transport: t, CheckRedirect: c.redirected}
	return c
}

// redirected lets no other host see the token: large files lie on the hosts of a content network, whose addresses are
// signed.
func (c *client) redirected(r *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("%d redirections: the server sends requests in a circle", maxRedirects)
	}
	if c.trusted(r.URL) && c.Token != "" {
		r.Header.Set("Authorization", "Bearer "+c.Token)
	} else {
		r.Header.Del("Authorization")
	}
	r.Header.Del("Referer")
	return nil
}

// trusted reports whether an address is the hub's: the endpoint, or the hub that a mirror sends requests on to.
func (c *client) trusted(u *url.URL) bool {
	own, _ := url.Parse(c.Endpoint)
	return u.Scheme == own.Scheme && u.Host == own.Host || u.Scheme+"://"+u.Host == defaultEndpoint
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// passing is an error that another try may not meet.
type passing struct {
	err   error
	after time.Duration // the server asks to wait so long
}

func (p *passing) Error() string { return p.err.Error() }
func (p *passing) Unwrap() error { return p.err }

// refusal is an answer of the hub that is no answer.
type refusal struct {
	status        int
	code, message string // X-Error-Code, X-Error-Message
	host          string
}

func (r *refusal) Error() string {
	text := fmt.Sprintf("%s answers %d %s", r.host, r.status, http.StatusText(r.status))
	if r.message != "" {
		text += " (" + r.message + ")"
	}
	return text
}

// persist calls try until it succeeds or fails for good. done counts what has arrived: a try that brought something
// starts the count of tries again.
func (c *client) persist(ctx context.Context, done func() int64, try func() error) error {
	before, delay := done(), firstPause
	for tries := 1; ; tries++ {
		err := try()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p := new(passing)
		if err == nil || !errors.As(err, &p) {
			return err
		}
		if now := done(); now > before {
			before, tries, delay = now, 1, firstPause
		}
		if tries >= maxTries {
			return fmt.Errorf("%w, %d times in a row", p.err, tries)
		}
		sleep := delay
		if p.after > 0 {
			if p.after > longestPause {
				return fmt.Errorf("%w and asks to wait for %s", p.err, p.after.Round(time.Second))
			}
			sleep = p.after
			c.note(fmt.Sprintf("%v and asks to wait for %s", p.err, sleep.Round(time.Second)))
		}
		if err := c.wait(ctx, sleep); err != nil {
			return err
		}
		delay *= 2
	}
}

// get sends a request and gives the answer with its status, 200 or 206, to use. The request ends when use returns, or
// when the server is silent for too long.
func (c *client) get(ctx context.Context, address, byteRange string, use func(*http.Response) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := &passing{err: fmt.Errorf("%s is silent for %s", hostOf(address), c.Timeout)}
	watch := time.AfterFunc(c.Timeout, func() { cancel(silent) })
	defer watch.Stop()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("the hub gives an address that is none")
	}
	r.Header.Set("User-Agent", userAgent)
	r.Header.Set("Accept-Encoding", "identity")
	if c.Token != "" && c.trusted(r.URL) {
		r.Header.Set("Authorization", "Bearer "+c.Token)
	}
	if byteRange != "" {
		r.Header.Set("Range", byteRange)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return lost(ctx, address, err)
	}
	defer answer.Body.Close()
	answer.Body = &watched{answer.Body, watch, c.Timeout}
	if answer.StatusCode == http.StatusOK || answer.StatusCode == http.StatusPartialContent {
		err := use(answer)
		if broken := new(brokenBody); errors.As(err, &broken) {
			return lost(ctx, address, broken.err)
		}
		return err
	}
	return refused(answer)
}

// watched is a body whose reader is given up when nothing comes for too long.
type watched struct {
	io.ReadCloser
	watch   *time.Timer
	timeout time.Duration
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.ReadCloser.Read(b)
	w.watch.Reset(w.timeout)
	return n, err
}

// brokenBody is the error of a body that ended too early.
type brokenBody struct{ err error }

func (b *brokenBody) Error() string { return b.err.Error() }

// lost is the error of a connection that failed.
func lost(ctx context.Context, address string, err error) error {
	if p := new(passing); errors.As(context.Cause(ctx), &p) {
		return p
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if u := new(url.Error); errors.As(err, &u) {
		err = u.Err // without the address, which may be signed
	}
	if dns := new(net.DNSError); errors.As(err, &dns) {
		return &passing{err: fmt.Errorf("there is no host %s, as far as this machine can see", hostOf(address))}
	}
	return &passing{err: fmt.Errorf("the connection to %s failed: %w", hostOf(address), err)}
}

// refused is the error of an answer that is neither 200 nor 206.
func refused(answer *http.Response) error {
	e := &refusal{status: answer.StatusCode, code: answer.Header.Get("X-Error-Code"),
		message: oneLine(answer.Header.Get("X-Error-Message")), host: answer.Request.URL.Host}
	switch {
	case e.status == http.StatusTooManyRequests, e.status == http.StatusRequestTimeout, e.status >= 500:
		return &passing{e, retryAfter(answer.Header, time.Now())}
	}
	return e
}

// retryAfter is how long a server asks to wait, 0 if it does not say: by Retry-After, or by the seconds t of RateLimit.
func retryAfter(h http.Header, now time.Time) time.Duration {
	if text := h.Get("Retry-After"); text != "" {
		if n, err := strconv.Atoi(text); err == nil && n >= 0 && n < 1<<30 {
			return time.Duration(n) * time.Second
		}
		if at, err := http.ParseTime(text); err == nil {
			return max(at.Sub(now), 0)
		}
	}
	for field := range strings.SplitSeq(h.Get("RateLimit"), ";") {
		if t, ok := strings.CutPrefix(strings.TrimSpace(field), "t="); ok {
			if n, err := strconv.Atoi(t); err == nil && n >= 0 && n < 1<<30 {
				return time.Duration(n) * time.Second
			}
		}
	}
	return 0
}

// oneLine is a text of the hub as a part of an error.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > longestReason {
		s = strings.ToValidUTF8(s[:longestReason], "") + "..."
	}
	return s
}

func hostOf(address string) string {
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		return u.Host
	}
	return "the hub"
}

// getJSON reads an answer of the hub's interface into v, and gives the address of the listing's next page, "" at its
// end.
func (c *client) getJSON(ctx context.Context, address string, v any) (next string, err error) {
	err = c.persist(ctx, func() int64 { return 0 }, func() error {
		return c.get(ctx, address, "", func(answer *http.Response) error {
			text, err := io.ReadAll(io.LimitReader(answer.Body, maxListing+1))
			if err != nil {
				return &brokenBody{err}
			}
			if len(text) > maxListing {
				return fmt.Errorf("the answer of %s is longer than %d MiB", hostOf(address), maxListing>>20)
			}
			if err := json.Unmarshal(text, v); err != nil {
				return fmt.Errorf("the answer of %s cannot be read: is it a Hugging Face hub? (HF_ENDPOINT is %s)",
					hostOf(address), c.Endpoint)
			}
			next, err = c.nextPage(answer)
			return err
		})
	})
	return next, err
}

// nextPage reads the header Link: <ADDRESS>; rel="next".
func (c *client) nextPage(answer *http.Response) (string, error) {
	for link := range strings.SplitSeq(answer.Header.Get("Link"), ",") {
		target, attributes, ok := strings.Cut(strings.TrimSpace(link), ">")
		if !ok || !strings.HasPrefix(target, "<") || !strings.Contains(attributes, `rel="next"`) {
			continue
		}
		u, err := answer.Request.URL.Parse(target[1:])
		if err != nil || u.Host == "" {
			return "", fmt.Errorf("the next page of the listing has an address that is none")
		}
		if !c.trusted(u) { // a mirror passes the hub's own links on
			return "", fmt.Errorf("the next page of the listing is on %s, which is not the hub", u.Host)
		}
		return u.String(), nil
	}
	return "", nil
}

package search

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	maxRetryAfter = 2 * time.Minute // a longer Retry-After is not waited for: it opens the circuit breaker
	maxBody       = 16 << 20        // bytes of an answer
)

// failure is a request that did not succeed. queryRejected: the server rejected this query, and other queries may
// succeed. serverRefuses: the server refuses all queries for a while. Otherwise the request is tried again. after is
// the pause that the server asks for.
type failure struct {
	err                          error
	queryRejected, serverRefuses bool
	after                        time.Duration
}

// once sends one request and reads its answer.
func (c *caller) once(ctx context.Context, a *address, request func(context.Context, *address) (*http.Request, error),
	read func(*address, []byte) error) *failure {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	status, header, body, err := c.send(ctx, a, request)
	if errors.Is(err, context.DeadlineExceeded) {
		return &failure{
			err: fmt.Errorf(
				"no complete answer within %v (--search-timeout), with up to %d requests at once (--search-concurrency)", c.o.Timeout, c.o.Concurrency)}
	}
	if err != nil {
		return &failure{err: c.clean(err)}
	}
	said := func(what string) error {
		return errors.New(strings.TrimSuffix(fmt.Sprintf("%d %s: %s", status,
			cmp.Or(http.StatusText(status), "no known status"), c.redact(cmp.Or(what, explain(body)))), ": "))
	}
	after := retryAfter(header.Get("Retry-After"))
	switch {
	case status == http.StatusOK:
		if err := read(a, body); err != nil {
			return &failure{err: c.clean(err)}
		}
		return nil
	case status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status >= 500:
		if after > maxRetryAfter {
			err := said(fmt.Sprintf("asks to wait %v: go on after that", after.Round(time.Second)))
			return &failure{err: err, serverRefuses: true, after: after}
		}
		return &failure{err: said(""), after: after}
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return &failure{err: fmt.Errorf("%w: check the API key", said("")), serverRefuses: true, after: after}
	case status >= 300 && status < 400:
		return &failure{err: said("redirects to " + header.Get("Location") + ": give that address"),
			serverRefuses: true}
	case status == http.StatusBadRequest || status == http.StatusRequestEntityTooLarge ||
		status == http.StatusRequestURITooLong || status == http.StatusUnprocessableEntity:
		return &failure{err: said(""), queryRejected: true}
	}
	return &failure{err: fmt.Errorf("%w: check the address", said("")), serverRefuses: true, after: after}
}

// send sends a request and reads the complete answer.
func (c *caller) send(ctx context.Context, a *address, request func(context.Context, *address) (*http.Request,
	error)) (int, http.Header, []byte, error) {
	req, err := request(ctx, a)
	if err != nil {
		return 0, nil, nil, err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err == nil && len(body) > maxBody {
		err = fmt.Errorf("the answer is longer than %d MiB", maxBody>>20)
	}
	return resp.StatusCode, resp.Header, body, err
}

// clean removes the URL, which may hold the API key, from errors of package http.
func (c *caller) clean(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if text := c.redact(err.Error()); text != err.Error() {
		return errors.New(text)
	}
	return err
}

// redact replaces the API key by ***.
func (c *caller) redact(s string) string {
	if c.secret == "" {
		return s
	}
	return strings.NewReplacer(c.secret, "***", url.QueryEscape(c.secret), "***").Replace(s)
}

// retryAfter reads the header Retry-After: a number of seconds, or a date.
func retryAfter(s string) time.Duration {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(s); err == nil {
		return max(time.Until(t), 0)
	}
	return 0
}

// explain is the server's error message: from the usual JSON fields (error, message, detail), else the beginning of the
// text.
func explain(body []byte) string {
	var v struct {
		Error, Detail, Message json.RawMessage
	}
	text := string(body)
	if json.Unmarshal(body, &v) == nil {
		for _, raw := range []json.RawMessage{v.Error, v.Message, v.Detail} {
			var inner struct{ Message string }
			var s string
			if json.Unmarshal(raw, &s) == nil && s != "" {
				text = s
				break
			}
			if json.Unmarshal(raw, &inner) == nil && inner.Message != "" {
				text = inner.Message
				break
			}
		}
	}
	return strings.TrimRight(short(text, 200), ".")
}

// short is s on one line, cut after at most n bytes at the end of a character.
func short(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "") + "..."
	}
	return s
}

package report

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Listen opens the address of a live page, [HOST]:PORT. Without a host only this machine can reach it.
func Listen(address string) (net.Listener, error) {
	if _, err := strconv.Atoi(address); err == nil {
		address = ":" + address
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("%q is not an address: give :PORT or HOST:PORT", address)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("%w: choose another port, or 0 for any that is free", err)
	}
	return l, nil
}

// Live serves the page of a run at / while the run goes on.
type Live struct {
	// LocalOnly refuses requests whose Host header is not a name of this machine (DNS rebinding): otherwise a web site
	// could let its own name resolve to this machine and read the page.
	LocalOnly bool

	run   *Run
	mu    sync.Mutex
	asked time.Time // time of the last request
	sent  int       // the newest version that was sent to a browser
}

// NewLive makes a handler for r.
func NewLive(r *Run) *Live { return &Live{run: r} }

// ServeHTTP answers with the present page. A request with since=VERSION is answered by status 204 if that is still the
// present version.
func (l *Live) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	switch {
	case l.LocalOnly && !local(q.Host):
		http.Error(w, "this page is for this machine only", http.StatusForbidden)
		return
	case q.URL.Path != "/":
		http.NotFound(w, q)
		return
	case q.Method != http.MethodGet && q.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "this server only has a page to read: use GET", http.StatusMethodNotAllowed)
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	version, err := l.run.refresh()
	if err == nil && q.URL.Query().Get("since") == strconv.Itoa(version) {
		w.WriteHeader(http.StatusNoContent)
		l.note(version)
		return
	}
	var page []byte
	if err == nil {
		page, version, err = l.run.render(true)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	if _, err := w.Write(page); err == nil {
		l.note(version)
	}
}

// note records that a request was answered with this version.
func (l *Live) note(version int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked, l.sent = time.Now(), max(l.sent, version)
}

// watched is how long after its last request a page counts as open. An open page asks more often than that.
const watched = 3 * time.Second

// WaitForBrowser waits until an open page has the last version of the run, for at most a few seconds.
func (l *Live) WaitForBrowser() {
	version, err := l.run.refresh()
	for end := time.Now().Add(watched); err == nil && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		l.mu.Lock()
		done := l.sent >= version || time.Since(l.asked) > watched
		l.mu.Unlock()
		if done {
			return
		}
	}
}

// local says whether a Host header is a name of this machine.
func local(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && a.IsLoopback()
}

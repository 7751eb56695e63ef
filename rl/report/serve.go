package report

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

// Listen opens the address of a live page, [HOST]:PORT; without a host only this machine can reach it.
func Listen(address string) (net.Listener, error) {
	if _, err := strconv.Atoi(address); err == nil {
		address = ":" + address
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("%q is no address: give :PORT or HOST:PORT", address)
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

// Handler serves the live page of a run at /. A request with since=VERSION is answered 204 while nothing has changed. Where onlyHere is true
// only names of this machine are answered to, so that no page of the web can have its own name point here and read along.
func Handler(r *Run, onlyHere bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		switch {
		case onlyHere && !local(q.Host):
			http.Error(w, "this page is for this machine only", http.StatusForbidden)
			return
		case q.URL.Path != "/":
			http.NotFound(w, q)
			return
		case q.Method != http.MethodGet && q.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "there is only a page to read", http.StatusMethodNotAllowed)
			return
		}
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		version, err := r.refresh()
		if err == nil && q.URL.Query().Get("since") == strconv.Itoa(version) {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		var page []byte
		if err == nil {
			page, err = r.Page(true)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		h.Set("Content-Type", "text/html; charset=utf-8")
		w.Write(page)
	})
}

// local says whether a request was made to a name of this machine.
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

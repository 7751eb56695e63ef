package serve

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
)

// guard returns the error of a request that a web page of another site makes through its user's browser; nil if the
// request is welcome. A server with a key, or with AllowOrigins "*", needs no guard.
//
// A page of any site can send requests to this server, and with DNS rebinding (a name that the page's owner points at
// this machine after the page is loaded) it can also read the responses. Requests are therefore refused if
//
//   - the header Origin names neither this machine, nor the server as the browser reached it by an address, nor a
//     page of AllowOrigins;
//   - the connection is local, and the header Host is a name that can be registered, such as evil.example. Browsers
//     leave Origin out of some requests of a page to its own site.
//
// Other clients, such as curl and OpenAI's, send no Origin and the host that they connect to.
func (s *Server) guard(r *http.Request) error {
	if s.o.APIKey != "" || slices.Contains(s.o.AllowOrigins, "*") {
		return nil
	}
	if origin := strings.ToLower(r.Header.Get("Origin")); origin != "" {
		u, err := url.Parse(origin)
		own := err == nil && (onThisMachine(u.Hostname()) || u.Host == strings.ToLower(r.Host) && private(u.Hostname()))
		if own || slices.Contains(s.o.AllowOrigins, origin) {
			return nil
		}
		return refusedPage("origin_not_allowed", "pages of %.200s may not use this server: start it with "+
			"--allow-origin %[1]s to allow them, or with --api-key", origin)
	}
	host := strings.ToLower(hostname(r.Host))
	if !local(r) || private(host) || slices.ContainsFunc(s.o.AllowOrigins, func(origin string) bool {
		u, err := url.Parse(origin)
		return err == nil && u.Hostname() == host
	}) {
		return nil
	}
	return refusedPage("host_not_allowed", "this server is not %.200s: ask it as 127.0.0.1 or localhost, or start it "+
		"with --allow-origin http://%[1]s or --api-key", host)
}

func refusedPage(code, format, who string) *apiError {
	return &apiError{Status: http.StatusForbidden, Type: "invalid_request_error", Code: code,
		Message: fmt.Sprintf(format, who)}
}

// hostname is host without its port.
func hostname(host string) string { return (&url.URL{Host: host}).Hostname() }

// local reports whether a connection's own end is a loopback address.
func local(r *http.Request) bool {
	a, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ok && a.IP.IsLoopback()
}

// onThisMachine reports whether host is a name or an address that only this machine answers.
func onThisMachine(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && ip.Unmap().IsLoopback()
}

// private reports whether host cannot be made to mean this machine from outside this network: an address, a name
// without a dot, a name of a domain that is never registered, or this machine's name.
func private(host string) bool {
	host = strings.TrimSuffix(host, ".")
	if _, err := netip.ParseAddr(host); err == nil || !strings.Contains(host, ".") {
		return true
	}
	for _, domain := range []string{".localhost", ".local", ".internal", ".home.arpa"} {
		if strings.HasSuffix(host, domain) {
			return true
		}
	}
	own, err := os.Hostname()
	return err == nil && strings.EqualFold(own, host)
}

package serve

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// CheckOrigin returns an error for a string that a browser never sends in the header Origin. "*" stands for all
// origins, "null" is what browsers send for pages without an origin.
func CheckOrigin(origin string) error {
	if origin == "*" || origin == "null" {
		return nil
	}
	u, err := url.Parse(origin)
	if err != nil || u.Scheme == "" || u.Host == "" || !strings.EqualFold(u.Scheme+"://"+u.Host, origin) ||
		strings.Contains(origin, "*") {
		return fmt.Errorf("%q is no origin: write scheme and host, with the port if there is one, "+
			"such as https://app.example.org or http://localhost:3000, or * for all", origin)
	}
	return nil
}

// cors sets the headers that let pages of other origins read responses. If the request is a preflight (a browser's
// question before the request, without a key), cors answers it and returns true. Without Options.AllowOrigins it does
// nothing, and browsers do not let such pages read responses.
func (s *Server) cors(w http.ResponseWriter, r *http.Request) bool {
	if len(s.o.AllowOrigins) == 0 {
		return false
	}
	h, origin := w.Header(), r.Header.Get("Origin")
	allowed := "*"
	if !slices.Contains(s.o.AllowOrigins, allowed) {
		h.Add("Vary", "Origin")
		if allowed = strings.ToLower(origin); !slices.Contains(s.o.AllowOrigins, allowed) {
			allowed = ""
		}
	}
	if allowed != "" && origin != "" {
		h.Set("Access-Control-Allow-Origin", allowed)
		h.Set("Access-Control-Expose-Headers", "Retry-After")
	}
	if r.Method != http.MethodOptions || origin == "" || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	if allowed == "" {
		s.fail(w, &apiError{Status: http.StatusForbidden, Type: "invalid_request_error", Code: "origin_not_allowed",
			Message: fmt.Sprintf("pages of %.200s may not use this server: start it with --allow-origin to allow them",
				origin)})
		return true
	}
	h.Add("Vary", "Access-Control-Request-Headers")
	h.Set("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
	// OpenAI's clients send a dozen headers
	if asked := r.Header.Values("Access-Control-Request-Headers"); len(asked) > 0 {
		h.Set("Access-Control-Allow-Headers", strings.Join(asked, ", "))
	}
	h.Set("Access-Control-Max-Age", "86400")
	w.WriteHeader(http.StatusNoContent)
	return true
}

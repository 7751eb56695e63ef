// Package page is a web page on which people talk to the models of a server that speaks OpenAI's API: the conversation
// as it is written, and for a model that searches its thoughts, searches and documents.
//
// The page is one file. It loads nothing, and its Content-Security-Policy lets it speak to its own server only. Text of
// models and documents is inserted as text: the policy forbids the browser's functions that parse HTML.
package page

import (
	_ "embed"
	"io"
	"net/http"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/csp"
)

//go:embed page.html
var html string

//go:embed page.css
var css string

// The scripts are one program: text.js reads Markdown, stream.js speaks to the server, view.js makes elements, chat.js
// holds the conversation.
var (
	//go:embed text.js
	textJS string
	//go:embed stream.js
	streamJS string
	//go:embed view.js
	viewJS string
	//go:embed chat.js
	chatJS string
)

var script = "\n\"use strict\";\n(() => {\n" + textJS + streamJS + viewJS + chatJS + "})();\n"

// text is the whole page.
var text = strings.NewReplacer("STYLE", css, "SCRIPT", script).Replace(html)

// policy is the page's Content-Security-Policy.
var policy = "default-src 'none'; script-src " + csp.Hash(script) + "; style-src " + csp.Hash(css) +
	"; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'; trusted-types 'none'"

// ServeHTTP sends the page. It asks for the server's API at v1/ beside itself, with a key that its user types if the
// server wants one: the page itself needs none.
func ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("Cache-Control", "no-cache")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	_, _ = io.WriteString(w, text) // an error means that the client disconnected
}

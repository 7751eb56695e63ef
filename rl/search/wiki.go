package search

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/pyjson"
)

// WikiAddress is the default address of Search-R1's retrieval server.
const WikiAddress = "http://127.0.0.1:8000/retrieve"

// Wiki is a retrieval server that speaks Search-R1's protocol (its search_r1/search/retrieval_server.py and the others
// there):
//
//	POST /retrieve {"queries": ["..."], "topk": 5, "return_scores": true}
//	{"result": [[{"document": {"id": "...", "contents": "\"Title\"\ntext"}, "score": 0.8}, ...]]}
//
// or, from servers without scores, {"result": [[{"id": "...", "contents": "..."}, ...]]}.
type Wiki struct {
	calls *caller
	topK  int
}

// NewWiki makes the engine. All addresses must serve the same corpus; the load is spread over them. Without addresses
// it is WikiAddress.
func NewWiki(addresses []string, topK int, o CallOptions) (*Wiki, error) {
	if len(addresses) == 0 {
		addresses = []string{WikiAddress}
	}
	c, err := newCaller("wiki", "", "/retrieve", addresses, o)
	return &Wiki{c, topK}, err
}

// Name is wiki.
func (w *Wiki) Name() string { return "wiki" }

// Key is the first address and the number of documents.
func (w *Wiki) Key() string { return fmt.Sprintf("wiki %s topk %d", w.calls.all[0].url, w.topK) }

// Fetch asks one of the servers.
func (w *Wiki) Fetch(ctx context.Context, query string) (docs []string, err error) {
	body, err := json.Marshal(map[string]any{"queries": []string{query}, "topk": w.topK, "return_scores": true})
	if err != nil {
		return nil, err
	}
	err = w.calls.do(ctx, post(body, func(a *address) string { return a.url.String() }, ""),
		func(_ *address, body []byte) error {
			docs, err = readRetrieved(body)
			return err
		})
	return docs, err
}

// post builds a request with a JSON body. key, if not empty, is sent as a bearer token.
func post(body []byte, where func(*address) string, key string) func(context.Context, *address) (*http.Request, error) {
	return func(ctx context.Context, a *address) (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, where(a), bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Content-Type", "application/json")
		authorize(req, key)
		return req, nil
	}
}

func authorize(req *http.Request, key string) {
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
}

// retrieved is a document of a retrieval server. Servers in Python read titles and texts from tables: a title may be a
// number, and a text may be missing.
type retrieved struct {
	Contents looseText `json:"contents"`
	Title    looseText `json:"title"`
	Text     looseText `json:"text"`
}

// readRetrieved reads the documents for the only query. Documents without text are left out. It is an error if no
// document has a field for its text.
func readRetrieved(body []byte) ([]string, error) {
	const shape = "Search-R1's {\"result\": [[...]]} for one query"
	var v struct {
		Result [][]struct {
			Document *retrieved `json:"document"`
			retrieved
		} `json:"result"`
	}
	if err := pyjson.Unmarshal(body, &v); err != nil {
		return nil, errShape(shape, body, err)
	}
	if len(v.Result) != 1 {
		return nil, errShape(shape, body, fmt.Errorf("%d results", len(v.Result)))
	}
	docs, known := []string{}, len(v.Result[0]) == 0
	for _, r := range v.Result[0] {
		d := r.Document
		if d == nil {
			d = &r.retrieved
		}
		known = known || d.Contents.given || d.Text.given
		text := strings.Join(strings.Fields(d.Contents.text), " ")
		if text == "" && strip(d.Text.text) != "" {
			text = titled(d.Title.text, d.Text.text)
		}
		if text != "" {
			docs = append(docs, text)
		}
	}
	if !known {
		return nil, errShape(shape, body, errors.New("no document has contents or text"))
	}
	return docs, nil
}

// looseText is a text that JSON may also hold as a number or a boolean, which keep their spelling; null is "".
type looseText struct {
	text  string
	given bool // the field is there, even if null
}

// UnmarshalJSON reads any of these values.
func (t *looseText) UnmarshalJSON(raw []byte) error {
	t.given = true
	switch raw[0] {
	case 'n':
		return nil
	case '"', '{', '[':
		return json.Unmarshal(raw, &t.text)
	}
	t.text = string(raw)
	return nil
}

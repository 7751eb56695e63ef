package search

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/pyjson"
)

// SerpAPI is the address of the Google engine unless another one is given.
const SerpAPI = "https://serpapi.com/search"

// Google is Google's web search through SerpAPI (https://serpapi.com/search-api): title and snippet of the organic
// results.
type Google struct {
	calls *caller
	num   int
}

// NewGoogle makes the engine. An empty address stands for SerpAPI. key is the API key of SerpAPI and never appears in
// an error. A result page has 10 results; a larger topK asks for that many.
func NewGoogle(address, key string, topK int, o CallOptions) (*Google, error) {
	if key == "" {
		return nil,
			errors.New("google: no API key: set the environment variable SERPAPI_API_KEY to that of your account at " +
				"serpapi.com")
	}
	if address == "" {
		address = SerpAPI
	}
	c, err := newCaller("google", key, "/search", []string{address}, o)
	if err != nil {
		return nil, err
	}
	g := &Google{calls: c}
	if topK > 10 {
		g.num = topK
	}
	return g, nil
}

// Name is google.
func (g *Google) Name() string { return "google" }

// Key is the address and the number of results.
func (g *Google) Key() string {
	return fmt.Sprintf("google %s num %d", g.calls.all[0].url.Redacted(), g.num)
}

// Fetch asks SerpAPI, and tries again after failures.
func (g *Google) Fetch(ctx context.Context, query string) (docs []string, err error) {
	err = g.calls.do(ctx, func(ctx context.Context, a *address) (*http.Request, error) {
		u := *a.url
		v := url.Values{"engine": {"google"}, "q": {query}, "api_key": {g.calls.secret}, "output": {"json"}}
		if g.num > 0 {
			v.Set("num", strconv.Itoa(g.num))
		}
		u.RawQuery = v.Encode()
		return http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	}, func(_ *address, body []byte) error {
		docs, err = readSerp(body)
		return err
	})
	return docs, err
}

// readSerp reads SerpAPI's answer. When Google found nothing, its status is "Success" as well and its field error says
// so.
func readSerp(body []byte) ([]string, error) {
	var v struct {
		Metadata *struct{ Status string }             `json:"search_metadata"`
		Error    looseText                            `json:"error"`
		Organic  []struct{ Title, Snippet looseText } `json:"organic_results"`
	}
	err := pyjson.Unmarshal(body, &v)
	if err == nil && v.Metadata == nil && v.Organic == nil {
		err = errors.New("neither search_metadata nor organic_results")
	}
	if err != nil {
		return nil, errShape("SerpAPI's JSON", body, err)
	}
	if v.Organic == nil && v.Metadata.Status != "Success" {
		return nil, fmt.Errorf("the search ended with status %q: %s", v.Metadata.Status, short(v.Error.text, 200))
	}
	if v.Organic == nil && v.Error.text != "" && !strings.Contains(v.Error.text, "any results") {
		return nil, errors.New(short(v.Error.text, 200))
	}
	docs := []string{}
	for _, r := range v.Organic {
		if d := titled(r.Title.text, r.Snippet.text); d != "" {
			docs = append(docs, d)
		}
	}
	return docs, nil
}

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

// SerpAPI is where Google answers unless another address is given.
const SerpAPI = "https://serpapi.com/search"

// Google is Google's web search through SerpAPI (https://serpapi.com/search-api): title and snippet of the organic results.
type Google struct {
	calls *caller
	num   int
}

// NewGoogle makes the engine. address "" is SerpAPI; key is SerpAPI's and never appears in an error. topK above 10 asks for more results
// than a page has.
func NewGoogle(address, key string, topK int, o CallOptions) (*Google, error) {
	if key == "" {
		return nil, errors.New("google: no API key: set the environment variable SERPAPI_API_KEY to that of your account at serpapi.com")
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

// Fetch asks SerpAPI once, again after failures.
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

// readSerp reads SerpAPI's answer. Its status is "Success" also when Google found nothing, which the error then says.
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

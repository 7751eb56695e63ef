package roles

import (
	"cmp"
	"context"
	"os"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/await"
	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// SearchEngines are what OpenSearch opens.
type SearchEngines struct {
	// Searcher is the engine, or a search.Mixture of several.
	Searcher search.Searcher
	// Notes tell the user what had to be left out.
	Notes []string
	// Parts are what they search or give again: corpus, search-episodes, remote-model.
	Parts fingerprint.Parts
	// Corpus is what bm25, dense and hybrid search; nil without them.
	Corpus *search.Corpus

	close []func()
}

// Close gives back what the engines hold. No search is under way then.
func (e *SearchEngines) Close() {
	for _, f := range slices.Backward(e.close) {
		f()
	}
	e.close = nil
}

// OpenSearch makes the engine, or the mixture of engines, that the mode names. simulator makes the writer of simulated
// documents; it is called once, if at all. The caller closes the engines.
func OpenSearch(ctx context.Context, c *config.Search, simulator func() (search.Generator, error)) (*SearchEngines,
	error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	parts, err := c.Modes()
	if err != nil {
		return nil, err
	}
	o := opener{Search: c, simulator: simulator, SearchEngines: SearchEngines{Parts: fingerprint.Parts{}}}
	if c.Cache != "" && c.Online() {
		if o.cache, err = search.OpenCache(c.Cache); err != nil {
			return nil, err
		}
	}
	var engines []search.Searcher
	var weights []float64
	for _, p := range parts {
		e, err := o.engine(ctx, p.Mode)
		if err != nil {
			o.Close()
			return nil, err
		}
		engines, weights = append(engines, e), append(weights, p.Weight)
	}
	out := o.SearchEngines
	if out.Searcher = engines[0]; len(engines) > 1 {
		out.Searcher, err = search.NewMixture(engines, weights)
	}
	return &out, err
}

// opener keeps what the engines of a mixture share.
type opener struct {
	*config.Search
	simulator func() (search.Generator, error)
	local     search.Generator
	cache     *search.Cache
	words     *search.BM25
	vectors   search.Ranker
	SearchEngines
}

func (o *opener) engine(ctx context.Context, mode string) (search.Searcher, error) {
	switch mode {
	case "none":
		return search.None{}, nil
	case "bm25", "dense", "hybrid":
		return o.indexed(ctx, mode)
	case "replay":
		if err := o.Parts.File("search-episodes", o.SearchEpisodes); err != nil {
			return nil, err
		}
		return await.Call(ctx, func() (search.Searcher, error) { return search.NewReplay(o.SearchEpisodes) })
	case "google":
		g, err := search.NewGoogle(o.GoogleURL, config.GoogleKey(), o.TopK, calls(o.Search))
		return &search.Online{Engine: g, Cache: o.cache, TopK: o.TopK}, err
	case "wiki":
		w, err := search.NewWiki(list(o.WikiURL), o.TopK, calls(o.Search))
		return &search.Online{Engine: w, Cache: o.cache, TopK: o.TopK}, err
	case "remote":
		r, err := search.NewRemote(list(o.RemoteURL), o.RemoteModel, os.Getenv("OPENAI_API_KEY"), calls(o.Search))
		if err != nil {
			return nil, err
		}
		r.EnableThinking = o.SimThinking
		if err := r.Ready(ctx); err != nil {
			return nil, err
		}
		o.Parts["remote-model"] = r.Model()
		return o.simulated(mode, search.Form(cmp.Or(o.RemotePrompt, string(search.Prompt))), r)
	}
	if o.local == nil {
		g, err := o.simulator()
		if err != nil {
			return nil, err
		}
		o.local = g
	}
	return o.simulated("", search.Form(mode), o.local)
}

func (o *opener) simulated(name string, form search.Form, g search.Generator) (search.Searcher, error) {
	s := search.NewSimulated(g, form, o.NoiseCurriculum())
	s.Engine, s.TopK, s.MaxTokens, s.Temperature, s.NoiseRate = name, o.TopK, o.SimMaxTokens, o.SimTemperature,
		o.NoiseRate
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return s, nil
}

func calls(c *config.Search) search.CallOptions {
	return search.CallOptions{Tries: c.Tries, Timeout: c.Timeout, Concurrency: c.InFlight}
}

// list splits at commas.
func list(s string) (out []string) {
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

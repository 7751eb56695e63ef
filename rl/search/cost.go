package search

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// Cost is what searching took.
type Cost struct {
	// Queries that were answered, Cached those of them that a cache answered.
	Queries int64 `json:"queries"`
	Cached  int64 `json:"cached"`
	// PromptTokens and CompletionTokens of simulating models.
	PromptTokens     int64 `json:"prompt_tokens"`
	CompletionTokens int64 `json:"completion_tokens"`
	// Seconds during which at least one query was under way.
	Seconds float64 `json:"seconds"`
	// USD is what the engine asks for it, by the Prices.
	USD float64 `json:"usd"`
	// GoogleUSD is what as many queries of google ask for.
	GoogleUSD float64 `json:"google_usd"`
}

// Add adds another cost.
func (c Cost) Add(o Cost) Cost {
	return Cost{c.Queries + o.Queries, c.Cached + o.Cached, c.PromptTokens + o.PromptTokens, c.CompletionTokens + o.CompletionTokens,
		c.Seconds + o.Seconds, c.USD + o.USD, c.GoogleUSD + o.GoogleUSD}
}

// Prices turn use into US dollars.
type Prices struct {
	// Google is the price of a query.
	Google float64
	// Hour is the price of an hour of this machine: simulating here costs the time in which at least one query is under way. That
	// is an upper bound, for the policy is at work in it too.
	Hour float64
	// Tokens is the price of a million tokens of a remote simulator, prompt and completion.
	Tokens float64
}

// Meter adds up what searches cost. It may be used by many goroutines at once; a nil Meter counts nothing.
type Meter struct {
	prices Prices

	mu      sync.Mutex
	engines map[string]*gauge
}

type gauge struct {
	Cost
	running int
	since   time.Time // when running rose above 0
}

// NewMeter makes a meter at 0.
func NewMeter(p Prices) *Meter { return &Meter{prices: p, engines: map[string]*gauge{}} }

// Over counts what is asked of s. Documents then name their engine.
func (m *Meter) Over(s Searcher) Searcher {
	if m == nil {
		return s
	}
	return metered{m, s}
}

type metered struct {
	*Meter
	engine Searcher
}

// Search asks the engine, of a mixture the one it picks.
func (m metered) Search(ctx context.Context, q Query) (Documents, error) {
	s := m.engine
	if mixed, ok := s.(*Mixture); ok {
		s = mixed.Pick(q)
	}
	name := "other"
	if n, ok := s.(interface{ Name() string }); ok {
		name = n.Name()
	}
	g := m.enter(name)
	d, err := s.Search(ctx, q)
	m.leave(g, d, err)
	d.Engine = name
	return d, err
}

func (m *Meter) enter(name string) *gauge {
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.engines[name]
	if g == nil {
		g = &gauge{}
		m.engines[name] = g
	}
	if g.running++; g.running == 1 {
		g.since = time.Now()
	}
	return g
}

func (m *Meter) leave(g *gauge, d Documents, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if g.running--; g.running == 0 {
		g.Seconds += time.Since(g.since).Seconds()
	}
	g.PromptTokens += int64(d.PromptTokens) // those of a search that failed are paid for, too
	g.CompletionTokens += int64(d.CompletionTokens)
	if err != nil {
		return
	}
	g.Queries++
	if d.Cached {
		g.Cached++
	}
}

// Take gives the cost of every engine since the last Take, by name.
func (m *Meter) Take() map[string]Cost {
	out := map[string]Cost{}
	if m == nil {
		return out
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for name, g := range m.engines {
		if g.running > 0 {
			g.Seconds += now.Sub(g.since).Seconds()
			g.since = now
		}
		if g.Cost != (Cost{}) {
			out[name] = m.prices.of(name, g.Cost)
		}
		g.Cost = Cost{}
	}
	return out
}

// of adds the money. It is worked out from the counts of this cost alone, so that a resumed run writes the same figures.
func (p Prices) of(engine string, c Cost) Cost {
	c.GoogleUSD = float64(c.Queries) * p.Google
	switch engine {
	case "google":
		c.USD = float64(c.Queries-c.Cached) * p.Google
	case "remote":
		c.USD = float64(c.PromptTokens+c.CompletionTokens) * p.Tokens / 1e6
	case string(SFT), string(Prompt):
		c.USD = c.Seconds * p.Hour / 3600
	}
	return c
}

// Sum adds the costs of engines up.
func Sum(by map[string]Cost) (total Cost) {
	for _, name := range slices.Sorted(maps.Keys(by)) {
		total = total.Add(by[name])
	}
	return total
}

package search

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// Cost is what the searches of some time cost.
type Cost struct {
	// Queries counts the answered queries, Cached those of them that the cache answered.
	Queries int64 `json:"queries"`
	Cached  int64 `json:"cached"`
	// PromptTokens and CompletionTokens count the tokens that simulators read and wrote.
	PromptTokens     int64 `json:"prompt_tokens"`
	CompletionTokens int64 `json:"completion_tokens"`
	// Seconds is the time during which at least one query was in flight.
	Seconds float64 `json:"seconds"`
	// USD is the price of the searches by Prices.
	USD float64 `json:"usd"`
	// GoogleUSD is the price of the same number of queries to google, for comparison.
	GoogleUSD float64 `json:"google_usd"`
}

// Add adds another cost.
func (c Cost) Add(o Cost) Cost {
	return Cost{c.Queries + o.Queries, c.Cached + o.Cached, c.PromptTokens + o.PromptTokens,
		c.CompletionTokens + o.CompletionTokens,
		c.Seconds + o.Seconds, c.USD + o.USD, c.GoogleUSD + o.GoogleUSD}
}

// Prices are the prices of searching, in US dollars.
type Prices struct {
	// Google is the price of a query.
	Google float64
	// Hour is the price of an hour of this machine. A simulator on this machine costs the time in which at least one
	// query is in flight. That is an upper bound, because the policy generates during that time, too.
	Hour float64
	// Tokens is the price of a million tokens of a remote simulator, prompt and completion tokens alike.
	Tokens float64
}

// Meter adds up the cost of searches. It may be used by many goroutines at once; a nil Meter counts nothing.
type Meter struct {
	prices Prices

	mu      sync.Mutex
	engines map[string]*usage
}

// usage is the cost of one engine so far.
type usage struct {
	Cost
	running int       // queries in flight
	since   time.Time // when running rose above 0, or the last Take
}

// NewMeter makes a meter with all costs 0.
func NewMeter(p Prices) *Meter { return &Meter{prices: p, engines: map[string]*usage{}} }

// Wrap returns a Searcher that asks s and adds up its costs. Its Documents name their engine.
func (m *Meter) Wrap(s Searcher) Searcher {
	if m == nil {
		return s
	}
	return metered{m, s}
}

type metered struct {
	*Meter
	engine Searcher
}

// Search asks the engine; of a mixture, the engine that the mixture picks.
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

func (m *Meter) enter(name string) *usage {
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.engines[name]
	if g == nil {
		g = &usage{}
		m.engines[name] = g
	}
	if g.running++; g.running == 1 {
		g.since = time.Now()
	}
	return g
}

func (m *Meter) leave(g *usage, d Documents, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if g.running--; g.running == 0 {
		g.Seconds += time.Since(g.since).Seconds()
	}
	g.PromptTokens += int64(d.PromptTokens) // the tokens of a failed search cost money, too
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

// Counts are the costs of every engine since the last Take, by name, without prices; Restore adds them to a meter of a
// process that goes on.
func (m *Meter) Counts() map[string]Cost {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]Cost{}
	for name, g := range m.engines {
		out[name] = g.Cost
	}
	return out
}

// Restore adds what Counts gave.
func (m *Meter) Restore(by map[string]Cost) {
	for name, c := range by {
		if m != nil {
			m.mu.Lock()
			g := m.engines[name]
			if g == nil {
				g = &usage{}
				m.engines[name] = g
			}
			g.Cost = g.Cost.Add(c)
			m.mu.Unlock()
		}
	}
}

// of fills in the prices. They depend only on the counts of this cost, so that a resumed run writes the same numbers.
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

// Sum adds up the costs of several engines.
func Sum(by map[string]Cost) (total Cost) {
	for _, name := range slices.Sorted(maps.Keys(by)) {
		total = total.Add(by[name])
	}
	return total
}

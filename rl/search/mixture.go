package search

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Share is a part of a mixture: a search mode, and its weight relative to the other modes.
type Share struct {
	Mode   string
	Weight float64
}

// ParseMixture reads the value of --search-mode: one mode, or several with weights, as in simulate_sft:0.8,bm25:0.2. A
// mode without a weight has weight 1.
func ParseMixture(s string) ([]Share, error) {
	var out []Share
	for part := range strings.SplitSeq(s, ",") {
		mode, weight, given := strings.Cut(strip(part), ":")
		p := Share{strip(mode), 1}
		var err error
		if given {
			p.Weight, err = strconv.ParseFloat(strip(weight), 64)
		}
		if p.Mode == "" || err != nil || !(p.Weight > 0 && p.Weight <= 1e9) {
			return nil, fmt.Errorf("mixture %q: %q is not MODE or MODE:WEIGHT with a weight above 0", s, strip(part))
		}
		for _, other := range out {
			if other.Mode == p.Mode {
				return nil, fmt.Errorf("mixture %q: %s is named twice: name each mode once", s, p.Mode)
			}
		}
		out = append(out, p)
	}
	return out, nil
}

// Mixture asks one of several engines. The engine is drawn at random for every query, seeded by the query's stream.
type Mixture struct {
	engines []Searcher
	upTo    []float64 // [engines]: cumulative share of the weights, ascending to 1
}

// NewMixture makes a mixture of engines with their weights, above 0.
func NewMixture(engines []Searcher, weights []float64) (*Mixture, error) {
	sum := 0.0
	for _, w := range weights {
		if !(w > 0) {
			return nil, fmt.Errorf("mixture: weight %v: must be above 0", w)
		}
		sum += w
	}
	if len(engines) == 0 || len(engines) != len(weights) {
		return nil, errors.New("mixture: as many weights as engines are needed, and at least one")
	}
	m := &Mixture{engines: engines}
	at := 0.0
	for _, w := range weights {
		at += w
		m.upTo = append(m.upTo, at/sum)
	}
	return m, nil
}

// Pick gives the engine for a query.
func (m *Mixture) Pick(q Query) Searcher {
	draw := Draw(mix(q.Stream ^ 0x2545f4914f6cdd1d)) // independent of the draw for the documents' quality
	for i, up := range m.upTo {
		if draw < up {
			return m.engines[i]
		}
	}
	return m.engines[len(m.engines)-1]
}

// Search asks the engine that Pick gives.
func (m *Mixture) Search(ctx context.Context, q Query) (Documents, error) {
	return m.Pick(q).Search(ctx, q)
}

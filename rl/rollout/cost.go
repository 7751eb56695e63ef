package rollout

import (
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// AddCost puts what searching cost into a step's metrics. What depends on a clock, or on what a cache knew already,
// stands under timing_s and perf: a repeated run has other values there.
func AddCost(m rundir.Metrics, by map[string]search.Cost) {
	if len(by) == 0 {
		return
	}
	c := search.Sum(by)
	m["cost/queries"], m["cost/google_usd"] = float64(c.Queries), c.GoogleUSD
	m["cost/prompt_tokens"], m["cost/completion_tokens"] = float64(c.PromptTokens), float64(c.CompletionTokens)
	m["timing_s/search"], m["perf/search_usd"], m["perf/search_cached"] = c.Seconds, c.USD, float64(c.Cached)
	if len(by) > 1 {
		for name, part := range by {
			m["cost/queries/"+name] = float64(part.Queries)
		}
	}
}

// StepCost is the cost of searching in a step, from its metrics.
func StepCost(m rundir.Metrics) search.Cost {
	return search.Cost{Queries: int64(m["cost/queries"]), Cached: int64(m["perf/search_cached"]),
		PromptTokens:     int64(m["cost/prompt_tokens"]),
		CompletionTokens: int64(m["cost/completion_tokens"]), Seconds: m["timing_s/search"], USD: m["perf/search_usd"],
		GoogleUSD: m["cost/google_usd"]}
}

// MeanF1 is how well episodes answered, whatever they were rewarded for.
func MeanF1(all []*episode.Episode) (mean float64) {
	for _, e := range all {
		mean += scores(e).F1 / float64(len(all))
	}
	return mean
}

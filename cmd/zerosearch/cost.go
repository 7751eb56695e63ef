package main

import (
	"fmt"
	"math"

	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/health"
	"github.com/zerosearch-go/zerosearch/rl/rollout"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// logCost says what searching took, and what the same queries would have cost at google.
func logCost(w *world, s config.Search, c search.Cost) {
	if c.Queries == 0 || s.Mode == "none" {
		return
	}
	line := fmt.Sprintf("searching with %s: %d queries", s.Mode, c.Queries)
	if c.Queries == 1 {
		line = fmt.Sprintf("searching with %s: 1 query", s.Mode)
	}
	if c.Cached > 0 {
		line += fmt.Sprintf(" (%d from the cache)", c.Cached)
	}
	if n := c.PromptTokens + c.CompletionTokens; n > 0 {
		line += fmt.Sprintf(", %d + %d tokens", c.PromptTokens, c.CompletionTokens)
	}
	line += fmt.Sprintf(", %.1f s", c.Seconds)
	if c.USD > 0 {
		line += ", " + dollars(c.USD)
	}
	if s.Mode != "google" {
		line += fmt.Sprintf("; google: %s at $%g a query", dollars(c.GoogleUSD), s.GooglePrice)
	}
	if s.Mode != "google" && c.USD > 0 && c.GoogleUSD > 0 {
		switch saved := 100 * (1 - c.USD/c.GoogleUSD); {
		case saved >= 0.05:
			line += fmt.Sprintf(": %.1f%% cheaper than google", math.Floor(10*saved)/10)
		case saved <= -0.05:
			line += fmt.Sprintf(": %.1f times what google asks", c.USD/c.GoogleUSD)
		}
	}
	w.log.line("%s", line)
}

// dollars shows a few digits of amounts below a cent too.
func dollars(usd float64) string {
	if usd > 0 && usd < 0.01 {
		return fmt.Sprintf("$%.2g", usd)
	}
	return fmt.Sprintf("$%.2f", usd)
}

// costOf adds up what searching cost in steps.
func costOf(steps []health.Step) (total search.Cost) {
	for _, s := range steps {
		total = total.Add(rollout.StepCost(s.Metrics))
	}
	return total
}

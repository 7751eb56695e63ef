package search_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"pgregory.net/rapid"
)

func TestCurricula(t *testing.T) {
	at := func(kind search.CurriculumKind, step int, success float64) float64 {
		c := search.Curriculum{Kind: kind, Start: 0.2, End: 0.6, Goal: 0.5}
		require.NoError(t, c.Validate())
		return c.Tau(search.Query{Step: step, TotalSteps: 100, Success: success})
	}
	require.InDelta(t, 0.2+(2-1)/3.*0.4, at(search.ZeroSearch, 50, 0.9), 1e-12) // 4^(1/2) = 2
	require.InDelta(t, 0.4, at(search.Linear, 50, 0.9), 1e-12)
	require.Equal(t, 0.2, at(search.Constant, 99, 0.9))
	require.Equal(t, 0.6, at(search.Linear, 100, 0))
	require.Equal(t, 0.6, at(search.Linear, 200, 0))
	require.Equal(t, 0.2, at(search.Adaptive, 99, 0))
	require.InDelta(t, 0.4, at(search.Adaptive, 1, 0.25), 1e-12)
	require.Equal(t, 0.6, at(search.Adaptive, 1, 0.5))
	require.Equal(t, 0.6, at(search.Adaptive, 1, 1))
	require.Error(t, search.Curriculum{Kind: "steep"}.Validate())
	require.Error(t, search.Curriculum{Goal: 2}.Validate())
	rapid.Check(t, func(t *rapid.T) {
		c := search.Curriculum{Kind: rapid.SampledFrom([]search.CurriculumKind{"", search.ZeroSearch, search.Linear,
			search.Constant, search.Adaptive}).Draw(t, "kind"),
			Start: rapid.Float64Range(0, 1).Draw(t, "start"), End: rapid.Float64Range(0, 1).Draw(t, "end")}
		q := search.Query{Step: rapid.IntRange(-5, 50).Draw(t, "step"),
			TotalSteps: rapid.IntRange(0, 40).Draw(t, "total"), Success: rapid.Float64Range(0, 1).Draw(t, "success")}
		tau := c.Tau(q)
		require.True(t, min(c.Start, c.End) <= tau && tau <= max(c.Start, c.End))
		q.Step, q.Success = q.Step+1, min(1, q.Success+0.1)
		require.GreaterOrEqual(t, (c.Tau(q)-tau)*(c.End-c.Start), -1e-15, "from Start towards End")
	})
	s := 0.0
	for range 10 {
		s = search.Smooth(s, 1)
	}
	require.InDelta(t, 0.6513, s, 1e-4) // 1 - 0.9^10
}

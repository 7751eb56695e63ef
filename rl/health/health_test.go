package health

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Each row is a short run, and the kinds of what is wrong with it.
func TestJudge(t *testing.T) {
	type m = map[string]float64
	engine := func(useful, noisy, rate, episodes float64) m {
		return m{"rollout/episodes": episodes, "search/per_question": 2, "search/useful_rate": rate,
			"search/useful_has_answer": useful, "search/noisy_has_answer": noisy}
	}
	for _, c := range []struct {
		name  string
		steps []m
		want  []Kind
	}{
		{"nothing yet", nil, nil},
		{"a fit engine", []m{engine(0.8, 0.1, 0.5, 40)}, nil},
		{"an engine that does not know", []m{engine(0.24, 0.1, 0.5, 40)}, []Kind{EngineIgnorant}},
		{"noise that helps", []m{engine(0.8, 0.7, 0.5, 40)}, []Kind{NoiseHasAnswer}},
		{"both", []m{engine(0.24, 0.15, 0.5, 40)}, []Kind{EngineIgnorant, NoiseHasAnswer}},
		{"too few results", []m{engine(0.24, 0.15, 0.5, 4)}, nil},
		{"few results in each of many steps", []m{engine(0.2, 0, 0.5, 8), engine(0.2, 0, 0.5, 8), engine(0.2, 0, 0.5, 8)},
			[]Kind{EngineIgnorant}},
		{"no noise yet", []m{{"rollout/episodes": 40, "search/per_question": 1, "search/useful_rate": 1,
			"search/useful_has_answer": 0.4}}, []Kind{EngineIgnorant}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var steps []Step
			for i, values := range c.steps {
				steps = append(steps, Step{i + 1, values})
			}
			var got []Kind
			for _, f := range Judge(steps) {
				got = append(got, f.Kind)
				require.NotEmpty(t, f.Text)
			}
			require.Equal(t, c.want, got)
		})
	}
}

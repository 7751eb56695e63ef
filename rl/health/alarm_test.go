package health

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Each rule at both sides of its limit, over values by hand.
func TestRules(t *testing.T) {
	for _, c := range []struct {
		rule, metric string
		values       []float64 // a value a step, from step 1 on
		at           int       // the first step that raises the alarm; 0: none does
		says         string
	}{
		{"likelihood", "rollout/logprob_mean", []float64{-0.5, -0.4, -0.6, -0.5, -1.5, -1.5, -1.5, -1.6}, 8,
			"the mean log-probability of sampled tokens fell from -0.5 in the first 3 steps to -1.53 in the last 3, by " +
				"more than 1"},
		{"likelihood", "rollout/logprob_mean", []float64{-0.5, -9, -9, -9, -9}, 0, ""}, // both ends are the same steps
		{"likelihood:0.2", "rollout/logprob_mean", []float64{-1, -1, -1, -1, -1.3, -1.4}, 6, "by more than 0.2"},
		{"entropy", "actor/entropy", []float64{1, 1, 1, 3, 3, 3, 3.3}, 7,
			"the entropy rose from 1 in the first 3 steps " +
				"to 3.1 in the last 3, to more than 3 times as much"},
		{"kl:0.5", "actor/kl_loss", []float64{0, 0.7, 0.7, 0.7}, 4, "the KL from the reference was 0.7"},
		{"kl", "actor/reward_kl_penalty", []float64{2, 2, 2}, 3, "was 2 in the last 3 steps, more than 1"},
		{"valid-actions", "env/valid_action_rate", []float64{0.8, 0.8, 0.8, 0.4, 0.4, 0.4, 0.3}, 7,
			"the share of valid actions fell from 0.8"},
		{"held-out", "val/all/f1", []float64{0.2, 0.5, 0.3, 0.45, 0.3, 0.39}, 6,
			"the held-out F1 was 0.5 at step 2 and 0.3 and 0.39 in the last two evaluations, more than 0.1 less"},
		{"env/valid_action_rate<0.2", "env/valid_action_rate", []float64{0.3, 0.2, 0.1}, 3,
			"env/valid_action_rate is 0.1"},
		{"x > 2", "x", []float64{2, 3}, 2, "x is 3"},
		{"x>2", "y", []float64{3}, 0, ""},
	} {
		rules, err := ParseRules(" " + c.rule + ",")
		require.NoError(t, err)
		require.Len(t, rules, 1)
		var steps []Step
		at := 0
		for i, v := range c.values {
			steps = append(steps, Step{Step: i + 1, Metrics: map[string]float64{c.metric: v}})
			if a := rules[0].Alarm(steps); a != nil {
				require.Contains(t, a.Text, c.says, c.rule)
				require.Equal(t, Alarm{Rule: c.rule, Metric: c.metric, Step: i + 1, Value: a.Value, Limit: a.Limit,
					Text: a.Text}, *a)
				at = i + 1
				break
			}
		}
		require.Equal(t, c.at, at, c.rule)
		require.Equal(t, c.metric == "y", rules[0].Missing(steps[0]), c.rule)
		steps = append(steps, Step{Step: 99, Metrics: map[string]float64{"other": 1}})
		require.Nil(t, rules[0].Alarm(steps), "it was not measured in the last step")
	}
	for text, want := range map[string]string{
		"collapse":          `"collapse" is no rule: use likelihood, entropy, kl, valid-actions, held-out`,
		"entropy:0":         "the limit must be a finite number above 0",
		"entropy:x":         "the limit must be a finite number above 0",
		"actor/entropy<x":   "expected a finite number after <",
		"actor/entropy>NaN": "expected a finite number after >",
	} {
		_, err := ParseRules(text)
		require.ErrorContains(t, err, want)
	}
}

package health

import (
	"fmt"
	"maps"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// m are the metrics of a step that differ from those of a healthy one.
type m = map[string]float64

// run makes n steps of 16 episodes in groups of 4, each with what change says of it, i from 0 to 1.
func run(n int, change func(i float64) m) (steps []Step) {
	for k := range n {
		values := m{"rollout/episodes": 16, "critic/score/mean": 0.4, "critic/score/max": 1, "critic/score/min": 0,
			"env/valid_action_rate": 0.95, "env/finish_rate": 0.9, "search/per_question": 1.5, "search/empty_rate": 0,
			"search/useful_rate": 0.75, "search/useful_has_answer": 0.85, "search/noisy_has_answer": 0.1,
			"rollout/groups_equal": 0.2, "actor/still_trajectories": 4, "actor/mean_abs_advantage": 0.6}
		if k%2 == 1 {
			values["critic/score/mean"] = 0.42 // chance
		}
		maps.Copy(values, change(float64(k)/float64(max(1, n-1))))
		steps = append(steps, Step{k + 1, values})
	}
	return steps
}

// always is a run whose steps all differ in the same way.
func always(n int, values m) []Step { return run(n, func(float64) m { return values }) }

// between goes from a to b as i goes from 0 to 1.
func between(a, b, i float64) float64 { return a + (b-a)*i }

// after is a in the first part of a run, and b in the rest.
func after(part, a, b, i float64) float64 {
	if i < part {
		return a
	}
	return b
}

// Each row is a run, and what is said of it: its state, and of each finding its kind, how bad it is, and its text.
func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps []Step
		state State
		want  string // a finding a line
	}{
		{"nothing yet", nil, Early, ""},
		{"a few healthy steps", always(5, nil), Early, ""},
		{"rising", run(30, func(i float64) m { return m{"critic/score/mean": between(0.3, 0.6, i)} }), Learning, ""},
		{"flat", always(30, nil), Flat,
			"not_rising flat: the reward is flat within its noise: 0.410 in the first 10 of 30 steps, 0.410 in the " +
				"last 10: raise " +
				"--lr, or " +
				"--n and --train-batch-size"},
		{"slowly falling", run(30, func(i float64) m { return m{"critic/score/mean": between(0.6, 0.5, i)} }), Worse,
			"not_rising getting worse: the reward falls: 0.597 in the first 3 of 30 steps, 0.503 in the last 3: " +
				"lower " +
				"--lr, or raise --kl-coef"},
		{"a rise in the first steps and a slow fall under more noise", run(30, func(i float64) m {
			return m{"critic/score/mean": 0.85 - 0.5*math.Exp(-i*12) - 0.2*i, "search/useful_rate": between(1, 0.5, i)}
		}), Learning, ""},
		{"steady under more noise", run(30, func(i float64) m { return m{"search/useful_rate": between(0.9, 0.5, i)} }),
			Steady, ""},
		{"lower under much more noise", run(30, func(i float64) m {
			return m{"critic/score/mean": between(0.8, 0.3, i), "search/useful_rate": between(1, 0.4, i)}
		}), Steady, ""},
		{"solved", always(30, m{"critic/score/mean": 0.97}), Steady, ""},

		{"no valid action", always(1, m{"rollout/episodes": 12, "env/valid_action_rate": 0, "env/finish_rate": 0}),
			CannotLearn, "no_valid_action cannot learn: no valid action in 12 episodes: warm up with `sft`"},
		{"no valid action in too few episodes", always(1, m{"rollout/episodes": 4, "env/valid_action_rate": 0}), Early,
			""},
		{"few valid actions", always(2, m{"env/valid_action_rate": 0.12}), Early,
			"no_valid_action warning: only 12% of the actions in 32 episodes are valid: warm up with `sft`"},
		{"valid actions that fell", run(30, func(i float64) m {
			return m{"env/valid_action_rate": after(0.6, 0.95, 0.1, i)}
		}), Collapsed,
			"valid_actions_fell collapsed: valid actions fell from 95% to 10%: go on from an earlier checkpoint " +
				"with a lower --lr or a higher --kl-coef"},
		{"no answers", always(3, m{"env/finish_rate": 0.02}), Early,
			"no_answer warning: only 2% of 48 episodes end with an answer: raise --max-turns or " +
				"--max-response-length, or " +
				"warm up with `sft`"},

		{"all rewards 0", always(5, m{"rollout/groups_equal": 1, "critic/score/mean": 0, "critic/score/max": 0}),
			CannotLearn,
			"equal_rewards cannot learn: in all groups of the last 5 steps the rewards are equal (0), so that " +
				"there is no gradient: use easier questions, or warm up with `sft`"},
		{"all rewards 1, in groups that were dropped", always(5,
			m{"rollout/groups_equal": 0, "rollout/groups_dropped": 1,
				"critic/score/mean": 1, "critic/score/min": 1}), CannotLearn,
			"equal_rewards cannot learn: in all groups of the last 5 steps the rewards are equal (1), so that there " +
				"is no " +
				"gradient: the policy solves these questions: use harder ones"},
		{"equal in each group", always(5, m{"rollout/groups_equal": 1}), CannotLearn,
			"equal_rewards cannot learn: in all groups of the last 5 steps the rewards are equal, so that there is " +
				"no gradient: raise --n or --temperature, or use other questions"},
		{"equal in most groups", always(5, m{"rollout/groups_equal": 0.75}), Early,
			"equal_rewards warning: in 75% of the groups the rewards are equal, so that they give no gradient: raise " +
				"--n or " +
				"--temperature, or use other questions"},
		{"searches that failed are no equal rewards", always(5,
			m{"rollout/groups_equal": 0, "rollout/groups_dropped": 0.9,
				"rollout/groups_failed": 0.9}), Early, ""},
		{"equal and therefore flat: one finding", always(30, m{"rollout/groups_equal": 1, "critic/score/mean": 0.3}),
			CannotLearn,
			"equal_rewards cannot learn: in all groups of the last 10 steps the rewards are equal, so that " +
				"there is no gradient: raise --n or --temperature, or use other questions"},
		{"groups of one, which are not compared",
			always(5, m{"rollout/groups_equal": 1, "actor/still_trajectories": 0}),
			Early, ""},
		{"updates that were skipped", always(4, m{"actor/skipped_updates": 1}), CannotLearn,
			"updates_skipped cannot learn: in 4 of the last 4 steps an update was skipped, because a loss or " +
				"gradient was " +
				"not finite: lower --lr, or use --dtype f32"},

		{"a reward that fell", run(30, func(i float64) m { return m{"critic/score/mean": after(0.5, 0.6, 0.1, i)} }),
			Collapsed,
			"reward_fell collapsed: the reward fell from 0.600 (steps 1 to 5) to 0.100: go on from an earlier " +
				"checkpoint with a lower --lr or a higher --kl-coef"},
		{"a reward that fell as far as the noise explains", run(30, func(i float64) m {
			return m{"critic/score/mean": after(0.5, 0.6, 0.25, i), "search/useful_rate": after(0.5, 1, 0.5, i)}
		}), Steady, ""},
		{"held-out F1 that fell", []Step{{1, m{HeldOutF1: 0.4}}, {2, m{HeldOutF1: 0.5}}, {3, m{HeldOutF1: 0.39}}},
			Early,
			"held_out_fell warning: held-out F1 fell from 0.500 at step 2 to 0.390 at step 3: the earlier checkpoint " +
				"is the " +
				"better one (--keep-best keeps it)"},
		{"held-out F1 that collapsed", []Step{{1, m{HeldOutF1: 0.4}}, {2, m{HeldOutF1: 0.1}}}, Collapsed,
			"held_out_fell collapsed: held-out F1 fell from 0.400 at step 1 to 0.100 at step 2: the earlier " +
				"checkpoint is " +
				"the better one (--keep-best keeps it)"},
		{"held-out F1 that fell, on few questions",
			[]Step{{1, m{HeldOutF1: 0.5, HeldOutQuestions: 40}}, {2, m{HeldOutF1: 0.39, HeldOutQuestions: 40}}}, Early,
			""},
		{"held-out F1 that fell by chance", []Step{{1, m{HeldOutF1: 0.4}}, {2, m{HeldOutF1: 0.37}}}, Early, ""},
		{"searches that stopped", run(15, func(i float64) m { return m{"search/per_question": after(0.3, 1.5, 0, i)} }),
			Early,
			"search_stopped warning: the policy has stopped searching: 0.00 searches per episode, and 0.75 before: " +
				"see in " +
				"its episodes whether the results help (search/useful_has_answer)"},
		{"without an engine", run(15, func(i float64) m {
			return m{"search/per_question": after(0.3, 1.5, 0, i), "search/empty_rate": 1}
		}), Early, ""},

		{"an engine that does not know", always(3, m{"search/useful_has_answer": 0.24}), Early,
			"engine_ignorant warning: only 24% of the useful search results contain the answer: unless the questions " +
				"need " +
				"several searches, the simulated engine does not know enough and the policy learns not to trust it: " +
				"use a " +
				"better --simulation-llm, or --search-mode simulate_prompt"},
		{"noise with answers", always(6, m{"search/noisy_has_answer": 0.7}), Early,
			"noise_has_answer warning: 70% of the noisy search results contain the answer, and 85% of the useful " +
				"ones: noisy " +
				"results hardly differ from useful ones, so that tau changes little: use a better --simulation-llm"},
		{"too few results to judge the engine",
			always(1, m{"search/useful_has_answer": 0, "search/noisy_has_answer": 1}),
			Early, ""},
		{"no noise yet", []Step{{1, m{"rollout/episodes": 40, "search/per_question": 1, "search/useful_rate": 1,
			"search/useful_has_answer": 0.8}}}, Early, ""},

		{"a loss that falls", loss(3, 1), Learning, ""},
		{"a loss that does not", loss(3, 3), Flat,
			"not_rising flat: the loss is flat within its noise: 3.000 in the first 8 of 24 steps, 3.000 in the last " +
				"8: raise --lr"},
		{"a loss that rises", loss(1, 3), Worse,
			"not_rising getting worse: the loss rises: 1.087 in the first 3 of 24 steps, 2.913 in the last 3: " +
				"lower --lr"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := Judge(c.steps)
			var got []string
			for _, f := range v.Findings {
				got = append(got, fmt.Sprintf("%s %s: %s", f.Kind, f.State.Words(), f.Text))
			}
			require.Equal(t, c.want, strings.Join(got, "\n"))
			require.Equal(t, c.state, v.State)
		})
	}
}

// loss are the steps of fine-tuning.
func loss(from, to float64) (steps []Step) {
	for i := range 24 {
		steps = append(steps, Step{i + 1, m{"train/loss": between(from, to, float64(i)/23)}})
	}
	return steps
}

// The worst finding comes first and is the state of the run; a run that learns with a warning learns.
func TestOrder(t *testing.T) {
	v := Judge(always(5, m{"search/useful_has_answer": 0.2, "rollout/groups_equal": 1}))
	require.Equal(t, CannotLearn, v.State)
	require.Equal(t, []Kind{EqualRewards, EngineIgnorant}, []Kind{v.Findings[0].Kind, v.Findings[1].Kind})
	v = Judge(run(30, func(i float64) m {
		return m{"critic/score/mean": between(0.3, 0.6, i), "search/useful_has_answer": 0.2}
	}))
	require.Equal(t, Learning, v.State)
	require.Len(t, v.Findings, 1)
}

func TestSummary(t *testing.T) {
	rising := run(30, func(i float64) m { return m{"critic/score/mean": between(0.3, 0.6, i)} })
	for want, steps := range map[string][]Step{
		"":                                 nil,
		"reward 0.400 in 1 step":           always(1, nil),
		"loss 2.957 → 1.043 in 24 steps":   loss(3, 1),
		"reward 0.310 → 0.590 in 30 steps": rising,
	} {
		require.Equal(t, want, Judge(steps).Summary)
	}
	rising[9].Metrics[HeldOutF1] = 0.2
	require.Equal(t, "reward 0.310 → 0.590 in 30 steps; held-out F1 0.200", Judge(rising).Summary)
	rising[19].Metrics[HeldOutF1], rising[29].Metrics[HeldOutF1] = 0.5, 0.4
	require.Equal(t, "reward 0.310 → 0.590 in 30 steps; held-out F1 0.200 → 0.400, best 0.500 at step 20",
		Judge(rising).Summary)
}

// What a damaged line holds is an error; a metric that was not finite is left out.
func TestParse(t *testing.T) {
	s, err := Parse([]byte(`{"step":3,"a":0.5,"b":null}`))
	require.NoError(t, err)
	require.Equal(t, Step{3, m{"a": 0.5}}, s)
	for _, bad := range []string{`{"a":1}`, `{"step":null}`, `{"step":1`, `[]`, `{"step":1,"a":"x"}`} {
		_, err := Parse([]byte(bad))
		require.Error(t, err, bad)
	}
}

package rl

import (
	"context"
	"sort"

	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/reward"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/rl/track"
)

// metrics are a step's numbers, by verl's names where the quantity is the same.
func (t *Trainer) metrics(groups [][]*episode.Episode, all []*episode.Episode, st UpdateStats, step int) track.Metrics {
	m := track.Metrics{
		"actor/pg_loss": st.PG, "actor/kl_loss": st.KL, "actor/entropy": st.Entropy, "actor/pg_clipfrac": st.ClipFrac, "actor/ppo_kl": st.K1,
		"actor/grad_norm": st.GradNorm, "actor/lr": t.lr(step), "actor/skipped_updates": float64(st.Skipped),
		"actor/mean_abs_advantage": st.MeanAdvantage, "actor/trained_tokens": float64(st.Trained),
		"rollout/logprob_diff_max": st.LogprobDiff, "perf/total_num_tokens": float64(st.Forwarded),
	}
	for k, v := range episodeMetrics(all) {
		m[k] = v
	}
	var none, same float64
	for _, g := range groups {
		switch {
		case g == nil:
			none++
		case judge(g) == equal:
			same++
		}
	}
	n := float64(max(1, len(groups)))
	m["rollout/groups_dropped"], m["rollout/groups_equal"] = none/n, same/n
	return m
}

// episodeMetrics describe episodes.
func episodeMetrics(all []*episode.Episode) track.Metrics {
	n := float64(max(1, len(all)))
	var reward, length, turns, valid, searches, useful, simulated, tau, answered, f1, em float64
	lo, hi := 0.0, 0.0
	for i, e := range all {
		reward += e.Reward / n
		s := scores(e)
		f1, em = f1+s.F1/n, em+s.EM/n
		if i == 0 || e.Reward < lo {
			lo = e.Reward
		}
		if i == 0 || e.Reward > hi {
			hi = e.Reward
		}
		length += float64(e.PolicyTokens()) / n
		turns += float64(len(e.Turns))
		valid += float64(e.ValidActions())
		searches += float64(e.Searches()) / n
		if e.Status == episode.Answered {
			answered += 1 / n
		}
		for _, t := range e.Turns {
			if t.Quality != "" {
				simulated++
				tau += t.Tau
				if t.Quality == string(search.Useful) {
					useful++
				}
			}
		}
	}
	m := track.Metrics{"critic/score/mean": reward, "critic/score/min": lo, "critic/score/max": hi, "reward/f1": f1, "reward/em": em,
		"response_length/mean": length, "env/turns_per_episode": turns / n, "env/valid_action_rate": valid / max(1, turns),
		"env/finish_rate": answered, "search/per_question": searches, "rollout/episodes": float64(len(all))}
	if simulated > 0 {
		m["search/tau"], m["search/useful_rate"] = tau/simulated, useful/simulated
	}
	return m
}

func scores(e *episode.Episode) reward.Scores {
	answer, answered := e.Answer()
	return reward.Score(answer, answered, e.GoldenAnswers)
}

// SourceReport are the scores of one data source, or of all.
type SourceReport struct {
	Source      string  `json:"source"`
	EM          float64 `json:"em"`
	F1          float64 `json:"f1"`
	SubEM       float64 `json:"sub_em"`
	ValidAction float64 `json:"valid_action_rate"`
	Searches    float64 `json:"searches_per_question"`
	Finish      float64 `json:"finish_rate"`
	N           int     `json:"n"`
}

// Report sums up episodes, sources[i] being that of episode i: a line for each source, in alphabetical order, then "all".
func Report(all []*episode.Episode, sources []string) []SourceReport {
	by := map[string][]*episode.Episode{}
	for i, e := range all {
		by[sources[i]] = append(by[sources[i]], e)
	}
	var names []string
	for s := range by {
		names = append(names, s)
	}
	sort.Strings(names)
	var out []SourceReport
	for _, s := range names {
		out = append(out, report(s, by[s]))
	}
	return append(out, report("all", all))
}

func report(source string, all []*episode.Episode) SourceReport {
	r := SourceReport{Source: source, N: len(all)}
	n := float64(max(1, len(all)))
	for _, e := range all {
		s := scores(e)
		r.EM, r.F1, r.SubEM = r.EM+s.EM/n, r.F1+s.F1/n, r.SubEM+s.SubEM/n
	}
	m := episodeMetrics(all)
	r.ValidAction, r.Searches, r.Finish = m["env/valid_action_rate"], m["search/per_question"], m["env/finish_rate"]
	return r
}

// evaluate measures the policy greedily on the held-out questions, every EvalEvery steps and at the end.
func (t *Trainer) evaluate(ctx context.Context, step int, m track.Metrics) error {
	every := t.Config.Data.EvalEvery
	if len(t.Data.Eval) == 0 || step != t.Config.Schedule.TotalSteps && (every <= 0 || step%every != 0) {
		return nil
	}
	all, err := t.Roller.Evaluate(ctx, t.Data.Eval, episode.Sampling{}, t.Config.Schedule.Seed, step)
	if err != nil {
		return err
	}
	var sources []string
	for i := range all {
		sources = append(sources, t.Data.Eval[i].DataSource)
	}
	for _, s := range Report(all, sources) {
		m["val/"+s.Source+"/f1"], m["val/"+s.Source+"/em"], m["val/"+s.Source+"/sub_em"] = s.F1, s.EM, s.SubEM
		if f1 := s.F1; s.Source == "all" && f1 > t.state.Best {
			t.state.Best = f1
		}
	}
	return nil
}

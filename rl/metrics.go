package rl

import (
	"context"

	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/reward"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// metrics are a step's numbers, by verl's names where the quantity is the same.
func (t *Trainer) metrics(s *sampled, st UpdateStats, step int) rundir.Metrics {
	m := updateMetrics(st)
	m["actor/lr"] = t.lr(step)
	if v := t.Updater.Values; v != nil {
		m["critic/lr"] = v.LR
	}
	if t.Updater.Reference != nil {
		if t.Updater.KLInReward {
			m["actor/reward_kl_penalty"], m["actor/reward_kl_penalty_coeff"] = st.KLMean, st.KLCoef
		} else {
			m["actor/kl_coef"] = st.KLCoef
		}
	}
	for k, v := range episodeMetrics(s.counted) {
		m[k] = v
	}
	for k, v := range s.metrics() {
		m[k] = v
	}
	if t.Config.Algo.DynamicSampling {
		m["train/num_gen_batches"] = float64(s.attempts)
	}
	return m
}

// updateMetrics are those of what was learned; the policy's are left out where the critic learned alone.
func updateMetrics(st UpdateStats) rundir.Metrics {
	m := rundir.Metrics{"actor/mean_abs_advantage": st.MeanAdvantage, "perf/total_num_tokens": float64(st.Forwarded), "actor/skipped_updates": 0}
	for _, s := range st.Skips {
		switch s.Of {
		case "policy":
			m["actor/skipped_updates"]++
		case "critic":
			m["critic/skipped_updates"]++
		}
	}
	spread := func(name string, s Spread) {
		m["critic/"+name+"/mean"], m["critic/"+name+"/min"], m["critic/"+name+"/max"] = s.Mean, s.Min, s.Max
	}
	spread("rewards", st.Rewards)
	spread("advantages", st.Advantage)
	if v := st.Value; v.Steps > 0 || v.Seconds > 0 {
		spread("values", v.Value)
		spread("returns", v.Return)
		m["critic/vf_loss"], m["critic/vf_clipfrac"], m["critic/vpred_mean"], m["critic/grad_norm"] = v.Loss, v.ClipFrac, v.Predicted, v.GradNorm
		m["critic/vf_explained_var"], m["timing_s/update_critic"] = v.Explained, v.Seconds
	}
	if !st.CriticAlone {
		m["actor/pg_loss"], m["actor/kl_loss"], m["actor/entropy"], m["actor/pg_clipfrac"], m["actor/ppo_kl"] = st.PG, st.KL, st.Entropy, st.ClipFrac, st.K1
		m["actor/grad_norm"], m["actor/trained_tokens"], m["actor/still_trajectories"] = st.GradNorm, float64(st.Trained), float64(st.Still)
		m["actor/pg_clipfrac_lower"], m["rollout/logprob_diff_max"] = st.ClipFracLower, st.LogprobDiff
	}
	return m
}

// episodeMetrics describe the episodes that count: see newSampled.
func episodeMetrics(all []*episode.Episode) rundir.Metrics {
	n := float64(max(1, len(all)))
	var reward, length, turns, valid, searches, useful, simulated, asked, empty, tau, answered, f1, em float64
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
			if t.Observation != "" && t.Action == episode.Search {
				asked++
				if len(t.Documents) == 0 {
					empty++
				}
			}
			if t.Quality != "" {
				simulated++
				tau += t.Tau
				if t.Quality == string(search.Useful) {
					useful++
				}
			}
		}
	}
	m := rundir.Metrics{"critic/score/mean": reward, "critic/score/min": lo, "critic/score/max": hi, "reward/f1": f1, "reward/em": em,
		"response_length/mean": length, "env/turns_per_episode": turns / n, "env/valid_action_rate": valid / max(1, turns),
		"env/finish_rate": answered, "search/per_question": searches}
	if asked > 0 {
		m["search/empty_rate"] = empty / asked
	}
	if simulated > 0 {
		m["search/tau"], m["search/useful_rate"] = tau/simulated, useful/simulated
	}
	return m
}

func scores(e *episode.Episode) reward.Scores {
	answer, answered := e.Answer()
	return reward.Score(answer, answered, e.GoldenAnswers)
}

// evaluate measures the policy greedily on the held-out questions, every EvalEvery steps and at the end.
func (t *Trainer) evaluate(ctx context.Context, step int, m rundir.Metrics) error {
	every := t.Config.Data.EvalEvery
	if len(t.Data.Eval) == 0 || step != t.Config.Schedule.TotalSteps && (every <= 0 || step%every != 0) {
		return nil
	}
	all, err := t.roller().Evaluate(ctx, t.Data.Eval, episode.Sampling{}, t.Config.Schedule.Seed, step)
	if err == nil {
		err = ctx.Err() // episodes that were cut short are no measurement
	}
	if err != nil {
		return err
	}
	var sources []string
	for i := range all {
		sources = append(sources, t.Data.Eval[i].DataSource)
	}
	for _, s := range Report(all, sources) {
		m["val/"+s.Source+"/f1"], m["val/"+s.Source+"/em"], m["val/"+s.Source+"/sub_em"] = s.F1, s.EM, s.SubEM
		if f1 := s.F1; s.Source == "all" && (f1 > t.state.Best || t.state.BestStep == 0) {
			t.state.Best, t.state.BestStep, t.state.HeldOut = f1, step, t.heldOut()
		}
	}
	return nil
}

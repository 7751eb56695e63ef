package update

import (
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// Metrics are those of what was learned; the policy's are left out where the critic learned alone.
func (st Stats) Metrics() rundir.Metrics {
	m := rundir.Metrics{"actor/mean_abs_advantage": st.MeanAdvantage, "perf/total_num_tokens": float64(st.Forwarded),
		"actor/skipped_updates": 0}
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
		m["critic/vf_loss"], m["critic/vf_clipfrac"], m["critic/vpred_mean"], m["critic/grad_norm"] = v.Loss,
			v.ClipFrac, v.Predicted, v.GradNorm
		m["critic/vf_explained_var"], m["timing_s/update_critic"] = v.Explained, v.Seconds
	}
	if !st.CriticAlone {
		m["actor/pg_loss"], m["actor/kl_loss"], m["actor/entropy"], m["actor/pg_clipfrac"], m["actor/ppo_kl"] = st.PG,
			st.KL, st.Entropy, st.ClipFrac, st.K1
		m["actor/grad_norm"], m["actor/trained_tokens"], m["actor/still_trajectories"] = st.GradNorm,
			float64(st.Trained), float64(st.ZeroAdvantage)
		if st.Changed > 0 {
			m["actor/update_below_bf16"] = float64(st.BelowBF16) / float64(st.Changed)
		}
		if st.LLDSOn {
			m["actor/llds_loss"] = st.LLDS
		}
		if i := st.Importance; i != nil {
			m["rollout_corr/rollout_is_mean"], m["rollout_corr/rollout_is_ratio_fraction_high"] = i.Mean, i.Truncated
		}
		m["actor/pg_clipfrac_lower"], m["rollout/logprob_diff_max"] = st.ClipFracLower, st.LogprobDiff
	}
	return m
}

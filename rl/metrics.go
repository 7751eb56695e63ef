package rl

import (
	"context"
	"time"

	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/internal/usage"
	"github.com/zerosearch-go/zerosearch/rl/health"
	"github.com/zerosearch-go/zerosearch/rl/rollout"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/rl/update"
)

// metrics are a step's numbers, by verl's names where the quantity is the same.
func (t *Trainer) metrics(s *rollout.Sampled, st update.Stats, step int) rundir.Metrics {
	m := st.Metrics()
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
	for k, v := range rollout.EpisodeMetrics(s.Counted) {
		m[k] = v
	}
	for k, v := range s.Metrics() {
		m[k] = v
	}
	if t.Config.Algo.DynamicSampling {
		m["train/num_gen_batches"] = float64(s.Attempts)
	}
	return m
}

// addCost adds what the searches of all ranks have cost since the last step.
func (t *Trainer) addCost(m rundir.Metrics) error {
	all, err := dist.Share(t.group(), t.Meter.Counts())
	for r, by := range all {
		if r != t.group().Rank() {
			t.Meter.Restore(by)
		}
	}
	rollout.AddCost(m, t.Meter.Take())
	return err
}

// machineUse adds what a step of wall time took of the machine: cores that were busy, and memory in GB of 2^30 bytes.
func machineUse(m rundir.Metrics, cpu, wall time.Duration) {
	if cpu > 0 && wall > 0 {
		m["perf/cpu_cores"] = cpu.Seconds() / wall.Seconds()
	}
	if n := usage.Memory(); n > 0 {
		m["perf/cpu_memory_used_gb"] = float64(n) / (1 << 30)
	}
}

// evaluate measures the policy greedily on the held-out questions, if that is due: before the first step, every
// EvalEvery steps and at the end.
func (t *Trainer) evaluate(ctx context.Context, step int, m rundir.Metrics) error {
	every := t.Config.Data.EvalEvery
	due := step == 0 || step == t.Config.Schedule.TotalSteps || every > 0 && step%every == 0
	if len(t.Data.Eval) == 0 || !due {
		return nil
	}
	all, err := t.answer(ctx, t.worker(), step)
	if err != nil {
		return err
	}
	var sources []string
	for i := range all {
		sources = append(sources, t.Data.Eval[i].DataSource)
	}
	m[health.HeldOutQuestions] = float64(len(all))
	for _, s := range rollout.Report(all, sources) {
		m["val/"+s.Source+"/f1"], m["val/"+s.Source+"/em"], m["val/"+s.Source+"/sub_em"] = s.F1, s.EM, s.SubEM
		if f1 := s.F1; s.Source == "all" && step > 0 &&
			(f1 > t.state.Best || t.state.BestStep == 0) {
			t.state.Best, t.state.BestStep, t.state.HeldOut = f1, step, t.heldOut()
		}
	}
	return nil
}

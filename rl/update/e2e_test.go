package update

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/internal/e2e"
)

// Whole updates in float64 by verl's advantages and losses and torch's optimizer: GRPO with a KL term, Dr. GRPO, GSPO
// at another temperature, RLOO with the KL in the reward.
func TestEndToEnd(t *testing.T) {
	g := e2e.Read(t)
	for name, v := range g.Variants {
		t.Run(name, func(t *testing.T) {
			s := v.Settings
			c := config.Algo{Algo: s.Estimator, LossAgg: s.Agg, ClipLow: s.Low, ClipHigh: s.High, DualClip: 3,
				KLCoef: s.KLCoef, EntropyCoef: s.Ent}
			switch {
			case s.Loss == "gspo":
				c.Algo = "gspo"
			case s.Estimator == "grpo" && !s.NormStd:
				c.Algo = "dr_grpo"
			}
			if s.KLInReward > 0 {
				c.KLCoef, c.KLIn = s.KLInReward, config.KLReward
			}
			est, loss, err := c.Rule()
			require.NoError(t, err)
			dev := ref.New()
			open := func(file string, trainable bool) *model.Model {
				m, err := model.Load(dev, g.Folder(t, file), model.Options{DType: kernels.F32, Trainable: trainable})
				require.NoError(t, err)
				t.Cleanup(m.Close)
				return m
			}
			policy, reference := open("e2e_init.safetensors", true), open("e2e_ref.safetensors", false)
			o := train.Options{Beta1: g.AdamW.Betas[0], Beta2: g.AdamW.Betas[1], Eps: g.AdamW.Eps,
				WeightDecay: g.AdamW.Decay,
				MaxGradNorm: s.Clip, KVType: kernels.F32, Temperature: s.Temperature}
			tr, err := train.New(dev, policy, nil, o)
			require.NoError(t, err)
			defer tr.Close()
			u := Updater{Trainer: tr, Estimator: est, Policy: loss, KLInReward: s.KLInReward > 0, Norm: 14}
			if c.KLCoef > 0 {
				u.Reference, err = train.NewScorer(dev, reference, nil, o)
				require.NoError(t, err)
				defer u.Reference.Close()
			}
			trajs := trajectories(g, v.OldLogp)
			rows, err := u.Prepare(trajs)
			require.NoError(t, err)
			for i, r := range rows {
				require.InDeltaSlice(t, gather(v.Advantages[i], trajs[i].Mask[trajs[i].Prompt:]), r.Advantage, 2e-6)
			}
			start := weightsOf(t, policy)
			for k, miniBatch := range g.Minis {
				var st Stats
				require.NoError(t, u.OptimizerStep(&st, trajs, rows, miniBatch, k == 0, s.LR[k]))
				want := v.Steps[k]
				require.InDelta(t, want.PGLoss, st.PG, 2e-5, "policy loss of mini-batch %d", k)
				require.InDelta(t, want.KLLoss, st.KL, 2e-5, "kl loss of mini-batch %d", k)
				require.InEpsilon(t, want.Entropy, st.Entropy, 2e-5, "entropy of mini-batch %d", k)
				require.InEpsilon(t, want.GradNorm, st.GradNorm, 2e-5, "gradient norm of mini-batch %d", k)
				require.InDelta(t, want.Metrics["actor/ppo_kl"], st.K1, 2e-5)
				require.InDelta(t, want.Metrics["actor/pg_clipfrac"], st.ClipFrac, 1e-6)
				if k == 0 {
					require.Less(t, st.LogprobDiff, 2e-5, "old log-probs are those of the initial weights")
				}
			}
			for i, now := range weightsOf(t, policy) {
				sum := 0.0
				for j := range now {
					sum += float64(now[j]-start[i][j]) * float64(now[j]-start[i][j])
				}
				p := policy.Params()[i].Name
				require.InEpsilon(t, v.Change[p], math.Sqrt(sum), 2e-3, "change of %s", p)
			}
			if name == "grpo" {
				e2e.RequireAfter3(t, dev, policy)
			}
		})
	}
}

// trajectories are the golden's, sampled with the log-probs old.
func trajectories(g e2e.Golden, old [][]float64) (out []Trajectory) {
	for i, p := range g.Prompts {
		tj := Trajectory{IDs: append(append([]int32(nil), p...), g.Completions[i]...), Prompt: len(p),
			Group: g.Index[i]}
		tj.Mask, tj.Old = make([]bool, len(tj.IDs)), make([]float32, len(tj.IDs))
		for k := range g.Completions[i] {
			tj.Mask[len(p)+k] = g.Mask[i][k] != 0
			tj.Old[len(p)+k] = float32(old[i][k])
		}
		for _, r := range g.Rewards[i] {
			tj.Reward += r
		}
		out = append(out, tj)
	}
	return out
}

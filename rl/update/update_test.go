package update

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/rl/algo"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/internal/e2e"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// updateRig is the golden's model with an updater of one rule, and the golden's trajectories with log-probs of its own.
func updateRig(t *testing.T, dtype kernels.DType, c config.Algo) (*Updater, *model.Model, []Trajectory) {
	g := e2e.Read(t)
	dev := ref.New()
	open := func(file string, trainable bool) *model.Model {
		m, err := model.Load(dev, g.Folder(t, file), model.Options{DType: dtype, Trainable: trainable})
		require.NoError(t, err)
		t.Cleanup(m.Close)
		return m
	}
	policy := open("e2e_init.safetensors", true)
	o := train.Options{MaxGradNorm: 1, KVType: dtype}
	tr, err := train.New(dev, policy, nil, o)
	require.NoError(t, err)
	t.Cleanup(tr.Close)
	c.ClipLow, c.ClipHigh = 0.2, 0.2
	est, loss, err := c.Rule()
	require.NoError(t, err)
	u := &Updater{Trainer: tr, Estimator: est, Policy: loss, KLInReward: c.KLInReward(), KLTarget: c.KLTarget,
		KLHorizon: c.KLHorizon}
	if c.KLCoef > 0 {
		u.Reference, err = train.NewScorer(dev, open("e2e_ref.safetensors", false), nil, o)
		require.NoError(t, err)
		t.Cleanup(u.Reference.Close)
	}
	own, err := train.NewScorer(dev, policy, nil, o)
	require.NoError(t, err)
	defer own.Close()
	var trajs []Trajectory
	for i, p := range g.Prompts {
		tj := Trajectory{IDs: append(append([]int32(nil), p...), g.Completions[i]...), Prompt: len(p), Group: i / 4,
			Reward: float64(i%4) / 4}
		tj.Mask, tj.Old = make([]bool, len(tj.IDs)), make([]float32, len(tj.IDs))
		for k := range g.Completions[i] {
			tj.Mask[len(p)+k] = g.Mask[i][k] != 0
		}
		logp, _, err := own.Score([]train.Sequence{tj.sequence()})
		require.NoError(t, err)
		k := 0
		for at, on := range tj.Mask {
			if on {
				tj.Old[at] = logp[0][k]
				k++
			}
		}
		trajs = append(trajs, tj)
	}
	return u, policy, trajs
}

func weightsOf(t *testing.T, m *model.Model) (out [][]float32) {
	for _, p := range m.Params() {
		x := make([]float32, p.Master.Len())
		require.NoError(t, kernels.Download(m.Device, x, p.Master))
		out = append(out, x)
	}
	return out
}

func rate(int) float64 { return 1e-3 }

// What has no gradient has no backward pass, counts in every divisor and metric, and changes no bit.
func TestZeroAdvantageTrajectories(t *testing.T) {
	for _, dtype := range []kernels.DType{kernels.F32, kernels.BF16} {
		run := func(c config.Algo, walkAll bool, miniBatches [][]int) (Stats, [][]float32) {
			u, m, trajs := updateRig(t, dtype, c)
			u.backwardAll = walkAll
			for i := range trajs {
				if trajs[i].Group == 1 {
					trajs[i].Reward = 0.5 // all equal
				}
			}
			st, err := u.Update(trajs, miniBatches, rate)
			require.NoError(t, err)
			return st, weightsOf(t, m)
		}
		for _, miniBatches := range [][][]int{MiniBatches(8, 0), MiniBatches(8, 3)} {
			for _, agg := range []string{"token-mean", "seq-mean-token-mean", "seq-mean-token-sum",
				"seq-mean-token-sum-norm", "seq-mean-token-sum-limit"} {
				c := config.Algo{Algo: "grpo", LossAgg: agg}
				skipped, a := run(c, false, miniBatches)
				walked, b := run(c, true, miniBatches)
				require.Equal(t, b, a, "%v %s", dtype, agg)
				require.Equal(t, 4, skipped.ZeroAdvantage)
				require.Zero(t, walked.ZeroAdvantage)
				skipped.ZeroAdvantage = 0
				require.Equal(t, walked, skipped, "every metric counts them")
			}
		}
		for _, c := range []config.Algo{{Algo: "grpo", KLCoef: 0.1}, {Algo: "grpo", EntropyCoef: 0.1}} {
			st, _ := run(c, false, MiniBatches(8, 0))
			require.Zero(t, st.ZeroAdvantage, "divergence and entropy pull at all of them")
		}
		st, _ := run(config.Algo{Algo: "grpo", KLCoef: 0.1, KLIn: config.KLReward}, false, MiniBatches(8, 0))
		require.Zero(t, st.ZeroAdvantage, "their rewards are not equal any more")
	}
}

// A mini-batch whose loss is not a number changes nothing, is counted and saved; the others are learned from.
func TestSkippedMiniBatch(t *testing.T) {
	u, m, trajs := updateRig(t, kernels.F32, config.Algo{Algo: "grpo"})
	at := len(trajs[1].Old) - 1
	for !trajs[1].Mask[at] {
		at--
	}
	trajs[1].Old[at] = float32(math.NaN())
	before := weightsOf(t, m)
	st, err := u.Update(trajs, [][]int{{0, 1}}, rate)
	require.NoError(t, err)
	require.Equal(t, before, weightsOf(t, m))
	require.Zero(t, st.Steps)
	require.Len(t, st.Skips, 1)
	require.False(t, math.IsNaN(st.PG) || math.IsNaN(st.GradNorm), "metrics are of what was learned")

	st, err = u.Update(trajs, MiniBatches(8, 2), rate)
	require.NoError(t, err)
	require.Equal(t, 3, st.Steps)
	require.Len(t, st.Skips, 1)
	require.NotEqual(t, before, weightsOf(t, m))
	require.Equal(t, 1.0, st.Metrics()["actor/skipped_updates"])
	require.False(t, math.IsNaN(st.PG) || math.IsNaN(st.GradNorm))

	out, err := rundir.Create(t.TempDir(), 0, false)
	require.NoError(t, err)
	defer out.Close()
	require.NoError(t, SaveSkips(out.Dir, 7, st.Skips))
	text, err := os.ReadFile(filepath.Join(out.Dir, "skipped/step-7.jsonl"))
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	require.Len(t, lines, 3)
	require.Contains(t, lines[0], `"update":"policy","why":"the loss of sequence 1 is NaN`)
	var row struct {
		Trajectory int
		IDs        []int32
		Mask       []int
		Old        []any `json:"old_logprobs"`
		Advantages []float64
	}
	require.NoError(t, json.Unmarshal([]byte(lines[2]), &row))
	require.Equal(t, 1, row.Trajectory)
	require.Equal(t, trajs[1].IDs, row.IDs)
	require.Len(t, row.Mask, len(row.IDs))
	require.Contains(t, row.Old, "NaN")
	require.Len(t, row.Advantages, len(row.Old))
}

// The divergence in the reward is what the formula says, the same in the loss is not in the reward, and the weight
// adapts.
func TestDivergence(t *testing.T) {
	c := config.Algo{Algo: "reinforce", KLCoef: 0.5, KLIn: config.KLReward, KLTarget: 0.001, KLHorizon: 100}
	u, _, trajs := updateRig(t, kernels.F32, c)
	var mean float64
	var want [][]float64
	for _, tj := range trajs {
		logp, _, err := u.Reference.Score([]train.Sequence{tj.sequence()})
		require.NoError(t, err)
		old := trained(tj.Old, tj.Mask)
		adv, togo, sum := make([]float64, len(old)), tj.Reward, 0.0
		for k := len(old) - 1; k >= 0; k-- {
			kl := old[k] - float64(logp[0][k])
			togo -= 0.5 * kl
			adv[k] = togo
			sum += kl
		}
		mean += sum / float64(len(old)) / float64(len(trajs))
		want = append(want, adv)
	}
	st, err := u.Update(trajs, MiniBatches(len(trajs), 0), rate)
	require.NoError(t, err)
	for i := range want {
		require.InDeltaSlice(t, want[i], st.Advantages[i], 1e-6)
	}
	require.InDelta(t, mean, st.KLMean, 1e-6)
	require.NotZero(t, mean)
	require.Zero(t, st.KL, "none of it is in the loss")
	step := 0.2
	if mean < 0 {
		step = -0.2
	}
	require.InDelta(t, 0.5*(1+step*8/100), u.Policy.KLCoef, 1e-12)
	require.Equal(t, 0.5, st.KLCoef)

	c.KLIn, c.KLTarget = config.KLLoss, 0
	u, _, trajs = updateRig(t, kernels.F32, c)
	st, err = u.Update(trajs, MiniBatches(len(trajs), 0), rate)
	require.NoError(t, err)
	for i, tj := range trajs {
		require.Equal(t, tj.Reward, st.Advantages[i][0])
	}
	require.Positive(t, st.KL)
	require.Equal(t, 0.5, u.Policy.KLCoef)
}

// With a critic that knows nothing, PPO's advantages are whitened rewards and its targets the rewards; it learns them.
func TestPPOUpdate(t *testing.T) {
	u, m, trajs := updateRig(t, kernels.F32, config.Algo{Algo: "ppo"})
	body, err := m.Clone(model.Options{Trainable: true})
	require.NoError(t, err)
	defer body.Close()
	critic, err := train.NewCritic(m.Device, body, nil, train.Options{KVType: kernels.F32})
	require.NoError(t, err)
	defer critic.Close()
	u.Values = &Values{Critic: critic, Clip: 0.5, LR: 1e-2, Alone: true}
	before := weightsOf(t, m)
	var loss []float64
	for range 6 {
		st, err := u.Update(trajs, MiniBatches(len(trajs), 4), rate)
		require.NoError(t, err)
		require.True(t, st.CriticAlone)
		loss = append(loss, st.Value.Loss)
	}
	require.Equal(t, before, weightsOf(t, m), "the policy waits")
	require.Less(t, loss[5], loss[0]/2)

	u.Values.Alone = false
	st, err := u.Update(trajs, MiniBatches(len(trajs), 4), rate)
	require.NoError(t, err)
	require.NotEqual(t, before, weightsOf(t, m))
	require.InDelta(t, 0, st.Advantage.Mean, 1e-9)
	require.Greater(t, st.Value.Explained, 0.5)
	for _, tj := range trajs {
		require.LessOrEqual(t, st.Value.Return.Min, tj.Reward)
	}
	rows, err := u.Prepare(trajs)
	require.NoError(t, err)
	for i, tj := range trajs {
		for _, r := range rows[i].ret {
			require.InDelta(t, tj.Reward, r, 1e-6,
				"gamma and lambda are 1: the target is the reward, over observations too")
		}
		adv, _ := algo.GAE(append(make([]float64, len(rows[i].value)-1), tj.Reward), rows[i].value, rows[i].mask, 1, 1)
		require.Len(t, rows[i].Advantage, len(adv))
	}
}

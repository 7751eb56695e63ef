package algo_test

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/rl/algo"
)

func TestKL(t *testing.T) {
	type file struct {
		Estimators struct {
			Diff  []float64
			Kinds map[algo.KL]struct {
				Value []float64
				Grad  []float64 `json:"grad_logp"`
				Error string
			}
		}
		LossTerm []struct {
			Kind algo.KL
			Agg  algo.Aggregation `json:"loss_agg_mode"`
			Logp [][]float64
			Ref  [][]float64 `json:"ref_logp"`
			Mask [][]float64
			Loss float64     `json:"kl_loss"`
			Grad [][]float64 `json:"grad_logp"`
		} `json:"loss_term"`
	}
	both(t, func(t *testing.T, dir string) {
		f := readJSON[file](t, dir, "kl.json")
		n := 0
		for kind, k := range f.Estimators.Kinds {
			if k.Error != "" {
				continue
			}
			n++
			for i, diff := range f.Estimators.Diff {
				v, g := kind.At(diff-1.25, -1.25)
				require.InDelta(t, k.Value[i], v, 1e-12, "%s %v", kind, diff)
				require.InDelta(t, k.Grad[i], g, 1e-9, "%s %v", kind, diff)
			}
		}
		require.Equal(t, 4, n)
		for _, c := range f.LossTerm {
			p := valid(t, algo.Policy{Aggregation: c.Agg, KL: c.Kind, KLCoef: 1})
			zero := like(c.Logp)
			for i := range zero {
				clear(zero[i])
			}
			b := lossBatch{Old: c.Logp, New: c.Logp, Advantages: zero, Mask: c.Mask}
			got, grad, _ := run(p, b, inputs{ref: c.Ref}, count(bools(c.Mask)))
			near(t, c.Loss, got.Loss, c.Kind, c.Agg)
			near(t, c.Loss, got.KL, c.Kind, c.Agg)
			nearAll(t, c.Grad, grad, c.Mask, true, c.Kind, c.Agg)
		}
	})
}

func TestKLInReward(t *testing.T) {
	type row struct {
		Kind     algo.KL
		Beta     float64
		Scores   [][]float64 `json:"token_level_scores"`
		Old      [][]float64 `json:"old_logp"`
		Ref      [][]float64 `json:"ref_logp"`
		Mask     [][]float64
		Rewards  [][]float64 `json:"token_level_rewards"`
		MeanKL   float64     `json:"mean_kl"`
		Adaptive struct {
			Target  float64 `json:"target_kl"`
			Horizon float64
			N       int     `json:"n_steps"`
			Next    float64 `json:"next_beta"`
		}
	}
	both(t, func(t *testing.T, dir string) {
		for _, r := range readLines[row](t, dir, "kl_in_reward.jsonl") {
			mean := 0.0
			for i, mask := range bools(r.Mask) {
				mean += r.Kind.InReward(r.Beta, r.Old[i], r.Ref[i], mask, r.Scores[i]) / float64(len(r.Mask))
			}
			nearAll(t, r.Rewards, r.Scores, nil, false, r.Kind)
			near(t, r.MeanKL, mean, r.Kind)
			a := algo.AdaptiveKL{Beta: r.Beta, Target: r.Adaptive.Target, Horizon: r.Adaptive.Horizon}
			a.Update(mean, r.Adaptive.N)
			near(t, r.Adaptive.Next, a.Beta)
		}
	})
}

func TestValueLoss(t *testing.T) {
	type row struct {
		Clip    float64          `json:"cliprange_value"`
		Agg     algo.Aggregation `json:"loss_agg_mode"`
		Preds   [][]float64      `json:"vpreds"`
		Values  [][]float64
		Returns [][]float64
		Mask    [][]float64
		Loss    float64     `json:"vf_loss"`
		Grad    [][]float64 `json:"grad_vpreds"`
		Frac    float64     `json:"vf_clipfrac"`
	}
	both(t, func(t *testing.T, dir string) {
		clipped := false
		for _, r := range readLines[row](t, dir, "value_loss.jsonl") {
			mask := bools(r.Mask)
			c := count(mask)
			grad := like(r.Preds)
			loss, frac := 0.0, 0.0
			for i := range mask {
				l, f := algo.ValueLoss(algo.ValueRow{Mask: mask[i], Value: r.Preds[i], Old: r.Values[i],
					Return: r.Returns[i], DValue: grad[i]}, r.Clip, r.Agg, c)
				loss, frac = loss+l, frac+f
			}
			near(t, r.Loss, loss, r.Agg, r.Clip)
			near(t, r.Frac, frac, r.Agg, r.Clip)
			nearAll(t, r.Grad, grad, r.Mask, true, r.Agg, r.Clip)
			clipped = clipped || frac > 0
		}
		require.True(t, clipped)
	})
}

func TestOverlong(t *testing.T) {
	type row struct {
		MaxLen  int `json:"max_len"`
		Buffer  int
		Factor  float64 `json:"penalty_factor"`
		Lengths []int
		Verl    []float64 `json:"verl_penalty"`
		TRL     []float64 `json:"trl_penalty"`
	}
	both(t, func(t *testing.T, dir string) {
		for _, r := range readLines[row](t, dir, "overlong.jsonl") {
			for i, n := range r.Lengths {
				got := algo.Overlong(n, r.MaxLen, r.Buffer, r.Factor)
				if n <= r.MaxLen { // past the limit verl goes on falling, the paper and TRL do not
					near(t, r.Verl[i], got, n)
				}
				near(t, r.TRL[i]*r.Factor, got, n)
			}
		}
	})
}

// Weights of the token level; verl and TRL also have levels of a sequence, lower bounds and rejection, which are not
// here.
func TestTruncatedWeights(t *testing.T) {
	type row struct {
		Old    [][]float64 `json:"old_logp"`
		Sample [][]float64 `json:"rollout_logp"`
		Mask   [][]float64
		Verl   []struct {
			Level     string
			Threshold float64
			Normalize bool `json:"batch_normalize"`
			Weights   [][]float64
		} `json:"verl_is"`
		TRL []struct {
			Mode  string
			Min   float64 `json:"clip_min"`
			Max   float64 `json:"clip_max"`
			Ratio json.RawMessage
		}
	}
	both(t, func(t *testing.T, dir string) {
		seen := map[string]int{}
		for _, r := range readLines[row](t, dir, "rollout_correction.jsonl") {
			weights := func(limit float64) [][]float64 {
				w := like(r.Old)
				for i := range w {
					algo.TruncatedWeights(r.Old[i], r.Sample[i], limit, w[i])
				}
				return w
			}
			for _, v := range r.Verl {
				if v.Level == "token" && !v.Normalize {
					nearAll(t, v.Weights, weights(v.Threshold), r.Mask, false, "verl", v.Threshold)
					seen["verl"]++
				}
			}
			for _, v := range r.TRL {
				if v.Mode != "token_truncate" || v.Min > 0 {
					continue
				}
				var want [][]float64
				require.NoError(t, json.Unmarshal(v.Ratio, &want))
				for i := range want {
					for j := range want[i] { // the difference has no lower bound there
						want[i][j] = max(want[i][j], math.Exp(-20))
					}
				}
				nearAll(t, want, weights(v.Max), r.Mask, false, "trl", v.Max)
				seen["trl"]++
			}
		}
		require.Len(t, seen, 2, "both libraries: %v", seen)
	})
}

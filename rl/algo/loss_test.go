package algo_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/rl/algo"
)

type lossBatch struct {
	Old        [][]float64 `json:"old_logp"`
	New        [][]float64 `json:"new_logp"`
	Advantages [][]float64
	Mask       [][]float64
}

// inputs are the optional slices of a whole batch.
type inputs struct{ ref, entropy, weight [][]float64 }

func at(x [][]float64, i int) []float64 {
	if x == nil {
		return nil
	}
	return x[i]
}

// run adds up Policy.Loss over the rows of a batch.
func run(p algo.Policy, b lossBatch, in inputs, c algo.Counts) (sum algo.Terms, dLogp, dEntropy [][]float64) {
	dLogp, dEntropy = like(b.New), like(b.New)
	for i, mask := range bools(b.Mask) {
		sum.Add(p.Loss(algo.Row{Mask: mask, New: b.New[i], Old: b.Old[i], Advantage: b.Advantages[i],
			Ref:     at(in.ref, i),
			Entropy: at(in.entropy, i), Weight: at(in.weight, i), DLogp: dLogp[i], DEntropy: dEntropy[i]}, c))
	}
	return sum, dLogp, dEntropy
}

func valid(t *testing.T, p algo.Policy) algo.Policy {
	t.Helper()
	p, err := p.Validate()
	require.NoError(t, err)
	return p
}

func TestLossesVerl(t *testing.T) {
	type row struct {
		Batch, Loss, Variant string
		Agg                  algo.Aggregation `json:"loss_agg_mode"`
		Params               struct {
			Low    float64 `json:"clip_ratio_low"`
			High   float64 `json:"clip_ratio_high"`
			Dual   float64 `json:"clip_ratio_c"`
			TauPos float64 `json:"tau_pos"`
			TauNeg float64 `json:"tau_neg"`
		}
		Info struct {
			Norm      float64 `json:"loss_scale_factor"`
			Tokens    int     `json:"batch_num_tokens"`
			Sequences int     `json:"global_batch_size"`
		} `json:"global_batch_info"`
		Weights [][]float64 `json:"is_weights"`
		Value   float64
		Grad    [][]float64 `json:"grad_new_logp"`
		Metrics map[string]float64
		Plain   map[string]float64 `json:"plain_metrics"`
	}
	name := map[string]algo.Surrogate{"vanilla": algo.Clip, "gspo": algo.GSPO, "cispo": algo.CISPO, "sapo": algo.SAPO,
		"gpg": algo.Reinforce}
	both(t, func(t *testing.T, dir string) {
		batches := readJSON[map[string]lossBatch](t, dir, "losses_batches.json")
		seen := map[string]int{}
		for _, r := range readLines[row](t, dir, "losses_verl.jsonl") {
			b := batches[r.Batch]
			if r.Loss == "sapo" {
				require.Equal(t, []float64{1, 1.05}, []float64{r.Params.TauPos, r.Params.TauNeg},
					"the temperatures of algo")
			}
			p := valid(t, algo.Policy{Surrogate: name[r.Loss], ClipLow: r.Params.Low, ClipHigh: r.Params.High,
				DualClip: r.Params.Dual, Aggregation: r.Agg})
			plain := count(bools(b.Mask))
			c := plain
			if r.Info.Norm != 0 {
				c.Norm = r.Info.Norm
			}
			if r.Info.Tokens != 0 {
				c.Tokens = r.Info.Tokens
			}
			if r.Info.Sequences != 0 {
				c.Sequences = r.Info.Sequences
			}
			got, grad, _ := run(p, b, inputs{weight: r.Weights}, c)
			id := []any{r.Batch, r.Loss, r.Agg, r.Variant}
			near(t, r.Value, got.Loss, id...)
			nearAll(t, r.Grad, grad, b.Mask, true, id...)
			// metrics are means over the tokens of this batch whatever the divisor of the loss
			k := float64(c.Tokens) / float64(plain.Tokens)
			if v, ok := r.Metrics["actor/pg_clipfrac"]; ok {
				near(t, v, k*got.ClipFrac, id...)
				near(t, r.Metrics["actor/pg_clipfrac_lower"], k*got.ClipFracLower, id...)
			}
			near(t, r.Plain["ratio_mean"], k*got.Ratio, id...)
			near(t, r.Plain["ratio_max"], got.RatioMax, id...)
			near(t, r.Plain["ratio_min"], got.RatioMin, id...)
			if r.Batch != "clamp20" { // there the reference bounds diff before averaging
				near(t, r.Plain["approx_kl_k1"], k*got.K1, id...)
				near(t, r.Plain["approx_kl_k2"], k*got.K2, id...)
				near(t, r.Plain["approx_kl_k3"], k*got.K3, id...)
			}
			seen[r.Loss]++
		}
		require.Len(t, seen, 5)
	})
}

func TestLossesTRL(t *testing.T) {
	type row struct {
		Batch    string
		LossType string `json:"loss_type"`
		Level    string `json:"importance_sampling_level"`
		Params   struct {
			Low         float64 `json:"epsilon"`
			High        float64 `json:"epsilon_high"`
			Delta       float64
			Beta        float64
			Bias        bool    `json:"use_bias_correction_kl"`
			EntropyCoef float64 `json:"entropy_coef"`
			MaxLen      int     `json:"max_completion_length"`
			Items       float64 `json:"num_items_in_batch"`
		}
		SequenceAdvantages []float64   `json:"sequence_advantages"`
		Ref                [][]float64 `json:"ref_logp"`
		Entropies          [][]float64
		GradEntropies      [][]float64 `json:"grad_entropies"`
		Weights            [][]float64 `json:"is_ratio"`
		Value              float64
		Grad               [][]float64 `json:"grad_new_logp"`
	}
	both(t, func(t *testing.T, dir string) {
		batches := readJSON[map[string]lossBatch](t, dir, "losses_batches.json")
		seen := map[string]int{}
		for _, r := range readLines[row](t, dir, "losses_trl.jsonl") {
			b := batches[r.Batch]
			if r.Batch == "clamp20" && r.LossType != "luspo" && r.Level == "token" {
				continue // no bound on diff there: ratios beyond exp(20)
			}
			if r.Params.Delta != 0 || r.Params.Bias {
				continue // two-sided clipping and a KL weighted by the ratio
			}
			b.Advantages = like(b.Advantages)
			for i := range b.Advantages {
				for j := range b.Advantages[i] {
					b.Advantages[i][j] = r.SequenceAdvantages[i]
				}
			}
			p := algo.Policy{ClipLow: r.Params.Low, ClipHigh: r.Params.High, KL: algo.K3, KLCoef: r.Params.Beta,
				EntropyCoef: r.Params.EntropyCoef}
			mask := bools(b.Mask)
			c := count(mask)
			switch r.LossType { // their divisors, as ours
			case "grpo", "sapo":
				p.Aggregation, c.Sequences = algo.SeqMeanTokenMean, len(mask)
			case "luspo":
				p.Aggregation, c.Sequences = algo.SeqMeanTokenSum, len(mask)
			case "bnpo":
				p.Aggregation = algo.TokenMean
			case "dapo", "cispo":
				p.Aggregation, c.Norm = algo.SeqMeanTokenSumNorm, r.Params.Items
			case "dr_grpo":
				p.Aggregation, c.Norm, c.Sequences = algo.SeqMeanTokenSumLimit, float64(r.Params.MaxLen), len(mask)
			}
			switch {
			case r.Level == "sequence":
				p.Surrogate = algo.GSPO
			case r.LossType == "cispo":
				p.Surrogate, p.ClipLow, p.ClipHigh = algo.CISPO, 10, r.Params.High-1
			case r.LossType == "sapo":
				p.Surrogate = algo.SAPO
			}
			got, grad, gradEntropy := run(valid(t, p), b, inputs{ref: r.Ref, entropy: r.Entropies, weight: r.Weights},
				c)
			id := []any{r.Batch, r.LossType, r.Level, r.Params}
			near(t, r.Value, got.Loss, id...)
			nearAll(t, r.Grad, grad, b.Mask, true, id...)
			if r.GradEntropies != nil {
				nearAll(t, r.GradEntropies, gradEntropy, b.Mask, true, id...)
				seen["entropy"]++
			}
			seen[r.LossType]++
		}
		require.Len(t, seen, 8)
	})
}

// The sum over micro-batches with the counts of the whole equals the whole; the mean of the micro-batches' own means
// does not.
func TestAccumulation(t *testing.T) {
	type mode struct {
		Whole     float64   `json:"whole_batch"`
		Per       []float64 `json:"per_micro_batch"`
		MeanOfOwn float64   `json:"mean_of_micro_batches"`
		Sum       float64   `json:"sum_with_global_counts"`
	}
	type row struct {
		Batch     lossBatch
		Micro     [][2]int `json:"micro_batches"` // half-open ranges of rows
		Low       float64  `json:"clip_ratio_low"`
		High      float64  `json:"clip_ratio_high"`
		Dual      float64  `json:"clip_ratio_c"`
		TokenMean mode     `json:"token-mean"`
		SeqMean   mode     `json:"seq-mean-token-mean"`
		SeqSum    mode     `json:"seq-mean-token-sum"`
		Norm      mode     `json:"seq-mean-token-sum-norm"`
	}
	both(t, func(t *testing.T, dir string) {
		differ := 0
		for _, r := range readLines[row](t, dir, "losses_accumulation.jsonl") {
			for agg, want := range map[algo.Aggregation]mode{algo.TokenMean: r.TokenMean,
				algo.SeqMeanTokenMean: r.SeqMean,
				algo.SeqMeanTokenSum:  r.SeqSum, algo.SeqMeanTokenSumNorm: r.Norm} {
				p := valid(t, algo.Policy{ClipLow: r.Low, ClipHigh: r.High, DualClip: r.Dual, Aggregation: agg})
				global := count(bools(r.Batch.Mask))
				whole, grad, _ := run(p, r.Batch, inputs{}, global)
				near(t, want.Whole, whole.Loss, agg)
				var sum algo.Terms
				own := 0.0
				for k, m := range r.Micro {
					b := lossBatch{Old: r.Batch.Old[m[0]:m[1]], New: r.Batch.New[m[0]:m[1]],
						Advantages: r.Batch.Advantages[m[0]:m[1]], Mask: r.Batch.Mask[m[0]:m[1]]}
					part, g, _ := run(p, b, inputs{}, global)
					sum.Add(part)
					require.Equal(t, grad[m[0]:m[1]], g)
					alone, _, _ := run(p, b, inputs{}, count(bools(b.Mask)))
					near(t, want.Per[k], alone.Loss, agg, k)
					own += alone.Loss / float64(len(r.Micro))
				}
				near(t, want.Sum, sum.Loss, agg)
				near(t, want.MeanOfOwn, own, agg)
				if math.Abs(own-whole.Loss) > 1e-3 {
					differ++
				}
			}
		}
		require.Positive(t, differ)
	})
}

func TestPolicyValidate(t *testing.T) {
	p := valid(t, algo.Policy{Surrogate: algo.GSPO})
	require.Equal(t, algo.SeqMeanTokenMean, p.Aggregation)
	for _, bad := range []algo.Policy{{Surrogate: "ppo3"}, {Aggregation: "mean"}, {KL: "k9"}, {ClipLow: -1},
		{ClipHigh: math.NaN()}, {DualClip: 0.5}} {
		_, err := bad.Validate()
		require.Error(t, err, "%+v", bad)
	}
}

func TestEmptyRowAndWrongShapes(t *testing.T) {
	p := valid(t, algo.Policy{ClipLow: 0.2, ClipHigh: 0.2})
	d := []float64{7}
	require.Equal(t, algo.Terms{}, p.Loss(algo.Row{Mask: []bool{false}, New: d, Old: d, Advantage: d, DLogp: d},
		algo.Counts{}))
	require.Equal(t, []float64{0}, d, "gradients are overwritten, never left over")
	require.PanicsWithValue(t, "algo: policy loss: slice 1 has 2 tokens, the mask 1", func() {
		p.Loss(algo.Row{Mask: []bool{true}, New: d, Old: []float64{1, 2}, Advantage: d, DLogp: d},
			algo.Counts{Tokens: 1})
	})
	require.Panics(t, func() {
		p.Loss(algo.Row{Mask: []bool{true}, New: d, Old: d, Advantage: d, DLogp: d}, algo.Counts{})
	}, "counts that do not contain the row")
}

package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/rl/algo"
)

// Algo is the learning rule. What is left empty or 0 is as the algorithm's paper has it: see algorithms.
type Algo struct {
	Algo             string   `name:"algo" help:"grpo, dr_grpo, dapo, gspo, cispo, sapo, rloo, opo, gpg, reinforce, reinforce++, reinforce++-baseline or ppo." default:"grpo"`
	Reward           string   `name:"reward" help:"f1, em, sub_em, format, format+NAME (both, mixed) or exec:PROGRAM (docs/data.md); shuffled and constant are negative controls." default:"f1"`
	MiniBatch        int      `name:"ppo-mini-batch-size" help:"Trajectories per optimizer step; 0: all of a step." default:"0"`
	Epochs           int      `name:"ppo-epochs" help:"Times over the trajectories of a step." default:"1"`
	ClipLow          float64  `name:"clip-low" help:"Ratio is clipped below 1-clip_low; 0: 0.2, gspo 3e-4, cispo none." default:"0"`
	ClipHigh         float64  `name:"clip-high" help:"Ratio is clipped above 1+clip_high; 0: 0.2, dapo 0.28, gspo 4e-4." default:"0"`
	DualClip         float64  `name:"dual-clip" help:"Bound on the loss of tokens with negative advantage, as a multiple of it; 0: off." default:"3"`
	KLCoef           float64  `name:"kl-coef" help:"Weight of the KL from the reference; 0: no reference is kept." default:"0.001"`
	KLIn             string   `name:"kl-in" help:"Where the KL counts: loss, or reward (ppo's default)." placeholder:"loss|reward"`
	KLType           string   `name:"kl-type" help:"Estimate of the KL: k1, k2, k3 or abs (default: k3 in the loss, k1 in the reward)." placeholder:"NAME"`
	KLTarget         float64  `name:"kl-target" help:"Adapt the weight of the KL to keep it near this value; 0: a fixed weight." default:"0"`
	KLHorizon        float64  `name:"kl-horizon" help:"Trajectories over which the weight is adapted." default:"10000"`
	RolloutIS        string   `name:"rollout-is" help:"Truncated importance sampling where the log-probs of rollout and trainer differ: token or off." default:"token"`
	RolloutISCap     float64  `name:"rollout-is-threshold" help:"Upper bound of its weights." default:"2"`
	EntropyCoef      float64  `name:"entropy-coef" help:"Weight of the entropy bonus." default:"0"`
	LLDSCoef         float64  `name:"llds-coef" help:"Weight of LLDS, which keeps the likelihood of trajectories that are not worse than their group from falling in the later optimizer steps of an update; the paper has 0.2." default:"0"`
	InfoGain         float64  `name:"info-gain" help:"Weight of step rewards for searches: how much their documents raised the policy's log-probability of the golden answer, compared within the group." default:"0"`
	LossAgg          string   `name:"loss-agg-mode" help:"token-mean, seq-mean-token-sum, seq-mean-token-mean, seq-mean-token-sum-limit or seq-mean-token-sum-norm (verl's Dr. GRPO) (default: token-mean; gspo seq-mean-token-mean, dr_grpo seq-mean-token-sum-limit)." placeholder:"MODE"`
	DropZeroVariance bool     `name:"drop-zero-variance" help:"Roll the same question out again where all rewards of its group are equal, at most --max-attempts times in all; then drop the group. On with dapo."`
	DynamicSampling  bool     `name:"dynamic-sampling" help:"Draw a new question where all rewards of a group are equal, as DAPO's paper does, until the batch is full or --max-gen-batches rounds are done."`
	MaxGenBatches    int      `name:"max-gen-batches" help:"Rounds of rollouts of a step with --dynamic-sampling, the first included; 0: 10." default:"0"`
	OverlongBuffer   int      `name:"overlong-buffer" help:"Number of tokens before --overlong-limit over which the reward falls (DAPO's overlong penalty); 0: off." default:"0"`
	OverlongFactor   float64  `name:"overlong-penalty" help:"Penalty at --overlong-limit and above." default:"1"`
	OverlongLimit    int      `name:"overlong-limit" help:"Sampled tokens of an episode from which on the whole penalty counts; 0: as many as the turns allow." default:"0"`
	Gamma            *float64 `name:"gamma" help:"Discount of a sampled token, for reinforce, reinforce++ and ppo (default: 1)." placeholder:"G"`
	Lambda           *float64 `name:"lam" help:"Lambda of generalised advantage estimation, for ppo (default: 1)." placeholder:"L"`
}

// Critic is the critic of --algo ppo.
type Critic struct {
	Model       string  `name:"critic-model" help:"Critic's starting weights, of the policy's tokenizer (default: the policy's), or a critic folder of a checkpoint." placeholder:"DIR"`
	Train       string  `name:"critic-train" help:"Which weights of the critic are trained: all, lora (an adapter as the policy's, and the value head) or head (the value head alone, over frozen weights). Default: all, with LoRA lora." placeholder:"WHAT"`
	LR          float64 `name:"critic-lr" help:"Learning rate of the critic." default:"1e-5"`
	WarmupRatio float64 `name:"critic-lr-warmup-ratio" help:"Share of the steps with a rising learning rate of the critic." default:"0"`
	WarmupSteps int     `name:"critic-warmup" help:"First steps in which the critic learns and the policy does not." default:"0"`
	ValueClip   float64 `name:"cliprange-value" help:"Values are clipped to this distance from those at sampling; 0: off." default:"0.5"`
}

// algorithm is what an --algo name stands for: how rewards become advantages, the loss that uses them, and the settings
// of its paper.
type algorithm struct {
	estimator algo.EstimatorName
	surrogate algo.Surrogate
	low, high float64          // clip range; 0: 0.2
	agg       algo.Aggregation // "": token-mean
	kl        string           // "": in the loss
	groups    bool             // compares the rollouts of a question, so it needs --n 2 or more
	resample  bool             // rolls groups of equal rewards out again
	critic    bool
	discounts bool // gamma counts
}

// clips reports whether the loss has a clip range.
func (a algorithm) clips() bool { return a.surrogate != algo.SAPO && a.surrogate != algo.Reinforce }

var algorithms = map[string]algorithm{
	"grpo": {estimator: algo.EstGRPO, surrogate: algo.Clip, groups: true},
	"dr_grpo": {estimator: algo.EstDrGRPO, surrogate: algo.Clip, agg: algo.SeqMeanTokenSumLimit,
		groups: true},
	"dapo": {estimator: algo.EstGRPO, surrogate: algo.Clip, high: 0.28, groups: true, resample: true},
	"gspo": {estimator: algo.EstGRPO, surrogate: algo.GSPO, low: 3e-4, high: 4e-4,
		agg: algo.SeqMeanTokenMean, groups: true},
	"cispo":                {estimator: algo.EstGRPO, surrogate: algo.CISPO, low: 1, groups: true},
	"sapo":                 {estimator: algo.EstGRPO, surrogate: algo.SAPO, agg: algo.SeqMeanTokenMean, groups: true},
	"rloo":                 {estimator: algo.EstRLOO, surrogate: algo.Clip, groups: true},
	"opo":                  {estimator: algo.EstOPO, surrogate: algo.Clip, groups: true},
	"gpg":                  {estimator: algo.EstGPG, surrogate: algo.Reinforce, groups: true},
	"reinforce":            {estimator: algo.EstReinforce, surrogate: algo.Clip, discounts: true},
	"reinforce++":          {estimator: algo.EstReinforcePP, surrogate: algo.Clip, discounts: true},
	"reinforce++-baseline": {estimator: algo.EstReinforcePPGroups, surrogate: algo.Clip, groups: true},
	"ppo":                  {estimator: algo.EstGAE, surrogate: algo.Clip, kl: KLReward, critic: true, discounts: true},
}

// Where the KL from the reference counts.
const (
	KLLoss   = "loss"
	KLReward = "reward"
)

func algorithmNames() []string { return slices.Sorted(maps.Keys(algorithms)) }

// Resamples reports whether groups of equal rewards are not trained on: others take their places.
func (c Algo) Resamples() bool {
	return c.DropZeroVariance || c.DynamicSampling || algorithms[c.Algo].resample
}

// defaultGenBatches is what --max-gen-batches 0 stands for: what DAPO was published with in verl.
const defaultGenBatches = 10

// KLInReward reports whether the KL penalty is taken from the rewards instead of being added to the loss.
func (c Algo) KLInReward() bool {
	return cmp.Or(c.KLIn, algorithms[c.Algo].kl, KLLoss) == KLReward
}

// UsesCritic reports whether values are predicted.
func (c Algo) UsesCritic() bool { return algorithms[c.Algo].critic }

// Values of --rollout-is.
const (
	RolloutISToken = "token"
	RolloutISOff   = "off"
)

// ImportanceCap bounds the weights of truncated importance sampling between rollout and trainer; 0: it is off.
func (c Algo) ImportanceCap() float64 {
	if c.RolloutIS == RolloutISOff {
		return 0
	}
	return cmp.Or(c.RolloutISCap, 2)
}

// Rule builds estimator and loss from the flags. The loss's KLCoef is the weight of the KL wherever it counts.
func (c Algo) Rule() (algo.Estimator, algo.Policy, error) {
	a := algorithms[c.Algo]
	est, err := algo.Estimator{Name: a.estimator, Gamma: c.Gamma, Lambda: c.Lambda}.Validate()
	if err != nil {
		return est, algo.Policy{}, fmt.Errorf("--gamma, --lam: %w", err)
	}
	kl := algo.K3
	if c.KLInReward() {
		kl = algo.K1
	}
	p, err := algo.Policy{Surrogate: a.surrogate, ClipLow: cmp.Or(c.ClipLow, a.low, 0.2),
		ClipHigh: cmp.Or(c.ClipHigh, a.high, 0.2), DualClip: c.DualClip,
		Aggregation: cmp.Or(algo.Aggregation(c.LossAgg), a.agg, algo.TokenMean),
		KL:          algo.KL(cmp.Or(c.KLType, string(kl))), KLCoef: c.KLCoef,
		EntropyCoef: c.EntropyCoef, LLDSCoef: c.LLDSCoef}.Validate()
	if err != nil {
		err = fmt.Errorf("--loss-agg-mode, --kl-type, --dual-clip: %w", err)
	}
	return est, p, err
}

// checkAlgo refuses learning rules that contradict themselves.
func (c *Config) checkAlgo() error {
	a, r, v := &c.Algo, &c.Rollout, &c.Critic
	rule, ok := algorithms[a.Algo]
	if !ok {
		return fmt.Errorf("--algo %q is not known: use %s", a.Algo, strings.Join(algorithmNames(), ", "))
	}
	for _, p := range []struct {
		bad bool
		say string
	}{
		{r.N < 2 && rule.groups, "--n 1 gives a group nothing to compare: use --n 2 or more, or --algo reinforce"},
		{a.DynamicSampling && a.DropZeroVariance, "--dynamic-sampling draws new questions and --drop-zero-variance " +
			"rolls the same ones out again: give one or the other"},
		{a.MaxGenBatches < 0, "--max-gen-batches must not be negative"},
		{r.N < 2 &&
			a.DynamicSampling, "--dynamic-sampling with --n 1 drops everything: a group of one has no variance"},
		{r.N < 2 && a.Resamples(), "--drop-zero-variance with --n 1 drops everything: a group of one has no variance"},
		{a.ClipLow < 0 || a.ClipLow >= 1 ||
			a.ClipHigh < 0, "--clip-low must lie in [0, 1) and --clip-high must not be negative"},
		{a.KLCoef < 0, "--kl-coef must not be negative: a negative weight rewards drifting away"},
		{a.KLIn != "" && a.KLIn != KLLoss && a.KLIn != KLReward, "--kl-in must be loss or reward"},
		{(a.KLIn != "" || a.KLType != "" || a.KLTarget != 0) &&
			a.KLCoef == 0,
			"--kl-in, --kl-type and --kl-target are of no use with --kl-coef 0: raise --kl-coef, or leave them out"},
		{a.KLTarget < 0 || a.KLTarget > 0 && !(a.KLHorizon > 0),
			"--kl-target must not be negative, and --kl-horizon must be above 0"},
		{a.MiniBatch < 0, "--ppo-mini-batch-size must not be negative"},
		{a.Epochs < 0, "--ppo-epochs must not be negative"},
		{a.RolloutIS != "" && a.RolloutIS != RolloutISToken &&
			a.RolloutIS != RolloutISOff, "--rollout-is must be token or off"},
		{a.RolloutISCap != 0 &&
			!(a.RolloutISCap >= 1),
			"--rollout-is-threshold must be 1 or more: it bounds weights that are 1 where rollout and trainer agree"},
		{a.EntropyCoef < 0 || a.DualClip < 0 || a.LLDSCoef < 0 || a.InfoGain < 0,
			"--entropy-coef, --dual-clip, --llds-coef and --info-gain must not be negative"},
		{a.InfoGain > 0 && r.N < 2,
			"--info-gain with --n 1 compares nothing: the gain of a search is compared with those of its group"},
		{a.LLDSCoef > 0 && a.Epochs <= 1 && (a.MiniBatch == 0 || a.MiniBatch >= r.BatchSize*r.N),
			"--llds-coef is of no use with one optimizer step in an update, before which no likelihood has changed: " +
				"add --ppo-mini-batch-size or --ppo-epochs"},
		{a.Reward == "shuffled" &&
			r.BatchSize < 2,
			"--reward shuffled needs --train-batch-size 2 or more: it scores against another question's answer"},
		{a.OverlongBuffer < 0 || a.OverlongLimit < 0 || a.OverlongFactor < 0,
			"--overlong-buffer, --overlong-limit and --overlong-penalty must not be negative"},
		{a.OverlongBuffer == 0 && a.OverlongLimit > 0, "--overlong-limit is of no use without --overlong-buffer"},
		{a.OverlongBuffer > c.OverlongLimit(),
			fmt.Sprintf("--overlong-buffer %d is more than the limit of %d ids itself: every episode would be punished",
				a.OverlongBuffer, c.OverlongLimit())},
		{a.Gamma != nil && !rule.discounts, "--gamma is of no use with --algo " + a.Algo +
			": it gives every id of an episode the same advantage"},
		{a.Lambda != nil &&
			!rule.critic, "--lam needs --algo ppo: without a critic there is nothing to estimate between"},
		{!rule.critic && (v.Model != "" || v.Train != "" || v.WarmupSteps != 0 || v.WarmupRatio != 0),
			"--critic-* flags need --algo ppo: --algo " + a.Algo + " has no critic"},
		{rule.critic && v.Train != "" && v.Train != CriticAll && v.Train != CriticLoRA &&
			v.Train != CriticHead, "--critic-train must be all, lora or head"},
		{v.LR < 0 || v.ValueClip < 0 ||
			v.WarmupSteps < 0, "--critic-lr, --cliprange-value and --critic-warmup must not be negative"},
		{v.WarmupSteps > 0 && v.WarmupSteps >= c.Schedule.TotalSteps,
			"--critic-warmup leaves the policy no step of --total-steps to learn in"},
	} {
		if p.bad {
			return errors.New(p.say)
		}
	}
	_, _, err := a.Rule()
	return err
}

// Unused refuses flags that were given and mean nothing beside the others; given says which were. Check cannot: they
// have defaults.
func (c *Config) Unused(given func(flag string) bool) error {
	a := &c.Algo
	rule := algorithms[a.Algo]
	for _, p := range []struct {
		flag, say string
		unused    bool
	}{
		{"critic-lr", "needs --algo ppo: --algo " + a.Algo + " has no critic", !rule.critic},
		{"cliprange-value", "needs --algo ppo: --algo " + a.Algo + " has no critic", !rule.critic},
		{"dual-clip", "is of no use with --algo " + a.Algo + ": its loss has no such bound",
			rule.surrogate != algo.Clip},
		{"rollout-is-threshold", "is of no use with --rollout-is off", a.RolloutIS == RolloutISOff},
		{"clip-low", "is of no use with --algo " + a.Algo + ": its loss clips nothing", !rule.clips()},
		{"clip-high", "is of no use with --algo " + a.Algo + ": its loss clips nothing", !rule.clips()},
		{"kl-horizon", "is of no use without --kl-target", a.KLTarget == 0},
		{"overlong-penalty", "is of no use without --overlong-buffer", a.OverlongBuffer == 0},
		{"max-gen-batches", "is of no use without --dynamic-sampling", !a.DynamicSampling},
		{"max-attempts", "is of no use with --dynamic-sampling, which draws other questions: use --max-gen-batches",
			a.DynamicSampling},
		{"force", "is for --resume", c.Schedule.Resume == ""},
	} {
		if p.unused && given(p.flag) {
			return fmt.Errorf("--%s %s", p.flag, p.say)
		}
	}
	return nil
}

// OverlongLimit is the number of sampled ids at which the overlong penalty is whole.
func (c *Config) OverlongLimit() int { return cmp.Or(c.Algo.OverlongLimit, c.SampledLimit()) }

// SampledLimit is the most ids that an episode can sample, and the constant of seq-mean-token-sum-limit and -norm.
func (c *Config) SampledLimit() int {
	return min((c.Rollout.MaxTurns+1)*c.Rollout.MaxResponse, c.Rollout.MaxContext)
}

// Values of --critic-train.
const (
	CriticAll  = "all"
	CriticLoRA = "lora"
	CriticHead = "head"
)

// Learns is what of the critic learns.
func (c Critic) Learns(lora bool) string {
	switch {
	case c.Train != "":
		return c.Train
	case lora:
		return CriticLoRA
	}
	return CriticAll
}

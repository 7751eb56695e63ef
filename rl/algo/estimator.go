package algo

import (
	"errors"
	"fmt"
)

// Trajectory is what an advantage estimator sees of an episode.
type Trajectory struct {
	// Group numbers the question: trajectories of one group are compared with each other. Position in the batch, never
	// a row id of the data.
	Group int
	// Reward is the outcome; token-level estimators put it on the last policy token.
	Reward float64
	// Mask marks the policy's own tokens.
	Mask []bool
	// TokenReward adds rewards a token, such as a KL penalty; nil for none.
	TokenReward []float64
	// Value is the critic's prediction a token, for GAE only.
	Value []float64
}

// score is the sum of all rewards of a trajectory.
func (tr *Trajectory) score() float64 {
	s := tr.Reward
	for _, r := range tr.TokenReward {
		s += r
	}
	return s
}

// rewards are the token-level rewards with the outcome on the last policy token.
func (tr *Trajectory) rewards() []float64 {
	sameLen("token rewards", len(tr.Mask), tr.TokenReward)
	out := make([]float64, len(tr.Mask))
	copy(out, tr.TokenReward)
	for t := len(out) - 1; t >= 0; t-- {
		if tr.Mask[t] {
			out[t] += tr.Reward
			break
		}
	}
	return out
}

// EstimatorName names an advantage estimator.
type EstimatorName string

// The estimators, each by its paper's name; formulas stand at the functions they call.
const (
	EstGRPO              EstimatorName = "grpo"
	EstDrGRPO            EstimatorName = "dr_grpo"
	EstRLOO              EstimatorName = "rloo"
	EstReinforce         EstimatorName = "reinforce"
	EstReinforcePP       EstimatorName = "reinforce++"
	EstReinforcePPGroups EstimatorName = "reinforce++-baseline"
	EstOPO               EstimatorName = "opo"
	EstGPG               EstimatorName = "gpg"
	EstGAE               EstimatorName = "gae"
)

// Estimator turns the rewards of a batch into advantages.
type Estimator struct {
	// Name of the estimator; "" is GRPO.
	Name EstimatorName
	// Epsilon is added to a standard deviation; 0 is 1e-6.
	Epsilon float64
	// Gamma discounts a policy token, Lambda is GAE's; nil is 1.
	Gamma, Lambda *float64
}

// Validate fills in the defaults and says what is wrong with the rest.
func (e Estimator) Validate() (Estimator, error) {
	if e.Name == "" {
		e.Name = EstGRPO
	}
	if e.Epsilon == 0 {
		e.Epsilon = 1e-6
	}
	one := 1.0
	var sane error
	for _, f := range []**float64{&e.Gamma, &e.Lambda} {
		if *f == nil {
			*f = &one
		} else if !(**f >= 0 && **f <= 1) {
			sane = errors.New("advantage: gamma and lambda must lie in [0, 1]")
		}
	}
	return e,
		errors.Join(oneOf("advantage estimator", e.Name, EstGRPO, EstDrGRPO, EstRLOO, EstReinforce, EstReinforcePP,
			EstReinforcePPGroups, EstOPO, EstGPG, EstGAE), sane)
}

// Compute gives the advantages of every token of every trajectory, [B][T], and for GAE the critic's targets (else nil).
// Advantages are 0 where the mask is false. e must come from Validate.
func (e Estimator) Compute(batch []Trajectory) (advantages, returns [][]float64) {
	masks := make([][]bool, len(batch))
	for i := range batch {
		masks[i] = batch[i].Mask
	}
	switch e.Name {
	case EstGAE:
		advantages, returns = e.gae(batch)
		Whiten(advantages, masks)
	case EstReinforce, EstReinforcePP:
		advantages = e.rewardToGo(batch)
		if e.Name == EstReinforcePP { // global advantage normalisation, arXiv 2501.03262
			Whiten(advantages, masks)
		}
	default:
		advantages = spread(e.outcome(batch), masks)
		if e.Name == EstReinforcePPGroups {
			Whiten(advantages, masks)
		}
	}
	return advantages, returns
}

// outcome gives one advantage a trajectory.
func (e Estimator) outcome(batch []Trajectory) []float64 {
	score, group, tokens := make([]float64, len(batch)), make([]int, len(batch)), make([]int, len(batch))
	for i := range batch {
		score[i], group[i] = batch[i].score(), batch[i].Group
		for _, on := range batch[i].Mask {
			if on {
				tokens[i]++
			}
		}
	}
	switch e.Name {
	case EstGRPO:
		return GRPO(score, group, e.Epsilon)
	case EstRLOO:
		return RLOO(score, group)
	case EstDrGRPO, EstReinforcePPGroups:
		return GroupBaseline(score, group)
	case EstOPO:
		return OPO(score, tokens, group)
	case EstGPG:
		return GPG(score, group)
	}
	panic(fmt.Sprintf("algo: advantage estimator %q: call Validate first", string(e.Name)))
}

func (e Estimator) rewardToGo(batch []Trajectory) [][]float64 {
	out := make([][]float64, len(batch))
	for i := range batch {
		out[i] = Returns(batch[i].rewards(), batch[i].Mask, *e.Gamma)
	}
	return out
}

func (e Estimator) gae(batch []Trajectory) (advantages, returns [][]float64) {
	advantages, returns = make([][]float64, len(batch)), make([][]float64, len(batch))
	for i := range batch {
		advantages[i], returns[i] = GAE(batch[i].rewards(), batch[i].Value, batch[i].Mask, *e.Gamma, *e.Lambda)
	}
	return advantages, returns
}

// spread gives every policy token its trajectory's advantage.
func spread(a []float64, masks [][]bool) [][]float64 {
	out := make([][]float64, len(a))
	for i, mask := range masks {
		out[i] = make([]float64, len(mask))
		for t, on := range mask {
			if on {
				out[i][t] = a[i]
			}
		}
	}
	return out
}

package algo

import (
	"errors"
	"math"
)

// Surrogate names the per-token policy loss; each has its own file.
type Surrogate string

const (
	// Clip is PPO's clipped surrogate, used by GRPO, DAPO, RLOO, REINFORCE++ as well (grpo.go).
	Clip Surrogate = "clip"
	// GSPO clips one ratio a sequence (gspo.go).
	GSPO Surrogate = "gspo"
	// CISPO clips the weight of the gradient instead of the loss (cispo.go).
	CISPO Surrogate = "cispo"
	// SAPO replaces the clip by a soft gate (sapo.go).
	SAPO Surrogate = "sapo"
	// Reinforce is the plain policy gradient (reinforce.go).
	Reinforce Surrogate = "reinforce"
)

// Policy is a complete actor loss:
//
//	L = agg(surrogate) + KLCoef agg(kl) - EntropyCoef agg(entropy) + LLDSCoef LLDS
//
// with the same aggregation for the first three. The KL term is added: it pulls the policy towards the reference.
type Policy struct {
	// Surrogate of the policy term; "" is Clip.
	Surrogate Surrogate
	// ClipLow and ClipHigh bound the ratio to [1-ClipLow, 1+ClipHigh]; PPO 0.2 and 0.2, DAPO's clip-higher 0.2 and
	// 0.28, GSPO 3e-4 and 4e-4.
	ClipLow, ClipHigh float64
	// DualClip c > 1 bounds the loss of tokens with negative advantage to -A c (arXiv 1912.09729); 0 is off, verl has
	// 3.
	DualClip float64
	// Aggregation of all terms; "" is TokenMean, for GSPO SeqMeanTokenMean.
	Aggregation Aggregation
	// KL estimate against the reference and its coefficient; rows without Ref have no such term.
	KL     KL
	KLCoef float64
	// EntropyCoef rewards entropy; rows without Entropy have no such term.
	EntropyCoef float64
	// LLDSCoef is the weight of LLDS, which has divisors of its own (llds.go).
	LLDSCoef float64
}

// Validate fills in the defaults and says what is wrong with the rest.
func (p Policy) Validate() (Policy, error) {
	if p.Surrogate == "" {
		p.Surrogate = Clip
	}
	if p.Aggregation == "" {
		p.Aggregation = TokenMean
		if p.Surrogate == GSPO {
			p.Aggregation = SeqMeanTokenMean
		}
	}
	if p.KL == "" {
		p.KL = K3
	}
	var sane error
	switch {
	case !(p.ClipLow >= 0) || !(p.ClipHigh >= 0):
		sane = errors.New("clip range: a bound is negative: give both as distances from 1, such as 0.2 and 0.28")
	case p.DualClip != 0 && !(p.DualClip > 1):
		sane = errors.New("dual clip: must be above 1, or 0 for off")
	}
	return p, errors.Join(
		oneOf("policy loss", p.Surrogate, Clip, GSPO, CISPO, SAPO, Reinforce),
		oneOf("loss aggregation", p.Aggregation, TokenMean, SeqMeanTokenMean, SeqMeanTokenSum, SeqMeanTokenSumNorm,
			SeqMeanTokenSumLimit),
		oneOf("kl estimator", p.KL, K1, Abs, K2, K3), sane)
}

// Row is one trajectory as a loss sees it. All slices have the same length T; entries where Mask is false are never
// read.
type Row struct {
	// Mask marks the policy's own tokens.
	Mask []bool
	// New are the log-probs under the weights being trained, Old under those that sampled, Ref under the reference
	// (nil: no KL term).
	New, Old, Ref []float64
	// Advantage per token.
	Advantage []float64
	// Entropy per token under the weights being trained, nats (nil: no entropy term).
	Entropy []float64
	// Weight multiplies the policy term per token: the correction of a sampler that differs from the trainer (nil: 1).
	Weight []float64
	// Action numbers the actions that the tokens belong to, for LLDS (nil: all belong to one).
	Action []int
	// DLogp and DEntropy receive dL/dNew and dL/dEntropy, overwritten; DEntropy may be nil when the entropy coefficient
	// is 0.
	DLogp, DEntropy []float64
}

// Terms are a row's share of the loss and of the statistics: shares of all rows of a mini-batch add up (Add).
type Terms struct {
	// Loss = PG + KLCoef KL - EntropyCoef Entropy + LLDSCoef LLDS; the first three are aggregated like the loss.
	Loss, PG, KL, Entropy, LLDS float64
	// Means over the policy tokens of the batch: the clipped branch is the larger, dual clip is active.
	ClipFrac, ClipFracLower float64
	// Means of the ratio and of the three estimates of KL(old, new): -diff, diff^2/2, r - 1 - diff.
	Ratio, K1, K2, K3 float64
	// Extremes of the ratio; 0 while Tokens is 0.
	RatioMin, RatioMax float64
	// Tokens is the number of policy tokens that went in.
	Tokens int
}

// Add sums the shares of o into t.
func (t *Terms) Add(o Terms) {
	switch {
	case o.Tokens == 0:
	case t.Tokens == 0:
		t.RatioMin, t.RatioMax = o.RatioMin, o.RatioMax
	default:
		t.RatioMin, t.RatioMax = min(t.RatioMin, o.RatioMin), max(t.RatioMax, o.RatioMax)
	}
	t.Loss, t.PG, t.KL, t.Entropy = t.Loss+o.Loss, t.PG+o.PG, t.KL+o.KL, t.Entropy+o.Entropy
	t.LLDS += o.LLDS
	t.ClipFrac, t.ClipFracLower = t.ClipFrac+o.ClipFrac, t.ClipFracLower+o.ClipFracLower
	t.Ratio, t.K1, t.K2, t.K3 = t.Ratio+o.Ratio, t.K1+o.K1, t.K2+o.K2, t.K3+o.K3
	t.Tokens += o.Tokens
}

// diffLimit bounds |diff| before exp; beyond it the gradient is 0.
const diffLimit = 20

// token is what a surrogate gives for one policy token: loss, d loss/d logp_new, and which clip was active.
type token struct {
	loss, grad    float64
	clipped, dual bool
}

// Loss computes a row's terms and writes its gradients. p must come from Validate; c counts the whole mini-batch.
func (p Policy) Loss(row Row, c Counts) Terms {
	sameLen("policy loss", len(row.Mask), row.New, row.Old, row.Ref, row.Advantage, row.Entropy, row.Weight, row.DLogp,
		row.DEntropy)
	clear(row.DLogp)
	clear(row.DEntropy)
	n, meanDiff := row.mean()
	if n == 0 {
		return Terms{}
	}
	w, share := p.Aggregation.weight(n, c), 1/float64(c.Tokens)
	sum := Terms{Tokens: n, RatioMin: math.Inf(1), RatioMax: math.Inf(-1)}
	for t, on := range row.Mask {
		if !on {
			continue
		}
		diff := row.New[t] - row.Old[t]
		tok := p.surrogate(row.Advantage[t], row.New[t], diff, meanDiff)
		if row.Weight != nil {
			tok.loss *= row.Weight[t]
			tok.grad *= row.Weight[t]
		}
		sum.PG += w * tok.loss
		row.DLogp[t] = w * tok.grad
		r := math.Exp(clamp(diff, -diffLimit, diffLimit))
		if row.Ref != nil {
			kl, g := p.KL.At(row.New[t], row.Ref[t])
			sum.KL += w * kl
			row.DLogp[t] += w * p.KLCoef * g
		}
		if row.Entropy != nil {
			sum.Entropy += w * row.Entropy[t]
			if row.DEntropy != nil {
				row.DEntropy[t] = -w * p.EntropyCoef
			}
		}
		sum.observe(tok, diff, r, share)
	}
	sum.Loss = sum.PG + p.KLCoef*sum.KL - p.EntropyCoef*sum.Entropy
	if p.LLDSCoef > 0 {
		sum.LLDS = row.llds(n, c, p.LLDSCoef)
		sum.Loss += p.LLDSCoef * sum.LLDS
	}
	return sum
}

// mean gives the number of policy tokens and the mean of diff over them.
func (row Row) mean() (n int, diff float64) {
	for t, on := range row.Mask {
		if on {
			n++
			diff += row.New[t] - row.Old[t]
		}
	}
	return n, diff / float64(max(n, 1))
}

func (t *Terms) observe(tok token, diff, r, share float64) {
	if tok.clipped {
		t.ClipFrac += share
	}
	if tok.dual {
		t.ClipFracLower += share
	}
	t.Ratio += share * r
	t.K1 -= share * diff
	t.K2 += share * diff * diff / 2
	t.K3 += share * (r - 1 - diff)
	t.RatioMin, t.RatioMax = min(t.RatioMin, r), max(t.RatioMax, r)
}

func (p Policy) surrogate(a, logp, diff, meanDiff float64) token {
	switch p.Surrogate {
	case Clip:
		return p.clip(a, diff)
	case GSPO:
		return p.gspo(a, meanDiff)
	case CISPO:
		return p.cispo(a, logp, diff)
	case SAPO:
		return sapo(a, diff)
	case Reinforce:
		return reinforce(a, logp)
	}
	panic("algo: policy loss without a surrogate: call Validate first")
}

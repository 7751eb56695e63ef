package ops

import (
	"math"

	"github.com/zerosearch-go/zerosearch/bench/internal/measure"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// lossRows is the number of targets that are scored: a micro-batch of a small training step.
const lossRows = 256

// distinctVocab calls f for each distinct output matrix.
func distinctVocab(models []string, f func(of string, c *model.Config)) {
	seen := map[[2]int]bool{}
	eachModel(models, func(of string, c *model.Config) {
		if key := [2]int{c.Vocab, c.Hidden}; !seen[key] {
			seen[key] = true
			f(of, c)
		}
	})
}

// lossCases: m targets, k = C, n = V.
func lossCases(models []string) (out []Case) {
	distinctVocab(models, func(of string, c *model.Config) {
		m, k, n := lossRows, c.Hidden, c.Vocab
		for _, t := range []kernels.DType{kernels.F32, kernels.BF16} {
			shape := Shape{"m": m, "k": k, "n": n}
			rows := float64(m)
			forward := LogprobCost(rows, k, n, t)
			backward, frozen := LogprobBackwardCost(rows, k, n, t, true), LogprobBackwardCost(rows, k, n, t, false)
			out = append(out, Case{"logprob", of, shape, t, forward, func(b *bed) func(int) {
				l := newLoss(b, c, t)
				return func(int) { b.d.LogProb(l.lp, l.h, l.w, l.targets, 1) }
			}}, Case{"logprob_backward", of, shape, t, backward, func(b *bed) func(int) {
				l := newLoss(b, c, t)
				dh, dw, dlogp := b.empty(kernels.F32, m, k), b.empty(kernels.F32, n, k), b.f32(m, 1)
				return func(int) { b.d.LogProbBackward(dh, dw, l.h, l.w, l.targets, l.lp, dlogp, kernels.Tensor{}, 1) }
			}}, Case{"logprob_backward_frozen", of, shape, t, frozen, func(b *bed) func(int) {
				l := newLoss(b, c, t)
				dh, dlogp := b.empty(kernels.F32, m, k), b.f32(m, 1)
				return func(int) {
					b.d.LogProbBackward(dh, kernels.Tensor{}, l.h, l.w, l.targets, l.lp, dlogp, kernels.Tensor{}, 1)
				}
			}})
		}
	})
	return out
}

// lossInput are the operands of scoring; lp holds computed log-probs.
type lossInput struct {
	h, targets kernels.Tensor
	w          kernels.Weight
	lp         kernels.LogProbs
}

func newLoss(b *bed, c *model.Config, t kernels.DType) lossInput {
	// elements of a weight have a deviation of 1/sqrt(3)
	h := b.normal(lossRows, c.Hidden, logitSpread*math.Sqrt(3/float64(c.Hidden)))
	l := lossInput{h: h, targets: b.ints(0, lossRows, 7919, c.Vocab), w: b.weight(c.Vocab, c.Hidden, t)}
	l.lp = b.logProbs(lossRows)
	b.d.LogProb(l.lp, l.h, l.w, l.targets, 1)
	return l
}

func (b *bed) logProbs(m int) kernels.LogProbs {
	return kernels.LogProbs{Logp: b.empty(kernels.F32, m, 1), Entropy: b.empty(kernels.F32, m, 1),
		LSE: b.empty(kernels.F32, m, 1)}
}

// sampleRules are the sampling settings that are measured.
var sampleRules = []struct {
	name string
	rule kernels.Sampling
}{
	{"sample_greedy", kernels.Sampling{Greedy: true, InvTemp: 1}},
	{"sample", kernels.Sampling{InvTemp: 1, Stream: 5}},
	{"sample_top_p", kernels.Sampling{InvTemp: 1, TopP: 0.95, Stream: 5}},
	{"sample_top_k", kernels.Sampling{InvTemp: 1, TopK: 50, Stream: 5}},
}

// sampleCases: m rows of n = V logits.
func sampleCases(models []string) (out []Case) {
	seen := map[int]bool{}
	eachModel(models, func(of string, c *model.Config) {
		n := c.Vocab
		if seen[n] {
			return
		}
		seen[n] = true
		for _, m := range []int{1, 16} {
			bytes := 4 * float64(m) * float64(n)
			for _, s := range sampleRules {
				out = append(out, Case{s.name, of, Shape{"m": m, "k": 1, "n": n}, kernels.F32,
					Cost{0, kernels.F32, bytes}, func(b *bed) func(int) {
						logits := measure.Many(copies(bytes),
							func() kernels.Tensor { return b.normal(m, n, logitSpread) })
						ids, lp, rules := b.empty(kernels.I32, m, 1), b.logProbs(m), make([]kernels.Sampling, m)
						for i := range rules {
							rules[i] = s.rule
						}
						all := b.batch(kernels.Layout{Draws: rules}, nil)
						return func(i int) { b.d.Sample(ids, lp, logits[i%len(logits)], all, 0) }
					}})
			}
		}
	})
	return out
}

// optimCases: a step of AdamW, alone and with the weight packed and the gradient cleared in the same pass, and the
// gradient's norm, on a weight [m, n].
func optimCases(models []string) (out []Case) {
	widths(models, hidden, func(of string, c *model.Config, n int) {
		m := c.Inter
		elements := float64(m) * float64(n)
		step := kernels.AdamWStep{LR: 1e-6, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.01, GradScale: 1,
			Step: 100}
		type state struct { // the second moment is never negative: begin with zero
			w          kernels.Weight
			p, g, m, v kernels.Tensor
		}
		adamCase := func(op string, bytes float64, run func(d kernels.Device, x state)) Case {
			return Case{op, of, Shape{"m": m, "k": 1, "n": n}, kernels.F32,
				Cost{15 * elements, kernels.F32, bytes * elements}, func(b *bed) func(int) {
					sets := measure.Many(copies(16*elements), func() state {
						return state{b.weight(m, n, kernels.BF16), b.f32(m, n), b.f32(m, n), b.f32(m, n),
							b.empty(kernels.F32, m, n)}
					})
					return func(i int) { run(b.d, sets[i%len(sets)]) }
				}}
		}
		adam := adamCase("adamw", 7*4, func(d kernels.Device, x state) { d.AdamW(x.p, x.g, x.m, x.v, step) })
		update := adamCase("update", UpdateBytes, func(d kernels.Device,
			x state) {
			kernels.Update(d, x.w, x.p, x.g, x.m, x.v, step)
		})
		var sum kernels.Tensor
		out = append(out, adam, update, prepared(func(b *bed) { sum = b.empty(kernels.F64, 1, 1) },
			rowCase("sumsquares", of, m, n, 1, 2, func(b *bed,
				x []kernels.Tensor) {
				b.d.SumSquares(sum, x[0], nil, false)
			})))
	})
	return out
}

package kerneltest

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// vocabularies as h [t, k] and V = n: one word, odd, more than a chunk, and real ones scaled down.
var vocabularies = []shape{{0, 33, 7}, {1, 1, 3}, {7, 7, 1}, {1, 31, 16}, {5, 33, 31}, {33, 257, 24}, {67, 101, 33},
	{3, 4099, 8}, {2, 10007, 5}}

func logprobCases(tol Tolerances) (cases []testCase) {
	for _, wt := range tol.weights() {
		for _, sh := range vocabularies {
			for _, invTemp := range []float32{1, 0.6} {
				if sh.n > 4000 && invTemp == 1 {
					continue // once is enough for what takes long
				}
				name := fmt.Sprintf("%v/%v/%v", wt, sh, invTemp)
				cases = append(cases, testCase{"forward/" + name,
					"Logp = z[target] - LSE, Entropy = -sum p ln p, LSE = ln sum exp z, z = logits * invTemp",
					func(s *caseRun) {
						h, w, targets := lossInput(s, sh, wt)
						v := func(name string) kernels.Tensor { return s.vecOut(name, sh.t, 1, nil, abs(tol.LogProb)) }
						s.d.LogProb(kernels.LogProbs{Logp: v("logp"), Entropy: v("entropy"), LSE: v("lse")}, h, w,
							targets,
							invTemp)
						s.d.LogProb(kernels.LogProbs{Logp: v("logp alone")}, h, w, targets, invTemp)
						s.d.LogProb(kernels.LogProbs{Entropy: v("entropy alone")}, h, w, targets, invTemp)
					}})
				for _, entropy := range []bool{false, true} {
					if entropy == (invTemp == 1) {
						continue
					}
					for _, withDW := range []bool{false, true} {
						cases = append(cases,
							testCase{fmt.Sprintf("backward/%s/entropy=%v/dw=%v", name, entropy, withDW),
								"dz = invTemp*(dlogp*([v=target]-p) - dentropy*p*(ln p + entropy)); dh = dz w, dw += " +
									"dz^T h", func(s *caseRun) {
									logprobBackward(s, sh, wt, invTemp, entropy, withDW, tol)
								}})
					}
				}
			}
		}
	}
	return cases
}

func lossInput(s *caseRun, sh shape, wt kernels.DType) (h kernels.Tensor, w kernels.Weight, targets kernels.Tensor) {
	return s.in("h", sh.t, sh.k, normal("h", sh.t*sh.k, 1)), s.weight(sh.n, sh.k, wt, normal("w", sh.n*sh.k, 1)),
		s.ints("targets", below("targets", sh.t, sh.n))
}

func logprobBackward(s *caseRun, sh shape, wt kernels.DType, invTemp float32, entropy, withDW bool, tol Tolerances) {
	h, w, targets := lossInput(s, sh, wt)
	// Rounding dz to the weight's type turns a difference in the last bit into one of BF16 now and then.
	b := rel(10 * tol.F32)
	if wt != kernels.F32 {
		b = rel(tol.BF16)
	}
	_, e, lse := exactLogProbs(sh, wt, invTemp)
	lp := kernels.LogProbs{LSE: s.vec("lse", sh.t, 1, lse)}
	dentropy, dw := kernels.Tensor{}, kernels.Tensor{}
	if entropy {
		lp.Entropy, dentropy = s.vec("entropy", sh.t, 1, e), s.vec("dentropy", sh.t, 1, normal("dentropy", sh.t, 1))
	}
	dlogp := normal("dlogp", sh.t, 1)
	clear(dlogp[:min(1, sh.t)]) // a token outside the loss
	if withDW {
		dw = s.inout("dw", sh.n, sh.k, normal("dw", sh.n*sh.k, 1), b)
	}
	s.d.LogProbBackward(s.out("dh", sh.t, sh.k, b), dw, h, w, targets, lp, s.vec("dlogp", sh.t, 1, dlogp), dentropy,
		invTemp)
}

// exactLogProbs is the softmax in float64 straight from its definition, over the inputs of lossInput (of Q8 weights as
// if they were F32).
func exactLogProbs(sh shape, wt kernels.DType, invTemp float32) (logp, entropy, lse []float32) {
	all := once(fmt.Sprint("logprobs ", sh, wt, invTemp), func() []float32 {
		logp, entropy, lse := softmaxLogProbs(sh, wt, invTemp)
		return slices.Concat(logp, entropy, lse)
	})
	return all[:sh.t], all[sh.t : 2*sh.t], all[2*sh.t:]
}

func softmaxLogProbs(sh shape, wt kernels.DType, invTemp float32) (logp, entropy, lse []float32) {
	h, w, targets := normal("h", sh.t*sh.k, 1), normal("w", sh.n*sh.k, 1), below("targets", sh.t, sh.n)
	if wt == kernels.BF16 {
		h, w = bf16(h), bf16(w)
	}
	for t := range sh.t {
		z, sum := make([]float64, sh.n), 0.0
		for v := range z {
			for k := range sh.k {
				z[v] += float64(h[t*sh.k+k]) * float64(w[v*sh.k+k])
			}
			z[v] *= float64(invTemp)
			sum += math.Exp(z[v])
		}
		e := 0.0
		for _, x := range z {
			e -= math.Exp(x) / sum * math.Log(math.Exp(x)/sum)
		}
		logp = append(logp, float32(z[targets[t]]-math.Log(sum)))
		entropy, lse = append(entropy, float32(e)), append(lse, float32(math.Log(sum)))
	}
	return logp, entropy, lse
}

func testLogProbFormula(t *testing.T, e *env) {
	for _, wt := range types[:2] {
		for _, sh := range []shape{{9, 33, 31}, {5, 5003, 12}} {
			t.Run(fmt.Sprintf("%v/%v", wt, sh), func(t *testing.T) {
				outs := execute(t, e.d, layouts[0], func(s *caseRun) {
					h, w, targets := lossInput(s, sh, wt)
					v := func(name string) kernels.Tensor { return s.vecOut(name, sh.t, 1, nil, bound{}) }
					s.d.LogProb(kernels.LogProbs{Logp: v("logp"), Entropy: v("entropy"), LSE: v("lse")}, h, w, targets,
						0.6)
				})
				logp, entropy, lse := exactLogProbs(sh, wt, 0.6)
				for i, want := range [][]float32{logp, entropy, lse} {
					nearValues(t, "a log-prob is z[target] - ln sum exp z of the rounded operands", outs[i].name, 1,
						abs(3e-5), wide(want), wide(outs[i].f32()))
				}
			})
		}
	}
}

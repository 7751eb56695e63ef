package kerneltest

import (
	"fmt"
	"testing"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// rowOp is an operation whose rows are independent: body runs it for some of n rows.
type rowOp struct {
	name string
	n    int
	body func(s *caseRun, at []int)
}

func rowOps(tol Tolerances) (ops []rowOp) {
	const t, n, k = 70, 67, 93
	add := func(name string, body func(s *caseRun, at []int)) { ops = append(ops, rowOp{name, t, body}) }
	pickIn := func(s *caseRun, name string, cols int, at []int) kernels.Tensor {
		return s.in(name, len(at), cols, rows(normal(name, t*cols, 1), cols, at))
	}
	for _, wt := range tol.weights() {
		w := func(s *caseRun) kernels.Weight { return s.weight(n, k, wt, normal("w", n*k, 1)) }
		add("MatMul/"+wt.String(), func(s *caseRun, at []int) {
			s.d.MatMul(s.out("y", len(at), n, bound{}), pickIn(s, "x", k, at), w(s),
				kernels.Epilogue{Bias: s.vec("bias", 1, n, normal("bias", n, 1)), Scale: 0.7})
		})
		add("MatMulDX/"+wt.String(), func(s *caseRun, at []int) {
			s.d.MatMulDX(s.out("dx", len(at), k, bound{}), pickIn(s, "dy", n, at), w(s), false, 0)
		})
		add("LogProb/"+wt.String(), func(s *caseRun, at []int) {
			s.d.LogProb(kernels.LogProbs{Logp: s.vecOut("logp", len(at), 1, nil, bound{}),
				Entropy: s.vecOut("entropy", len(at), 1, nil, bound{}), LSE: s.vecOut("lse", len(at), 1, nil, bound{})},
				pickIn(s, "h", k, at), w(s), s.ints("targets", pick(below("targets", t, n), at)), 0.8)
		})
	}
	add("RMSNorm", func(s *caseRun, at []int) {
		s.d.RMSNorm(s.out("y", len(at), k, bound{}), pickIn(s, "x", k, at), s.vec("w", 1, k, normal("w", k, 1)), 1e-6,
			s.vecOut("rstd", len(at), 1, nil, bound{}))
	})
	add("RoPE", func(s *caseRun, at []int) {
		x := s.inout("x", len(at), 3*10, rows(normal("x", t*30, 1), 30, at), bound{})
		s.d.RoPE(x, 3, s.at(pick(below("pos", t, 99), at)), s.in("table", 99, 10, angles(99, 10)), false)
	})
	add("SwiGLU", func(s *caseRun, at []int) {
		s.d.SwiGLU(s.out("y", len(at), k, bound{}), pickIn(s, "gate", k, at), pickIn(s, "up", k, at))
	})
	add("Sample", func(s *caseRun, at []int) {
		var rules []kernels.Sampling
		for _, i := range at {
			rules = append(rules, kernels.Sampling{InvTemp: 0.9, TopK: i % 20, TopP: 0.9, MinP: 0.01,
				Stream: streamOf(float64(i) / t), Greedy: i%5 == 0, Adjust: adjustments(n, n*(i%3)/4, i)})
		}
		ids := s.put("ids", kernels.I32, len(at), 1, s.packed(), nil, true, bound{})
		s.d.Sample(ids, kernels.LogProbs{Logp: s.vecOut("logp", len(at), 1, nil, bound{})}, pickIn(s, "logits", n, at),
			s.draws(rules), 0)
	})
	return ops
}

// testRowsAlone runs the rows one by one, in chunks, and in another order.
func testRowsAlone(t *testing.T, e *env) {
	for _, op := range rowOps(e.tol) {
		t.Run(op.name, func(t *testing.T) {
			if e.tol.BatchDependent {
				t.Skip("this device does not promise rows that are independent of their batch")
			}
			run := func(at []int) []output {
				return execute(t, e.d, layouts[0], func(s *caseRun) { op.body(s, at) })
			}
			whole := run(upTo(op.n))
			part := func(o output, at []int) output {
				size := o.cols * o.dtype.Size()
				p := output{name: o.name, rows: len(at), cols: o.cols, dtype: o.dtype}
				for _, r := range at {
					p.data = append(p.data, o.data[r*size:][:size]...)
				}
				return p
			}
			check := func(rule string, at []int) {
				for i, got := range run(at) {
					bitsOf(t, rule, part(whole[i], at), got)
				}
			}
			for _, chunk := range []int{1, 2, 3, 5, 8, 15, 33, 64} {
				for from := 0; from < op.n; from += chunk {
					if chunk == 1 && from%7 != 0 {
						continue
					}
					check(fmt.Sprintf("a row's bits do not depend on the rows beside it: rows %d.. in a chunk of %d",
						from, chunk), upTo(op.n)[from:min(op.n, from+chunk)])
				}
			}
			check("a row's bits do not depend on its place in the batch", source("order").Perm(op.n))
		})
	}
}

// testLogProbIsSample draws ids from the logits of a matmul and scores the same ids from the hidden states.
func testLogProbIsSample(t *testing.T, e *env) {
	for _, wt := range e.tol.weights() {
		for _, sh := range []shape{{1, 1, 5}, {9, 33, 40}, {70, 129, 31}, {3, 5003, 17}, {2, 16411, 6}} {
			for _, invTemp := range []float32{1, 0.7, 1.6} {
				t.Run(fmt.Sprintf("%v/%v/%v", wt, sh, invTemp), func(t *testing.T) {
					scores := func(s *caseRun) kernels.LogProbs {
						v := func(name string) kernels.Tensor { return s.vecOut(name, sh.t, 1, nil, bound{}) }
						return kernels.LogProbs{Logp: v("logp"), Entropy: v("entropy"), LSE: v("lse")}
					}
					outs := execute(t, e.d, layouts[0], func(s *caseRun) {
						h := s.in("h", sh.t, sh.k, normal("h", sh.t*sh.k, 1))
						w := s.weight(sh.n, sh.k, wt, normal("w", sh.n*sh.k, 1))
						var rules []kernels.Sampling
						for i := range sh.t {
							rules = append(rules, kernels.Sampling{InvTemp: invTemp, Greedy: i%4 == 3,
								TopK: 50 * (i % 2), Stream: streamOf((float64(i) + 0.5) / float64(sh.t)),
								Adjust: adjustments(sh.n, sh.n*(i%3)/4, i)})
							if i%3 == 1 && sh.n > 1 {
								rules[i].Never = every(2, sh.n)
							}
						}
						ids := s.put("ids", kernels.I32, sh.t, 1, s.packed(), nil, true, bound{})
						sampled, scored := scores(s), scores(s)
						logits := s.out("logits", sh.t, sh.n, bound{})
						s.d.MatMul(logits, h, w, kernels.Epilogue{})
						s.d.Sample(ids, sampled, logits, s.draws(rules), 0)
						s.d.LogProb(scored, h, w, ids, invTemp)
					})
					if e.tol.BatchDependent {
						t.Skip("this device does not promise that logits recomputed are the same")
					}
					sameBits(t, "LogProb gives the bits of MatMul and Sample: rollout and trainer agree exactly",
						outs[1:4], outs[4:7])
				})
			}
		}
	}
}

package kerneltest

import (
	"fmt"

	"github.com/zerosearch-go/zerosearch/kernels"
)

const specialRule = "NaN and infinities go where the formula takes them, as in ref: never lost, never spread to " +
	"other rows"

// specialCases feed NaN, infinities, signed zeros, huge and tiny numbers.
func specialCases(tol Tolerances) (cases []testCase) {
	add := func(name, rule string, body func(s *caseRun)) { cases = append(cases, testCase{name, rule, body}) }
	spiced := func(name string, n int, _ float64) []float32 { return spiced(name, n) }
	sh := shape{35, 67, 61}
	for _, wt := range tol.weights() {
		add("matmul/"+wt.String(), specialRule, matmul(sh, wt, epilogue{bias: true}, rel(tol.Chain), spiced))
		add("dx/"+wt.String(), specialRule, matmulDX(sh, wt, true, 0, rel(tol.Chain), spiced))
		add("weight/"+wt.String(), specialRule, func(s *caseRun) {
			data := spiced("w", sh.n*sh.k, 1)
			w := s.weight(sh.n, sh.k, wt, data)
			s.d.PackHost(w, 0, raw(data), kernels.F32)
			x := s.in("x", sh.t, sh.k, normal("x", sh.t*sh.k, 1))
			s.d.MatMul(s.out("y", sh.t, sh.n, rel(tol.Chain)), x, w, kernels.Epilogue{})
			s.d.Unpack(s.out("w", sh.n, sh.k, bound{}), w, 0)
		})
	}
	for _, op := range types[:2] {
		add("dw/"+op.String(), specialRule, matmulDW(sh, op, rel(tol.Chain), spiced))
	}
	add("huge/matmul", specialRule, matmul(sh, kernels.F32, epilogue{}, rel(tol.Chain), huge))
	add("huge/dx", specialRule, matmulDX(sh, kernels.F32, true, 0, rel(tol.Chain), huge))
	denormalRule := "F32 chains keep denormals; BF16 chains take them as zeros"
	few := func(name string, n int, _ float64) []float32 { return tiny(name, n) }
	add("denormals/f32", denormalRule, matmul(sh, kernels.F32, epilogue{}, rel(tol.Chain), few))
	add("denormals/bf16", denormalRule, matmul(sh, kernels.BF16, epilogue{}, abs(0x1p-110), few))
	if !tol.NoQ4 {
		add("denormals/q4", denormalRule, matmul(sh, kernels.Q4, epilogue{}, abs(0x1p-90), few))
	}
	add("denormals/q8", denormalRule, matmul(sh, kernels.Q8, epilogue{}, abs(0x1p-90), few))
	add("denormals/dx", denormalRule, matmulDX(sh, kernels.F32, false, 0, rel(tol.Chain), few))
	add("denormals/dw", denormalRule, matmulDW(sh, kernels.F32, rel(tol.Chain), few))

	const t, c = 40, 45
	add("norm", specialRule, func(s *caseRun) {
		x := spiced("x", t*c, 1)
		for i, v := range x { // squares beyond F32 are a matter of how a device sums
			if v == 1e30 || v == -1e30 {
				x[i] = 7
			}
		}
		clear(x[5*c : 6*c]) // a row of zeros: eps alone
		s.d.RMSNorm(s.out("y", t, c, rel(tol.F32)), s.in("x", t, c, x), s.vec("w", 1, c, normal("w", c, 1)), 1e-5,
			s.vecOut("rstd", t, 1, nil, rel(tol.F32)))
	})
	add("rope", specialRule, func(s *caseRun) {
		x := spiced("x", t*48, 1)
		s.d.RoPE(s.inout("x", t, 48, x, rel(tol.F32)), 3, s.at(below("pos", t, 20)),
			s.in("table", 20, 16, angles(20, 16)), false)
	})
	add("swiglu", specialRule, func(s *caseRun) {
		s.d.SwiGLU(s.out("y", t, c, rel(tol.F32)), s.in("gate", t, c, spiced("gate", t*c, 1)),
			s.in("up", t, c, normal("up", t*c, 1)))
	})
	add("axpy", specialRule, func(s *caseRun) {
		s.d.Axpy(s.inout("y", t, c, normal("y", t*c, 1), rel(tol.F32)), 0.5, s.in("x", t, c, spiced("x", t*c, 1)))
	})
	add("copy", specialRule, func(s *caseRun) {
		half := s.put("half", kernels.BF16, t, c, s.layout, nil, true, bound{})
		s.d.Copy(half, s.in("x", t, c, spiced("x", t*c, 1)))
	})
	add("embed", specialRule, func(s *caseRun) {
		s.d.Embed(s.out("y", t, c, bound{}), s.weight(9, c, kernels.F32, spiced("w", 9*c, 1)),
			s.ids(below("ids", t, 9)))
	})
	for _, kt := range types[:2] {
		b := rel(tol.F32)
		if kt == kernels.BF16 {
			b = rel(tol.BF16)
		}
		for _, where := range []string{"q", "k", "v"} {
			add(fmt.Sprintf("attention/%s/%v", where, kt), specialRule,
				func(s *caseRun) { spicedAttention(s, kt, where, b) })
		}
	}
	add("logprob", specialRule, func(s *caseRun) {
		h := normal("h", 9*20, 1)
		h[25], h[47] = nan, inf
		out := func(name string) kernels.Tensor { return s.vecOut(name, 9, 1, nil, abs(tol.LogProb)) }
		s.d.LogProb(kernels.LogProbs{Logp: out("logp"), Entropy: out("entropy"), LSE: out("lse")}, s.in("h", 9, 20, h),
			s.weight(50, 20, kernels.F32, normal("w", 1000, 1)), s.ints("targets", below("targets", 9, 50)), 1)
	})
	add("squares", specialRule, func(s *caseRun) {
		x := normal("x", t*c, 1)
		x[77] = inf
		s.d.SumSquares(s.put("dst", kernels.F64, 1, 1, s.packed(), raw([]float64{0}), true, bound{}),
			s.in("x", t, c, x), nil, false)
	})
	add("sample", "logits of -Inf are never drawn and weigh nothing; NaN or +Inf makes the log-prob NaN and still "+
		"draws an id of the vocabulary", func(s *caseRun) {
		x := normal("logits", 4*40, 1)
		for i := range 39 {
			x[i] = -inf
		}
		x[40+3], x[40+8], x[80+5], x[120+7] = -inf, -inf, nan, inf
		rule := kernels.Sampling{InvTemp: 0.8, TopK: 30, TopP: 0.9, Stream: streamOf(0.55)}
		out := func(name string) kernels.Tensor { return s.vecOut(name, 4, 1, nil, abs(tol.LogProb)) }
		// the contract does not say which id is drawn from NaN
		ids := s.put("ids", kernels.I32, 4, 1, s.packed(), nil, true, abs(40))
		s.d.Sample(ids, kernels.LogProbs{Logp: out("logp"), Entropy: out("entropy"), LSE: out("lse")},
			s.in("logits", 4, 40, x), s.draws([]kernels.Sampling{rule, rule, rule, rule}), 0)
	})
	return cases
}

// huge is numbers whose products and sums overflow now and then. F32 only: a BF16 path may round a product before it
// adds it.
func huge(name string, n int, _ float64) []float32 { return normal(name, n, 1e38) }

// spicedAttention puts one NaN and one infinity into q, k or v of one sequence of two.
func spicedAttention(s *caseRun, kt kernels.DType, where string, b bound) {
	hd, n := heads{4, 2, 8}, 40
	kv := s.cache(kernels.KVSpec{Layers: 1, Pages: 4, KVHeads: hd.g, HeadDim: hd.d, Type: kt})
	w, c := hd.g*hd.d, hd.h*hd.d
	x := map[string][]float32{"k": normal("k", 2*n*w, 1), "v": normal("v", 2*n*w, 1), "q": normal("q", 2*n*c, 1)}
	x[where][19*w+3], x[where][30*w+9] = nan, inf
	slots := make([]int32, 2*n)
	for i := range slots {
		slots[i] = int32(i%n + i/n*2*kernels.PageSize)
	}
	s.d.KVWrite(kv, 0, s.in("k", 2*n, w, x["k"]), s.in("v", 2*n, w, x["v"]), s.slots(kv, slots))
	segs := []kernels.Segment{{Row: 0, Len: n, Pages: []int32{0, 1}}, {Row: n, Len: n, Pages: []int32{2, 3}}}
	s.d.Attention(s.out("y", 2*n, c, b), s.in("q", 2*n, c, x["q"]), s.out("lse", 2*n, hd.h, b), kv, 0,
		s.segments(kv, segs), 0.35)
}

package kerneltest

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
)

// manyRows is more than 16 bits count, manyWords more than 17: vocabularies of real models are as large.
const manyRows, manyWords = 1<<16 + 5, 1<<17 + 29

// testMany is each operation on more than 65,535 rows.
func testMany(t *testing.T, e *env) { e.once(t, "many", manyCases(e.tol)) }

func manyCases(tol Tolerances) (cases []testCase) {
	const t, c = manyRows, 2
	add := func(name, rule string, body func(s *caseRun)) { cases = append(cases, testCase{name, rule, body}) }
	caches := types[:2]
	if tol.Slow {
		caches = types[1:2]
	}
	in := func(s *caseRun, name string) kernels.Tensor { return s.in(name, t, c, normal(name, t*c, 1)) }
	inout := func(s *caseRun, name string, rows int) kernels.Tensor {
		return s.inout(name, rows, c, normal(name, rows*c, 1), rel(tol.F32))
	}
	out := func(s *caseRun, name string) kernels.Tensor { return s.out(name, t, c, rel(tol.F32)) }
	// Sums over all rows, in the order of the interface or, where matmuls have none, in any.
	sum, chain := rel(10*tol.F32), rel(10*tol.Chain)
	add("embed", "y[t] = w[ids[t]]; dw[ids[t]] += dy[t], t ascending", func(s *caseRun) {
		b := s.ids(below("ids", t, 7))
		s.d.Embed(out(s, "y"), s.weight(7, c, kernels.BF16, normal("w", 7*c, 1)), b)
		s.d.EmbedBackward(inout(s, "dw", 7), in(s, "dy"), b)
	})
	add("norm", "y = x * rstd * w and its backward", func(s *caseRun) {
		w := s.vec("w", 1, c, normal("w", c, 1))
		s.d.RMSNorm(out(s, "y"), in(s, "x"), w, 1e-2, s.vecOut("rstd", t, 1, nil, rel(tol.F32)))
		rstd := normal("rstd", t, 0.1)
		for i := range rstd {
			rstd[i] += 1
		}
		dw := s.vecOut("dw", 1, c, normal("dw", c, 1), sum)
		s.d.RMSNormBackward(out(s, "dx"), dw, in(s, "dy"), in(s, "x"), w, s.vec("rstd", t, 1, rstd), false)
	})
	for _, wt := range types[:2] {
		add("matmul/"+wt.String(), "y = x w^T, dx = dy w, dw += dy^T x, db += the sum of dy", func(s *caseRun) {
			w := s.weight(3, c, wt, normal("w", 3*c, 1))
			dy := s.in("dy", t, 3, normal("dy", t*3, 1))
			bias := kernels.Epilogue{Bias: s.vec("bias", 1, 3, normal("bias", 3, 1))}
			s.d.MatMul(s.out("y", t, 3, rel(tol.Chain)), in(s, "x"), w, bias)
			s.d.MatMulDX(s.out("dx", t, c, rel(tol.Chain)), dy, w, false, 0)
			s.d.MatMulDW(s.inout("dw", 3, c, normal("dw", 3*c, 1), chain), dy, in(s, "x"), wt)
			s.d.BiasBackward(s.vecOut("db", 1, 3, normal("db", 3, 1), sum), dy)
		})
	}
	add("rope", "pair (i, i+D/2) of each head turns by the angle of its position", func(s *caseRun) {
		s.d.RoPE(inout(s, "x", t), 1, s.at(below("pos", t, t)), s.in("table", t, c, angles(t, c)), false)
	})
	add("swiglu", "y = gate*sigmoid(gate)*up and its backward", func(s *caseRun) {
		gate, up := in(s, "gate"), in(s, "up")
		s.d.SwiGLU(out(s, "y"), gate, up)
		s.d.SwiGLUBackward(out(s, "dgate"), out(s, "dup"), in(s, "dy"), gate, up)
	})
	add("gather", "dst[b] = src[idx[b]]; dst[idx[b]] += src[b], b ascending", func(s *caseRun) {
		order, few := make([]int32, t), below("few", t, 3) // a device may look for rows of one index in quadratic time
		for i, j := range source("order").Perm(t) {
			order[i] = int32(j)
			few[i] = []int32{0, t / 2, t - 1}[few[i]]
		}
		s.d.Gather(out(s, "gathered"), in(s, "src"), s.ints("order", order))
		s.d.ScatterAdd(inout(s, "dst", t), in(s, "src"), s.ints("few", few))
	})
	if !tol.Slow {
		cases = append(cases, manyLogits(tol)...)
	}
	add("elementwise", "Axpy, Copy, Zero and SumSquares on all rows", func(s *caseRun) {
		x := in(s, "x")
		s.d.Axpy(inout(s, "y", t), 0.3, x)
		half := s.put("half", kernels.BF16, t, c, s.layout, nil, true, bound{})
		s.d.Copy(half, x)
		s.d.Copy(s.out("widened", t, c, bound{}), half)
		s.d.Zero(s.inout("zero", t, c, normal("x", t*c, 1), bound{}))
		s.d.SumSquares(s.put("squares", kernels.F64, 1, 1, s.packed(), nil, true, rel(squaresError(tol))), x, nil,
			false)
	})
	for _, kt := range caches {
		seqs, hd, b := []sequence{{manyRows + 4459, 1}, {3, 2}}, heads{2, 1, 2}, tol.attention(kt)
		add("positions/"+kt.String(), attentionRule, func(s *caseRun) {
			a := newAttention(s, kt, hd, seqs)
			y, lse := s.out("y", a.rows, hd.h*hd.d, rel(b)), s.out("lse", a.rows, hd.h, abs(10*tol.F32))
			s.d.Attention(y, a.q, lse, a.kv, 1, a.batch, a.scale)
		})
		add("positions/backward/"+kt.String(), attentionBackwardRule, func(s *caseRun) {
			attentionBackward(s, kt, hd, seqs, rel(max(10*tol.F32, 3*b)))
		})
	}
	return cases
}

// manyLogits are the operations on logits.
func manyLogits(tol Tolerances) (cases []testCase) {
	const t, c = manyRows, 2
	add := func(name, rule string, body func(s *caseRun)) { cases = append(cases, testCase{name, rule, body}) }
	in := func(s *caseRun, name string) kernels.Tensor { return s.in(name, t, c, normal(name, t*c, 1)) }
	add("logprob", "Logp = z[target] - LSE, and its backward", func(s *caseRun) {
		h, w := in(s, "h"), s.weight(3, c, kernels.F32, normal("w", 3*c, 1))
		targets := s.ints("targets", below("targets", t, 3))
		v := func(name string) kernels.Tensor { return s.vecOut(name, t, 1, nil, abs(tol.LogProb)) }
		s.d.LogProb(kernels.LogProbs{Logp: v("logp"), Entropy: v("entropy"), LSE: v("lse")}, h, w, targets, 0.7)
		lp := kernels.LogProbs{LSE: s.vec("lse in", t, 1, normal("lse", t, 1))}
		dlogp := s.vec("dlogp", t, 1, normal("dlogp", t, 1))
		dh, none := s.out("dh", t, c, rel(10*tol.F32)), kernels.Tensor{}
		s.d.LogProbBackward(dh, none, h, w, targets, lp, dlogp, none, 0.7)
	})
	add("sample", "the largest logit wins, its log-prob is scored", func(s *caseRun) {
		ids := s.put("ids", kernels.I32, t, 1, s.packed(), nil, true, bound{})
		scores := kernels.LogProbs{Logp: s.vecOut("logp", t, 1, nil, abs(tol.LogProb))}
		rules := slices.Repeat([]kernels.Sampling{{Greedy: true, InvTemp: 1}}, t)
		s.d.Sample(ids, scores, in(s, "logits"), s.draws(rules), 0)
	})
	return cases
}

// testManySegments has more than 65,535 segments of one token, each in a page of its own, some of length 0 between
// them. What a row attends to is its own key only, so that y is v.
func testManySegments(t *testing.T, e *env) {
	const n, pages, scale = manyRows, manyRows + 3, 0.5
	caches := types[:2]
	if e.tol.Slow {
		caches = types[:1]
	}
	for _, kt := range caches {
		t.Run(kt.String(), func(t *testing.T) {
			q, k, v, dy := normal("q", n, 1), normal("k", n, 1), normal("v", n, 1), normal("dy", n, 1)
			dk, dv := normal("dk", pages*kernels.PageSize, 1), normal("dv", pages*kernels.PageSize, 1)
			slots, segs := make([]int32, n), make([]kernels.Segment, 0, n+n/1000+1)
			for i, p := range source("pages").Perm(pages)[:n] {
				if i%1000 == 999 {
					segs = append(segs, kernels.Segment{Row: i, Start: i % 3, Pages: []int32{int32(p)}})
				}
				slots[i] = int32(p * kernels.PageSize)
				segs = append(segs, kernels.Segment{Row: i, Len: 1, Pages: []int32{int32(p)}})
			}
			outs := execute(t, e.d, layouts[1], func(s *caseRun) {
				kv := s.cache(kernels.KVSpec{Layers: 1, Pages: pages, KVHeads: 1, HeadDim: 1, Type: kt})
				b := s.batch(kernels.Layout{Slots: slots, Segs: segs}, kv)
				s.d.KVWrite(kv, 0, s.vec("k", n, 1, k), s.vec("v", n, 1, v), b)
				tq, y, lse := s.vec("q", n, 1, q), s.vecOut("y", n, 1, nil, bound{}),
					s.vecOut("lse", n, 1, nil, bound{})
				s.d.Attention(y, tq, lse, kv, 0, b, scale)
				tdk, tdv := s.vecOut("dk", len(dk), 1, dk, bound{}), s.vecOut("dv", len(dv), 1, dv, bound{})
				tdq, tdy := s.vecOut("dq", n, 1, nil, bound{}), s.vec("dy", n, 1, dy)
				s.d.AttentionBackward(tdq, tdk, tdv, tdy, y, tq, lse, kv, 0, b, scale)
			})
			if kt == kernels.BF16 {
				q, k, v = bf16(q), bf16(k), bf16(v)
			}
			lse := make([]float32, n)
			for i := range lse {
				lse[i] = scale * q[i] * k[i]
				dv[slots[i]] += dy[i]
			}
			limit := abs(max(1e-5, 4*e.tol.attention(kt)))
			for i, want := range [][]float32{v, lse, dk, dv, make([]float32, n)} {
				o := outs[i]
				nearValues(t,
					"every segment is attended to, however many there are: with one key p is 1, y is v, dv += dy, "+
						"dq and dk are 0", o.name, 1, limit, wide(want), wide(o.f32()))
			}
		})
	}
}

// testVocabulary is what works on the whole vocabulary, with one of more than 128k ids.
func testVocabulary(t *testing.T, e *env) { e.once(t, "vocabulary", vocabularyCases(e.tol)) }

func vocabularyCases(tol Tolerances) (cases []testCase) {
	sh := shape{2, manyWords, 3}
	ends := []int32{manyWords - 1, 1 << 17}
	add := func(name, rule string, body func(s *caseRun)) { cases = append(cases, testCase{name, rule, body}) }
	for _, wt := range tol.weights() {
		w := func(s *caseRun) kernels.Weight { return s.weight(sh.n, sh.k, wt, normal("w", sh.n*sh.k, 1)) }
		add("logprob/"+wt.String(), "Logp = z[target] - LSE, Entropy = -sum p ln p, over the whole vocabulary",
			func(s *caseRun) {
				v := func(name string) kernels.Tensor { return s.vecOut(name, sh.t, 1, nil, abs(tol.LogProb)) }
				h, out := s.in("h", sh.t, sh.k, normal("h", sh.t*sh.k, 1)),
					kernels.LogProbs{Logp: v("logp"), Entropy: v("entropy")}
				out.LSE = v("lse")
				s.d.LogProb(out, h, w(s), s.ints("targets", ends), 0.6)
			})
		add("backward/"+wt.String(), "dh = dz w, dw += dz^T h, over the whole vocabulary", func(s *caseRun) {
			logprobBackward(s, sh, wt, 0.6, true, wt == kernels.F32, tol)
		})
		add("embed/"+wt.String(), "y[t] = w[ids[t]], the last rows too", func(s *caseRun) {
			w := w(s)
			s.d.Embed(s.out("y", sh.t, sh.k, bound{}), w, s.ids(ends))
			s.d.Unpack(s.out("rows", 70, sh.k, bound{}), w, sh.n-70)
		})
	}
	add("sample", "the largest logit wins, its log-prob is that in the whole vocabulary", func(s *caseRun) {
		logits := normal("logits", 3*sh.n, 1)
		logits[ends[0]], logits[sh.n+int(ends[1])], logits[2*sh.n] = 30, 30, 30
		v := func(name string) kernels.Tensor { return s.vecOut(name, 3, 1, nil, abs(tol.LogProb)) }
		ids := s.put("ids", kernels.I32, 3, 1, s.packed(), nil, true, bound{})
		rule := kernels.Sampling{Greedy: true, InvTemp: 0.1}
		never := rule
		never.Never = []int32{0}
		scores := kernels.LogProbs{Logp: v("logp"), Entropy: v("entropy"), LSE: v("lse")}
		s.d.Sample(ids, scores, s.in("logits", 3, sh.n, logits), s.draws([]kernels.Sampling{rule, rule, never}), 0)
	})
	return cases
}

// testDrawsOfMany checks truncated draws from a vocabulary of more than 128k ids.
func testDrawsOfMany(t *testing.T, e *env) {
	logits := normal("logits of many", manyWords, 1)
	logits[manyWords-1], logits[1<<17], logits[1<<16], logits[0] = 7, 7.5, 7.25, 7
	for _, r := range []kernels.Sampling{
		{InvTemp: 1}, {InvTemp: 1.5, TopK: 50, Never: []int32{1 << 17, 5}}, {InvTemp: 1, TopK: 70000},
		{InvTemp: 1.2, TopP: 0.83},
		{InvTemp: 1.1, TopK: 90000, TopP: 0.9, MinP: 0.002, Never: []int32{manyWords - 1}},
	} {
		t.Run(fmt.Sprintf("T%v,k%d,p%v,m%v,n%d", r.InvTemp, r.TopK, r.TopP, r.MinP, len(r.Never)), func(t *testing.T) {
			rules := make([]kernels.Sampling, 2)
			for i, u := range []float64{0.4375, 0.99} {
				rules[i] = r
				rules[i].Stream = streamOf(math.Floor(u*(1<<53)) / (1 << 53))
			}
			p := kept(logits, r)
			for i, id := range drawn(t, e.d, logits, rules) {
				checkDraw(t, e.tol, p, num.Uniform(rules[i].Stream, 0), int(id))
			}
		})
	}
}

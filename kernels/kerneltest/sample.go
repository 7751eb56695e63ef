package kerneltest

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
)

func sampleCases(tol Tolerances) (cases []testCase) {
	for _, sz := range [][2]int{{0, 33}, {1, 1}, {7, 7}, {1, 33}, {5, 31}, {33, 64}, {3, 1009}, {2, 20011}} {
		b, v := sz[0], sz[1]
		cases = append(cases, testCase{fmt.Sprintf("scores/%dx%d", b, v),
			"out is the log-prob of the drawn id in the whole distribution, ids that are never drawn included, after " +
				"temperature, before truncation", func(s *caseRun) {
				var rules []kernels.Sampling
				for i := range b { // greedy, so that every device draws the same id
					rules = append(rules, kernels.Sampling{Greedy: true, InvTemp: 0.5 + float32(i%3)/2, TopK: i % 3,
						TopP: 0.5, Stream: streamOf(0.999)})
					if v > 30 && i%2 == 1 {
						rules[i].Never = every(3, v)
					}
				}
				out := func(name string) kernels.Tensor { return s.vecOut(name, b, 1, nil, abs(tol.LogProb)) }
				ids := s.put("ids", kernels.I32, b, 1, s.packed(), nil, true, bound{})
				s.d.Sample(ids, kernels.LogProbs{Logp: out("logp"), Entropy: out("entropy"), LSE: out("lse")},
					s.in("logits", b, v, normal("logits", b*v, 3)), s.draws(rules), 0)
			}})
	}
	cases = append(cases, testCase{"ties", "the largest logit wins, the lowest id on ties", func(s *caseRun) {
		const v = 70
		x := make([]float32, 3*v)
		x[5], x[6], x[69] = 2, 2, 2
		x[v+64], x[v+33] = 1, 1
		for i := range v {
			x[2*v+i] = float32(math.Inf(-1))
		}
		x[2*v+69] = -1e30
		greedy := kernels.Sampling{Greedy: true, InvTemp: 1}
		s.d.Sample(s.put("ids", kernels.I32, 3, 1, s.packed(), nil, true, bound{}), kernels.LogProbs{},
			s.in("logits", 3, v, x), s.draws([]kernels.Sampling{greedy, greedy, greedy}), 0)
	}})
	for _, v := range []int{1, 33, 1009, 20011} {
		cases = append(cases, testCase{fmt.Sprintf("adjusted/%d", v),
			"adjustments decide what is drawn, not how it is scored, and leave the logits as they were",
			func(s *caseRun) {
				const b = 4
				rules := make([]kernels.Sampling, b)
				for i := range rules { // greedy, so that every device draws the same id; the first row as it is
					rules[i] = kernels.Sampling{Greedy: true, InvTemp: 0.5 + float32(i)/2,
						Adjust: adjustments(v, i*(v+2)/3, i)}
				}
				out := func(name string) kernels.Tensor { return s.vecOut(name, b, 1, nil, abs(tol.LogProb)) }
				ids := s.put("ids", kernels.I32, b, 1, s.packed(), nil, true, bound{})
				s.d.Sample(ids, kernels.LogProbs{Logp: out("logp"), Entropy: out("entropy"), LSE: out("lse")},
					s.in("logits", b, v, normal("logits", b*v, 3)), s.draws(rules), 0)
			}})
	}
	return cases
}

// adjustments is n of v ids, in no order, with every kind of change: an id forbidden, biases, penalties alone and
// together.
func adjustments(v, n, seed int) (all []kernels.Adjustment) {
	random := source(fmt.Sprint("adjust", v, n, seed))
	for i, id := range random.Perm(v)[:min(n, v)] {
		a := kernels.Adjustment{ID: int32(id)}
		if i%2 == 0 {
			a.Add = float32(random.NormFloat64() * 3)
		}
		if i%3 == 0 {
			a.Scale = float32(0.5 + 1.5*random.Float64())
		}
		if i%5 < 2 {
			a.Sub = float32(random.NormFloat64())
		}
		if i%7 == 6 {
			a.Add = float32(math.Inf(-1))
		}
		all = append(all, a)
	}
	return all
}

// adjustedLogits is the rule of Adjustment in float64, written for this suite: bias, then the penalty that divides what
// is positive and multiplies what is negative, then what is taken off.
func adjustedLogits(logits []float32, all []kernels.Adjustment) []float32 {
	out := append([]float32(nil), logits...)
	for _, a := range all {
		z, penalty := float64(logits[a.ID])+float64(a.Add), float64(a.Scale)
		if penalty == 0 {
			penalty = 1
		}
		if z > 0 {
			z /= penalty
		} else {
			z *= penalty
		}
		out[a.ID] = float32(z - float64(a.Sub))
	}
	return out
}

// every is each nth id below v, the last first.
func every(n, v int) (ids []int32) {
	for i := v - 1; i >= 0; i -= n {
		ids = append(ids, int32(i))
	}
	return ids
}

// drawn samples one id for every rule from the same logits.
func drawn(t *testing.T, d kernels.Device, logits []float32, rules []kernels.Sampling) []int32 {
	t.Helper()
	var all []float32
	for range rules {
		all = append(all, logits...)
	}
	return execute(t, d, layouts[1], func(s *caseRun) {
		ids := s.put("ids", kernels.I32, len(rules), 1, s.packed(), nil, true, bound{})
		s.d.Sample(ids, kernels.LogProbs{}, s.in("logits", len(rules), len(logits), all), s.draws(rules), 0)
	})[0].i32()
}

// kept is the truncated, renormalised distribution, by sorting: written for this suite, not taken from ref.
func kept(logits []float32, r kernels.Sampling) []float64 {
	type word struct {
		id int
		p  float64
	}
	words, sum := make([]word, len(logits)), 0.0
	for v, x := range logits {
		words[v] = word{v, math.Exp(float64(x * r.InvTemp))}
	}
	for _, v := range r.Never {
		words[v].p = 0
	}
	for _, w := range words {
		sum += w.p
	}
	slices.SortStableFunc(words, func(a, b word) int { return cmp.Compare(b.p, a.p) })
	cut := func(n int) {
		words = words[:n]
		sum = 0
		for _, w := range words {
			sum += w.p
		}
	}
	if r.TopK > 0 && r.TopK < len(words) {
		cut(r.TopK)
	}
	if r.TopP > 0 && r.TopP < 1 {
		n, below := 0, 0.0
		for below < float64(r.TopP)*sum && n < len(words) {
			below += words[n].p
			n++
		}
		cut(n)
	}
	if r.MinP > 0 {
		n := 0
		for n < len(words) && words[n].p >= float64(r.MinP)*words[0].p {
			n++
		}
		cut(n)
	}
	p := make([]float64, len(logits))
	for _, w := range words {
		p[w.id] = w.p / sum
	}
	return p
}

// testTruncation checks every id of a grid of U against the plain implementation.
func testTruncation(t *testing.T, e *env) {
	const grid = 97
	for _, v := range []int{1, 2, 33, 257} {
		logits := normal("logits", v, 2)
		for i := 3; i < v; i += 10 {
			logits[i] = logits[i-1] // ties, which the lower id wins
		}
		for _, r := range []kernels.Sampling{
			{InvTemp: 1}, {InvTemp: 0.5}, {InvTemp: 3}, {InvTemp: 1, TopK: 1}, {InvTemp: 1, TopK: 7},
			{InvTemp: 1, TopK: 1000}, {InvTemp: 0.7, TopP: 0.01}, {InvTemp: 0.7, TopP: 0.61},
			{InvTemp: 1, TopP: 0.987}, {InvTemp: 1, TopP: 1}, {InvTemp: 1, MinP: 0.053}, {InvTemp: 1, MinP: 1},
			{InvTemp: 1.2, TopK: 20, TopP: 0.83}, {InvTemp: 1.2, TopK: 50, TopP: 0.93, MinP: 0.031},
			{InvTemp: 0.8, Adjust: adjustments(v, (v+1)/2, 1)},
			{InvTemp: 1.2, TopK: 50, TopP: 0.93, MinP: 0.031, Adjust: adjustments(v, (v+1)/2, 2)},
			{InvTemp: 1, Never: every(2, v)}, {InvTemp: 1, TopK: 7, Never: every(2, v)},
			{InvTemp: 0.7, TopP: 0.61, Never: every(3, v)},
			{InvTemp: 1, MinP: 0.2, Never: every(2, v)}, {InvTemp: 1, TopP: 0.9, Never: every(3, v),
				Adjust: adjustments(v, (v+1)/2, 3)},
		} {
			if v == 1 && len(r.Never) > 0 {
				continue
			}
			t.Run(fmt.Sprintf("%d/T%v,k%d,p%v,m%v,a%d,n%d", v, r.InvTemp, r.TopK, r.TopP, r.MinP, len(r.Adjust),
				len(r.Never)), func(t *testing.T) {
				var rules []kernels.Sampling
				for i := range grid {
					r.Stream = streamOf((float64(i) + 0.37) / grid)
					rules = append(rules, r)
				}
				rules[0].Stream, rules[grid-1].Stream = streamOf(0), streamOf(1-0x1p-53)
				p := kept(adjustedLogits(logits, r.Adjust), r)
				for i, id := range drawn(t, e.d, logits, rules) {
					checkDraw(t, e.tol, p, num.Uniform(rules[i].Stream, 0), int(id))
				}
			})
		}
	}
}

// checkDraw fails unless id is the first whose cumulated probability exceeds u, give or take the tolerance.
func checkDraw(t *testing.T, tol Tolerances, p []float64, u float64, id int) {
	t.Helper()
	slack := max(tol.Draw, 1e-12)
	if id < 0 || id >= len(p) || p[id] == 0 {
		t.Fatalf("U = %v drew id %d, which is not among those that the truncations keep\nrule: top-k, then top-p, "+
			"then min-p, each on what the one before left, ties to the lower id", u, id)
	}
	before := 0.0
	for _, x := range p[:id] {
		before += x
	}
	if u < before-slack || u >= before+p[id]+slack {
		t.Fatalf("U = %v drew id %d, whose cumulated probabilities are [%v, %v)\nrule: the id drawn is the first, "+
			"ascending, whose cumulated renormalised probability exceeds U", u, id, before, before+p[id])
	}
}

// testTruncationWide is testTruncation over a vocabulary with many ties and with many ids that are nearly as probable:
// a few U each.
func testTruncationWide(t *testing.T, e *env) {
	const v, grid = 9001, 5
	steps, close := normal("wide", v, 1), normal("wide", v, 1e-4)
	for i, x := range steps {
		steps[i] = float32(math.Round(float64(x)))
	}
	last := normal("wide", v, 1)
	last[v-1] = 9
	for name, logits := range map[string][]float32{"equal": make([]float32, v), "steps": steps, "close": close,
		"peak": last} {
		for _, r := range []kernels.Sampling{
			{InvTemp: 1}, {InvTemp: 1, TopK: 1}, {InvTemp: 1, TopK: 700}, {InvTemp: 1, TopK: 8000},
			{InvTemp: 0.7, TopP: 0.3}, {InvTemp: 1, TopP: 0.99}, {InvTemp: 1, MinP: 0.9},
			{InvTemp: 1.2, TopK: 5000, TopP: 0.83, MinP: 0.031, Never: every(2, v)},
			{InvTemp: 1, TopK: 5000, TopP: 0.83, Adjust: adjustments(v, 300, 4)},
		} {
			t.Run(fmt.Sprintf("%s/T%v,k%d,p%v,m%v,a%d,n%d", name, r.InvTemp, r.TopK, r.TopP, r.MinP, len(r.Adjust),
				len(r.Never)), func(t *testing.T) {
				var rules []kernels.Sampling
				for i := range grid {
					r.Stream = streamOf((float64(i) + 0.37) / grid)
					rules = append(rules, r)
				}
				p := kept(adjustedLogits(logits, r.Adjust), r)
				for i, id := range drawn(t, e.d, logits, rules) {
					checkDraw(t, e.tol, p, num.Uniform(rules[i].Stream, 0), int(id))
				}
			})
		}
	}
}

// testSamplerDistribution counts draws at fixed pseudo-random U: chi-square against the probabilities (Pearson 1900).
func testSamplerDistribution(t *testing.T, e *env) {
	n := 8000
	if e.tol.Slow {
		n = 2000
	}
	logits := normal("distribution", 12, 1)
	for _, r := range []kernels.Sampling{{InvTemp: 1}, {InvTemp: 0.5, TopK: 8}, {InvTemp: 1.3, TopP: 0.9},
		{InvTemp: 1, MinP: 0.1}} {
		rules, random := make([]kernels.Sampling, n), source("U")
		for i := range rules {
			rules[i] = r
			rules[i].Stream = random.Uint64()
		}
		count, p := make([]float64, len(logits)), kept(logits, r)
		for _, id := range drawn(t, e.d, logits, rules) {
			count[id]++
		}
		chi, freedom := 0.0, -1.0
		for v := range p {
			if p[v] == 0 {
				if count[v] > 0 {
					t.Fatalf("id %d was drawn %v times\nrule: what the truncations drop is never drawn", v, count[v])
				}
				continue
			}
			chi, freedom = chi+math.Pow(count[v]-float64(n)*p[v], 2)/(float64(n)*p[v]), freedom+1
		}
		// Mean k, variance 2k: five deviations above the mean.
		if chi > freedom+5*math.Sqrt(2*freedom) {
			t.Fatalf("%+v: chi-square %.1f of %d draws with %.0f degrees of freedom: counts %v of %v\nrule: ids are "+
				"drawn by their probability", r, chi, n, freedom, count, p)
		}
	}
}

package kerneltest

import (
	"fmt"
	"math"
	"testing"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// heads is H query heads over G key/value heads of D.
type heads struct{ h, g, d int }

func (x heads) String() string { return fmt.Sprintf("h%dg%dd%d", x.h, x.g, x.d) }

// sequence is one segment of a case: positions [start, start+n) are its queries, start of the cache is filled before.
type sequence struct{ start, n int }

const (
	attentionRule = "y = softmax(scale * q k^T) v, causal, over partitions of 256 keys at absolute " +
		"positions; lse = max + ln(sum); head h reads kv head h*G/H"
	attentionBackwardRule = "p = exp(score - lse), delta = sum(dy*y): dv += p*dy, ds = scale*p*(dy.v - delta), dq = " +
		"ds k, dk += ds q, one row a slot, nothing else touched"
)

// batches are runs of tokens as engines make them: decode, prefill, both, starts in the middle of pages and partitions,
// an empty segment.
var batches = []struct {
	name string
	seqs []sequence
}{
	{"decode1", []sequence{{0, 1}}},
	{"decode", []sequence{{31, 1}, {32, 1}, {5, 1}, {255, 1}, {256, 1}, {300, 1}}},
	{"prefill", []sequence{{0, 33}, {0, 1}, {0, 67}}},
	{"mixed", []sequence{{40, 1}, {0, 31}, {17, 20}, {250, 13}, {0, 0}, {511, 2}}},
	{"random", randomSequences(9)},
}

// randomSequences are random segments.
func randomSequences(n int) (list []sequence) {
	r := source("sequences")
	for range n {
		list = append(list, sequence{r.IntN(70), r.IntN(36)})
	}
	return list
}

// edges are contexts that end at, before and behind the end of a page and of a partition, decoded and in longer runs.
var edges = []sequence{{31, 1}, {32, 1}, {0, 33}, {255, 1}, {256, 1}, {254, 3}, {0, 0}, {511, 1}}

// wideBatch is short, for wide heads.
var wideBatch = struct {
	name string
	seqs []sequence
}{"short", []sequence{{33, 1}, {0, 17}, {255, 3}}}

func attentionCases(tol Tolerances) (cases []testCase) {
	for _, kt := range []kernels.DType{kernels.F32, kernels.BF16} {
		b, back := rel(tol.F32), rel(3*tol.F32)
		if kt == kernels.BF16 {
			b, back = rel(tol.BF16), rel(3*tol.BF16) // a backward may round its operands too
		}
		for _, hd := range []heads{{1, 1, 1}, {2, 1, 7}, {3, 3, 16}, {9, 3, 64}, {4, 2, 33}, {7, 1, 32}, {2, 2, 128}} {
			for i, batch := range batches {
				if hd.h*hd.d > 100 && i != 3 {
					continue // the wide ones only once: ref is slow
				}
				if hd.h*hd.d > 250 {
					batch = wideBatch
				}
				name := fmt.Sprintf("%v/%v/%v", kt, hd, batch.name)
				cases = append(cases, testCase{"y/" + name, attentionRule, func(s *caseRun) {
					a := newAttention(s, kt, hd, batch.seqs)
					y, lse := s.out("y", a.rows, hd.h*hd.d, b), s.out("lse", a.rows, hd.h, abs(10*tol.F32))
					s.d.Attention(y, a.q, lse, a.kv, 1, a.batch, a.scale)
					s.d.Attention(s.out("y without lse", a.rows, hd.h*hd.d, b), a.q, kernels.Tensor{}, a.kv, 1, a.batch,
						a.scale)
				}})
				if i != 0 && i != 2 {
					cases = append(cases, testCase{"backward/" + name, attentionBackwardRule,
						func(s *caseRun) { attentionBackward(s, kt, hd, batch.seqs, back) }})
				}
			}
		}
	}
	for _, kt := range types[:2] {
		b := tol.attention(kt)
		for _, hd := range []heads{{2, 1, 256}, {3, 3, 80}, {4, 1, 96}} {
			name := fmt.Sprintf("%v/%v/edges", kt, hd)
			cases = append(cases,
				testCase{"y/" + name, attentionRule, func(s *caseRun) {
					a := newAttention(s, kt, hd, edges)
					y, lse := s.out("y", a.rows, hd.h*hd.d, rel(b)), s.out("lse", a.rows, hd.h, abs(10*tol.F32))
					s.d.Attention(y, a.q, lse, a.kv, 1, a.batch, a.scale)
				}},
				testCase{"backward/" + name, attentionBackwardRule,
					func(s *caseRun) { attentionBackward(s, kt, hd, edges, rel(3*b)) }})
		}
	}
	nothing := []sequence{{0, 0}, {40, 0}}
	return append(cases, testCase{"y/nothing", attentionRule, func(s *caseRun) {
		a := newAttention(s, kernels.F32, heads{2, 1, 7}, nothing)
		s.d.Attention(s.out("y", 0, 14, bound{}), a.q, s.out("lse", 0, 2, bound{}), a.kv, 1, a.batch, a.scale)
	}}, testCase{"backward/nothing", attentionBackwardRule, func(s *caseRun) {
		attentionBackward(s, kernels.F32, heads{2, 1, 7}, nothing, bound{})
	}})
}

// attention is the tolerance of attention over a cache of a type.
func (t Tolerances) attention(kt kernels.DType) float64 {
	if kt == kernels.BF16 {
		return t.BF16
	}
	return t.F32
}

// attentionInput is a filled cache of two layers and the queries of a batch.
type attentionInput struct {
	kv    kernels.KV
	segs  []kernels.Segment
	batch kernels.Batch
	q     kernels.Tensor
	rows  int
	scale float32
}

// newAttention writes keys and values of every position into scattered pages. Layer 0 and unused pages hold junk.
func newAttention(s *caseRun, kt kernels.DType, hd heads, seqs []sequence) attentionInput {
	a := attentionInput{scale: float32(1 / math.Sqrt(float64(hd.d)))}
	pages := 1
	for _, q := range seqs {
		pages += (q.start+q.n+kernels.PageSize-1)/kernels.PageSize + 1
	}
	a.kv = s.cache(kernels.KVSpec{Layers: 2, Pages: pages, KVHeads: hd.g, HeadDim: hd.d, Type: kt})
	free := source("pages").Perm(pages)
	junk(s, a.kv)
	for i, q := range seqs {
		seg := kernels.Segment{Row: a.rows, Len: q.n, Start: q.start}
		for range (q.start + q.n + kernels.PageSize - 1) / kernels.PageSize {
			seg.Pages, free = append(seg.Pages, int32(free[0])), free[1:]
		}
		write(s, a.kv, hd, fmt.Sprint(i), seg.Pages, 0, q.start+q.n)
		a.segs, a.rows = append(a.segs, seg), a.rows+q.n
	}
	a.batch = s.segments(a.kv, a.segs)
	a.q = s.in("q", a.rows, hd.h*hd.d, normal("q", a.rows*hd.h*hd.d, 1))
	return a
}

// write stores the keys and values of positions [from, to) of a sequence named seed in layer 1.
func write(s *caseRun, kv kernels.KV, hd heads, seed string, pages []int32, from, to int) {
	var slots []int32
	for p := from; p < to; p++ {
		slots = append(slots, pages[p/kernels.PageSize]*kernels.PageSize+int32(p%kernels.PageSize))
	}
	w := hd.g * hd.d
	k, v := normal("k"+seed, to*w, 1)[from*w:], normal("v"+seed, to*w, 1)[from*w:]
	s.d.KVWrite(kv, 1, s.in("k", to-from, w, k), s.in("v", to-from, w, v), s.slots(kv, slots))
}

// junk fills all layers and pages with large numbers, as left by other sequences.
func junk(s *caseRun, kv kernels.KV) {
	spec := kv.Spec()
	n, w := kernels.PageSize, spec.KVHeads*spec.HeadDim
	slots, pages := make([]int32, n), make([]int32, spec.Pages)
	for i := range slots {
		slots[i] = int32(i)
	}
	for i := range pages {
		pages[i] = int32(i)
	}
	x := normal("junk", n*w, 1000)
	for layer := range spec.Layers {
		s.d.KVWrite(kv, layer, s.in("k", n, w, x), s.in("v", n, w, x), s.slots(kv, slots))
	}
	s.d.KVCopy(kv, pages[1:], make([]int32, len(pages)-1))
}

func attentionBackward(s *caseRun, kt kernels.DType, hd heads, seqs []sequence, b bound) {
	a := newAttention(s, kt, hd, seqs)
	y, lse := exactAttention(a.rows, kt, hd, seqs)
	n, slots, w := a.rows*hd.h*hd.d, a.kv.Spec().Pages*kernels.PageSize, hd.g*hd.d
	dk, dv := s.inout("dk", slots, w, normal("dk", slots*w, 1), b), s.inout("dv", slots, w, normal("dv", slots*w, 1), b)
	s.d.AttentionBackward(s.out("dq", a.rows, hd.h*hd.d, b), dk, dv, s.in("dy", a.rows, hd.h*hd.d, normal("dy", n, 1)),
		s.in("y", a.rows, hd.h*hd.d, y), a.q, s.in("lse", a.rows, hd.h, lse), a.kv, 1, a.batch, a.scale)
}

// exactAttention is softmax attention in float64, straight from its definition, over the inputs of newAttention.
func exactAttention(rows int, kt kernels.DType, hd heads, seqs []sequence) (y, lse []float32) {
	both := once(fmt.Sprint("attention ", rows, kt, hd, seqs), func() []float32 {
		y, lse := softmaxAttention(rows, kt, hd, seqs)
		return append(y, lse...)
	})
	return both[:rows*hd.h*hd.d], both[rows*hd.h*hd.d:]
}

func softmaxAttention(rows int, kt kernels.DType, hd heads, seqs []sequence) (y, lse []float32) {
	round := func(x []float32) []float32 {
		if kt == kernels.BF16 {
			return bf16(x)
		}
		return x
	}
	q := round(normal("q", rows*hd.h*hd.d, 1))
	y, lse = make([]float32, rows*hd.h*hd.d), make([]float32, rows*hd.h)
	r := 0
	for i, seq := range seqs {
		n, w := seq.start+seq.n, hd.g*hd.d
		k, v := round(normal(fmt.Sprintf("k%d", i), n*w, 1)), round(normal(fmt.Sprintf("v%d", i), n*w, 1))
		for at := seq.start; at < n; at++ {
			for h := range hd.h {
				g := h / (hd.h / hd.g)
				sum, out := 0.0, make([]float64, hd.d)
				for j := range at + 1 {
					score := 0.0
					for c := range hd.d {
						score += float64(q[(r*hd.h+h)*hd.d+c]) * float64(k[j*w+g*hd.d+c])
					}
					p := math.Exp(score * float64(float32(1/math.Sqrt(float64(hd.d)))))
					sum += p
					for c := range hd.d {
						out[c] += p * float64(v[j*w+g*hd.d+c])
					}
				}
				for c := range hd.d {
					y[(r*hd.h+h)*hd.d+c] = float32(out[c] / sum)
				}
				lse[r*hd.h+h] = float32(math.Log(sum))
			}
			r++
		}
	}
	return y, lse
}

func testAttentionFormula(t *testing.T, e *env) {
	hd, seqs := heads{6, 2, 16}, []sequence{{0, 40}, {300, 3}, {31, 2}}
	for kt, limit := range map[kernels.DType]float64{kernels.F32: 1e-5, kernels.BF16: 1e-2} {
		t.Run(kt.String(), func(t *testing.T) {
			outs := execute(t, e.d, layouts[0], func(s *caseRun) {
				a := newAttention(s, kt, hd, seqs)
				s.d.Attention(s.out("y", a.rows, hd.h*hd.d, bound{}), a.q, s.out("lse", a.rows, hd.h, bound{}), a.kv, 1,
					a.batch, a.scale)
			})
			y, lse := exactAttention(45, kt, hd, seqs)
			nearValues(t, "attention is softmax(scale * q k^T) v of the rounded operands", "y", hd.h*hd.d, abs(limit),
				wide(y), wide(outs[0].f32()))
			nearValues(t, "lse is ln sum exp of the scores", "lse", hd.h, abs(1e-5), wide(lse), wide(outs[1].f32()))
		})
	}
}

// testAttentionChunks computes one sequence at once, in chunks, token by token, in other pages, and together with other
// sequences.
func testAttentionChunks(t *testing.T, e *env) {
	n := 530
	if e.tol.Slow {
		n = 300
	}
	hd := heads{3, 1, 8}
	for _, kt := range []kernels.DType{kernels.F32, kernels.BF16} {
		// run writes and attends chunk by chunk, as a rollout does; other is another sequence in the same
		// calls.
		run := func(seed string, other bool, cuts ...int) []output {
			return execute(t, e.d, layouts[0], func(s *caseRun) {
				kv := s.cache(kernels.KVSpec{Layers: 2, Pages: 64, KVHeads: hd.g, HeadDim: hd.d, Type: kt})
				order, w := source(seed).Perm(64), hd.h*hd.d
				pages := make([]int32, 64)
				for i, p := range order {
					pages[i] = int32(p)
				}
				mine, theirs := pages[:32], pages[32:]
				q, y, lse := normal("q", n*w, 1), s.out("y", n, w, bound{}), s.out("lse", n, hd.h, bound{})
				from := 0
				for _, to := range append(cuts, n) {
					m := to - from
					write(s, kv, hd, "mine", mine, from, to)
					rows, segs := append([]float32(nil), q[from*w:to*w]...),
						[]kernels.Segment{{Row: 0, Len: m, Start: from, Pages: mine}}
					if other {
						write(s, kv, hd, "theirs", theirs, from, to)
						rows = append(normal("their q", m*w, 3), rows...)
						segs = []kernels.Segment{{Row: 0, Len: m, Start: from, Pages: theirs},
							{Row: m, Len: m, Start: from, Pages: mine}}
					}
					total := len(rows) / w
					ty, tl := s.out("", total, w, bound{}), s.out("", total, hd.h, bound{})
					s.d.Attention(ty, s.in("", total, w, rows), tl, kv, 1, s.segments(kv, segs), 0.3)
					s.d.Copy(y.RowRange(from, m), ty.RowRange(total-m, m))
					s.d.Copy(lse.RowRange(from, m), tl.RowRange(total-m, m))
					from = to
				}
			})[:2]
		}
		t.Run(kt.String(), func(t *testing.T) {
			if e.tol.BatchDependent {
				t.Skip("this device does not promise that chunking changes no bit")
			}
			whole := run("one", false)
			sameBits(t, "it does not matter in which pages a sequence lies", whole, run("two", false))
			sameBits(t, "prefill in chunks gives the bits of prefill at once", whole,
				run("one", false, 1, 32, 33, 100, 255, 256, 257, n-19, n-17))
			sameBits(t, "a sequence gives the same bits beside another", whole, run("one", true, 7, 290))
			var each []int
			for i := 1; i < n; i++ {
				each = append(each, i)
			}
			sameBits(t, "decode gives the bits of prefill", whole, run("one", false, each...))
		})
	}
}

// testStaleSlots puts NaN into the slots after the last token, as a freed sequence with non-finite values leaves them.
func testStaleSlots(t *testing.T, e *env) {
	hd := heads{4, 2, 16}
	for _, kt := range []kernels.DType{kernels.F32, kernels.BF16} {
		for _, seq := range []sequence{{0, 1}, {0, 21}, {36, 1}, {40, 5}, {250, 8}} {
			run := func(stale float32) []output {
				return execute(t, e.d, layouts[0], func(s *caseRun) {
					kv := s.cache(kernels.KVSpec{Layers: 2, Pages: 10, KVHeads: hd.g, HeadDim: hd.d, Type: kt})
					pages := []int32{3, 1, 7, 5, 0, 2, 9, 8, 4, 6}
					n, w, slots := 10*kernels.PageSize, hd.g*hd.d, make([]int32, 10*kernels.PageSize)
					x := make([]float32, n*w)
					for i := range slots {
						slots[i] = int32(i)
					}
					for i := range x {
						x[i] = stale
					}
					s.d.KVWrite(kv, 1, s.in("", n, w, x), s.in("", n, w, x), s.slots(kv, slots))
					write(s, kv, hd, "stale", pages, 0, seq.start+seq.n)
					c := hd.h * hd.d
					q := s.in("q", seq.n, c, normal("q", seq.n*c, 1))
					y, lse := s.out("y", seq.n, c, bound{}), s.out("lse", seq.n, hd.h, bound{})
					segs := []kernels.Segment{{Len: seq.n, Start: seq.start, Pages: pages}}
					s.d.Attention(y, q, lse, kv, 1, s.segments(kv, segs), 0.25)
					zero := func(name string) kernels.Tensor {
						return s.inout(name, n, w, make([]float32, n*w), bound{})
					}
					yi, li := s.out("y2", seq.n, c, bound{}), s.out("lse2", seq.n, hd.h, bound{})
					s.d.Copy(yi, y)
					s.d.Copy(li, lse)
					s.d.AttentionBackward(s.out("dq", seq.n, c, bound{}), zero("dk"), zero("dv"),
						s.in("dy", seq.n, c, normal("dy", seq.n*c, 1)), yi, q, li, kv, 1, s.segments(kv, segs), 0.25)
				})
			}
			t.Run(fmt.Sprintf("%v/%d+%d", kt, seq.start, seq.n), func(t *testing.T) {
				rule := "slots behind a query take no part in it, whatever an earlier owner of the page left there, " +
					"NaN included (0*NaN is NaN: mask the values too)"
				clean := run(0)
				sameBits(t, rule, clean, run(1e30))
				sameBits(t, rule, clean, run(float32(math.NaN())))
				sameBits(t, rule, clean, run(float32(math.Inf(1))))
			})
		}
	}
}

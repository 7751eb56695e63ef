package kerneltest

import (
	"slices"
	"testing"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// gradientError is what central differences of a forward in F32 leave, relative to the largest element.
const gradientError = 3e-4

// parameter is one input of a loss, with the gradient that the device says it has.
type parameter struct {
	name string
	at   []float32 // changed in place and put back
	got  []float32
}

// differences compares each gradient with the five-point central difference of loss, which reads the parameters.
func differences(t *testing.T, e *env, loss func() float64, ps ...parameter) {
	t.Helper()
	const h = 0x1p-5
	for _, p := range ps {
		want := make([]float64, len(p.at))
		for i, x := range p.at {
			step := func(by float32) float64 {
				p.at[i] = x + by
				defer func() { p.at[i] = x }()
				return loss()
			}
			want[i] = (8*(step(h)-step(-h)) - (step(2*h) - step(-2*h))) / (12 * h)
		}
		nearValues(t, "a backward is the derivative of its forward (central differences on ref)", p.name, 1,
			rel(max(gradientError, e.tol.Chain)), want, wide(p.got))
	}
}

// weighted is sum_i c[i]*y[i] in float64.
func weighted(c, y []float32) (sum float64) {
	for i := range y {
		sum += float64(c[i]) * float64(y[i])
	}
	return sum
}

// forward runs body on ref and returns its outputs.
func (e *env) forward(t *testing.T, body func(s *caseRun)) [][]float32 {
	return floats(execute(t, e.ref, layouts[0], body))
}

// backward runs body on the device.
func (e *env) backward(t *testing.T, body func(s *caseRun)) [][]float32 {
	return floats(execute(t, e.d, layouts[0], body))
}

func floats(outs []output) (x [][]float32) {
	for _, o := range outs {
		x = append(x, o.f32())
	}
	return x
}

func testGradients(t *testing.T, e *env) {
	for name, test := range map[string]func(t *testing.T, e *env){
		"embedding": embeddingGradient, "rmsnorm": normGradient, "matmul": matmulGradient, "rope": ropeGradient,
		"attention": attentionGradient,
		"swiglu":    swigluGradient, "gather": gatherGradient, "logprob": logprobGradient,
	} {
		t.Run(name, func(t *testing.T) { test(t, e) })
	}
}

func embeddingGradient(t *testing.T, e *env) {
	const n, v, c = 7, 5, 3
	w, ids, dy := normal("w", v*c, 1), []int32{0, 4, 1, 4, 4, 0, 2}, normal("dy", n*c, 1)
	got := e.backward(t, func(s *caseRun) {
		s.d.EmbedBackward(s.inout("dw", v, c, make([]float32, v*c), bound{}), s.in("dy", n, c, dy), s.ids(ids))
	})
	differences(t, e, func() float64 {
		return weighted(dy, e.forward(t, func(s *caseRun) {
			s.d.Embed(s.out("y", n, c, bound{}), s.weight(v, c, kernels.F32, w), s.ids(ids))
		})[0])
	}, parameter{"dw", w, got[0]})
}

func normGradient(t *testing.T, e *env) {
	const n, c = 5, 7
	x, w, dy := normal("x", n*c, 1), normal("w", c, 1), normal("dy", n*c, 1)
	got := e.backward(t, func(s *caseRun) {
		tx, tw, y, rstd := s.in("x", n, c, x), s.vec("w", 1, c, w), s.out("y", n, c, bound{}),
			s.vecOut("rstd", n, 1, nil, bound{})
		s.d.RMSNorm(y, tx, tw, 1e-2, rstd)
		s.d.RMSNormBackward(s.out("dx", n, c, bound{}), s.vecOut("dw", 1, c, make([]float32, c), bound{}),
			s.in("dy", n, c, dy), tx, tw, rstd, false)
	})
	differences(t, e, func() float64 {
		return weighted(dy, e.forward(t, func(s *caseRun) {
			s.d.RMSNorm(s.out("y", n, c, bound{}), s.in("x", n, c, x), s.vec("w", 1, c, w), 1e-2, kernels.Tensor{})
		})[0])
	}, parameter{"dx", x, got[2]}, parameter{"dw", w, got[3]})
}

func matmulGradient(t *testing.T, e *env) {
	const n, k, m = 4, 5, 6
	x, w, bias, dy := normal("x", m*k, 1), normal("w", n*k, 1), normal("bias", n, 1), normal("dy", m*n, 1)
	for _, scale := range []float32{0, 1.5} {
		got := e.backward(t, func(s *caseRun) {
			d := s.in("dy", m, n, dy)
			s.d.MatMulDX(s.out("dx", m, k, bound{}), d, s.weight(n, k, kernels.F32, w), false, scale)
			s.d.MatMulDW(s.inout("dw", n, k, make([]float32, n*k), bound{}), d, s.in("x", m, k, x), kernels.F32)
			s.d.BiasBackward(s.vecOut("db", 1, n, make([]float32, n), bound{}), d)
		})
		ps := []parameter{{"dx", x, got[0]}, {"db", bias, got[2]}}
		if scale == 0 {
			ps = append(ps, parameter{"dw", w, got[1]})
		}
		differences(t, e, func() float64 {
			return weighted(dy, e.forward(t, func(s *caseRun) {
				s.d.MatMul(s.out("y", m, n, bound{}), s.in("x", m, k, x), s.weight(n, k, kernels.F32, w),
					kernels.Epilogue{Bias: s.vec("bias", 1, n, bias), Scale: scale})
			})[0])
		}, ps...)
	}
}

func ropeGradient(t *testing.T, e *env) {
	const n, heads, dim = 3, 2, 6
	x, dy, pos := normal("x", n*heads*dim, 1), normal("dy", n*heads*dim, 1), []int32{0, 3, 11}
	rope := func(x []float32, inverse bool) func(s *caseRun) {
		return func(s *caseRun) {
			s.d.RoPE(s.inout("x", n, heads*dim, x, bound{}), heads, s.at(pos), s.in("table", 12, dim, angles(12, dim)),
				inverse)
		}
	}
	got := e.backward(t, rope(dy, true))
	differences(t, e, func() float64 { return weighted(dy, e.forward(t, rope(x, false))[0]) },
		parameter{"dx", x, got[0]})
}

// attentionGradient is a prompt of one page that two continuations share, and a sequence of its own: gradients of all
// of them meet in the prompt's slots.
func attentionGradient(t *testing.T, e *env) {
	hd := heads{4, 2, 3}
	segs := []kernels.Segment{
		{Row: 0, Len: 5, Start: 32, Pages: []int32{3, 0}}, {Row: 5, Len: 3, Start: 32, Pages: []int32{3, 2}},
		{Row: 8, Len: 4, Start: 28, Pages: []int32{3}}, {Row: 12, Len: 2, Start: 0, Pages: []int32{4}},
	}
	const n, slots = 14, 5 * kernels.PageSize
	var used []int32 // slots with a token: the rows' own, then the rest of the prompt
	for _, s := range segs {
		for p := s.Start; p < s.Start+s.Len; p++ {
			used = append(used, s.Pages[p/kernels.PageSize]*kernels.PageSize+int32(p%kernels.PageSize))
		}
	}
	for p := int32(0); p < 28; p++ {
		used = append(used, 3*kernels.PageSize+p)
	}
	w, c := hd.g*hd.d, hd.h*hd.d
	q, k, v, dy := normal("q", n*c, 1), normal("k", len(used)*w, 1), normal("v", len(used)*w, 1), normal("dy", n*c, 1)
	attend := func(s *caseRun) (kv kernels.KV, tq, y, lse kernels.Tensor) {
		kv = s.cache(kernels.KVSpec{Layers: 1, Pages: 5, KVHeads: hd.g, HeadDim: hd.d, Type: kernels.F32})
		s.d.KVWrite(kv, 0, s.in("k", len(used), w, k), s.in("v", len(used), w, v), s.slots(kv, used))
		tq, y, lse = s.in("q", n, c, q), s.out("y", n, c, bound{}), s.out("lse", n, hd.h, bound{})
		s.d.Attention(y, tq, lse, kv, 0, s.segments(kv, segs), 0.6)
		return kv, tq, y, lse
	}
	got := e.backward(t, func(s *caseRun) {
		kv, tq, y, lse := attend(s)
		dk, dv := s.inout("dk", slots, w, make([]float32, slots*w), bound{}),
			s.inout("dv", slots, w, make([]float32, slots*w), bound{})
		s.d.AttentionBackward(s.out("dq", n, c, bound{}), dk, dv, s.in("dy", n, c, dy), y, tq, lse, kv, 0,
			s.segments(kv, segs), 0.6)
	})
	at := make([]int, len(used))
	for i, s := range used {
		at[i] = int(s)
	}
	for i, x := range got[2] {
		if x != 0 && !slices.Contains(at, i/w) {
			t.Fatalf("dk of slot %d, which no query attends to, is %v\nrule: dk and dv are written in the slots of "+
				"the segments only", i/w, x)
		}
	}
	differences(t, e, func() float64 { return weighted(dy, e.forward(t, func(s *caseRun) { attend(s) })[0]) },
		parameter{"dq", q, got[4]}, parameter{"dk", k, rows(got[2], w, at)}, parameter{"dv", v, rows(got[3], w, at)})
}

func swigluGradient(t *testing.T, e *env) {
	const n, f = 4, 6
	gate, up, dy := normal("gate", n*f, 1.5), normal("up", n*f, 1), normal("dy", n*f, 1)
	got := e.backward(t, func(s *caseRun) {
		s.d.SwiGLUBackward(s.out("dgate", n, f, bound{}), s.out("dup", n, f, bound{}), s.in("dy", n, f, dy),
			s.in("gate", n, f, gate), s.in("up", n, f, up))
	})
	differences(t, e, func() float64 {
		return weighted(dy,
			e.forward(t,
				func(s *caseRun) {
					s.d.SwiGLU(s.out("y", n, f, bound{}), s.in("gate", n, f, gate),
						s.in("up", n, f, up))
				})[0])
	}, parameter{"dgate", gate, got[0]}, parameter{"dup", up, got[1]})
}

func gatherGradient(t *testing.T, e *env) {
	const n, b, c = 6, 4, 3
	src, dy, idx := normal("src", n*c, 1), normal("dy", b*c, 1), []int32{5, 0, 2, 3}
	got := e.backward(t, func(s *caseRun) {
		s.d.ScatterAdd(s.inout("dsrc", n, c, make([]float32, n*c), bound{}), s.in("dy", b, c, dy), s.ints("idx", idx))
	})
	differences(t, e, func() float64 {
		return weighted(dy,
			e.forward(t,
				func(s *caseRun) {
					s.d.Gather(s.out("dst", b, c, bound{}), s.in("src", n, c, src),
						s.ints("idx", idx))
				})[0])
	}, parameter{"dsrc", src, got[0]})
}

func logprobGradient(t *testing.T, e *env) {
	const n, v, c, invTemp = 4, 9, 5, 0.7
	h, w, targets := normal("h", n*c, 1), normal("w", v*c, 0.7), []int32{8, 0, 3, 3}
	dlogp, dentropy := normal("dlogp", n, 1), normal("dentropy", n, 1)
	score := func(s *caseRun) (th kernels.Tensor, tw kernels.Weight, tt kernels.Tensor, lp kernels.LogProbs) {
		th, tw, tt = s.in("h", n, c, h), s.weight(v, c, kernels.F32, w), s.ints("targets", targets)
		out := func(name string) kernels.Tensor { return s.vecOut(name, n, 1, nil, bound{}) }
		lp = kernels.LogProbs{Logp: out("logp"), Entropy: out("entropy"), LSE: out("lse")}
		s.d.LogProb(lp, th, tw, tt, invTemp)
		return th, tw, tt, lp
	}
	for _, entropy := range []bool{false, true} {
		got := e.backward(t, func(s *caseRun) {
			th, tw, tt, lp := score(s)
			de := kernels.Tensor{}
			if entropy {
				de = s.vec("dentropy", n, 1, dentropy)
			}
			s.d.LogProbBackward(s.out("dh", n, c, bound{}), s.inout("dw", v, c, make([]float32, v*c), bound{}), th, tw,
				tt, lp, s.vec("dlogp", n, 1, dlogp), de, invTemp)
		})
		differences(t, e, func() float64 {
			outs := e.forward(t, func(s *caseRun) { score(s) })
			loss := weighted(dlogp, outs[0])
			if entropy {
				loss += weighted(dentropy, outs[1])
			}
			return loss
		}, parameter{"dh", h, got[3]}, parameter{"dw", w, got[4]})
	}
}

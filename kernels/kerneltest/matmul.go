package kerneltest

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// shape of a matmul: y[t, n] = x[t, k] w[n, k]^T.
type shape struct{ t, n, k int }

func (s shape) String() string { return fmt.Sprintf("%dx%dx%d", s.t, s.n, s.k) }

// shapes are odd on purpose: one, just below and above the blocks of 2, 14, 16 and 32, primes, and real models scaled
// down.
var shapes = []shape{
	{1, 1, 1}, {1, 31, 33}, {1, 33, 31}, {1, 32, 2}, {1, 192, 576}, {2, 33, 64}, {3, 64, 1}, {4, 31, 96}, {5, 127, 37},
	{13, 30, 63},
	{0, 33, 7}, {7, 7, 7}, {33, 1, 7}, {5, 7, 1}, {14, 32, 32}, {15, 65, 33}, {17, 97, 101}, {28, 64, 128},
	{29, 95, 65}, {31, 1, 31}, {33, 33, 33}, {64, 48, 144}, {47, 65, 96}, {48, 32, 70}, {67, 131, 61},
}

// large passes every blocking limit of a matmul once; k, n and t each at a time, to stay cheap.
var large = []shape{{3, 35, 2063}, {2, 2050, 37}, {701, 34, 19}}

// random is a list of random shapes.
func random(n int) (list []shape) {
	r := source("shapes")
	for range n {
		list = append(list, shape{1 + r.IntN(70), 1 + r.IntN(110), 1 + r.IntN(130)})
	}
	return list
}

// all is every shape that a matmul is tested at.
func all() []shape { return slices.Concat(shapes, large, random(15)) }

var types = []kernels.DType{kernels.F32, kernels.BF16, kernels.Q8}

const (
	matmulRule = "y[t,n] is one chain of fused multiply-adds over k, ascending, from zero (F32); pairs of k with the " +
		"odd one first, flushing denormals, or tiles of 32 k (BF16); exact integer sums of groups of 32, one chain " +
		"of scaled groups (Q8, Q4)"
	epilogRule = "y = Scale*c + Bias (+ y if Add), each step rounded; Scale 0 means 1"
	dxRule     = "dx[t,k] is one chain over n, operands rounded to the weight's type (BF16 for Q8 and Q4), then scaled, " +
		"then added"
	lowRule = "with an adapter: the bits of the weight's product, then U = Scale x A^T (dy B), then y += U B^T " +
		"(dx += U A)"
	dwRule = "dw[n,k] goes on with one chain over t ascending from its old value; BF16 pairs are tokens 2i, 2i+1 " +
		"of the call"
)

func matmulCases(tol Tolerances) (cases []testCase) {
	add := func(name, rule string, body func(s *caseRun)) { cases = append(cases, testCase{name, rule, body}) }
	for _, wt := range tol.weights() {
		for _, sh := range all() {
			add(fmt.Sprintf("y/%v/%v", wt, sh), matmulRule, matmul(sh, wt, epilogue{}, rel(tol.Chain), normal))
			add(fmt.Sprintf("dx/%v/%v", wt, sh), dxRule, matmulDX(sh, wt, false, 0, rel(tol.Chain), normal))
		}
		for i, e := range []epilogue{{bias: true}, {add: true}, {bias: true, add: true}, {scale: 1.5},
			{scale: -0.3, add: true}, {scale: 0.7, bias: true, add: true}} {
			b := rel(tol.Chain)
			if e.scale != 0 {
				b = rel(max(tol.Chain, tol.F32)) // a device may fuse the scale into what follows
			}
			for _, sh := range []shape{{1, 33, 47}, {9, 71, 34}, {37, 40, 33}} {
				add(fmt.Sprintf("epilogue/%v/%v/%d", wt, sh, i), epilogRule, matmul(sh, wt, e, b, normal))
			}
		}
		for _, sh := range []shape{{1, 33, 47}, {9, 64, 34}, {50, 40, 33}, {3, 35, 2063}, {0, 32, 32}} {
			add(fmt.Sprintf("ys/%v/%v", wt, sh), matmulRule, matmuls(sh, wt, rel(tol.Chain)))
		}
		for _, sh := range []shape{{1, 33, 47}, {9, 64, 34}, {50, 40, 33}} {
			for _, r := range []int{0, 4} {
				add(fmt.Sprintf("group/%v/%v,r%d", wt, sh, r), lowRule, matmulGroup(sh, wt, r, rel(tol.Chain)))
			}
		}
		for _, lt := range types[:2] {
			for _, l := range lows {
				add(fmt.Sprintf("low/%v+%v/%v,r%d", wt, lt, l.shape, l.r), lowRule,
					matmulLow(l.shape, wt, lt, l.r, rel(tol.Chain)))
				for _, plus := range []bool{false, true} {
					add(fmt.Sprintf("dxlow/%v+%v/%v,r%d/%v", wt, lt, l.shape, l.r, plus), lowRule,
						matmulDXLow(l.shape, wt, lt, l.r, plus, rel(tol.Chain)))
				}
			}
		}
		for _, sh := range []shape{{1, 33, 47}, {9, 71, 34}, {37, 40, 33}} {
			add(fmt.Sprintf("dx/%v/%v/add", wt, sh), dxRule, matmulDX(sh, wt, true, 0, rel(tol.Chain), normal))
			add(fmt.Sprintf("dx/%v/%v/scale", wt, sh), dxRule, matmulDX(sh, wt, false, 2.5, rel(tol.Chain), normal))
			add(fmt.Sprintf("dx/%v/%v/scale+add", wt, sh), dxRule,
				matmulDX(sh, wt, true, 0.3, rel(max(tol.Chain, tol.F32)), normal))
		}
	}
	for _, op := range types[:2] {
		for _, sh := range all() {
			add(fmt.Sprintf("dw/%v/%v", op, sh), dwRule, matmulDW(sh, op, rel(tol.Chain), normal))
		}
		for _, sh := range []shape{{1, 3, 47}, {33, 16, 96}, {70, 16, 35}, {31, 40, 130}, {1031, 5, 40}, {0, 4, 32}} {
			add(fmt.Sprintf("dws/%v/%v", op, sh), dwRule, matmulDWs(sh, op, rel(tol.Chain)))
		}
		for _, sh := range []shape{{1, 47, 3}, {33, 96, 16}, {70, 35, 16}, {31, 130, 1}, {1031, 40, 5}, {0, 32, 4}} {
			add(fmt.Sprintf("dw/%v/%v/narrow", op, sh), dwRule, matmulDW(sh, op, rel(tol.Chain), normal))
		}
	}
	for _, sh := range []shape{{1, 1, 0}, {31, 33, 0}, {63, 7, 0}, {64, 31, 0}, {65, 64, 0}, {257, 100, 0}} {
		add(fmt.Sprintf("db/%v", sh), "db[n] += sum over t of dy[t,n]", func(s *caseRun) {
			dy := s.in("dy", sh.t, sh.n, normal("dy", sh.t*sh.n, 1))
			s.d.BiasBackward(s.vecOut("db", 1, sh.n, normal("db", sh.n, 1), rel(tol.F32)), dy)
		})
	}
	return cases
}

// epilogue is kernels.Epilogue before its bias has a place.
type epilogue struct {
	bias, add bool
	scale     float32
}

// numbers makes n of them, seeded by a name.
type numbers func(name string, n int, deviation float64) []float32

func matmul(sh shape, wt kernels.DType, e epilogue, b bound, num numbers) func(s *caseRun) {
	return func(s *caseRun) {
		x := s.in("x", sh.t, sh.k, num("x", sh.t*sh.k, 1))
		w := s.weight(sh.n, sh.k, wt, normal("w", sh.n*sh.k, 1))
		var y kernels.Tensor
		ep := kernels.Epilogue{Add: e.add, Scale: e.scale}
		if e.bias {
			ep.Bias = s.vec("bias", 1, sh.n, normal("bias", sh.n, 1))
		}
		if e.add {
			y = s.inout("y", sh.t, sh.n, normal("y", sh.t*sh.n, 1), b)
		} else {
			y = s.out("y", sh.t, sh.n, b)
		}
		s.d.MatMul(y, x, w, ep)
	}
}

// matmuls multiplies with three weights, the second of sh; the last one has a bias and is added to y.
func matmuls(sh shape, wt kernels.DType, b bound) func(s *caseRun) {
	return func(s *caseRun) {
		x := s.in("x", sh.t, sh.k, normal("x", sh.t*sh.k, 1))
		n1, n3 := sh.n/3+1, 2*sh.n+5
		s.d.MatMuls(x, []kernels.Product{
			{Y: s.out("y1", sh.t, n1, b), W: s.weight(n1, sh.k, wt, normal("w1", n1*sh.k, 1))},
			{Y: s.out("y2", sh.t, sh.n, b), W: s.weight(sh.n, sh.k, wt, normal("w2", sh.n*sh.k, 1))},
			{Y: s.inout("y3", sh.t, n3, normal("y3", sh.t*n3, 1), b),
				W:        s.weight(n3, sh.k, wt, normal("w3", n3*sh.k, 1)),
				Epilogue: kernels.Epilogue{Bias: s.vec("bias", 1, n3, normal("bias", n3, 1)), Add: true}},
		})
	}
}

// matmulGroup multiplies with five weights that a device may hold as one matrix, into columns that follow each other.
// The first and the last have a bias, and an adapter if r is not 0.
func matmulGroup(sh shape, wt kernels.DType, r int, b bound) func(s *caseRun) {
	return func(s *caseRun) {
		x := s.in("x", sh.t, sh.k, normal("x", sh.t*sh.k, 1))
		n, all := []int{sh.n, 1, 7, sh.n/2 + 3, sh.n + 2}, 0
		for _, rows := range n {
			all += rows
		}
		y, from := s.out("y", sh.t, all, b), 0
		var to []kernels.Product
		for i, w := range s.group(sh.k, wt, n...) {
			p := kernels.Product{Y: y.ColRange(from, n[i]), W: w}
			if name := fmt.Sprint(i); i == 0 || i == len(n)-1 {
				p.Bias = s.vec("bias"+name, 1, n[i], normal("bias"+name, n[i], 1))
				if r > 0 {
					p.LoRA = adapter(s, name, sh.t, n[i], sh.k, r, kernels.BF16, b)
				}
			}
			to, from = append(to, p), from+n[i]
		}
		s.d.MatMuls(x, to)
	}
}

// lows are shapes of products with adapters of rank r: below, at and above a panel, chains of one piece and of several.
var lows = []struct {
	shape
	r int
}{{shape{1, 33, 47}, 4}, {shape{9, 64, 34}, 1}, {shape{50, 40, 33}, 16}, {shape{70, 65, 96}, 35},
	{shape{17, 35, 2063}, 8}, {shape{0, 32, 32}, 8},
	{shape{13, 2050, 37}, 3}}

// adapter is a LoRA of rank r beside a weight [n, k].
func adapter(s *caseRun, name string, t, n, k, r int, lt kernels.DType, b bound) kernels.LoRA {
	return kernels.LoRA{A: s.weight(r, k, lt, normal("A"+name, r*k, 1)),
		B: s.weight(n, r, lt, normal("B"+name, n*r, 1)),
		U: s.out("u"+name, t, r, b), Scale: 0.7}
}

// matmulLow is matmuls where the first and the last weight have an adapter, of different ranks.
func matmulLow(sh shape, wt, lt kernels.DType, r int, b bound) func(s *caseRun) {
	return func(s *caseRun) {
		x := s.in("x", sh.t, sh.k, normal("x", sh.t*sh.k, 1))
		n3 := 2*sh.n + 5
		s.d.MatMuls(x, []kernels.Product{
			{Y: s.out("y1", sh.t, sh.n, b), W: s.weight(sh.n, sh.k, wt, normal("w1", sh.n*sh.k, 1)),
				LoRA: adapter(s, "1", sh.t, sh.n, sh.k, r, lt, b)},
			{Y: s.out("y2", sh.t, 7, b), W: s.weight(7, sh.k, wt, normal("w2", 7*sh.k, 1))},
			{Y: s.inout("y3", sh.t, n3, normal("y3", sh.t*n3, 1), b),
				W:        s.weight(n3, sh.k, wt, normal("w3", n3*sh.k, 1)),
				Epilogue: kernels.Epilogue{Bias: s.vec("bias", 1, n3, normal("bias", n3, 1)), Add: true},
				LoRA:     adapter(s, "3", sh.t, n3, sh.k, r+1, lt, b)},
		})
	}
}

func matmulDXLow(sh shape, wt, lt kernels.DType, r int, add bool, b bound) func(s *caseRun) {
	return func(s *caseRun) {
		dy := s.in("dy", sh.t, sh.n, normal("dy", sh.t*sh.n, 1))
		w := s.weight(sh.n, sh.k, wt, normal("w", sh.n*sh.k, 1))
		low := adapter(s, "", sh.t, sh.n, sh.k, r, lt, b)
		var dx kernels.Tensor
		if add {
			dx = s.inout("dx", sh.t, sh.k, normal("dx", sh.t*sh.k, 1), b)
		} else {
			dx = s.out("dx", sh.t, sh.k, b)
		}
		s.d.MatMulDXLoRA(dx, dy, w, add, low)
	}
}

func matmulDX(sh shape, wt kernels.DType, add bool, scale float32, b bound, num numbers) func(s *caseRun) {
	return func(s *caseRun) {
		dy := s.in("dy", sh.t, sh.n, num("dy", sh.t*sh.n, 1))
		w := s.weight(sh.n, sh.k, wt, normal("w", sh.n*sh.k, 1))
		var dx kernels.Tensor
		if add {
			dx = s.inout("dx", sh.t, sh.k, normal("dx", sh.t*sh.k, 1), b)
		} else {
			dx = s.out("dx", sh.t, sh.k, b)
		}
		s.d.MatMulDX(dx, dy, w, add, scale)
	}
}

func matmulDW(sh shape, op kernels.DType, b bound, num numbers) func(s *caseRun) {
	return func(s *caseRun) {
		dy := s.in("dy", sh.t, sh.n, num("dy", sh.t*sh.n, 1))
		x := s.in("x", sh.t, sh.k, normal("x", sh.t*sh.k, 1))
		s.d.MatMulDW(s.inout("dw", sh.n, sh.k, normal("dw", sh.n*sh.k, 1), b), dy, x, op)
	}
}

// matmulDWs has three dw, of sh.n rows, one, and two more than sh.n.
func matmulDWs(sh shape, op kernels.DType, b bound) func(s *caseRun) {
	return func(s *caseRun) {
		var dw []kernels.Tensor
		n := 0
		for i, rows := range []int{sh.n, 1, sh.n + 2} {
			name := fmt.Sprintf("dw%d", i)
			dw, n = append(dw, s.inout(name, rows, sh.k, normal(name, rows*sh.k, 1), b)), n+rows
		}
		s.d.MatMulDWs(dw, s.in("dy", sh.t, n, normal("dy", sh.t*n, 1)),
			s.in("x", sh.t, sh.k, normal("x", sh.t*sh.k, 1)), op)
	}
}

// testMatMulFormula compares with the sum in float64, whose error a chain of n roundings cannot exceed by much.
func testMatMulFormula(t *testing.T, e *env) {
	for _, wt := range types[:2] {
		for _, sh := range []shape{{5, 37, 61}, {33, 65, 300}} {
			t.Run(fmt.Sprintf("%v/%v", wt, sh), func(t *testing.T) {
				x, w, dy := normal("x", sh.t*sh.k, 1), normal("w", sh.n*sh.k, 1), normal("dy", sh.t*sh.n, 1)
				xr, wr, dyr := x, w, dy
				if wt == kernels.BF16 {
					xr, wr, dyr = bf16(x), bf16(w), bf16(dy)
				}
				// sum over i of a(i)*b(i), and the same of the absolute values, which bounds the roundings of a chain.
				sum := func(n int, a, b func(i int) float32) (value, size float64) {
					for i := range n {
						p := float64(a(i)) * float64(b(i))
						value, size = value+p, size+math.Abs(p)
					}
					return value, size
				}
				check := func(what string, got float32, n int, a, b func(i int) float32) {
					if want, size := sum(n, a, b); math.Abs(float64(got)-want) > float64(n)*size*0x1p-24 {
						t.Fatalf("%s = %v, want %v\nrule: a matmul is the sum of the products of its operands, "+
							"rounded to the type of the weight", what, got, want)
					}
				}
				plain := layouts[0]
				y := execute(t, e.d, plain, matmul(sh, wt, epilogue{}, bound{}, normal))[0].f32()
				dx := execute(t, e.d, plain, matmulDX(sh, wt, false, 0, bound{}, normal))[0].f32()
				dw := execute(t, e.d, plain, func(s *caseRun) {
					s.d.MatMulDW(s.inout("dw", sh.n, sh.k, make([]float32, sh.n*sh.k), bound{}),
						s.in("dy", sh.t, sh.n, dy), s.in("x", sh.t, sh.k, x), wt)
				})[0].f32()
				for r := range sh.t {
					for n := range sh.n {
						check("y", y[r*sh.n+n], sh.k, func(i int) float32 { return xr[r*sh.k+i] },
							func(i int) float32 { return wr[n*sh.k+i] })
					}
					for k := range sh.k {
						check("dx", dx[r*sh.k+k], sh.n, func(i int) float32 { return dyr[r*sh.n+i] },
							func(i int) float32 { return wr[i*sh.k+k] })
					}
				}
				for n := range sh.n {
					for k := range sh.k {
						check("dw", dw[n*sh.k+k], sh.t, func(i int) float32 { return dyr[i*sh.n+n] },
							func(i int) float32 { return xr[i*sh.k+k] })
					}
				}
			})
		}
	}
}

// testDWChain splits the tokens over several calls, as micro-batches do.
func testDWChain(t *testing.T, e *env) {
	sh := shape{70, 37, 45}
	for _, op := range types[:2] {
		t.Run(op.String(), func(t *testing.T) {
			run := func(cuts ...int) output {
				return execute(t, e.d, layouts[2], func(s *caseRun) {
					dy := s.in("dy", sh.t, sh.n, normal("dy", sh.t*sh.n, 1))
					x := s.in("x", sh.t, sh.k, normal("x", sh.t*sh.k, 1))
					dw := s.inout("dw", sh.n, sh.k, normal("dw", sh.n*sh.k, 1), bound{})
					from := 0
					for _, to := range append(cuts, sh.t) {
						s.d.MatMulDW(dw, dy.RowRange(from, to-from), x.RowRange(from, to-from), op)
						from = to
					}
				})[0]
			}
			whole := run()
			if e.tol.BatchDependent {
				t.Skip("this device does not promise chains across calls")
			}
			rule := "dW goes on with one chain over the tokens across calls, so that micro-batches change no bit " +
				"(BF16: cut between pairs, or tiles)"
			bitsOf(t, rule, whole, run(64))
			if op == kernels.BF16 && e.tol.AMX {
				bitsOf(t, rule, whole, run(32, 64))
				return
			}
			bitsOf(t, rule, whole, run(2, 4, 38))
			if op == kernels.F32 {
				bitsOf(t, rule, whole, run(1, 8, 33, 69))
			}
		})
	}
}

package kerneltest

import (
	"fmt"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// sizes are [rows, columns] of the operations that work row by row.
var sizes = [][2]int{{0, 7}, {1, 1}, {4, 1}, {1, 33}, {5, 7}, {2, 64}, {3, 31}, {7, 576}, {31, 16}, {33, 97}, {64, 8},
	{65, 65}, {130, 48}}

func embedCases(tol Tolerances) (cases []testCase) {
	const vocabulary = 37
	for _, sz := range sizes {
		t, c := sz[0], sz[1]
		for _, wt := range tol.weights() {
			cases = append(cases, testCase{fmt.Sprintf("y/%v/%dx%d", wt, t, c), "y[t] = w[ids[t]], widened",
				func(s *caseRun) {
					w := s.weight(vocabulary, c, wt, normal("w", vocabulary*c, 1))
					s.d.Embed(s.out("y", t, c, bound{}), w, s.ids(below("ids", t, vocabulary)))
				}})
		}
		cases = append(cases, testCase{fmt.Sprintf("dw/%dx%d", t, c),
			"dw[ids[t]] += dy[t], t ascending, so the bits are those of that order", func(s *caseRun) {
				dw := s.inout("dw", vocabulary, c, normal("dw", vocabulary*c, 1), bound{})
				s.d.EmbedBackward(dw, s.in("dy", t, c, normal("dy", t*c, 1)), s.ids(below("ids", t, vocabulary)))
			}})
	}
	return cases
}

// normHeads are norms of heads of a row: rows, heads, elements of a head.
var normHeads = [][3]int{{1, 2, 8}, {5, 3, 32}, {67, 4, 33}, {3, 14, 64}, {40, 2, 128}}

func normCases(tol Tolerances) (cases []testCase) {
	add := func(t, heads, n int, name string) {
		for _, keep := range []bool{true, false} {
			cases = append(cases, testCase{fmt.Sprintf("y/%s/rstd=%v", name, keep),
				"y = x * rstd * w, rstd = 1/sqrt(mean(x^2) + eps), for each head of w's length", func(s *caseRun) {
					rstd := kernels.Tensor{}
					if keep {
						rstd = s.out("rstd", t, heads, rel(tol.F32))
					}
					x, w := s.in("x", t, heads*n, normal("x", t*heads*n, 2)), s.vec("w", 1, n, normal("w", n, 1))
					s.d.RMSNorm(s.out("y", t, heads*n, rel(tol.F32)), x, w, 1e-5, rstd)
				}})
		}
		for _, add := range []bool{true, false} {
			cases = append(cases, testCase{fmt.Sprintf("dx/%s/add=%v", name, add),
				"dx = (dx +) rstd*(w*dy - x*rstd^2*mean(w*dy*x)); dw += sum over t of dy*x*rstd", func(s *caseRun) {
					normBackward(s, t, heads, n, add, add, tol)
				}})
		}
	}
	for _, sz := range sizes {
		add(sz[0], 1, sz[1], fmt.Sprintf("%dx%d", sz[0], sz[1]))
	}
	for _, sz := range normHeads {
		add(sz[0], sz[1], sz[2], fmt.Sprintf("%dx%dx%d", sz[0], sz[1], sz[2]))
	}
	return cases
}

func normBackward(s *caseRun, t, heads, n int, add, withDW bool, tol Tolerances) {
	c := heads * n
	x, dy := s.in("x", t, c, normal("x", t*c, 2)), s.in("dy", t, c, normal("dy", t*c, 1))
	rstd := normal("rstd", t*heads, 0.1)
	for i := range rstd {
		rstd[i] = 0.5 + rstd[i]
	}
	var dx, dw kernels.Tensor
	if add {
		dx = s.inout("dx", t, c, normal("dx", t*c, 1), rel(tol.F32))
	} else {
		dx = s.out("dx", t, c, rel(tol.F32))
	}
	if withDW {
		dw = s.vecOut("dw", 1, n, normal("dw", n, 1), rel(tol.F32))
	}
	s.d.RMSNormBackward(dx, dw, dy, x, s.vec("w", 1, n, normal("w", n, 1)), s.in("rstd", t, heads, rstd), add)
}

func ropeCases(tol Tolerances) (cases []testCase) {
	const positions = 50
	for _, sz := range [][3]int{{1, 1, 2}, {2, 3, 6}, {3, 1, 14}, {5, 4, 64}, {31, 9, 32}, {33, 1, 62}, {7, 2, 128},
		{64, 3, 16}, {0, 2, 8}} {
		t, heads, dim := sz[0], sz[1], sz[2]
		for _, inverse := range []bool{false, true} {
			cases = append(cases, testCase{fmt.Sprintf("%dx%dx%d/inverse=%v", t, heads, dim, inverse),
				"pair (i, i+D/2) of each head turns by the angle of its position, or back", func(s *caseRun) {
					x := s.inout("x", t, heads*dim, normal("x", t*heads*dim, 1), rel(tol.F32))
					s.d.RoPE(x, heads, s.at(below("pos", t, positions)),
						s.in("table", positions, dim, angles(positions, dim)), inverse)
				}})
		}
	}
	return cases
}

func swigluCases(tol Tolerances) (cases []testCase) {
	for _, sz := range sizes {
		t, f := sz[0], sz[1]
		cases = append(cases,
			testCase{fmt.Sprintf("y/%dx%d", t, f), "y = gate*sigmoid(gate)*up, also for large gates", func(s *caseRun) {
				s.d.SwiGLU(s.out("y", t, f, rel(tol.F32)), s.in("gate", t, f, gates(t*f)),
					s.in("up", t, f, normal("up", t*f, 1)))
			}},
			testCase{fmt.Sprintf("backward/%dx%d", t, f),
				"dgate = dy*up*s*(1 + gate*(1-s)), dup = dy*gate*s with s = sigmoid(gate)", func(s *caseRun) {
					gate, up, dy := s.in("gate", t, f, gates(t*f)), s.in("up", t, f, normal("up", t*f, 1)),
						s.in("dy", t, f, normal("dy", t*f, 1))
					s.d.SwiGLUBackward(s.out("dgate", t, f, rel(tol.F32)), s.out("dup", t, f, rel(tol.F32)), dy, gate,
						up)
				}},
			testCase{fmt.Sprintf("backward/%dx%d/in-place", t, f), "dgate may be gate, dup may be up",
				func(s *caseRun) {
					gate, up := s.inout("gate", t, f, gates(t*f), rel(tol.F32)),
						s.inout("up", t, f, normal("up", t*f, 1), rel(tol.F32))
					s.d.SwiGLUBackward(gate, up, s.in("dy", t, f, normal("dy", t*f, 1)), gate, up)
				}})
	}
	return cases
}

// gates has values where sigmoid is 0, 1, and where exp overflows.
func gates(n int) []float32 {
	x := normal("gate", n, 3)
	for i, v := range []float32{-100, 100, 0, -1000, 1000, 88, -88, -87.5, 20} {
		if at := i * 5; at < n {
			x[at] = v
		}
	}
	return x
}

func gatherCases(tol Tolerances) (cases []testCase) {
	for _, sz := range sizes {
		b, c := sz[0], sz[1]
		n := b + 20
		distinct := make([]int32, b)
		for i, j := range source("order").Perm(n)[:b] {
			distinct[i] = int32(j)
		}
		cases = append(cases,
			testCase{fmt.Sprintf("gather/%dx%d", b, c), "dst[b] = src[idx[b]], bit for bit; an index may occur twice",
				func(s *caseRun) {
					s.d.Gather(s.out("dst", b, c, bound{}), s.in("src", n, c, normal("src", n*c, 1)),
						s.ints("idx", below("idx", b, n)))
				}},
			testCase{fmt.Sprintf("scatter/%dx%d", b, c), "dst[idx[b]] += src[b], one rounding", func(s *caseRun) {
				s.d.ScatterAdd(s.inout("dst", n, c, normal("dst", n*c, 1), bound{}),
					s.in("src", b, c, normal("src", b*c, 1)), s.ints("idx", distinct))
			}})
	}
	return cases
}

// optimizerCases are the optimizer and what works element by element.
func optimizerCases(tol Tolerances) (cases []testCase) {
	for _, sz := range append(sizes, [2]int{3, 4099}, [2]int{1, 20001}) {
		r, c := sz[0], sz[1]
		n, size := r*c, fmt.Sprintf("%dx%d", r, c)
		for _, step := range []int{1, 2, 1000} {
			cases = append(cases, testCase{fmt.Sprintf("adamw/%s/step%d", size, step),
				"AdamW as kernels.AdamWStep writes it", func(s *caseRun) {
					v := normal("v", n, 0.1)
					for i := range v {
						v[i] *= v[i]
					}
					s.d.AdamW(s.vecOut("p", r, c, normal("p", n, 1), rel(tol.F32)), s.vec("g", r, c, normal("g", n, 1)),
						s.vecOut("m", r, c, normal("m", n, 0.1), rel(tol.F32)), s.vecOut("v", r, c, v, rel(tol.F32)),
						kernels.AdamWStep{LR: 1e-2, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1,
							GradScale: 0.5,
							Step:      step})
				}})
		}
		for _, add := range []bool{false, true} {
			cases = append(cases, testCase{fmt.Sprintf("squares/%s/add=%v", size, add),
				"dst = (dst +) sum of squares in F64", func(s *caseRun) {
					dst := s.put("dst", kernels.F64, 1, 1, s.packed(), raw([]float64{0.25}), true,
						rel(squaresError(tol)))
					s.d.SumSquares(dst, s.in("x", r, c, normal("x", n, 1)), nil, add)
				}}, testCase{fmt.Sprintf("squares of ranges/%s/add=%v", size, add), rangesRule, func(s *caseRun) {
				x := normal("x", n, 1)
				clear(x[n/3 : n/2])
				dst := s.put("dst", kernels.F64, 1, 1, s.packed(), raw([]float64{0.25}), true, rel(squaresError(tol)))
				s.d.SumSquares(dst, s.vec("x", r, c, x), []kernels.Range{{To: n / 3}, {From: n / 2, To: n}}, add)
			}})
		}
		cases = append(cases,
			testCase{"axpy/" + size, "y = y + a*x, fused", func(s *caseRun) {
				s.d.Axpy(s.inout("y", r, c, normal("y", n, 1), rel(tol.F32)), 0.3, s.in("x", r, c, normal("x", n, 1)))
			}},
			testCase{"copy/" + size, "Copy keeps F32 and BF16 and rounds to nearest even between them",
				func(s *caseRun) {
					x := s.in("x", r, c, normal("x", n, 1))
					half := s.put("half", kernels.BF16, r, c, s.layout, nil, true, bound{})
					twin := s.put("twin", kernels.BF16, r, c, s.layout, nil, true, bound{})
					s.d.Copy(s.out("same", r, c, bound{}), x)
					s.d.Copy(half, x)
					s.d.Copy(twin, half)
					s.d.Copy(s.out("widened", r, c, bound{}), twin)
				}},
			testCase{"zero/" + size, "Zero clears the elements and nothing else", func(s *caseRun) {
				s.d.Zero(s.inout("f32", r, c, normal("x", n, 1), bound{}))
				s.d.Zero(s.put("bf16", kernels.BF16, r, c, s.layout, nil, true, bound{}))
				s.d.Zero(s.put("u8", kernels.U8, r, c, s.layout, nil, true, bound{}))
			}})
	}
	return cases
}

const rangesRule = "SumSquares of ranges sums what is in them; what is not, is zero"

// squaresError is for float64 sums in another order; ref is to be equal to itself.
func squaresError(tol Tolerances) float64 {
	if tol.F32 == 0 {
		return 0
	}
	return 1e-13
}

package kerneltest

import (
	"fmt"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
)

// narrowCases are operands of products in BF16: what writes them rounds once, and products of BF16 weights give the
// bits that they give of the F32 numbers before the rounding.
func narrowCases(tol Tolerances) (cases []testCase) {
	// An element that lies between two BF16 numbers may go to either, where a device computes a little otherwise.
	near := rel(1.0 / 128)
	if tol.F32 == 0 {
		near = bound{}
	}
	add := func(name, rule string, body func(s *caseRun)) {
		cases = append(cases, testCase{name, rule, body})
	}
	half := func(s *caseRun, name string, rows, cols int, x []float32) kernels.Tensor {
		h := make([]uint16, len(x))
		num.BF16Slice(h, x)
		return s.put(name, kernels.BF16, rows, cols, s.layout, raw(h), false, bound{})
	}
	for _, sz := range [][3]int{{1, 1, 32}, {5, 1, 61}, {33, 1, 576}, {7, 3, 64}} {
		t, heads, n := sz[0], sz[1], sz[2]
		c := heads * n
		add(fmt.Sprintf("norm/%dx%dx%d", t, heads, n), "y = x * rstd * w, rounded to BF16", func(s *caseRun) {
			y := s.put("y", kernels.BF16, t, c, s.layout, nil, true, near)
			s.d.RMSNorm(y, s.in("x", t, c, normal("x", t*c, 2)), s.vec("w", 1, n, normal("w", n, 1)), 1e-5,
				kernels.Tensor{})
		})
		add(fmt.Sprintf("swiglu/%dx%d", t, c), "y = gate*sigmoid(gate)*up, rounded to BF16", func(s *caseRun) {
			y := s.put("y", kernels.BF16, t, c, s.layout, nil, true, near)
			s.d.SwiGLU(y, s.in("gate", t, c, normal("gate", t*c, 1)), s.in("up", t, c, normal("up", t*c, 1)))
		})
	}
	for _, sh := range []shape{{1, 33, 31}, {5, 64, 96}, {35, 67, 61}, {130, 40, 129}} {
		x := func() []float32 { return normal("x", sh.t*sh.k, 1) }
		b := rel(tol.Chain)
		add(fmt.Sprintf("matmul/%v", sh), "y of operands that are BF16 already is y of what they were rounded from",
			func(s *caseRun) {
				w := s.weight(sh.n, sh.k, kernels.BF16, normal("w", sh.n*sh.k, 1))
				s.d.MatMul(s.out("y", sh.t, sh.n, b), half(s, "x", sh.t, sh.k, x()), w, kernels.Epilogue{})
				s.d.MatMul(s.out("y of F32", sh.t, sh.n, b), s.in("x f32", sh.t, sh.k, x()), w, kernels.Epilogue{})
			})
		add(fmt.Sprintf("dw/%v", sh), "dw of operands that are BF16 already is dw of what they were rounded from",
			func(s *caseRun) {
				dy := s.in("dy", sh.t, sh.n, normal("dy", sh.t*sh.n, 1))
				s.d.MatMulDW(s.inout("dw", sh.n, sh.k, normal("dw", sh.n*sh.k, 1), b), dy,
					half(s, "x", sh.t, sh.k, x()),
					kernels.BF16)
			})
	}
	return cases
}

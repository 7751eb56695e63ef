package kerneltest

import (
	"fmt"
	"testing"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// testUpdate compares Update with the three operations that it stands for, on the device itself.
func testUpdate(t *testing.T, e *env) {
	step := kernels.AdamWStep{LR: 1e-2, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1, GradScale: 0.5, Step: 3}
	for _, wt := range []kernels.DType{kernels.F32, kernels.BF16} {
		for _, sz := range [][2]int{{1, 1}, {31, 33}, {33, 31}, {64, 64}, {70, 96}, {2, 1}, {97, 5}, {40, 1000}} {
			n, k := sz[0], sz[1]
			run := func(update func(s *caseRun, w kernels.Weight, p, g, m, v kernels.Tensor)) []output {
				return execute(t, e.d, layouts[1], func(s *caseRun) {
					second := normal("v", n*k, 0.1)
					for i := range second {
						second[i] *= second[i]
					}
					w := s.weight(n, k, wt, normal("old", n*k, 5))
					update(s, w, s.vecOut("p", n, k, normal("p", n*k, 1), bound{}),
						s.vecOut("g", n, k, normal("g", n*k, 1), bound{}),
						s.vecOut("m", n, k, normal("m", n*k, 0.1), bound{}), s.vecOut("v", n, k, second, bound{}))
					s.d.Unpack(s.out("w", n, k, bound{}), w, 0)
				})
			}
			t.Run(fmt.Sprintf("%v/%dx%d", wt, n, k), func(t *testing.T) {
				sameBits(t, "Update has the bits of AdamW, Pack and Zero",
					run(func(s *caseRun, w kernels.Weight, p, g, m, v kernels.Tensor) {
						s.d.AdamW(p, g, m, v, step)
						s.d.Pack(w, 0, p)
						s.d.Zero(g)
					}), run(func(s *caseRun, w kernels.Weight, p, g, m, v kernels.Tensor) {
						kernels.Update(s.d, w, p, g, m, v, step)
					}))
			})
		}
	}
}

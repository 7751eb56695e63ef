package ops

import (
	"github.com/zerosearch-go/zerosearch/bench/internal/measure"
	"github.com/zerosearch-go/zerosearch/kernels"
)

// Matmuls are measured with these numbers of rows of x: decode of 1 and 4 sequences, rollouts, prompts.
var matmulRows = []int{1, 4, 16, 64, 256, 512}

// backwardRows is the number of tokens of a backward product.
const backwardRows = 512

// WeightTypes are the types of weights in products.
var WeightTypes = []kernels.DType{kernels.F32, kernels.BF16, kernels.Q8, kernels.Q4}

// matmulCases: forward, both backward products, and the bias' gradient, on the weights of the models' layers.
func matmulCases(models []string) (out []Case) {
	for _, w := range Matrices(models) {
		for _, t := range WeightTypes {
			for _, m := range matmulRows {
				out = append(out, Matmul(w, m, t))
			}
			out = append(out, matmulDX(w, t))
			if !t.Quantised() {
				out = append(out, matmulDW(w, t))
			}
		}
	}
	for _, w := range Matrices(models) {
		m, n := backwardRows, w.N
		out = append(out, Case{"bias_backward", w.Of, Shape{"m": m, "k": 1, "n": n}, kernels.F32,
			Cost{float64(m) * float64(n), kernels.F32, 4 * float64(m) * float64(n)},
			func(b *bed) func(int) {
				db := b.empty(kernels.F32, 1, n)
				dy := measure.Many(copies(4*float64(m)*float64(n)), func() kernels.Tensor { return b.f32(m, n) })
				return func(i int) { b.d.BiasBackward(db, dy[i%len(dy)]) }
			}})
	}
	return out
}

// weights makes enough copies of w to exceed the caches, or one copy if the product is bound by arithmetic.
func (b *bed) weights(w Matrix, m int, t kernels.DType) []kernels.Weight {
	n := 1
	if m <= 64 {
		n = copies(WeightBytes(w.N, w.K, t))
	}
	return measure.Many(n, func() kernels.Weight { return b.weight(w.N, w.K, t) })
}

// Matmul is the product of m rows with the weight w held as t.
func Matmul(w Matrix, m int, t kernels.DType) Case {
	return Case{"matmul", w.Of, Shape{"m": m, "k": w.K, "n": w.N}, t, GemmCost(m, w.K, w.N, t),
		func(b *bed) func(int) {
			ws, x, y := b.weights(w, m, t), b.f32(m, w.K), b.empty(kernels.F32, m, w.N)
			return func(i int) { b.d.MatMul(y, x, ws[i%len(ws)], kernels.Epilogue{}) }
		}}
}

func matmulDX(w Matrix, t kernels.DType) Case {
	m, op := backwardRows, t
	if t.Quantised() {
		op = kernels.BF16 // the gradient's product with such a weight is computed in bf16
	}
	c := GemmCost(m, w.K, w.N, t)
	c.Type = op
	return Case{"matmul_dx", w.Of, Shape{"m": m, "k": w.N, "n": w.K}, t, c, func(b *bed) func(int) {
		ws, dx, dy := b.weights(w, m, t), b.empty(kernels.F32, m, w.K), b.f32(m, w.N)
		return func(i int) { b.d.MatMulDX(dx, dy, ws[i%len(ws)], false, 0) }
	}}
}

func matmulDW(w Matrix, t kernels.DType) Case {
	m := backwardRows
	c := GradientCost(float64(m), w.K, w.N, t)
	return Case{"matmul_dw", w.Of, Shape{"m": w.N, "k": m, "n": w.K}, t, c, func(b *bed) func(int) {
		dw, dy, x := b.empty(kernels.F32, w.N, w.K), b.f32(m, w.N), b.f32(m, w.K)
		return func(int) { b.d.MatMulDW(dw, dy, x, t) }
	}}
}

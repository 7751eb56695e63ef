package bench

import "github.com/zerosearch-go/zerosearch/kernels"

// Matmuls are measured with these numbers of rows of x: decode of 1 and 4 sequences, rollouts, prompts.
var matmulRows = []int{1, 4, 16, 64, 256, 512}

// backwardRows is the number of tokens of a backward product.
const backwardRows = 512

// matmulCases: forward, both backward products, and the bias' gradient, on the weights of the models' layers.
func matmulCases(models []string) (out []opCase) {
	for _, w := range matrices(models) {
		for _, t := range []kernels.DType{kernels.F32, kernels.BF16, kernels.Q8} {
			for _, m := range matmulRows {
				out = append(out, matmul(w, m, t))
			}
			out = append(out, matmulDX(w, t))
			if t != kernels.Q8 {
				out = append(out, matmulDW(w, t))
			}
		}
	}
	for _, w := range matrices(models) {
		m, n := backwardRows, w.n
		out = append(out, opCase{"bias_backward", w.of, Shape{"m": m, "k": 1, "n": n}, kernels.F32,
			cost{float64(m) * float64(n), kernels.F32, 4 * float64(m) * float64(n)},
			func(b *bed) func(int) {
				db := b.empty(kernels.F32, 1, n)
				dy := many(copies(4*float64(m)*float64(n)), func() kernels.Tensor { return b.f32(m, n) })
				return func(i int) { b.d.BiasBackward(db, dy[i%len(dy)]) }
			}})
	}
	return out
}

// weights makes enough copies of w to exceed the caches, or one copy if the product is bound by arithmetic.
func (b *bed) weights(w matrix, m int, t kernels.DType) []kernels.Weight {
	n := 1
	if m <= 64 {
		n = copies(weightBytes(w.n, w.k, t))
	}
	return many(n, func() kernels.Weight { return b.weight(w.n, w.k, t) })
}

func matmul(w matrix, m int, t kernels.DType) opCase {
	return opCase{"matmul", w.of, Shape{"m": m, "k": w.k, "n": w.n}, t, gemmCost(m, w.k, w.n, t),
		func(b *bed) func(int) {
			ws, x, y := b.weights(w, m, t), b.f32(m, w.k), b.empty(kernels.F32, m, w.n)
			return func(i int) { b.d.MatMul(y, x, ws[i%len(ws)], kernels.Epilogue{}) }
		}}
}

func matmulDX(w matrix, t kernels.DType) opCase {
	m, op := backwardRows, t
	if t == kernels.Q8 {
		op = kernels.BF16 // the gradient's product with a q8 weight is computed in bf16
	}
	c := gemmCost(m, w.k, w.n, t)
	c.typ = op
	return opCase{"matmul_dx", w.of, Shape{"m": m, "k": w.n, "n": w.k}, t, c, func(b *bed) func(int) {
		ws, dx, dy := b.weights(w, m, t), b.empty(kernels.F32, m, w.k), b.f32(m, w.n)
		return func(i int) { b.d.MatMulDX(dx, dy, ws[i%len(ws)], false, 0) }
	}}
}

func matmulDW(w matrix, t kernels.DType) opCase {
	m := backwardRows
	c := gradientCost(float64(m), w.k, w.n, t)
	return opCase{"matmul_dw", w.of, Shape{"m": w.n, "k": m, "n": w.k}, t, c, func(b *bed) func(int) {
		dw, dy, x := b.empty(kernels.F32, w.n, w.k), b.f32(m, w.n), b.f32(m, w.k)
		return func(int) { b.d.MatMulDW(dw, dy, x, t) }
	}}
}

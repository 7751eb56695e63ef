package ops

import (
	"github.com/zerosearch-go/zerosearch/bench/internal/measure"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// rowsM is the number of tokens that row operations are measured with.
const rowsM = 1024

// rowCase is an operation that moves tensors of [m, n] elements: reads and writes in F32, flops an element.
func rowCase(op, of string, m, n int, tensors, flops float64, call func(b *bed, x []kernels.Tensor)) Case {
	elements := float64(m) * float64(n)
	c := Cost{flops * elements, kernels.F32, 4 * tensors * elements}
	return Case{op, of, Shape{"m": m, "k": 1, "n": n}, kernels.F32, c, func(b *bed) func(int) {
		sets := measure.Many(copies(c.Bytes), func() []kernels.Tensor {
			return measure.Many(5, func() kernels.Tensor { return kernels.Tensor{} })
		})
		for _, s := range sets {
			for i := range s {
				if float64(i) < tensors {
					s[i] = b.f32(m, n)
				}
			}
		}
		return func(i int) { call(b, sets[i%len(sets)]) }
	}}
}

// widths calls f for each distinct width that pick finds in the models.
func widths(models []string, pick func(*model.Config) int, f func(of string, c *model.Config, n int)) {
	seen := map[int]bool{}
	eachModel(models, func(of string, c *model.Config) {
		if n := pick(c); !seen[n] {
			seen[n] = true
			f(of, c, n)
		}
	})
}

func hidden(c *model.Config) int { return c.Hidden }

// normCases: RMSNorm and its backward, m rows of n.
func normCases(models []string) (out []Case) {
	widths(models, hidden, func(of string, _ *model.Config, n int) {
		var w, dw, rstd kernels.Tensor
		prepare := func(b *bed) {
			w, dw, rstd = b.f32(1, n), b.empty(kernels.F32, 1, n), b.empty(kernels.F32, rowsM, 1)
			b.d.RMSNorm(b.empty(kernels.F32, rowsM, n), b.f32(rowsM, n), w, 1e-5, rstd)
		}
		out = append(out,
			prepared(prepare, rowCase("rmsnorm", of, rowsM, n, 2, 4,
				func(b *bed, x []kernels.Tensor) { b.d.RMSNorm(x[0], x[1], w, 1e-5, kernels.Tensor{}) })),
			prepared(prepare, rowCase("rmsnorm_backward", of, rowsM, n, 3, 10, func(b *bed, x []kernels.Tensor) {
				b.d.RMSNormBackward(x[0], dw, x[1], x[2], w, rstd, false)
			})))
	})
	return out
}

// prepared makes a case that runs first before its operands are made.
func prepared(first func(b *bed), c Case) Case {
	next := c.make
	c.make = func(b *bed) func(int) {
		first(b)
		return next(b)
	}
	return c
}

// ropeCases: m tokens of n = H*D, in place.
func ropeCases(models []string) (out []Case) {
	eachAttention(models, func(of string, c *model.Config) {
		var at kernels.Batch
		var table kernels.Tensor
		rc := rowCase("rope", of, rowsM, c.Heads*c.HeadDim, 1, 3,
			func(b *bed, x []kernels.Tensor) { b.d.RoPE(x[0], c.Heads, at, table, false) })
		rc.Cost.Bytes *= 2 // read and written
		out = append(out, prepared(func(b *bed) {
			at, table = b.batch(kernels.Layout{Pos: numbers(0, rowsM, 1, rowsM)}, nil), b.f32(rowsM, c.HeadDim)
		}, rc))
	})
	return out
}

// gatedCases: SwiGLU and its backward, m tokens of n = F. An exponential is counted as ten operations.
func gatedCases(models []string) (out []Case) {
	widths(models, func(c *model.Config) int { return c.Inter }, func(of string, _ *model.Config, n int) {
		out = append(out,
			rowCase("swiglu", of, rowsM, n, 3, 14, func(b *bed, x []kernels.Tensor) { b.d.SwiGLU(x[0], x[1], x[2]) }),
			rowCase("swiglu_backward", of, rowsM, n, 5, 20, func(b *bed,
				x []kernels.Tensor) {
				b.d.SwiGLUBackward(x[0], x[1], x[2], x[3], x[4])
			}))
	})
	return out
}

// embedCases: rows of the embedding [V, C] for m ids.
func embedCases(models []string) (out []Case) {
	widths(models, hidden, func(of string, c *model.Config, n int) {
		elements := float64(rowsM) * float64(n)
		v := min(c.Vocab, 1<<15) // more rows would only take longer to make
		for _, t := range WeightTypes {
			out = append(out, Case{"embed", of, Shape{"m": rowsM, "k": v, "n": n}, t,
				Cost{0, kernels.F32, 4*elements + WeightBytes(rowsM, n, t)}, func(b *bed) func(int) {
					w, y := b.weight(v, n, t), b.empty(kernels.F32, rowsM, n)
					ids := b.everyRow(v)
					return func(i int) { b.d.Embed(y, w, ids[i%len(ids)]) }
				}})
		}
		out = append(out, Case{"embed_backward", of, Shape{"m": rowsM, "k": v, "n": n}, kernels.F32,
			Cost{elements, kernels.F32, 12 * elements}, func(b *bed) func(int) {
				dw, dy, ids := b.empty(kernels.F32, v, n), b.f32(rowsM, n), b.everyRow(v)
				return func(i int) { b.d.EmbedBackward(dw, dy, ids[i%len(ids)]) }
			}})
	})
	return out
}

// everyRow are columns of rowsM ids that together name every row of [v] once, scattered, so that no row is still in a
// cache.
func (b *bed) everyRow(v int) []kernels.Batch {
	var out []kernels.Batch
	for at := 0; at == 0 || at+rowsM <= v; at += rowsM {
		out = append(out, b.batch(kernels.Layout{IDs: numbers(at, rowsM, 7919, v)}, nil))
	}
	return out
}

// gatherCases: rows picked from and added to a matrix of three times as many.
func gatherCases(models []string) (out []Case) {
	widths(models, hidden, func(of string, _ *model.Config, n int) {
		elements := float64(rowsM) * float64(n)
		mk := func(op string, tensors float64, call func(b *bed, big, small, idx kernels.Tensor)) {
			out = append(out, Case{op, of, Shape{"m": rowsM, "k": 3 * rowsM, "n": n}, kernels.F32,
				Cost{0, kernels.F32, 4 * tensors * elements}, func(b *bed) func(int) {
					big := measure.Many(copies(12*elements), func() kernels.Tensor { return b.f32(3*rowsM, n) })
					small, idx := b.f32(rowsM, n), b.ints(0, rowsM, 3, 3*rowsM)
					return func(i int) { call(b, big[i%len(big)], small, idx) }
				}})
		}
		mk("gather", 2, func(b *bed, big, small, idx kernels.Tensor) { b.d.Gather(small, big, idx) })
		mk("scatter_add", 3, func(b *bed, big, small, idx kernels.Tensor) { b.d.ScatterAdd(big, small, idx) })
	})
	return out
}

// moveCases: operations that only move numbers, and packing a weight after an optimizer step.
func moveCases(models []string) (out []Case) {
	widths(models, hidden, func(of string, c *model.Config, n int) {
		m := c.Inter
		elements := float64(m) * float64(n)
		axpy := rowCase("axpy", of, m, n, 2, 2, func(b *bed, x []kernels.Tensor) { b.d.Axpy(x[0], 0.5, x[1]) })
		axpy.Cost.Bytes = 12 * elements
		zero := rowCase("zero", of, m, n, 1, 0, func(b *bed, x []kernels.Tensor) { b.d.Zero(x[0]) })
		out = append(out, axpy, rowCase("copy", of, m, n, 2, 0,
			func(b *bed, x []kernels.Tensor) { b.d.Copy(x[0], x[1]) }), zero)
		out = append(out, Case{"copy_bf16", of, Shape{"m": m, "k": 1, "n": n}, kernels.BF16,
			Cost{0, kernels.F32, 6 * elements}, func(b *bed) func(int) {
				src := measure.Many(copies(6*elements), func() kernels.Tensor { return b.f32(m, n) })
				dst := measure.Many(len(src), func() kernels.Tensor { return b.empty(kernels.BF16, m, n) })
				return func(i int) { b.d.Copy(dst[i%len(src)], src[i%len(src)]) }
			}})
		for _, t := range []kernels.DType{kernels.F32, kernels.BF16} {
			out = append(out, Case{"pack", of, Shape{"m": m, "k": 1, "n": n}, t,
				Cost{0, kernels.F32, 4*elements + WeightBytes(m, n, t)}, func(b *bed) func(int) {
					src := measure.Many(copies(6*elements), func() kernels.Tensor { return b.f32(m, n) })
					dst := measure.Many(len(src), func() kernels.Weight { return b.weight(m, n, t) })
					return func(i int) { b.d.Pack(dst[i%len(src)], 0, src[i%len(src)]) }
				}})
		}
	})
	return out
}

package kerneltest

import (
	"os"
	"slices"
	"testing"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// FarVariable asks for the tests of what lies beyond 2^31 bytes and elements.
const FarVariable = "ZEROSEARCH_KERNELTEST_FAR"

// testFar works on tensors and weights whose elements are more than 2^31 bytes, and more than 2^31 elements, from where
// their memory begins. Few of them are touched.
func testFar(t *testing.T, e *env) {
	if testing.Short() || os.Getenv(FarVariable) == "" {
		t.Skipf("takes 9 GB of the device's memory at a time: set %s=1 to run it", FarVariable)
	}
	t.Run("tensor", func(t *testing.T) { farTensors(t, e) })
	t.Run("weight", func(t *testing.T) { farWeight(t, e) })
	t.Run("cache", func(t *testing.T) { farCache(t, e) })
}

const farRule = "places are counted in 64 bits, in bytes and in elements"

// farTensors are tensors of three rows: at the beginning, behind 2^29 and behind 2^30 times 4 bytes, and one whose last
// row is behind 2^31 elements.
func farTensors(t *testing.T, e *env) {
	const rows, c, stride = 3, 6, 1<<30 + 3
	const size = 2*stride + 64
	b, err := e.d.Alloc(4 * size)
	if err != nil {
		t.Skipf("Alloc(%d): %v", int64(4*size), err)
	}
	defer b.Free()
	view := func(at int) kernels.Tensor {
		return kernels.Tensor{Buf: b, Off: at, Rows: rows, Cols: c, Stride: stride, Type: kernels.F32}
	}
	put := func(x kernels.Tensor, data []float32) {
		for r := range rows {
			kernels.Upload(e.d, x.RowRange(r, 1), data[r*c:][:c])
		}
	}
	check := func(what string, x kernels.Tensor, want []float32) {
		t.Helper()
		for r := range x.Rows {
			got := make([]float32, x.Cols)
			if err := kernels.Download(e.d, got, x.RowRange(r, 1)); err != nil {
				t.Fatalf("Download: %v", err)
			}
			nearValues(t, farRule, what, c, rel(max(1e-6, e.tol.Chain)), wide(want[r*x.Cols:][:x.Cols]), wide(got))
		}
	}
	x, y := view(1), view(33)
	put(x, normal("x", rows*c, 1))
	put(y, normal("y", rows*c, 1))
	check("x", x, normal("x", rows*c, 1))
	// Each operation on far tensors, and the same on near ones on ref.
	op := func(name string, body func(d kernels.Device, s *caseRun, x, y kernels.Tensor)) {
		t.Helper()
		want := execute(t, e.ref, layouts[0], func(s *caseRun) {
			near := func(name string) kernels.Tensor {
				return s.inout(name, rows, c, normal(name, rows*c, 1), bound{})
			}
			body(s.d, s, near("x"), near("y"))
		})
		put(x, normal("x", rows*c, 1))
		put(y, normal("y", rows*c, 1))
		execute(t, e.d, layouts[0], func(s *caseRun) { body(s.d, s, x, y) })
		check(name+": x", x, want[0].f32())
		check(name+": y", y, want[1].f32())
	}
	op("Copy", func(d kernels.Device, s *caseRun, x, y kernels.Tensor) { d.Copy(y, x) })
	op("Axpy", func(d kernels.Device, s *caseRun, x, y kernels.Tensor) { d.Axpy(y, 2, x) })
	op("Zero", func(d kernels.Device, s *caseRun, x, y kernels.Tensor) { d.Zero(y) })
	op("RMSNorm", func(d kernels.Device, s *caseRun, x, y kernels.Tensor) {
		d.RMSNorm(y, x, s.vec("w", 1, c, normal("w", c, 1)), 1e-2, kernels.Tensor{})
	})
	op("SwiGLU", func(d kernels.Device, s *caseRun, x, y kernels.Tensor) {
		d.SwiGLU(y, x, s.in("up", rows, c, normal("up", rows*c, 1)))
	})
	op("RoPE", func(d kernels.Device, s *caseRun, x, y kernels.Tensor) {
		d.RoPE(y, 1, s.at([]int32{0, 3, 7}), s.in("table", 9, c, angles(9, c)), false)
	})
	op("Gather", func(d kernels.Device, s *caseRun, x, y kernels.Tensor) {
		d.Gather(y, x, s.ints("idx", []int32{2, 2, 1}))
	})
	op("ScatterAdd", func(d kernels.Device, s *caseRun, x, y kernels.Tensor) {
		d.ScatterAdd(y, x, s.ints("idx", []int32{2, 0, 1}))
	})
	op("Embed", func(d kernels.Device, s *caseRun, x, y kernels.Tensor) {
		d.Embed(y, s.weight(4, c, kernels.F32, normal("w", 4*c, 1)), s.ids([]int32{3, 0, 2}))
	})
	op("EmbedBackward", func(d kernels.Device, s *caseRun, x, y kernels.Tensor) {
		d.EmbedBackward(y, x, s.ids([]int32{2, 0, 2}))
	})
	op("MatMul", func(d kernels.Device, s *caseRun, x, y kernels.Tensor) {
		d.MatMul(y, x, s.weight(c, c, kernels.F32, normal("w", c*c, 1)), kernels.Epilogue{})
	})
	op("MatMulDX", func(d kernels.Device, s *caseRun, x, y kernels.Tensor) {
		d.MatMulDX(y, x, s.weight(c, c, kernels.BF16, normal("w", c*c, 1)), true, 1)
	})
	op("MatMulDW", func(d kernels.Device, s *caseRun, x, y kernels.Tensor) {
		d.MatMulDW(y, s.in("dy", rows, rows, normal("dy", rows*rows, 1)), x, kernels.F32)
	})
	op("Pack", func(d kernels.Device, s *caseRun, x, y kernels.Tensor) {
		w := s.weight(rows, c, kernels.F32, make([]float32, rows*c))
		d.Pack(w, 0, x)
		d.Unpack(y, w, 0)
	})
	op("Sample", func(d kernels.Device, s *caseRun, x, y kernels.Tensor) {
		ids := s.put("ids", kernels.I32, rows, 1, s.packed(), nil, true, bound{})
		rules := slices.Repeat([]kernels.Sampling{{Greedy: true, InvTemp: 1}}, rows)
		d.Sample(ids, kernels.LogProbs{}, x.ColRange(0, rows), s.draws(rules), 0) // ids are rows, for Gather
		d.Gather(y, x, ids.RowRange(0, rows))
	})
}

// farWeight is a weight of more than 2^31 elements: its last rows are packed, read back and looked up.
func farWeight(t *testing.T, e *env) {
	const k = 1 << 13
	const n = 1<<18 + 9
	w, err := e.d.NewWeight(n, k, kernels.BF16)
	if err != nil {
		t.Skipf("NewWeight(%d, %d): %v", n, k, err)
	}
	defer w.Free()
	x := bf16(normal("far", 3*k, 1))
	e.d.PackHost(w, n-3, raw(x), kernels.F32)
	outs := execute(t, e.d, layouts[0], func(s *caseRun) {
		s.d.Unpack(s.out("w", 3, k, bound{}), w, n-3)
		s.d.Embed(s.out("y", 3, k, bound{}), w, s.ids([]int32{n - 3, n - 2, n - 1}))
		s.d.Unpack(s.out("before", 3, k, bound{}), w, n-6)
	})
	nearValues(t, farRule, "Unpack", k, bound{}, wide(x), wide(outs[0].f32()))
	nearValues(t, farRule, "Embed", k, bound{}, wide(x), wide(outs[1].f32()))
	nearValues(t, farRule, "the rows before", k, bound{}, make([]float64, 3*k), wide(outs[2].f32()))
}

// farCache is a cache whose keys alone are more than 2^31 elements: the first and the last page of both layers are
// written and read.
func farCache(t *testing.T, e *env) {
	const pages, d = 1<<16 + 3, 1 << 9
	kv, err := e.d.NewKV(kernels.KVSpec{Layers: 2, Pages: pages, KVHeads: 1, HeadDim: d, Type: kernels.BF16})
	if err != nil {
		t.Skipf("NewKV of %d pages: %v", pages, err)
	}
	defer kv.Free()
	v := func(layer int) []float32 { return bf16(normal([]string{"v0", "v1"}[layer], 2*d, 1)) }
	outs := execute(t, e.d, layouts[0], func(s *caseRun) {
		const last = pages - 1
		for layer := range 2 {
			k := s.in("k", 2, d, normal("k", 2*d, 1))
			s.d.KVWrite(kv, layer, k, s.in("v", 2, d, v(layer)), s.slots(kv, []int32{0, last * kernels.PageSize}))
		}
		s.d.KVCopy(kv, []int32{last - 1}, []int32{last})
		for layer := range 2 {
			var segs []kernels.Segment
			for i, page := range []int32{0, last, last - 1} {
				segs = append(segs, kernels.Segment{Row: i, Len: 1, Pages: []int32{page}})
			}
			y, q := s.out("y", 3, d, bound{}), s.in("q", 3, d, normal("q", 3*d, 1))
			s.d.Attention(y, q, kernels.Tensor{}, kv, layer, s.segments(kv, segs), 0.1)
		}
	})
	for layer := range 2 {
		x := v(layer)
		want := wide(slices.Concat(x, x[d:]))
		nearValues(t, farRule, "values of a cache", d, rel(max(1e-6, e.tol.BF16)), want, wide(outs[layer].f32()))
	}
}

package kerneltest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
)

// testMemory checks Alloc, Upload and Fetch.
func testMemory(t *testing.T, e *env) {
	for _, n := range []int64{0, 1, 63, 64, 4097, 1 << 20} {
		b, err := e.d.Alloc(n)
		if err != nil {
			t.Fatalf("Alloc(%d): %v", n, err)
		}
		if b.Bytes() < n {
			t.Fatalf("Alloc(%d) has %d bytes", n, b.Bytes())
		}
		all := kernels.Mat(b, kernels.U8, 0, 1, int(n))
		got := bytes.Repeat([]byte{7}, int(n))
		if err := kernels.Download(e.d, got, all); err != nil {
			t.Fatalf("Download: %v", err)
		}
		if !bytes.Equal(got, make([]byte, n)) {
			t.Fatalf("Alloc(%d)\nrule: Alloc returns zeroed memory", n)
		}
		src := bytes.Repeat([]byte{1, 2, 3}, int(n+2)/3)[:n]
		want := append([]byte(nil), src...)
		kernels.Upload(e.d, all, src)
		for i := range src {
			src[i] = 99
		}
		if err := kernels.Download(e.d, got, all); err != nil {
			t.Fatalf("Download: %v", err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("Upload of %d bytes\nrule: the source of an Upload may be reused when the call returns", n)
		}
		b.Free()
		again, err := e.d.Alloc(n)
		if err != nil {
			t.Fatalf("Alloc(%d): %v", n, err)
		}
		if err := kernels.Download(e.d, got, kernels.Mat(again, kernels.U8, 0, 1, int(n))); err != nil {
			t.Fatalf("Download: %v", err)
		}
		if !bytes.Equal(got, make([]byte, n)) {
			t.Fatalf("Alloc(%d) after Free\nrule: Alloc returns zeroed memory, also where it had another owner before",
				n)
		}
		again.Free()
	}
}

// testSizes compares what a plan takes for weights, caches and batches with what they have.
func testSizes(t *testing.T, e *env) {
	s := kernels.SizesOf(e.d.Name(), 1)
	same := func(what string, want, got int64) {
		if t.Helper(); want != got {
			t.Fatalf("%s has %d bytes, and SizesOf says %d\nrule: SizesOf tells the sizes of what a device of this "+
				"name makes", what, want, got)
		}
	}
	for _, wt := range e.tol.weights() {
		for _, k := range []int{1, 31, 33, 64, 200} {
			w, err := e.d.NewWeight(k+3, k, wt)
			if err != nil {
				t.Fatalf("NewWeight: %v", err)
			}
			same(fmt.Sprintf("%v[%d, %d]", wt, k+3, k), w.Bytes(), s.Weight(k+3, k, wt))
			w.Free()
		}
		if s.Operand(wt) != e.d.Operand(wt) && e.d.Name() != "ref" { // which there is with other operands, too
			t.Fatalf("Operand(%v) is %v, and SizesOf says %v", wt, e.d.Operand(wt), s.Operand(wt))
		}
	}
	for _, kvt := range []kernels.DType{kernels.F32, kernels.BF16} {
		for _, dim := range []int{8, 40, 64} {
			spec := kernels.KVSpec{Layers: 2, Pages: 3, KVHeads: 2, HeadDim: dim, Type: kvt}
			kv, err := e.d.NewKV(spec)
			if err != nil {
				t.Fatalf("NewKV: %v", err)
			}
			same(fmt.Sprintf("a cache %+v", spec), kv.Bytes(), s.KV(spec))
			kv.Free()
		}
	}
	spec := kernels.BatchSpec{Tokens: 70, Segments: 5, Pages: 9, Rows: 11}
	b, err := e.d.NewBatch(spec)
	if err != nil {
		t.Fatalf("NewBatch: %v", err)
	}
	same(fmt.Sprintf("a batch %+v", spec), b.Bytes(), s.Batch(spec, false))
	b.Free()
}

// testWeights packs by rows and from every source type, and unpacks any range.
func testWeights(t *testing.T, e *env) {
	for _, wt := range e.tol.weights() {
		for _, sz := range [][2]int{{1, 1}, {31, 33}, {33, 31}, {64, 64}, {70, 96}, {2, 1}, {97, 5}} {
			n, k := sz[0], sz[1]
			t.Run(fmt.Sprintf("%v/%dx%d", wt, n, k), func(t *testing.T) {
				data := normal("w", n*k, 1)
				half, sixteen := make([]uint16, n*k), make([]uint16, n*k)
				num.BF16Slice(half, data)
				num.F16Slice(sixteen, data)
				pack := func(name, rule string, fill func(s *caseRun, w kernels.Weight)) {
					t.Helper()
					run := func(d kernels.Device) []output {
						return execute(t, d, layouts[2], func(s *caseRun) {
							w := s.weight(n, k, wt, normal("old", n*k, 5))
							if gn, gk := w.Shape(); gn != n || gk != k || w.Type() != wt || w.Bytes() <= 0 {
								t.Fatalf("weight is %v[%d, %d] of %d bytes, want %v[%d, %d]", w.Type(), gn, gk,
									w.Bytes(), wt, n, k)
							}
							fill(s, w)
							s.d.Unpack(s.out(name, n, k, bound{}), w, 0)
							s.d.Unpack(s.out(name+", last row", 1, k, bound{}), w, n-1)
							s.d.Unpack(s.out(name+", middle", (n+1)/2, k, bound{}), w, n/3)
							s.d.MatMul(s.out(name+", y", 3, n, rel(e.tol.Chain)), s.in("x", 3, k, normal("x", 3*k, 1)),
								w, kernels.Epilogue{})
						})
					}
					got := run(e.d)
					for i, want := range run(e.ref) {
						near(t, rule, want, got[i])
					}
				}
				rounds := "packing rounds to nearest even to the weight's type (Q8, Q4: groups of 32), and overwrites"
				pack("from F32", rounds, func(s *caseRun, w kernels.Weight) {
					s.d.PackHost(w, 0, raw(data), kernels.F32)
				})
				pack("from BF16", rounds, func(s *caseRun, w kernels.Weight) {
					s.d.PackHost(w, 0, raw(half), kernels.BF16)
				})
				pack("from F16", rounds, func(s *caseRun, w kernels.Weight) {
					s.d.PackHost(w, 0, raw(sixteen), kernels.F16)
				})
				pack("by rows", "PackHost writes its rows and no others", func(s *caseRun, w kernels.Weight) {
					for r := 0; r < n; r += 3 {
						s.d.PackHost(w, r, raw(data[r*k:min(n, r+2)*k]), kernels.F32)
					}
				})
				if wt.Quantised() {
					quantized := quantized
					if wt == kernels.Q4 {
						quantized = quantized4
					}
					pack("from "+wt.String(), "what is quantised already is kept as it is",
						func(s *caseRun, w kernels.Weight) { s.d.PackHost(w, 0, quantized(data, k), wt) })
					pack("from its rows", "PackHost writes its rows and no others", func(s *caseRun, w kernels.Weight) {
						for r := 0; r < n; r += 3 {
							s.d.PackHost(w, r, quantized(data[r*k:min(n, r+2)*k], k), wt)
						}
					})
				}
				pack("from a tensor", "Pack packs all rows, from a strided tensor too",
					func(s *caseRun, w kernels.Weight) { s.d.Pack(w, 0, s.in("master", n, k, data)) })
				pack("from a tensor by rows", "Pack writes its rows and no others", func(s *caseRun, w kernels.Weight) {
					for r := 0; r < n; r += 3 {
						m := min(2, n-r)
						s.d.Pack(w, r, s.in("rows", m, k, data[r*k:][:m*k]))
					}
				})
				pack("zeroed", "a new weight is zero", func(s *caseRun, w kernels.Weight) {
					s.d.Pack(w, 0, s.in("master", n, k, make([]float32, n*k)))
				})
			})
		}
	}
	fresh := execute(t, e.d, layouts[0], func(s *caseRun) {
		for _, wt := range e.tol.weights() {
			w, err := s.d.NewWeight(40, 35, wt)
			if err != nil {
				t.Fatalf("NewWeight: %v", err)
			}
			s.frees = append(s.frees, w.Free)
			s.d.Unpack(s.out(wt.String(), 40, 35, bound{}), w, 0)
		}
	})
	for _, o := range fresh {
		nearValues(t, "a new weight is zero", o.name, 35, bound{}, make([]float64, 40*35), wide(o.f32()))
	}
}

// quantized is rows of k values as PackHost takes them from Q8, half of them beyond what rounding gives: any byte is
// allowed.
func quantized(data []float32, k int) (rows []byte) {
	var q [num.Q8Group]int8
	for r := 0; r < len(data); r += k {
		var scales []byte
		for g := 0; g < k; g += num.Q8Group {
			x := data[r+g : r+min(g+num.Q8Group, k)]
			scales = binary.LittleEndian.AppendUint16(scales, num.QuantizeQ8(q[:], x))
			for i := range x {
				if r/k%2 == 1 {
					q[i] = int8(17*i - r - g)
				}
				rows = append(rows, byte(q[i]))
			}
		}
		rows = append(rows, scales...)
	}
	return rows
}

// quantized4 is the same for Q4: every head and byte is allowed, but an infinite step.
func quantized4(data []float32, k int) []byte {
	return makeRowsQ4(data, k, func(row, at int, head *uint16, q []uint8) {
		if row%2 == 1 {
			*head = *head&^127 | uint16(11*row*k+at)&127
			for i := range q {
				q[i] = uint8(7*i+row*k+at) & 15
			}
		}
	})
}

// testCache reads what KVWrite and KVCopy stored back through attention with one key, whose probability is 1.
func testCache(t *testing.T, e *env) {
	hd := heads{2, 2, 9}
	for _, kt := range types[:2] {
		t.Run(kt.String(), func(t *testing.T) {
			const layers, pages = 3, 5
			w, n := hd.g*hd.d, pages*kernels.PageSize
			run := func(d kernels.Device) []output {
				return execute(t, d, layouts[2], func(s *caseRun) {
					kv := s.cache(kernels.KVSpec{Layers: layers, Pages: pages, KVHeads: hd.g, HeadDim: hd.d, Type: kt})
					if kv.Spec() != (kernels.KVSpec{Layers: layers, Pages: pages, KVHeads: hd.g, HeadDim: hd.d,
						Type: kt}) || kv.Bytes() < int64(2*layers*n*w*kt.Size()) {
						t.Fatalf("cache is %+v, %d bytes", kv.Spec(), kv.Bytes())
					}
					var slots []int32
					for _, i := range source("slots").Perm(n) {
						slots = append(slots, int32(i))
					}
					for l := range layers {
						name := fmt.Sprintf("v%d", l)
						s.d.KVWrite(kv, l, s.in("k", n, w, normal("k"+name, n*w, 1)),
							s.in("v", n, w, normal(name, n*w, 1)), s.slots(kv, slots))
					}
					s.d.KVCopy(kv, []int32{4, 1}, []int32{0, 2})
					s.d.KVCopy(kv, nil, nil)
					for l := range layers {
						var first []kernels.Segment
						for p := range pages {
							first = append(first, kernels.Segment{Row: p, Len: 1, Pages: []int32{int32(p)}})
						}
						q := s.in("q", pages, hd.h*hd.d, normal("q", pages*hd.h*hd.d, 1))
						s.d.Attention(s.out(fmt.Sprintf("first of each page, layer %d", l), pages, hd.h*hd.d, bound{}),
							q, kernels.Tensor{}, kv, l, s.segments(kv, first), 1)
						all := []kernels.Segment{{Len: 5, Start: n - 5, Pages: []int32{0, 1, 2, 3, 4}}}
						b := rel(e.tol.F32)
						if kt == kernels.BF16 {
							b = rel(e.tol.BF16)
						}
						s.d.Attention(s.out(fmt.Sprintf("all, layer %d", l), 5, hd.h*hd.d, b), q, kernels.Tensor{}, kv,
							l, s.segments(kv, all), 0.3)
					}
				})
			}
			got := run(e.d)
			for i, want := range run(e.ref) {
				near(t, "KVWrite stores every slot of one layer, rounded to the cache's type; KVCopy copies pages of "+
					"all layers", want, got[i])
			}
		})
	}
}

// testEmpty calls every operation with no rows: nothing happens.
func testEmpty(t *testing.T, e *env) {
	outs := execute(t, e.d, layouts[1], func(s *caseRun) {
		w := s.weight(5, 4, kernels.F32, normal("w", 20, 1))
		kv := s.cache(kernels.KVSpec{Layers: 1, Pages: 1, KVHeads: 1, HeadDim: 4, Type: kernels.F32})
		x, five, none, heads := s.in("x", 0, 4, nil), s.in("five", 0, 5, nil), s.ints("ids", nil),
			s.in("lse", 0, 1, nil)
		y, y5 := s.out("y", 0, 4, bound{}), s.out("y5", 0, 5, bound{})
		dw := s.inout("dw", 5, 4, normal("dw", 20, 1), bound{})
		row, col := s.vec("row", 1, 4, normal("row", 4, 1)), s.vec("col", 0, 1, nil)
		one, slots := s.vecOut("one", 1, 4, normal("one", 4, 1), bound{}),
			s.inout("slots", kernels.PageSize, 4, normal("slots", kernels.PageSize*4, 1), bound{})
		empty := s.batch(kernels.Layout{}, kv)
		s.d.Embed(y, w, empty)
		s.d.EmbedBackward(dw, x, empty)
		s.d.RMSNorm(y, x, row, 1e-5, kernels.Tensor{})
		s.d.RMSNormBackward(y, one, x, x, row, col, true)
		s.d.MatMul(y5, x, w, kernels.Epilogue{})
		s.d.MatMulDX(y, five, w, true, 1)
		s.d.MatMulDW(dw, five, x, kernels.BF16)
		s.d.BiasBackward(one, x)
		s.d.RoPE(y, 1, empty, s.in("table", 3, 4, normal("table", 12, 1)), false)
		s.d.KVWrite(kv, 0, x, x, empty)
		s.d.Attention(y, x, kernels.Tensor{}, kv, 0, empty, 1)
		s.d.AttentionBackward(y, slots, s.inout("dv", kernels.PageSize, 4, normal("dv", kernels.PageSize*4, 1),
			bound{}), x, x, x, heads, kv, 0, empty, 1)
		s.d.SwiGLU(y, x, x)
		s.d.SwiGLUBackward(y, s.out("dup", 0, 4, bound{}), x, x, x)
		s.d.Gather(y, dw, none)
		s.d.ScatterAdd(dw, x, none)
		s.d.LogProb(kernels.LogProbs{}, x, w, none, 1)
		s.d.LogProbBackward(y, dw, x, w, none, kernels.LogProbs{LSE: col}, col, kernels.Tensor{}, 1)
		s.d.Sample(s.put("ids", kernels.I32, 0, 1, s.packed(), nil, true, bound{}), kernels.LogProbs{}, five, empty, 0)
		s.d.Axpy(y, 1, x)
		s.d.Copy(y, x)
		s.d.Zero(y)
	})
	for _, o := range outs {
		names := map[string]int{"dw": 20, "one": 4, "slots": kernels.PageSize * 4, "dv": kernels.PageSize * 4}
		if n := names[o.name]; n > 0 {
			nearValues(t, "zero rows change nothing", o.name, o.cols, bound{}, wide(normal(o.name, n, 1)),
				wide(o.f32()))
		}
	}
}

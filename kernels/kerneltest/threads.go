package kerneltest

import (
	"runtime"
	"testing"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// testThreads opens a device on one thread of the operating system and makes every step of a pass on another one.
func testThreads(t *testing.T, e *env) {
	run := func(on func(f func())) []output {
		var d kernels.Device
		on(func() { d = mustOpen(t, e.open) })
		outs := smallPass(t, d, on)
		on(func() { mustClose(t, d) })
		return outs
	}
	here := run(func(f func()) { f() })
	there := run(func(f func()) {
		elsewhere(f)
		if t.Failed() {
			t.FailNow()
		}
	})
	sameBits(t, "a device is used by one goroutine at a time, on whatever thread of the operating system it runs", here,
		there)
}

// elsewhere runs f on a thread of the operating system that nothing else runs on: it ends with the goroutine.
func elsewhere(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		f()
	}()
	<-done
}

// smallPass is a layer of a model and the draw of an id, each step by on.
func smallPass(t *testing.T, d kernels.Device, on func(f func())) (outs []output) {
	const n, v = 5, 40
	hd := heads{2, 1, 16}
	c, w := hd.h*hd.d, hd.g*hd.d
	s := &caseRun{t: t, d: d, layout: layouts[1]}
	var x, y, k, q, logits kernels.Tensor
	var embedding, output kernels.Weight
	var kv kernels.KV
	var b kernels.Batch
	zeros := func(name string, rows, cols int) kernels.Tensor {
		return s.inout(name, rows, cols, make([]float32, rows*cols), bound{})
	}
	for _, step := range []func(){
		func() { x, y, logits = zeros("x", n, c), zeros("y", n, c), zeros("logits", n, v) },
		func() { k, q = zeros("k", n, w), zeros("q", n, c) },
		func() { embedding = s.weight(v, c, kernels.F32, normal("embedding", v*c, 1)) },
		func() { output = s.weight(w, c, kernels.BF16, normal("output", w*c, 1)) },
		func() {
			kv = s.cache(kernels.KVSpec{Layers: 1, Pages: 2, KVHeads: hd.g, HeadDim: hd.d, Type: kernels.F32})
		},
		func() {
			l := kernels.Layout{IDs: below("ids", n, v), Pos: []int32{0, 1, 2, 3, 4},
				Slots: []int32{32, 33, 34, 35, 36}}
			l.Segs = []kernels.Segment{{Len: n, Pages: []int32{1}}}
			l.Rows, l.Draws = []int32{4}, []kernels.Sampling{{InvTemp: 1, TopK: 9, Stream: 3}}
			b = s.batch(l, kv)
		},
		func() { d.Embed(x, embedding, b) },
		func() { d.RMSNorm(q, x, s.vec("w", 1, c, normal("w", c, 1)), 1e-5, kernels.Tensor{}) },
		func() { d.MatMul(k, q, output, kernels.Epilogue{}) },
		func() { d.RoPE(q, hd.h, b, s.in("table", 9, hd.d, angles(9, hd.d)), false) },
		func() { d.KVWrite(kv, 0, k, k, b) },
		func() { d.Attention(y, q, kernels.Tensor{}, kv, 0, b, 0.25) },
		func() { d.Axpy(x, 1, y) },
		func() { d.MatMul(logits, x, embedding, kernels.Epilogue{}) },
		func() {
			ids := s.put("ids", kernels.I32, 1, 1, s.packed(), nil, true, bound{})
			d.Sample(ids, kernels.LogProbs{Logp: s.vecOut("logp", 1, 1, nil, bound{})}, logits.RowRange(n-1, 1), b, 0)
		},
		func() {
			if err := d.Sync(); err != nil {
				t.Fatalf("Sync: %v", err)
			}
		},
	} {
		on(step)
	}
	for _, h := range s.held {
		on(func() {
			if o := s.check(h); h.out {
				outs = append(outs, o)
			}
		})
	}
	for _, f := range s.frees {
		on(f)
	}
	return outs
}

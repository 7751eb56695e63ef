package main

import (
	"math"
	"math/rand/v2"
	"unsafe"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// noise is n random numbers of variance 1, made quickly: a million of them, again and again.
func noise(n int, seed uint64) []float32 {
	const block = 1<<20 + 7 // no row begins like another
	r := rand.New(rand.NewPCG(seed, 7))
	out := make([]float32, n)
	for i := range out[:min(n, block)] {
		out[i] = float32(r.NormFloat64())
	}
	for i := block; i < n; i += block {
		copy(out[i:], out[:block])
	}
	return out
}

// different is how many values have other bits.
func different(a, b []float32) (n int) {
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			n++
		}
	}
	return n
}

func zeros(x []float32) (n int) {
	for _, v := range x {
		if v == 0 {
			n++
		}
	}
	return n
}

// distance is the largest difference as a share of the largest value of want; infinite where something is not a number.
func distance(want, got []float32) float64 {
	largest, far := 0.0, 0.0
	for i := range want {
		a, b := float64(want[i]), float64(got[i])
		if math.IsNaN(a) || math.IsNaN(b) {
			return math.MaxFloat64
		}
		largest, far = max(largest, math.Abs(a)), max(far, math.Abs(a-b))
	}
	if far == 0 {
		return 0
	}
	return far / max(largest, math.SmallestNonzeroFloat32)
}

// room holds what a check allocates, and the first error of doing so.
type room struct {
	err   error
	frees []func()
}

func (r *room) free() {
	for _, f := range r.frees {
		f()
	}
}

func (r *room) tensor(d kernels.Device, t kernels.DType, rows, cols int) (x kernels.Tensor) {
	if r.err == nil {
		if x, r.err = kernels.NewTensor(d, t, rows, cols); r.err == nil {
			r.frees = append(r.frees, x.Buf.Free)
		}
	}
	return x
}

// weight is a random matrix [n, k].
func (r *room) weight(d kernels.Device, n, k int, t kernels.DType) (w kernels.Weight) {
	if r.err != nil {
		return nil
	}
	if w, r.err = d.NewWeight(n, k, t); r.err != nil {
		return nil
	}
	r.frees = append(r.frees, w.Free)
	step := max(1, min(n, 1<<24/k))
	rows := noise(step*k, 2)
	for i := range rows {
		rows[i] /= float32(math.Sqrt(float64(k)))
	}
	for at := 0; at < n; at += step {
		part := rows[:min(step, n-at)*k]
		d.PackHost(w, at, bytesOf(part), kernels.F32)
	}
	return w
}

// bytesOf sees numbers as bytes.
func bytesOf(x []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}

package kerneltest

import (
	"bytes"
	"fmt"
	"math"
	"testing"
)

// bound is how far an element may be from its reference: abs + rel * the largest finite element of the tensor, and
// where rel is not 0 the smallest normal F32 besides. The zero bound asks for equality.
type bound struct{ abs, rel float64 }

// rel is a bound relative to the largest element.
func rel(x float64) bound { return bound{rel: x} }

// abs is an absolute bound.
func abs(x float64) bound { return bound{abs: x} }

// near fails unless got is want within the bound of got. NaN goes with NaN, an infinity with itself.
func near(t testing.TB, rule string, want, got output) {
	t.Helper()
	if got.rows != want.rows || got.cols != want.cols || len(got.data) != len(want.data) {
		t.Fatalf("%s: [%d, %d], want [%d, %d]", want.name, got.rows, got.cols, want.rows, want.cols)
	}
	n := want.rows * want.cols
	w, g := make([]float64, n), make([]float64, n)
	for i := range w {
		w[i], g[i] = want.value(i), got.value(i)
	}
	nearValues(t, rule, fmt.Sprintf("%s[%d, %d]", want.name, want.rows, want.cols), want.cols, got.bound, w, g)
	for i := range n {
		if size := want.dtype.Size(); size == 4 && bytes.Equal(got.data[4*i:4*i+4], canary) &&
			!bytes.Equal(want.data[4*i:4*i+4], canary) {
			t.Fatalf("%s element (%d, %d) was not written\nrule: an output that is not added to is overwritten whole",
				want.name, i/want.cols, i%want.cols)
		}
	}
}

// nearValues compares two lists of numbers and shows the worst pair.
func nearValues(t testing.TB, rule, name string, cols int, b bound, want, got []float64) {
	t.Helper()
	var scale float64
	for _, w := range want {
		if a := math.Abs(w); a > scale && !math.IsInf(a, 0) {
			scale = a
		}
	}
	limit := b.abs + b.rel*scale
	if b.rel > 0 {
		limit += 0x1p-126
	}
	worst, at, wrong := -1.0, -1, 0
	for i, w := range want {
		off := distance(w, got[i])
		if off > limit {
			if wrong++; off > worst {
				worst, at = off, i
			}
		}
	}
	if at >= 0 {
		t.Fatalf("%s: %d of %d elements are off by more than %.3g; the worst, (%d, %d), is %v, want %v (off by "+
			"%.3g)\nrule: %s",
			name, wrong, len(want), limit, at/max(1, cols), at%max(1, cols), got[at], want[at], worst, rule)
	}
}

// distance is |a-b|, 0 for equal infinities or two NaNs, infinite where only one is finite.
func distance(a, b float64) float64 {
	switch {
	case a == b || math.IsNaN(a) && math.IsNaN(b):
		return 0
	case math.IsNaN(a) || math.IsNaN(b) || math.IsInf(a, 0) || math.IsInf(b, 0):
		return math.Inf(1)
	}
	return math.Abs(a - b)
}

// sameBits fails unless all outputs are equal byte for byte.
func sameBits(t testing.TB, rule string, want, got []output) {
	t.Helper()
	if len(want) != len(got) {
		t.Fatalf("%d outputs, want %d", len(got), len(want))
	}
	for i := range want {
		bitsOf(t, rule, want[i], got[i])
	}
}

// bitsOf fails unless the two outputs are equal byte for byte. NaNs may have any sign and payload.
func bitsOf(t testing.TB, rule string, want, got output) {
	t.Helper()
	if bytes.Equal(want.data, got.data) {
		return
	}
	if len(want.data) != len(got.data) {
		t.Fatalf("%s: %d bytes, want %d", want.name, len(got.data), len(want.data))
	}
	size := want.dtype.Size()
	wrong, first := 0, -1
	for i := range want.rows * want.cols {
		w, g := want.value(i), got.value(i)
		if !bytes.Equal(want.data[i*size:(i+1)*size], got.data[i*size:(i+1)*size]) &&
			!(math.IsNaN(w) && math.IsNaN(g)) {
			if wrong++; first < 0 {
				first = i
			}
		}
	}
	if first >= 0 {
		t.Fatalf("%s[%d, %d]: %d elements differ in bits; the first, (%d, %d), is %v, want %v (off by %.3g)\nrule: %s",
			want.name, want.rows, want.cols,
			wrong, first/want.cols, first%want.cols, got.value(first), want.value(first),
			math.Abs(got.value(first)-want.value(first)), rule)
	}
}

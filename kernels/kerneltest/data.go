package kerneltest

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/zerosearch-go/zerosearch/num"
)

// source is a generator seeded by a name: the same numbers on every device and in every run.
func source(name string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(name))
	return rand.New(rand.NewPCG(h.Sum64(), 1))
}

// made keeps what takes long to make: every device of every case asks for the same numbers.
var made sync.Map

// once returns a copy of what make made the first time that the key was asked for.
func once(key string, make func() []float32) []float32 {
	x, ok := made.Load(key)
	if !ok {
		x = make()
		made.Store(key, x)
	}
	return slices.Clone(x.([]float32))
}

// normal is n numbers of a normal distribution with the given deviation.
func normal(name string, n int, deviation float64) []float32 {
	return once(fmt.Sprintf("normal %s %d %v", name, n, deviation), func() []float32 {
		r := source(name)
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(r.NormFloat64() * deviation)
		}
		return x
	})
}

// rowsQ4 is data [?, k] as rows of Q4, as PackHost takes them.
func rowsQ4(data []float32, k int) []byte {
	key := [2]any{sha256.Sum256(raw(data)), k}
	rows, ok := made.Load(key)
	if !ok {
		rows = makeRowsQ4(data, k, func(int, int, *uint16, []uint8) {})
		made.Store(key, rows)
	}
	return slices.Clone(rows.([]byte))
}

// makeRowsQ4 is rowsQ4 with groups that change has seen: the row, its element where the group begins, head and values.
func makeRowsQ4(data []float32, k int, change func(row, at int, head *uint16, q []uint8)) (rows []byte) {
	for r := 0; r < len(data); r += k {
		var heads []byte
		for g := 0; g < k; g += num.Q4Group {
			var q [num.Q4Group]uint8
			x := data[r+g : r+min(g+num.Q4Group, k)]
			head := num.QuantizeQ4(q[:len(x)], x)
			change(r/k, g, &head, q[:len(x)])
			heads = binary.LittleEndian.AppendUint16(heads, head)
			for i := range num.Q4Group / 2 {
				rows = append(rows, q[i]|q[i+num.Q4Group/2]<<4)
			}
		}
		rows = append(rows, heads...)
	}
	return rows
}

// below is n numbers in [0, limit).
func below(name string, n, limit int) []int32 {
	r := source(name)
	x := make([]int32, n)
	for i := range x {
		x[i] = int32(r.IntN(limit))
	}
	return x
}

// spiced is normal with every 37th number or so replaced by NaN, infinities, zeros of both signs and very large or
// small ones.
func spiced(name string, n int) []float32 {
	x, r := normal(name, n, 1), source(name+" spice")
	spice := []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), 0,
		float32(math.Copysign(0, -1)), 1e30, -1e30, 0x1p-126, 0x1p-120}
	for i := r.IntN(37); i < n; i += 1 + r.IntN(73) {
		x[i] = spice[r.IntN(len(spice))]
	}
	return x
}

// tiny is numbers around the smallest normal, half of them denormals.
func tiny(name string, n int) []float32 {
	x := normal(name, n, 1)
	for i := range x {
		x[i] *= 0x1p-126
	}
	return x
}

// rows picks rows of x [?, cols].
func rows(x []float32, cols int, at []int) []float32 {
	var y []float32
	for _, r := range at {
		y = append(y, x[r*cols:][:cols]...)
	}
	return y
}

// pick is the numbers of x at the given places.
func pick[E any](x []E, at []int) []E {
	var y []E
	for _, i := range at {
		y = append(y, x[i])
	}
	return y
}

// upTo is 0, 1 ... n-1.
func upTo(n int) []int {
	x := make([]int, n)
	for i := range x {
		x[i] = i
	}
	return x
}

// wide is x in float64.
func wide(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// bf16 is x rounded to BF16.
func bf16(x []float32) []float32 {
	y := make([]float32, len(x))
	num.RoundBF16Slice(y, x)
	return y
}

// angles is a RoPE table [positions, dim]: cosines, then sines.
func angles(positions, dim int) []float32 {
	x := make([]float32, positions*dim)
	for p := range positions {
		for i := range dim / 2 {
			a := float64(p) * math.Pow(10000, -2*float64(i)/float64(dim))
			x[p*dim+i], x[p*dim+dim/2+i] = float32(math.Cos(a)), float32(math.Sin(a))
		}
	}
	return x
}

var nan, inf = float32(math.NaN()), float32(math.Inf(1))

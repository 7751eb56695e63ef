package ref

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
)

func TestTwoGoroutinesAreCaught(t *testing.T) {
	d := New().(*device)
	x, err := kernels.NewTensor(d, kernels.F32, 1, 1)
	require.NoError(t, err)
	first := d.begin("MatMul")
	caught := make(chan any)
	go func() {
		defer func() { caught <- recover() }()
		d.Zero(x)
	}()
	require.Contains(t, <-caught, "Zero: called while another goroutine")
	first.end()
	require.NotPanics(t, func() { d.Zero(x) })
}

// By hand: 2^24 + 1 rounds to 2^24 (ties to even), so whether a chain keeps the two ones says in which order it adds.
func TestChainOrder(t *testing.T) {
	big := float32(1 << 24)
	ones := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = 1
		}
		return x
	}
	require.Equal(t, big, chain(kernels.F32, 0, []float32{big, 1, 1}, ones(3)), "ascending: each 1 is lost")
	require.Equal(t, big+2, chain(kernels.F32, 0, []float32{1, 1, big}, ones(3)), "ascending: the ones are added first")
	require.Equal(t, big, chain(kernels.F32, 1, []float32{big, 1}, ones(2)),
		"from the old value: 1 + 2^24 = 2^24, + 1 = 2^24")

	require.Equal(t, big+2, chain(kernels.BF16, 1, []float32{big, 1}, ones(2)),
		"a pair takes the odd one first: 1 + 1, then 2^24")
	require.Equal(t, big, chain(kernels.BF16, 1, []float32{1, big}, ones(2)),
		"a pair takes the odd one first: 1 + 2^24, then 1")
	require.Equal(t, big+2, chain(kernels.BF16, 0, []float32{1, 1, big}, ones(3)), "an odd end is paired with 0")
}

func TestChainDenormals(t *testing.T) {
	tiny := float32(0x1p-130)
	require.Equal(t, tiny, chain(kernels.F32, 0, []float32{tiny}, []float32{1}), "F32 keeps denormals")
	require.Zero(t, chain(kernels.BF16, 0, []float32{tiny}, []float32{0x1p100}), "BF16 takes a denormal operand as 0")
	require.Zero(t, chain(kernels.BF16, tiny, []float32{0}, []float32{0}), "BF16 takes a denormal sum as 0")
	require.Zero(t, chain(kernels.BF16, 0, []float32{0x1p-64}, []float32{0x1p-66}), "BF16 flushes a denormal result")
	require.Equal(t, float32(0x1p-126), chain(kernels.BF16, 0, []float32{0x1p-63}, []float32{0x1p-63}),
		"the smallest normal stays")
	require.Equal(t, uint32(0x80000000), math.Float32bits(num.FlushF32(-tiny)), "to the zero of its sign")
}

//go:build !nogpu && linux

package cuda

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/fake"
	"github.com/zerosearch-go/zerosearch/num"
)

// TestPackInChunks: a weight is loaded in chunks, each a copy and a kernel or two, without waiting for the GPU.
func TestPackInChunks(t *testing.T) {
	before := packChunk
	defer func() { packChunk = before }()
	packChunk = 1 << 10
	m := fake.New(fake.A100())
	d, err := openOn(m, 0)
	require.NoError(t, err)
	const n, k = 50, 40
	src, want := make([]uint16, n*k), make([]float32, n*k)
	for i := range src {
		want[i] = float32(i%251) - 99
	}
	num.BF16Slice(src, want)
	w, err := d.NewWeight(n, k, kernels.BF16)
	require.NoError(t, err)
	x, err := kernels.NewTensor(d, kernels.F32, n, k)
	require.NoError(t, err)
	copies := m.Calls["MemcpyHtoD"]
	bytes := make([]byte, 2*n*k)
	for i, b := range src {
		bytes[2*i], bytes[2*i+1] = byte(b), byte(b>>8)
	}
	d.PackHost(w, 0, bytes, kernels.BF16)
	clear(bytes)
	require.Equal(t, ceil(n, packChunk/(2*k)), m.Calls["MemcpyHtoD"]-copies)
	require.Zero(t, m.Calls["StreamSynchronize"]+m.Calls["EventSynchronize"])
	require.Equal(t, 1, m.Calls["MemHostAlloc"])
	d.Unpack(x, w, 0)
	got := make([]float32, n*k)
	require.NoError(t, kernels.Download(d, got, x))
	require.Equal(t, want, got)
	w.Free()
	x.Buf.Free()
	require.NoError(t, d.Close())
	require.NoError(t, m.Check())
}

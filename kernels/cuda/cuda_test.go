package cuda

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/sim"
	"github.com/zerosearch-go/zerosearch/kernels/kerneltest"
)

// simulated is a device on a GPU that is simulated; it must have freed everything when it is closed.
func simulated() (kernels.Device, error) {
	d, err := Open("cuda:0", sim.New())
	if err != nil {
		return nil, err
	}
	return d, nil
}

// tolerances of a device that sums in an order of its own and rounds operands as tensor cores take them.
var tolerances = kerneltest.Tolerances{Chain: 3e-6, F32: 3e-6, BF16: 8e-3, LogProb: 3e-5, Draw: 1e-5}

func TestFed(t *testing.T) {
	d, err := simulated()
	require.NoError(t, err)
	b, err := d.NewBatch(kernels.BatchSpec{Tokens: 3})
	require.NoError(t, err)
	ids, err := kernels.NewTensor(d, kernels.I32, 4, 1)
	require.NoError(t, err)
	kernels.Upload(d, ids, []int32{10, 11, 12, 13})
	d.SetBatch(b, &kernels.Layout{IDs: []int32{1, 2, 3}, Pos: []int32{0, 0, 0}}, nil, ids, []kernels.Fed{{Row: 2, From: 0}, {Row: 0, From: 3}})
	got := make([]int32, 3)
	require.NoError(t, kernels.Download(d, got, b.IDs()))
	require.Equal(t, []int32{13, 2, 10}, got)
	b.Free()
	ids.Buf.Free()
	require.NoError(t, d.Close())
}

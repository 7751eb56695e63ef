//go:build !nogpu && linux

package cuda

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/fake"
	"github.com/zerosearch-go/zerosearch/kernels/kerneltest"
)

// TestConformance runs the suite through the driver's interface, where everything that is queued happens late. Each
// device that the suite opens is on a GPU of its own, so that it can lose one.
func TestConformance(t *testing.T) {
	m, tol := fake.New(), tolerances
	tol.Slow = true
	gpus := map[kernels.Device]*fake.GPU{}
	tol.Break = func(d kernels.Device) { gpus[d].Lose() }
	kerneltest.Run(t, func() (kernels.Device, error) {
		g := m.Add(fake.A100())
		d, err := openOn(m, len(gpus))
		if err != nil {
			return nil, err
		}
		gpus[d] = g
		return d, nil
	}, tol)
	require.NoError(t, m.Check())
}

// TestFailedAllocations: whichever allocation fails when a device is opened and used, there is one error, and nothing
// is left behind.
func TestFailedAllocations(t *testing.T) {
	for n := 1; ; n++ {
		m := fake.New(fake.A100())
		failed := false
		m.Fail = func(function string, i int) int {
			if function == "MemAllocAsync" && i == n {
				failed = true
				return fake.OutOfMemory
			}
			return 0
		}
		dev, err := openOn(m, 0)
		require.NoError(t, err)
		err = useMemory(dev)
		require.Equal(t, failed, err != nil)
		if failed {
			require.ErrorContains(t, err, "error 2")
			require.ErrorContains(t, err, "use a smaller model")
		}
		require.NoError(t, dev.Close())
		require.Empty(t, m.Left())
		if !failed {
			require.Greater(t, n, 5)
			return
		}
	}
}

// useMemory allocates one of each kind, uses scratch, and frees all.
func useMemory(d *Device) error {
	x, err := kernels.NewTensor(d, kernels.F32, 4, 8)
	if err != nil {
		return err
	}
	defer x.Buf.Free()
	w, err := d.NewWeight(4, 8, kernels.Q8)
	if err != nil {
		return err
	}
	defer w.Free()
	c, err := d.NewKV(kernels.KVSpec{Layers: 1, Pages: 2, KVHeads: 1, HeadDim: 8, Type: kernels.BF16})
	if err != nil {
		return err
	}
	defer c.Free()
	b, err := d.NewBatch(kernels.BatchSpec{Tokens: 4})
	if err != nil {
		return err
	}
	defer b.Free()
	d.PackHost(w, 0, make([]byte, 4*8*2), kernels.BF16)
	d.KVCopy(c, []int32{0}, []int32{1})
	d.Unpack(x, w, 0)
	return d.Sync()
}

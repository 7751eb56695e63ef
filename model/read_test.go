package model

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// fetching counts downloads.
type fetching struct {
	kernels.Device
	n int
}

func (d *fetching) Fetch(dst []byte, src kernels.Tensor) kernels.Ticket {
	d.n++
	return d.Device.Fetch(dst, src)
}

// Copies of a model, and the merge of an adapter, stay on the device.
func TestCloneAndMergeStayOnTheDevice(t *testing.T) {
	smallChunks(t)
	eachDevice(t, func(t *testing.T, inner kernels.Device) {
		dev := &fetching{Device: inner}
		for _, o := range []Options{{DType: kernels.F32}, {DType: kernels.BF16, Trainable: true}, {DType: kernels.Q8}} {
			m := random(t, dev, tinyConfigs()["qwen2"], o, 1)
			a := freshAdapter(t, m, AdapterConfig{R: 2, Alpha: 3}, false, 2)
			before := values(t, m)
			dev.n = 0
			k, err := m.Clone(o)
			require.NoError(t, err)
			t.Cleanup(k.Close)
			require.NoError(t, m.Merge(a))
			require.Zero(t, dev.n, o.DType)
			require.Equal(t, before, values(t, k), o.DType)
			require.NotEqual(t, before, values(t, m), o.DType)
		}
	})
}

package ref_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
)

// tensor allocates a tensor of d that the test frees at its end, unless it did so itself.
func tensor(t *testing.T, d kernels.Device, dt kernels.DType, rows, cols int) kernels.Tensor {
	t.Helper()
	x, err := kernels.NewTensor(d, dt, rows, cols)
	require.NoError(t, err)
	return x
}

func TestMisuseIsCaught(t *testing.T) {
	for name, c := range map[string]struct {
		message string
		do      func(t *testing.T, d kernels.Device)
	}{
		"use after free": {"allocated at strict_test.go:", func(t *testing.T, d kernels.Device) {
			x := tensor(t, d, kernels.F32, 2, 2)
			x.Buf.Free()
			d.Zero(x)
		}},
		"double free": {"second Free", func(t *testing.T, d kernels.Device) {
			x := tensor(t, d, kernels.F32, 2, 2)
			x.Buf.Free()
			x.Buf.Free()
		}},
		"beyond the buffer": {"f32[2, 3] at element 1, beyond its buffer of 24 bytes",
			func(t *testing.T, d kernels.Device) {
				x := tensor(t, d, kernels.F32, 2, 3)
				x.Off = 1
				d.Zero(x)
			}},
		"rows that overlap": {"stride 2", func(t *testing.T, d kernels.Device) {
			x := tensor(t, d, kernels.F32, 2, 3)
			x.Stride = 2
			d.Zero(x)
		}},
		"another device's memory": {"belongs to another device", func(t *testing.T, d kernels.Device) {
			d.Zero(tensor(t, ref.New(), kernels.F32, 1, 1))
		}},
		"none": {"x is none", func(t *testing.T, d kernels.Device) {
			d.Axpy(tensor(t, d, kernels.F32, 1, 1), 1, kernels.Tensor{})
		}},
		"shapes": {"Axpy: y is f32[2, 2], want f32[2, 3]", func(t *testing.T, d kernels.Device) {
			d.Axpy(tensor(t, d, kernels.F32, 2, 2), 1, tensor(t, d, kernels.F32, 2, 3))
		}},
		"types": {"idx is f32[2, 1], want i32[2, 1]", func(t *testing.T, d kernels.Device) {
			d.Gather(tensor(t, d, kernels.F32, 2, 4), tensor(t, d, kernels.F32, 4, 4), tensor(t, d, kernels.F32, 2, 1))
		}},
		"another batch's rows": {"x has 3 rows, the batch 2 tokens", func(t *testing.T, d kernels.Device) {
			d.RoPE(tensor(t, d, kernels.F32, 3, 4), 1, batchOf(t, d, kernels.Layout{Pos: []int32{0, 1}}, nil),
				tensor(t, d, kernels.F32, 4, 4), false)
		}},
		"output over input": {"y, f32[2, 2] stride 3 at element 0, overlaps f32[2, 2] stride 3 at element 1",
			func(t *testing.T, d kernels.Device) {
				x := tensor(t, d, kernels.F32, 2, 3)
				d.Axpy(x.ColRange(0, 2), 1, x.ColRange(1, 2))
			}},
		"an id beyond the table": {"ids[1] = 3 of 3", func(t *testing.T, d kernels.Device) {
			w, err := d.NewWeight(3, 4, kernels.F32)
			require.NoError(t, err)
			d.Embed(tensor(t, d, kernels.F32, 2, 4), w, batchOf(t, d, kernels.Layout{IDs: []int32{2, 3}}, nil))
		}},
		"a row of two segments": {"row 1 belongs to two segments", func(t *testing.T, d kernels.Device) {
			kv, err := d.NewKV(kernels.KVSpec{Layers: 1, Pages: 2, KVHeads: 1, HeadDim: 2, Type: kernels.F32})
			require.NoError(t, err)
			batchOf(t, d, kernels.Layout{IDs: []int32{0, 0, 0},
				Segs: []kernels.Segment{{Row: 0, Len: 2, Pages: []int32{0}}, {Row: 1, Len: 1, Pages: []int32{1}}}}, kv)
		}},
		"a page too few": {"start 20, 1 pages", func(t *testing.T, d kernels.Device) {
			kv, err := d.NewKV(kernels.KVSpec{Layers: 1, Pages: 2, KVHeads: 1, HeadDim: 2, Type: kernels.F32})
			require.NoError(t, err)
			batchOf(t, d, kernels.Layout{Segs: []kernels.Segment{{Row: 0, Len: 13, Start: 20, Pages: []int32{0}}}}, kv)
		}},
		"a weight after its free": {"weight, allocated at strict_test.go:", func(t *testing.T, d kernels.Device) {
			w, err := d.NewWeight(3, 4, kernels.BF16)
			require.NoError(t, err)
			w.Free()
			d.MatMul(tensor(t, d, kernels.F32, 1, 3), tensor(t, d, kernels.F32, 1, 4), w, kernels.Epilogue{})
		}},
		"a page copied onto itself": {"page 1", func(t *testing.T, d kernels.Device) {
			kv, err := d.NewKV(kernels.KVSpec{Layers: 1, Pages: 2, KVHeads: 1, HeadDim: 2, Type: kernels.F32})
			require.NoError(t, err)
			d.KVCopy(kv, []int32{1}, []int32{1})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() { require.Contains(t, recover(), c.message) }()
			c.do(t, ref.New())
		})
	}
}

func batchOf(t *testing.T, d kernels.Device, l kernels.Layout, kv kernels.KV) kernels.Batch {
	b, err := kernels.BatchOf(d, l, kv)
	require.NoError(t, err)
	return b
}

// Columns of one matrix that do not meet are no overlap.
func TestInterleavedColumns(t *testing.T) {
	d := ref.New()
	x := tensor(t, d, kernels.F32, 3, 4)
	kernels.Upload(d, x, []float32{1, 2, 0, 0, 3, 4, 0, 0, 5, 6, 0, 0})
	d.Axpy(x.ColRange(2, 2), 2, x.ColRange(0, 2))
	got := make([]float32, 12)
	require.NoError(t, kernels.Download(d, got, x))
	require.Equal(t, []float32{1, 2, 2, 4, 3, 4, 6, 8, 5, 6, 10, 12}, got)
}

func TestLeaks(t *testing.T) {
	d := ref.New()
	require.NoError(t, d.Close())
	x := tensor(t, d, kernels.F32, 2, 2)
	w, err := d.NewWeight(1, 1, kernels.F32)
	require.NoError(t, err)
	require.Equal(t, 2, ref.Live(d))
	require.ErrorContains(t, d.Close(), "2 not freed: buffer of strict_test.go:")
	x.Buf.Free()
	w.Free()
	require.Zero(t, ref.Live(d))
	require.NoError(t, d.Close())
}

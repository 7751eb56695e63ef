//go:build !nogpu && linux

package cuda

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/fake"
	"github.com/zerosearch-go/zerosearch/kernels/kerneltest"
)

// open is a device on a GPU of the fake driver. Its Close fails if something was not given back, or if a kernel failed.
func open() (kernels.Device, error) {
	m := fake.New(fake.A100())
	d, err := openOn(m, 0)
	if err != nil {
		return nil, err
	}
	return checked{d, m}, nil
}

// openOn opens a device on GPU i of m.
func openOn(m *fake.Machine, i int) (*Device, error) {
	g, err := m.Open(i)
	if err != nil {
		return nil, err
	}
	return Open(fmt.Sprint("cuda:", i), g)
}

type checked struct {
	*Device
	m *fake.Machine
}

func (d checked) Close() error { return errors.Join(d.Device.Close(), d.m.Check()) }

var tolerances = kerneltest.CUDA

func TestFed(t *testing.T) {
	d, err := open()
	require.NoError(t, err)
	b, err := d.NewBatch(kernels.BatchSpec{Tokens: 3})
	require.NoError(t, err)
	ids, err := kernels.NewTensor(d, kernels.I32, 4, 1)
	require.NoError(t, err)
	kernels.Upload(d, ids, []int32{10, 11, 12, 13})
	d.SetBatch(b, &kernels.Layout{IDs: []int32{1, 2, 3}, Pos: []int32{0, 0, 0}}, nil, ids,
		[]kernels.SampledInput{{Row: 2, From: 0}, {Row: 0, From: 3}})
	got := make([]int32, 3)
	require.NoError(t, kernels.Download(d, got, b.IDs()))
	require.Equal(t, []int32{13, 2, 10}, got)
	b.Free()
	ids.Buf.Free()
	require.NoError(t, d.Close())
}

package model

import (
	"fmt"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// arena allocates many tensors in one buffer. First add them all, then call alloc.
type arena struct {
	bytes int64
	items []arenaItem
}

type arenaItem struct {
	dst *kernels.Tensor
	t   kernels.Tensor // Off in bytes
}

func newArena() *arena { return &arena{} }

// add reserves a dense [rows, cols] tensor, aligned to 64 bytes, which alloc will put into dst.
func (a *arena) add(dst *kernels.Tensor, t kernels.DType, rows, cols int) {
	a.items = append(a.items, arenaItem{dst, kernels.Mat(nil, t, int(a.bytes), rows, cols)})
	a.bytes += (int64(rows)*int64(cols)*int64(t.Size()) + 63) / 64 * 64
}

// column is a part of a wider tensor.
type column struct {
	dst  *kernels.Tensor
	cols int
}

// columns reserves F32 tensors [rows, cols] that are adjacent columns of one wider tensor.
func (a *arena) columns(rows int, to ...column) {
	all := 0
	for _, c := range to {
		all += c.cols
	}
	for i, at := 0, int(a.bytes); i < len(to); i++ {
		t := kernels.Mat(nil, kernels.F32, at, rows, to[i].cols)
		t.Stride = all
		a.items = append(a.items, arenaItem{to[i].dst, t})
		at += 4 * to[i].cols
	}
	a.bytes += (4*int64(rows)*int64(all) + 63) / 64 * 64
}

// alloc allocates the zeroed buffer and sets the tensors. The caller frees the buffer.
func (a *arena) alloc(dev kernels.Device) (kernels.Buffer, error) {
	buf, err := dev.Alloc(a.bytes)
	if err != nil {
		return nil, fmt.Errorf("allocating %d bytes on %s: %w", a.bytes, dev.Name(), err)
	}
	for _, it := range a.items {
		t := it.t
		t.Buf, t.Off = buf, t.Off/t.Type.Size()
		*it.dst = t
	}
	return buf, nil
}

package ref

import "github.com/zerosearch-go/zerosearch/kernels"

// Gather: dst[b] = src[idx[b]].
func (d *device) Gather(dt, st, it kernels.Tensor) {
	c := d.begin("Gather")
	defer c.end()
	src := c.f32("src", st, -1, -1)
	dst := c.f32("dst", dt, -1, src.cols)
	c.apart("dst", dt, st)
	for b, i := range c.ints("idx", it, dst.rows, src.rows) {
		copy(dst.row(b), src.row(int(i)))
	}
}

// ScatterAdd: dst[idx[b]] += src[b], b ascending.
func (d *device) ScatterAdd(dt, st, it kernels.Tensor) {
	c := d.begin("ScatterAdd")
	defer c.end()
	src := c.f32("src", st, -1, -1)
	dst := c.f32("dst", dt, -1, src.cols)
	c.apart("dst", dt, st)
	for b, i := range c.ints("idx", it, src.rows, dst.rows) {
		addRow(dst.row(int(i)), src.row(b))
	}
}

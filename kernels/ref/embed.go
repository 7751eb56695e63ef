package ref

import "github.com/zerosearch-go/zerosearch/kernels"

// Embed: y[t] = w[ids[t]].
func (d *device) Embed(yt kernels.Tensor, wt kernels.Weight, kb kernels.Batch) {
	c := d.begin("Embed")
	defer c.end()
	w := c.weight(wt)
	y := c.f32("y", yt, -1, w.k)
	b := c.batch(kb)
	c.rows("y", y.rows, b)
	for t, id := range c.ints("ids", b.IDs(), y.rows, w.n) {
		copy(y.row(t), w.row(int(id)))
	}
}

// EmbedBackward: dw[ids[t]] += dy[t], t ascending.
func (d *device) EmbedBackward(dwt, dyt kernels.Tensor, kb kernels.Batch) {
	c := d.begin("EmbedBackward")
	defer c.end()
	dy := c.f32("dy", dyt, -1, -1)
	dw := c.f32("dw", dwt, -1, dy.cols)
	c.apart("dw", dwt, dyt)
	b := c.batch(kb)
	c.rows("dy", dy.rows, b)
	for t, id := range c.ints("ids", b.IDs(), dy.rows, dw.rows) {
		addRow(dw.row(int(id)), dy.row(t))
	}
}

func addRow(y, x []float32) {
	for i := range y {
		y[i] += x[i]
	}
}

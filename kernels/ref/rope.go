package ref

import "github.com/zerosearch-go/zerosearch/kernels"

// RoPE: (a, b) = (x[i], x[i+D/2]) of each head becomes (a cos - b sin, b cos + a sin); inverse turns by the negative
// angle (arXiv 2104.09864). A rotation is orthogonal, so its inverse is its backward.
func (d *device) RoPE(xt kernels.Tensor, heads int, kb kernels.Batch, tt kernels.Tensor, inverse bool) {
	c := d.begin("RoPE")
	defer c.end()
	table := c.f32("table", tt, -1, -1)
	dim := table.cols
	if dim%2 != 0 || heads < 0 {
		c.fail("%d heads of %d", heads, dim)
	}
	x := c.f32("x", xt, -1, heads*dim)
	c.apart("x", xt, tt)
	b := c.batch(kb)
	c.rows("x", x.rows, b)
	for t, p := range c.ints("positions", b.Pos(), x.rows, table.rows) {
		angle := table.row(int(p))
		for h := range heads {
			v := x.row(t)[h*dim:][:dim]
			for i := range dim / 2 {
				re, im := float64(v[i]), float64(v[i+dim/2])
				cos, sin := float64(angle[i]), float64(angle[i+dim/2])
				if inverse {
					sin = -sin
				}
				v[i], v[i+dim/2] = float32(re*cos-im*sin), float32(im*cos+re*sin)
			}
		}
	}
}

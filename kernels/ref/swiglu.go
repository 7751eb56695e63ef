package ref

import (
	"math"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// SwiGLU: y = gate*sigmoid(gate)*up (arXiv 2002.05202).
func (d *device) SwiGLU(yt, gt, ut kernels.Tensor) {
	c := d.begin("SwiGLU")
	defer c.end()
	gate := c.f32("gate", gt, -1, -1)
	up := c.f32("up", ut, gate.rows, gate.cols)
	y, store := c.result("y", yt, gate.rows, gate.cols)
	defer store()
	c.apart("y", yt, gt, ut)
	for t := range y.rows {
		for i, g := range gate.row(t) {
			y.row(t)[i] = float32(float64(g) * sigmoid(g) * float64(up.row(t)[i]))
		}
	}
}

func sigmoid(x float32) float64 { return 1 / (1 + math.Exp(-float64(x))) }

// SwiGLUBackward, with s = sigmoid(gate): dgate = dy*up*s*(1 + gate*(1-s)), dup = dy*gate*s.
func (d *device) SwiGLUBackward(dgt, dut, dyt, gt, ut kernels.Tensor) {
	c := d.begin("SwiGLUBackward")
	defer c.end()
	dy := c.f32("dy", dyt, -1, -1)
	gate := c.f32("gate", gt, dy.rows, dy.cols)
	up := c.f32("up", ut, dy.rows, dy.cols)
	dgate := c.f32("dgate", dgt, dy.rows, dy.cols)
	dup := c.f32("dup", dut, dy.rows, dy.cols)
	c.apart("dgate", dgt, dut, dyt, ut)
	c.apart("dup", dut, dyt, gt)
	if !same(dgt, gt) {
		c.apart("dgate", dgt, gt)
	}
	if !same(dut, ut) {
		c.apart("dup", dut, ut)
	}
	for t := range dy.rows {
		for i, g := range gate.row(t) {
			g, u, s, y := float64(g), float64(up.row(t)[i]), sigmoid(g), float64(dy.row(t)[i])
			dgate.row(t)[i] = float32(y * u * s * (1 + g*(1-s)))
			dup.row(t)[i] = float32(y * g * s)
		}
	}
}

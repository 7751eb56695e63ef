package cpu

import "github.com/zerosearch-go/zerosearch/kernels"

// SwiGLU: y = gate*sigmoid(gate)*up.
func (d *Device) SwiGLU(y, gate, up kernels.Tensor) {
	shape("SwiGLU", "y", y, gate.Rows, gate.Cols)
	shape("SwiGLU", "up", up, gate.Rows, gate.Cols)
	out, g, u, k := f32(y), f32(gate), f32(up), d.rows()
	d.forPieces(func(at []int, n int) {
		k.swiglu(out[at[0]:][:n], g[at[1]:][:n], u[at[2]:][:n])
	}, y, gate, up)
}

// SwiGLUBackward: dgate = dy*up*s*(1 + gate*(1-s)), dup = dy*gate*s with s = sigmoid(gate).
func (d *Device) SwiGLUBackward(dgate, dup, dy, gate, up kernels.Tensor) {
	for i, t := range []kernels.Tensor{dgate, dup, dy, up} {
		shape("SwiGLUBackward", []string{"dgate", "dup", "dy", "up"}[i], t, gate.Rows, gate.Cols)
	}
	dg, du, in, g, u, k := f32(dgate), f32(dup), f32(dy), f32(gate), f32(up), d.rows()
	d.forPieces(func(at []int, n int) {
		k.swigluBack(dg[at[0]:][:n], du[at[1]:][:n], in[at[2]:][:n], g[at[3]:][:n], u[at[4]:][:n])
	}, dgate, dup, dy, gate, up)
}

func swiglu(y, gate, up []float32) {
	for i, g := range gate {
		y[i] = g * sigmoid(g) * up[i]
	}
}

func swigluBack(dgate, dup, dy, gate, up []float32) {
	for i, g := range gate {
		s := sigmoid(g)
		y := dy[i] * s
		dgate[i], dup[i] = y*up[i]*(1+float32(g*(1-s))), y*g
	}
}

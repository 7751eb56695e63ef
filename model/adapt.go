package model

import "github.com/zerosearch-go/zerosearch/kernels"

// soleAdapter is the pair of projection j of layer l if all rows use one adapter, and nil else.
func (p *pass) soleAdapter(l int, j proj) (run, *pair) {
	if len(p.runs) == 0 || p.runs[0].n != p.n.Rows {
		return run{}, nil
	}
	return p.runs[0], p.runs[0].a.pairs[l][j]
}

// low is the pair as a device takes it.
func (pr *pair) low(u kernels.Tensor) kernels.LoRA {
	return kernels.LoRA{A: pr.A.W, B: pr.B.W, U: u, Scale: pr.scale}
}

// u is where the narrow half of an adapter, scale x A^T for r's rows, [n, R], is kept.
func (p *pass) u(l int, j proj, r run) kernels.Tensor {
	return p.ws.low(l, j, r.row, r.n, r.a.pairs[l][j].r)
}

// down computes u for every run.
func (p *pass) down(x kernels.Tensor, l int, j proj) {
	for _, r := range p.runs {
		if pr := r.a.pairs[l][j]; pr != nil {
			p.d.MatMul(p.u(l, j, r), x.RowRange(r.row, r.n), pr.A.W, kernels.Epilogue{Scale: pr.scale})
		}
	}
}

// du is the tensor [n, sum of R] for the gradients of u of all projections with the same input x, for r's rows. Each
// projection has its columns.
func (p *pass) du(l int, r run, all []to) kernels.Tensor {
	cols := 0
	for _, t := range all {
		if pr := r.a.pairs[l][t.j]; pr != nil {
			cols += pr.r
		}
	}
	return kernels.Mat(p.ws.du.Buf, kernels.F32, r.row*p.ws.du.Cols, r.n, cols)
}

// duOf is the columns of du that belong to all[i], [n, R].
func (p *pass) duOf(l int, r run, all []to, i int) kernels.Tensor {
	du, before := p.du(l, r, all), p.du(l, r, all[:i])
	return du.ColRange(before.Cols, r.a.pairs[l][all[i].j].r)
}

// adaptersBack is the backward of the adapters of all[i], whose output gradient is dy: du = scale dy B and dx += du A,
// unless MatMulDXLoRA has done both, and dB += dy^T u.
func (p *pass) adaptersBack(dx kernels.Tensor, l int, all []to, i int) {
	t := all[i]
	for _, r := range p.runs {
		pr := r.a.pairs[l][t.j]
		if pr == nil || !r.a.trainable && dx.IsZero() {
			continue
		}
		dy, du := t.y.RowRange(r.row, r.n), p.duOf(l, r, all, i)
		if _, done := p.soleAdapter(l, t.j); done == nil || dx.IsZero() {
			p.d.MatMulDX(du, dy, pr.B.W, false, pr.scale)
			if !dx.IsZero() {
				p.d.MatMulDX(dx.RowRange(r.row, r.n), du, pr.A.W, true, 1)
			}
		}
		if r.a.trainable {
			p.d.MatMulDW(pr.B.Grad, dy, p.u(l, t.j, r), r.a.op())
		}
	}
}

// adaptersDA is dA += du^T x for each of all.
func (p *pass) adaptersDA(x kernels.Tensor, l int, all []to) {
	for _, r := range p.runs {
		if !r.a.trainable {
			continue
		}
		p.grads = p.grads[:0]
		for _, t := range all {
			if pr := r.a.pairs[l][t.j]; pr != nil {
				p.grads = append(p.grads, pr.A.Grad)
			}
		}
		if len(p.grads) > 0 {
			p.d.MatMulDWs(p.grads, p.du(l, r, all), x.RowRange(r.row, r.n), r.a.op())
		}
	}
}

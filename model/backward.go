package model

import "github.com/zerosearch-go/zerosearch/kernels"

// Backward is the backward pass of Forward. dh [T, C] is the gradient of Forward's result. Parameter gradients are
// added to Grad of the model's parameters, if the model is trainable, and of the batch's trainable adapters. It must
// follow a Forward of the same batch on a workspace with Keep, whose activations it overwrites; kv must still hold the
// batch's keys and values.
func (m *Model) Backward(ws *Workspace, b *Batch, kv kernels.KV, dh kernels.Tensor) {
	if !ws.o.Keep {
		panic("model: Backward needs a workspace that keeps activations")
	}
	if ws.t != len(b.IDs) {
		panic("model: Backward of another batch than the last Forward's")
	}
	if len(b.IDs) == 0 {
		return
	}
	p := m.pass(ws, b, kv)
	s := kv.Spec()
	ws.need(0, s.Pages*kernels.PageSize, 0)
	p.used = pagesUsed(b.Segs) * kernels.PageSize
	p.norm(p.last, m.norm)
	m.Device.RMSNormBackward(p.dx, m.norm.Grad, dh, p.last, m.norm.Master, p.rstd, false)
	for l := len(m.layers) - 1; l >= 0; l-- {
		if !ws.keeps(l) {
			p.attention(l)
			p.gated(l)
		}
		p.mlpBack(l)
		p.attentionBack(l)
	}
	if m.Trainable {
		m.Device.EmbedBackward(m.embed.Grad, p.dx, p.b)
	}
}

// mlpBack is the backward of the MLP: dx is the gradient of layer l's output on entry, and that of x2 on return. It
// overwrites gate and up.
func (p *pass) mlpBack(l int) {
	ly, a, d := &p.m.layers[l], &p.acts[l], p.d
	d.SwiGLU(p.act, a.gate, a.up)
	if !p.ws.keeps(l) {
		p.down(p.act, l, projDown) // the only matmul of the layer that is not recomputed
	}
	p.linearsBack(p.dact, p.act, l, to{p.dx, projDown})
	d.SwiGLUBackward(a.gate, a.up, p.dact, a.gate, a.up)
	p.norm(a.x2, ly.mlpNorm)
	p.linearsBack(p.dn, p.n, l, to{a.up, projUp}, to{a.gate, projGate})
	d.RMSNormBackward(p.dx, ly.mlpNorm.Grad, p.dn, a.x2, ly.mlpNorm.Master, p.rstd, true)
}

// attentionBack is the backward of attention: dx is the gradient of x2 on entry, and that of layer l's input on return.
func (p *pass) attentionBack(l int) {
	ly, a, d, c := &p.m.layers[l], &p.acts[l], p.d, p.m.Config
	p.linearsBack(p.dy, a.y, l, to{p.dx, projO})
	q := a.q
	if c.QKNorm { // the kept queries are those before the norm
		q = p.normQ(l, p.rstdQ)
		d.RoPE(q, c.Heads, p.b, p.m.rope.t, false)
	}
	slots := p.kv.Spec().Pages * kernels.PageSize
	dk, dv := p.ws.dk.RowRange(0, slots), p.ws.dv.RowRange(0, slots)
	d.Zero(dk.RowRange(0, p.used))
	d.Zero(dv.RowRange(0, p.used))
	d.AttentionBackward(p.dq, dk, dv, p.dy, a.y, q, a.lse, p.kv, l, p.b, p.m.scale())
	d.Gather(p.k, dk, p.b.Slots())
	d.Gather(p.v, dv, p.b.Slots())
	d.RoPE(p.dq, c.Heads, p.b, p.m.rope.t, true)
	d.RoPE(p.k, c.KVHeads, p.b, p.m.rope.t, true)
	dq, dkey := p.dq, p.k
	if c.QKNorm {
		dq, dkey = p.qkNormBack(l)
	}
	p.norm(a.x, ly.attnNorm)
	dn := p.dn
	if l == 0 && !p.m.Trainable {
		dn = none // no layer below is trained
	}
	p.linearsBack(dn, p.n, l, to{p.v, projV}, to{dkey, projK}, to{dq, projQ})
	if !dn.IsZero() {
		d.RMSNormBackward(p.dx, ly.attnNorm.Grad, dn, a.x, ly.attnNorm.Master, p.rstd, true)
	}
}

// pagesUsed is one more than the last page of segs. Later pages are neither read nor written.
func pagesUsed(segs []kernels.Segment) (n int) {
	for _, s := range segs {
		for _, page := range s.Pages {
			n = max(n, int(page)+1)
		}
	}
	return n
}

// qkNormBack is the backward of the norms of queries and keys, whose output gradients are in dq and k. It writes the
// gradients of the projections' outputs to the memory of attention's output gradient and of the keys, which are not
// needed any more.
func (p *pass) qkNormBack(l int) (dq, dk kernels.Tensor) {
	ly, a, d := &p.m.layers[l], &p.acts[l], p.d
	d.RMSNorm(p.kn, a.kp, ly.kNorm.Master, p.m.eps(), p.rstdK)
	d.RMSNormBackward(p.kn, ly.kNorm.Grad, p.k, a.kp, ly.kNorm.Master, p.rstdK, false)
	d.RMSNormBackward(p.dy, ly.qNorm.Grad, p.dq, a.q, ly.qNorm.Master, p.rstdQ, false)
	return p.dy, p.kn
}

// norm recomputes a norm's output and rstd into scratch.
func (p *pass) norm(x kernels.Tensor, w *Param) {
	p.d.RMSNorm(p.n, x, w.Master, p.m.eps(), p.rstd)
}

// linearsBack is the backward of linears: with dy in all, dx = the sum of dy W unless dx is none, and the gradients of
// trained weights.
func (p *pass) linearsBack(dx, x kernels.Tensor, l int, all ...to) {
	for i, t := range all {
		lin, add := &p.m.layers[l].lin[t.j], i > 0
		if !dx.IsZero() {
			if r, pr := p.soleAdapter(l, t.j); pr != nil {
				p.d.MatMulDXLoRA(dx, t.y, lin.W.W, add, pr.low(p.duOf(l, r, all, i)))
			} else {
				p.d.MatMulDX(dx, t.y, lin.W.W, add, 1)
			}
		}
		if p.m.Trainable {
			p.d.MatMulDW(lin.W.Grad, t.y, x, p.m.op())
			if lin.B != nil {
				p.d.BiasBackward(lin.B.Grad, t.y)
			}
		}
		p.adaptersBack(dx, l, all, i)
	}
	p.adaptersDA(x, l, all)
}

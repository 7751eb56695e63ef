package model

import (
	"slices"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// none is the absent tensor.
var none kernels.Tensor

// pass is the state of one forward or backward pass that all layers share.
type pass struct {
	*tensors
	m    *Model
	ws   *Workspace
	d    kernels.Device
	kv   kernels.KV
	b    kernels.Batch
	runs []run
	used int // slots of kv that the batch reaches; set by Backward

	products []kernels.Product // reused, as is grads
	grads    []kernels.Tensor
}

// Forward runs the batch: writes its keys and values to kv and returns the hidden states after the final norm, [T,
// C], a tensor of ws that is valid until its next pass. Work is queued: errors of the device appear at the next
// Download or Sync.
func (m *Model) Forward(ws *Workspace, b *Batch, kv kernels.KV) kernels.Tensor {
	m.SetBatch(ws, b, kv)
	return m.Compute(ws)
}

// SetBatch is the first half of Forward: it copies the batch to the device.
func (m *Model) SetBatch(ws *Workspace, b *Batch, kv kernels.KV) {
	p := m.pass(ws, b, kv)
	if len(b.IDs) > 0 {
		m.Device.SetBatch(p.b, &b.Layout, kv, b.Sampled, b.SampledInputs)
	}
}

// Compute is the second half: it only queues operations on the batch that SetBatch has set, so that a device can record
// them (kernels.Recorder). A recording is valid until Workspace.Moved changes.
func (m *Model) Compute(ws *Workspace) kernels.Tensor {
	p := &ws.walk
	if p.h.Rows == 0 {
		return p.h
	}
	m.Device.Embed(p.input(0), m.embed.W, p.b)
	for l := range m.layers {
		p.attention(l)
		p.mlp(l, p.input(l+1))
	}
	m.Device.RMSNorm(p.h, p.last, m.norm.Master, m.eps(), none)
	return p.h
}

// pass prepares ws for a pass over b.
func (m *Model) pass(ws *Workspace, b *Batch, kv kernels.KV) *pass {
	b.check(m, ws.max)
	ws.resize(len(b.IDs))
	ws.runs = b.runs(ws.runs)
	rank := 0
	for _, r := range ws.runs {
		rank = max(rank, r.a.maxRank)
	}
	if len(b.Pos) > 0 {
		ws.need(int(slices.Max(b.Pos))+1, 0, rank)
	}
	ws.needBatch(b.Layout.Spec())
	p := &ws.walk
	*p = pass{tensors: &ws.cut, m: m, ws: ws, d: m.Device, kv: kv, b: ws.batch, runs: ws.runs, products: p.products[:0],
		grads: p.grads[:0]}
	return p
}

// input is the residual stream entering layer l; past the last layer, what the final norm reads.
func (p *pass) input(l int) kernels.Tensor {
	if l == len(p.acts) {
		return p.last
	}
	return p.acts[l].x
}

// attention is the first half of layer l: x2 = x + O(attention(norm(x))).
func (p *pass) attention(l int) {
	ly, a, d, c := &p.m.layers[l], &p.acts[l], p.d, p.m.Config
	d.RMSNorm(p.n, a.x, ly.attnNorm.Master, p.m.eps(), none)
	q, k := a.q, p.k
	if c.QKNorm {
		k = a.kp
	}
	p.linears(p.n, l, to{q, projQ}, to{k, projK}, to{p.v, projV})
	if c.QKNorm {
		q, k = p.normQ(l, none), p.kn
		d.RMSNorm(k, a.kp, ly.kNorm.Master, p.m.eps(), none)
	}
	d.RoPE(q, c.Heads, p.b, p.m.rope.t, false)
	d.RoPE(k, c.KVHeads, p.b, p.m.rope.t, false)
	d.KVWrite(p.kv, l, k, p.v, p.b)
	d.Attention(a.y, q, a.lse, p.kv, l, p.b, p.m.scale())
	p.copy(a.x2, a.x)
	p.linear(a.x2, a.y, l, projO)
}

// mlp is the second half: out = x2 + Down(silu(Gate(norm(x2))) * Up(norm(x2))).
func (p *pass) mlp(l int, out kernels.Tensor) {
	a, d := &p.acts[l], p.d
	p.gated(l)
	d.SwiGLU(p.act, a.gate, a.up)
	p.copy(out, a.x2)
	p.linear(out, p.act, l, projDown)
}

// gated computes gate and up.
func (p *pass) gated(l int) {
	a := &p.acts[l]
	p.d.RMSNorm(p.n, a.x2, p.m.layers[l].mlpNorm.Master, p.m.eps(), none)
	p.linears(p.n, l, to{a.gate, projGate}, to{a.up, projUp})
}

// normQ returns layer l's queries after their norm, in scratch.
func (p *pass) normQ(l int, rstd kernels.Tensor) kernels.Tensor {
	p.d.RMSNorm(p.q, p.acts[l].q, p.m.layers[l].qNorm.Master, p.m.eps(), rstd)
	return p.q
}

// to is a projection and its output.
type to struct {
	y kernels.Tensor
	j proj
}

// linears computes y = x W^T + b, plus adapters, for each projection in all. They share the input x.
func (p *pass) linears(x kernels.Tensor, l int, all ...to) { p.multiply(x, l, false, all) }

// linear computes y += x W^T + b, plus adapters.
func (p *pass) linear(y, x kernels.Tensor, l int, j proj) { p.multiply(x, l, true, []to{{y, j}}) }

// multiply is linears or, to add, linear. If all rows use the same adapter, the device fuses it into the matmul, with
// the same bits.
func (p *pass) multiply(x kernels.Tensor, l int, add bool, all []to) {
	p.products = p.products[:0]
	for _, t := range all {
		lin := &p.m.layers[l].lin[t.j]
		w := kernels.Product{Y: t.y, W: lin.W.W, Epilogue: kernels.Epilogue{Add: add}}
		if lin.B != nil {
			w.Bias = lin.B.Master
		}
		if r, pr := p.soleAdapter(l, t.j); pr != nil {
			w.LoRA = pr.low(p.u(l, t.j, r))
		}
		p.products = append(p.products, w)
	}
	for from, to := 0, 1; from < len(all); from, to = to, to+1 { // those of one type together
		for to < len(all) && p.products[to].W.Type() == p.products[from].W.Type() {
			to++
		}
		p.d.MatMuls(x, p.products[from:to])
	}
	if len(p.runs) == 0 || p.runs[0].n == x.Rows {
		return
	}
	for _, t := range all {
		p.down(x, l, t.j)
		for _, r := range p.runs {
			if pr := r.a.pairs[l][t.j]; pr != nil {
				p.d.MatMul(t.y.RowRange(r.row, r.n), p.u(l, t.j, r), pr.B.W, kernels.Epilogue{Add: true})
			}
		}
	}
}

// copy is dst = src unless they are one tensor.
func (p *pass) copy(dst, src kernels.Tensor) {
	if dst != src {
		p.d.Copy(dst, src)
	}
}

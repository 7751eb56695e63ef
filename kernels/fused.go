package kernels

// Updater is a Device that does Update in one pass over memory.
type Updater interface {
	// Update: AdamW of p, w packed from it, g cleared. The bits are those of AdamW, Pack and Zero.
	Update(w Weight, p, g, m, v Tensor, s AdamWStep)
}

// Update is all that a step does to a parameter [N, K]: AdamW moves its master p, w (unless nil) is packed from it, its gradient g is cleared.
func Update(d Device, w Weight, p, g, m, v Tensor, s AdamWStep) {
	if u, ok := d.(Updater); ok && w != nil {
		u.Update(w, p, g, m, v, s)
		return
	}
	d.AdamW(p, g, m, v, s)
	if w != nil {
		d.Pack(w, 0, p)
	}
	d.Zero(g)
}

package kernels

// Updater is a Device that does Update in one pass over memory.
type Updater interface {
	// Update: AdamW of p, w packed from it, g cleared. The bits are those of AdamW, Pack and Zero.
	Update(w Weight, p, g, m, v Tensor, s AdamWStep)
}

// Update is all that a step does to a parameter [N, K]: AdamW moves its master p, w (unless nil) is packed from it, its
// gradient g is cleared.
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

// Grouper is a Device that may hold weights which share their input as one matrix.
type Grouper interface {
	// NewWeights makes room for weights [n, K], one for each n. MatMuls over all of them in this order, into columns
	// that follow each other, may then be one product. Each is freed by itself.
	NewWeights(k int, t DType, n ...int) ([]Weight, error)
}

// NewWeights makes room for weights [n, K] that share their input, one for each n, on a device that may be a Grouper.
func NewWeights(d Device, k int, t DType, n ...int) (all []Weight, err error) {
	if g, ok := d.(Grouper); ok {
		return g.NewWeights(k, t, n...)
	}
	for _, rows := range n {
		w, err := d.NewWeight(rows, k, t)
		if err != nil {
			for _, w := range all {
				w.Free()
			}
			return nil, err
		}
		all = append(all, w)
	}
	return all, nil
}

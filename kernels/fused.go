package kernels

// Updater is implemented by devices that fuse AdamW, Pack and Zero into one pass over memory.
type Updater interface {
	// Update does AdamW of p, packs w from p and clears g, with the same bits as AdamW, Pack and Zero.
	Update(w Weight, p, g, m, v Tensor, s AdamWStep)
}

// Update does the optimizer step of a parameter [N, K]: AdamW updates the master weights p, w (unless nil) is packed
// from p, and the gradient g is cleared.
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

// Grouper is implemented by devices that can store weights with the same input, such as q, k and v, as one matrix.
type Grouper interface {
	// NewWeights allocates weights [n, K], one for each n. MatMuls with all of them in this order, into adjacent
	// columns, may then be one matmul. Each weight is freed separately.
	NewWeights(k int, t DType, n ...int) ([]Weight, error)
}

// NewWeights allocates weights [n, K] with the same input, one for each n, by Grouper if d implements it.
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

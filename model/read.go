package model

import (
	"fmt"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// Read copies the parameter called name to the host, F32 and row-major, with a's update merged in unless a is nil.
func (m *Model) Read(name string, a *Adapter) ([]float32, error) {
	p := m.byName[name]
	if p == nil {
		return nil, fmt.Errorf("the model has no parameter %q", name)
	}
	r := reader{m: m}
	defer r.free()
	var out []float32
	err := r.param(p, a, func(_ *Param, _ int, rows []float32) error {
		out = append(out, rows...)
		return nil
	})
	return out, err
}

// Merge adds a's update to the weights themselves, W += scale B A, rounding to their type. a keeps its values and must
// not be used on this model any more. Nothing passes through the host.
func (m *Model) Merge(a *Adapter) error {
	r := reader{m: m}
	defer r.free()
	for _, p := range m.params {
		if a.pairOf(p) == nil {
			continue
		}
		if err := r.chunks(p, a, func(row0 int, rows kernels.Tensor) error {
			m.set(p, row0, rows)
			return nil
		}); err != nil {
			return fmt.Errorf("merging the adapter into %s: %w", p.Name, err)
		}
	}
	return m.Device.Sync()
}

// set is store of rows that are on the device, F32.
func (b *bank) set(p *Param, row0 int, rows kernels.Tensor) {
	if p.W != nil {
		b.dev.Pack(p.W, row0, rows)
	}
	if !p.Master.IsZero() {
		b.dev.Copy(p.Master.RowRange(row0, rows.Rows), rows)
	}
}

// reader widens parameters, and moves them to the host, through one piece of scratch on the device.
type reader struct {
	m       *Model
	scratch kernels.Buffer
	host    []float32
}

func (r *reader) free() {
	if r.scratch != nil {
		r.scratch.Free()
	}
}

// param gives the rows of p to visit on the host, where they are valid during the call only.
func (r *reader) param(p *Param, a *Adapter, visit func(*Param, int, []float32) error) error {
	return r.chunks(p, a, func(row0 int, rows kernels.Tensor) error {
		if cap(r.host) < rows.Len() {
			r.host = make([]float32, rows.Len())
		}
		host := r.host[:rows.Len()]
		if err := kernels.Download(r.m.Device, host, rows); err != nil {
			return err
		}
		return visit(p, row0, host)
	})
}

// chunks gives the rows of p, F32, with a's update merged in unless a is nil, to visit in scratch memory of the device.
func (r *reader) chunks(p *Param, a *Adapter, visit func(row0 int, rows kernels.Tensor) error) error {
	n, k := p.size()
	step := min(n, chunkRows(k))
	if need := int64(step*k) * 4; r.scratch == nil || r.scratch.Bytes() < need {
		r.free()
		var err error
		if r.scratch, err = r.m.Device.Alloc(need); err != nil {
			return err
		}
	}
	update, err := newUpdate(a, p)
	if err != nil {
		return err
	}
	defer update.free()
	for row := 0; row < n; row += step {
		t := r.rows(p, row, min(step, n-row))
		update.add(t, row)
		if err := visit(row, t); err != nil {
			return err
		}
	}
	return nil
}

// rows copies rows of p into scratch, F32.
func (r *reader) rows(p *Param, row, n int) kernels.Tensor {
	_, k := p.size()
	t := kernels.Mat(r.scratch, kernels.F32, 0, n, k)
	widenRows(r.m.Device, t, p, row)
	return t
}

// widenRows writes rows of p from row on to dst, F32.
func widenRows(d kernels.Device, dst kernels.Tensor, p *Param, row int) {
	if p.Master.IsZero() {
		d.Unpack(dst, p.W, row)
	} else {
		d.Copy(dst, p.Master.RowRange(row, dst.Rows))
	}
}

// update is an adapter's change to one weight, as the operation that adds it: scale*B transposed [R, N], and A [R, K].
type update struct {
	dev   kernels.Device
	buf   kernels.Buffer
	bt, a kernels.Tensor
}

// newUpdate is the zero update unless a adapts p.
func newUpdate(a *Adapter, p *Param) (u update, err error) {
	pr := a.pairOf(p)
	if pr == nil {
		return u, nil
	}
	n, k := p.size()
	u.dev = a.dev
	var b, one kernels.Tensor
	lay := newArena()
	lay.add(&u.bt, kernels.F32, pr.r, n)
	lay.add(&u.a, kernels.F32, pr.r, k)
	lay.add(&b, kernels.F32, n, pr.r)
	lay.add(&one, kernels.F32, pr.r, pr.r)
	if u.buf, err = lay.alloc(u.dev); err != nil {
		return update{}, err
	}
	w, err := u.dev.NewWeight(n, pr.r, kernels.F32)
	if err != nil {
		u.free()
		return update{}, err
	}
	defer w.Free()
	widenRows(u.dev, u.a, pr.A, 0)
	widenRows(u.dev, b, pr.B, 0)
	u.dev.Pack(w, 0, b)
	identity := make([]float32, pr.r*pr.r)
	for i := range pr.r {
		identity[i*pr.r+i] = 1
	}
	kernels.Upload(u.dev, one, identity)
	u.dev.MatMul(u.bt, one, w, kernels.Epilogue{Scale: pr.scale}) // the identity times B transposed, exact
	return u, nil
}

// add adds rows [row, row+t.Rows) of the update to t.
func (u update) add(t kernels.Tensor, row int) {
	if u.buf != nil {
		u.dev.MatMulDW(t, u.bt.ColRange(row, t.Rows), u.a, kernels.F32)
	}
}

func (u update) free() {
	if u.buf != nil {
		u.buf.Free()
	}
}

package model

import (
	"fmt"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// each brings every parameter to the host, in checkpoint order and in chunks of rows, with a's update merged in unless a is nil.
// rows is valid during the call only.
func (m *Model) each(a *Adapter, visit func(p *Param, row0 int, rows []float32) error) error {
	r := reader{m: m}
	defer r.free()
	for _, p := range m.params {
		if err := r.param(p, a, visit); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	return nil
}

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

// Merge adds a's update to the weights themselves, W += scale B A, rounding to their type. a keeps its values and must not be
// used on this model any more.
func (m *Model) Merge(a *Adapter) error {
	r := reader{m: m}
	defer r.free()
	for _, p := range m.params {
		if a.pairOf(p) == nil {
			continue
		}
		if err := r.param(p, a, func(p *Param, row0 int, rows []float32) error {
			m.store(p, row0, bytesOf(rows), kernels.F32)
			return nil
		}); err != nil {
			return fmt.Errorf("merging the adapter into %s: %w", p.Name, err)
		}
	}
	return nil
}

// reader moves parameters to the host through one piece of scratch on the device.
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

func (r *reader) param(p *Param, a *Adapter, visit func(*Param, int, []float32) error) error {
	n, k := p.size()
	step := min(n, chunkRows(k))
	if need := step * k; cap(r.host) < need {
		r.host = make([]float32, need)
		r.free()
		var err error
		if r.scratch, err = r.m.Device.Alloc(int64(need) * 4); err != nil {
			return err
		}
	}
	update, err := newUpdate(a, p)
	if err != nil {
		return err
	}
	defer update.free()
	for row := 0; row < n; row += step {
		rows := min(step, n-row)
		t := r.rows(p, row, rows)
		update.add(t, row)
		host := r.host[:rows*k]
		if err := kernels.Download(r.m.Device, host, t); err != nil {
			return err
		}
		if err := visit(p, row, host); err != nil {
			return err
		}
	}
	return nil
}

// rows copies rows of p into scratch, F32.
func (r *reader) rows(p *Param, row, n int) kernels.Tensor {
	_, k := p.size()
	t := kernels.Mat(r.scratch, kernels.F32, 0, n, k)
	if p.Master.IsZero() {
		r.m.Device.Unpack(t, p.W, row)
	} else {
		r.m.Device.Copy(t, p.Master.RowRange(row, n))
	}
	return t
}

// update is an adapter's change to one weight, as the operation that adds it: scale*B transposed [R, N], and A [R, K].
type update struct {
	dev   kernels.Device
	bt, a kernels.Tensor
}

// newUpdate is the zero update unless a adapts p.
func newUpdate(a *Adapter, p *Param) (u update, err error) {
	pr := a.pairOf(p)
	if pr == nil {
		return u, nil
	}
	n, k := p.size()
	A, err := a.read(pr.A)
	if err != nil {
		return u, err
	}
	B, err := a.read(pr.B)
	if err != nil {
		return u, err
	}
	u.dev = a.dev
	buf := newArena()
	buf.add(&u.bt, kernels.F32, pr.r, n)
	buf.add(&u.a, kernels.F32, pr.r, k)
	if _, err := buf.alloc(u.dev); err != nil {
		return update{}, err
	}
	bt := make([]float32, len(B))
	for i := range n {
		for j := range pr.r {
			bt[j*n+i] = pr.scale * B[i*pr.r+j]
		}
	}
	kernels.Upload(u.dev, u.bt, bt)
	kernels.Upload(u.dev, u.a, A)
	return u, nil
}

// add adds rows [row, row+t.Rows) of the update to t.
func (u update) add(t kernels.Tensor, row int) {
	if !u.bt.IsZero() {
		u.dev.MatMulDW(t, u.bt.ColRange(row, t.Rows), u.a, kernels.F32)
	}
}

func (u update) free() {
	if !u.bt.IsZero() {
		u.bt.Buf.Free()
	}
}

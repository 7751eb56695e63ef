package model

import (
	"sort"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// Flat holds trained parameters as an optimizer needs them: all masters are one tensor, all gradients another of the
// same layout, and so are tensors that New makes. An operation on all elements is one call, whatever the number of
// parameters, and a shard is a range of elements. Parameters begin at multiples of 64 bytes; the gaps between them are
// zero.
type Flat struct {
	Params []*Param       // in the order in which they lie
	Master kernels.Tensor // F32 [1, n], or a part of it (bank.KeepMasters)
	Grad   kernels.Tensor // F32 [1, n]

	part bool // Master is not whole
}

// NewFlat allocates zeroed masters and gradients for params, which have only names and shapes so far. Free frees them.
func NewFlat(dev kernels.Device, params []*Param) (f Flat, err error) {
	f.Params = params
	if f.Master, err = layFlat(dev, params, func(p *Param) *kernels.Tensor { return &p.Master }); err != nil {
		return f, err
	}
	if f.Grad, err = layFlat(dev, params, func(p *Param) *kernels.Tensor { return &p.Grad }); err != nil {
		f.Free()
	}
	return f, err
}

// layFlat makes one tensor of a tensor of each of params.
func layFlat(dev kernels.Device, params []*Param, of func(*Param) *kernels.Tensor) (kernels.Tensor, error) {
	a := newArena()
	for _, p := range params {
		n, k := p.size()
		a.add(of(p), kernels.F32, n, k)
	}
	buf, err := a.alloc(dev)
	if err != nil {
		return kernels.Tensor{}, err
	}
	return kernels.Mat(buf, kernels.F32, 0, 1, int(a.bytes/4)), nil
}

// Free frees masters and gradients. Only the caller of NewFlat may call it.
func (f *Flat) Free() {
	for _, t := range []*kernels.Tensor{&f.Master, &f.Grad} {
		if !t.IsZero() {
			t.Buf.Free()
			*t = kernels.Tensor{}
		}
	}
	for _, p := range f.Params {
		p.Master, p.Grad = kernels.Tensor{}, kernels.Tensor{}
	}
}

// Len is the number of elements, gaps included.
func (f Flat) Len() int { return f.Grad.Cols }

// Whole reports whether Master has all elements.
func (f Flat) Whole() bool { return !f.part }

// First is the first n of the parameters.
func (f Flat) First(n int) Flat {
	end := 0
	if n > 0 {
		end = f.at(n-1) + f.Params[n-1].Grad.Len()
	}
	if f.Whole() {
		f.Master = f.Master.ColRange(0, end)
	}
	f.Params, f.Grad = f.Params[:n], f.Grad.ColRange(0, end)
	return f
}

// Of is parameter i's part of x, a tensor of f's layout, in the parameter's shape.
func (f Flat) Of(x kernels.Tensor, i int) kernels.Tensor {
	g := f.Params[i].Grad
	return kernels.Mat(x.Buf, x.Type, x.Off+f.at(i), g.Rows, g.Cols)
}

// Ranges are the elements of each parameter.
func (f Flat) Ranges() []kernels.Range {
	all := make([]kernels.Range, len(f.Params))
	for i, p := range f.Params {
		all[i] = kernels.Range{From: f.at(i), To: f.at(i) + p.Grad.Len()}
	}
	return all
}

// at is the first element of parameter i.
func (f Flat) at(i int) int { return f.Params[i].Grad.Off - f.Grad.Off }

// cutRows is between how many rows of a matrix f may be cut: weights are packed in panels of 32.
const cutRows = 32

// Cut is the first element at or behind at before which f may be cut: a part of f has whole vectors, and of a matrix
// whole panels of rows, so that it can be packed without the parts beside it.
func (f Flat) Cut(at int) int {
	i := sort.Search(len(f.Params), func(i int) bool { return f.at(i) >= at }) // the first that begins there or later
	if i > 0 && at > 0 {
		p := f.Params[i-1]
		from, step := f.at(i-1), p.Grad.Len()
		if len(p.Shape) == 2 {
			step = cutRows * p.Grad.Cols
		}
		if cut := from + (at-from+step-1)/step*step; step > 0 && cut < from+p.Grad.Len() {
			return cut
		}
	}
	if i < len(f.Params) {
		return f.at(i)
	}
	return f.Len()
}

// Divide cuts f into parts of about equal length: part i is the elements from result i to result i+1.
func (f Flat) Divide(parts int) []int {
	cuts := make([]int, parts+1)
	each := (f.Len() + parts - 1) / parts
	for i := 1; i <= parts; i++ {
		cuts[i] = f.Cut(min(i*each, f.Len()))
	}
	return cuts
}

// keep gives up all masters but the elements [from, to), which Master then is: matrices have no Param.Master any more,
// and vectors, which operations read, copies.
func (f *Flat) keep(dev kernels.Device, from, to int) (err error) {
	kept := Flat{Params: f.Params, Grad: f.Grad, part: true}
	copies := make([]kernels.Tensor, len(f.Params))
	a := newArena()
	a.add(&kept.Master, kernels.F32, 1, to-from)
	for i, p := range f.Params {
		if len(p.Shape) == 1 {
			a.add(&copies[i], kernels.F32, 1, p.Grad.Cols)
		}
	}
	buf, err := a.alloc(dev)
	if err != nil {
		return err
	}
	if to > from {
		dev.Copy(kept.Master, f.Master.ColRange(from, to-from))
	}
	for i, p := range f.Params {
		if !copies[i].IsZero() {
			dev.Copy(copies[i], p.Master)
		}
	}
	if err := dev.Sync(); err != nil {
		buf.Free()
		return err
	}
	for i, p := range f.Params {
		p.Master = copies[i]
	}
	f.Master.Buf.Free()
	*f = kept
	return nil
}

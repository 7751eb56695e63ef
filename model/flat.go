package model

import (
	"github.com/zerosearch-go/zerosearch/kernels"
)

// Flat holds trained parameters as an optimizer needs them: all masters are one tensor, all gradients another of the
// same layout, and so are tensors that New makes. An operation on all elements is one call, whatever the number of
// parameters, and a shard is a range of elements. Parameters begin at multiples of 64 bytes; the gaps between them are
// zero.
type Flat struct {
	Params       []*Param       // in the order in which they lie
	Master, Grad kernels.Tensor // F32 [1, n]
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

// New makes another tensor of f's layout, zero, which the caller frees.
func (f Flat) New(dev kernels.Device) (kernels.Tensor, error) {
	return kernels.NewTensor(dev, kernels.F32, 1, f.Master.Cols)
}

// First is the first n of the parameters.
func (f Flat) First(n int) Flat {
	end := 0
	if n > 0 {
		end = f.at(n-1) + f.Params[n-1].Master.Len()
	}
	return Flat{Params: f.Params[:n], Master: f.Master.ColRange(0, end), Grad: f.Grad.ColRange(0, end)}
}

// Of is parameter i's part of x, a tensor of f's layout, in the parameter's shape.
func (f Flat) Of(x kernels.Tensor, i int) kernels.Tensor {
	m := f.Params[i].Master
	return kernels.Mat(x.Buf, x.Type, x.Off+f.at(i), m.Rows, m.Cols)
}

// Ranges are the elements of each parameter.
func (f Flat) Ranges() []kernels.Range {
	all := make([]kernels.Range, len(f.Params))
	for i, p := range f.Params {
		all[i] = kernels.Range{From: f.at(i), To: f.at(i) + p.Master.Len()}
	}
	return all
}

// at is the first element of parameter i.
func (f Flat) at(i int) int { return f.Params[i].Master.Off - f.Master.Off }

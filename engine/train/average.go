package train

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// Average keeps a frozen model, or a frozen adapter, at the exponential moving average of what is trained:
//
//	avg = Decay avg + (1 - Decay) p
//
// after every Update, in F32. It begins with the trained parameters as they are when it is made.
type Average struct {
	Decay float64

	dev  kernels.Device
	from []*model.Param   // what is trained
	to   []*model.Param   // what the average is computed with
	avg  []kernels.Tensor // F32, of from's shapes
	tmp  kernels.Tensor   // [1, the largest]
}

// NewAverage averages the trained parameters from into to, which are those of a copy, in the same order.
func NewAverage(dev kernels.Device, from, to []*model.Param, decay float64) (_ *Average, err error) {
	if len(from) != len(to) {
		return nil, fmt.Errorf("averaging weights: %d parameters and a copy of %d", len(from), len(to))
	}
	a := &Average{Decay: decay, dev: dev, from: from, to: to}
	defer func() {
		if err != nil {
			a.Close()
			err = fmt.Errorf("averaging weights: %w", err)
		}
	}()
	largest := 0
	for i, p := range from {
		if to[i].Name != p.Name || p.Master.IsZero() {
			return nil, fmt.Errorf("%s is not trained, or its copy is %s", p.Name, to[i].Name)
		}
		t, err := kernels.NewTensor(dev, kernels.F32, p.Master.Rows, p.Master.Cols)
		if err != nil {
			return nil, err
		}
		a.avg = append(a.avg, t)
		dev.Copy(t, p.Master)
		a.publish(i)
		largest = max(largest, t.Len())
	}
	a.tmp, err = kernels.NewTensor(dev, kernels.F32, 1, largest)
	return a, err
}

// Update moves the average a step towards what is trained.
func (a *Average) Update() error {
	for i, p := range a.from {
		x := kernels.Mat(a.tmp.Buf, kernels.F32, 0, a.avg[i].Rows, a.avg[i].Cols)
		a.dev.Zero(x)
		a.dev.Axpy(x, float32(a.Decay), a.avg[i])
		a.dev.Axpy(x, float32(1-a.Decay), p.Master)
		a.dev.Copy(a.avg[i], x)
		a.publish(i)
	}
	return a.dev.Sync()
}

// publish brings the copy up to date with average i.
func (a *Average) publish(i int) {
	p := a.to[i]
	if p.W != nil {
		a.dev.Pack(p.W, 0, a.avg[i])
	}
	if !p.Master.IsZero() {
		a.dev.Copy(p.Master, a.avg[i])
	}
}

const averageFile = "reference.safetensors"

// Save writes reference.safetensors into dir, F32.
func (a *Average) Save(dir string) error {
	return writeTensors(a.dev, filepath.Join(dir, averageFile), a.state(), map[string]string{})
}

// Load restores what Save wrote, bit for bit, unless ctx ends before.
func (a *Average) Load(ctx context.Context, dir string) error {
	if _, err := readTensors(ctx, a.dev, filepath.Join(dir, averageFile), a.state()); err != nil {
		return fmt.Errorf("restoring the averaged reference: %w", err)
	}
	for i := range a.to {
		a.publish(i)
	}
	return a.dev.Sync()
}

func (a *Average) state() (out []stateEntry) {
	for i, p := range a.from {
		out = append(out, stateEntry{p.Name, p.Shape, a.avg[i]})
	}
	return out
}

// Close frees the averages; the copy stays.
func (a *Average) Close() {
	for _, t := range append(a.avg, a.tmp) {
		if !t.IsZero() {
			t.Buf.Free()
		}
	}
	a.avg, a.tmp = nil, kernels.Tensor{}
}

package train

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/zerosearch-go/zerosearch/engine/dist"
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
	Ranks dist.Group // all of them have the whole average

	dev  kernels.Device
	from model.Flat     // what is trained
	to   []*model.Param // what the average is computed with
	avg  kernels.Tensor // of from's layout
	tmp  kernels.Tensor // [1, as many elements as the largest parameter]
}

// NewAverage averages the trained parameters from into to, which are those of a copy, in the same order.
func NewAverage(dev kernels.Device, from model.Flat, to []*model.Param, decay float64) (_ *Average, err error) {
	if len(from.Params) != len(to) {
		return nil, fmt.Errorf("averaging weights: %d parameters and a copy of %d", len(from.Params), len(to))
	}
	a := &Average{Decay: decay, Ranks: dist.Alone(), dev: dev, from: from, to: to}
	defer func() {
		if err != nil {
			a.Close()
			err = fmt.Errorf("averaging weights: %w", err)
		}
	}()
	largest := 0
	for i, p := range from.Params {
		if to[i].Name != p.Name {
			return nil, fmt.Errorf("the copy of %s is %s", p.Name, to[i].Name)
		}
		largest = max(largest, p.Master.Len())
	}
	if a.avg, err = from.New(dev); err != nil {
		return nil, err
	}
	if a.tmp, err = kernels.NewTensor(dev, kernels.F32, 1, largest); err != nil {
		return nil, err
	}
	dev.Copy(a.avg, from.Master)
	a.publish()
	return a, nil
}

// Update moves the average a step towards what is trained.
func (a *Average) Update() error {
	for from := 0; from < a.avg.Cols; from += a.tmp.Cols {
		n := min(a.tmp.Cols, a.avg.Cols-from)
		x, avg := a.tmp.ColRange(0, n), a.avg.ColRange(from, n)
		a.dev.Zero(x)
		a.dev.Axpy(x, float32(a.Decay), avg)
		a.dev.Axpy(x, float32(1-a.Decay), a.from.Master.ColRange(from, n))
		a.dev.Copy(avg, x)
	}
	a.publish()
	return a.dev.Sync()
}

// publish brings the copy up to date with the average.
func (a *Average) publish() {
	for i, p := range a.to {
		avg := a.from.Of(a.avg, i)
		if p.W != nil {
			a.dev.Pack(p.W, 0, avg)
		}
		if !p.Master.IsZero() {
			a.dev.Copy(p.Master, avg)
		}
	}
}

const averageFile = "reference.safetensors"

// Save writes reference.safetensors into dir, F32.
func (a *Average) Save(dir string) error {
	return writeTensors(filepath.Join(dir, averageFile), a.state(), map[string]string{}, reader(a.dev))
}

// Load restores what Save wrote, bit for bit, unless ctx ends before. All ranks call it; rank 0 reads the file.
func (a *Average) Load(ctx context.Context, dir string) error {
	if _, err := readTensors(ctx, a.dev, a.Ranks, filepath.Join(dir, averageFile), a.state()); err != nil {
		return fmt.Errorf("restoring the averaged reference: %w", err)
	}
	a.publish()
	return a.dev.Sync()
}

func (a *Average) state() (out []stateEntry) {
	for i, p := range a.from.Params {
		out = append(out, stateEntry{p.Name, p.Shape, a.from.Of(a.avg, i), nil})
	}
	return out
}

// Close frees the averages; the copy stays.
func (a *Average) Close() {
	for _, t := range []*kernels.Tensor{&a.avg, &a.tmp} {
		if !t.IsZero() {
			t.Buf.Free()
			*t = kernels.Tensor{}
		}
	}
}

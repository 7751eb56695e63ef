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
// in F32, once for each call of Update. It starts from the values that the trained parameters have in NewAverage. With
// several ranks each one averages the part of the parameters that its optimizer updates.
type Average struct {
	Decay float64

	exchange
	from layout         // what is trained
	to   []*model.Param // what the average is computed with
	avg  kernels.Tensor // of the layout of from's part
	tmp  kernels.Tensor // [1, as many elements as the largest parameter]
}

// NewAverage averages the trained parameters of from into to, the same parameters of a copy in the same order. With
// several ranks the trainer must exist before, and all ranks call NewAverage. ranks is nil for a single process.
func NewAverage(dev kernels.Device, from model.Flat, to []*model.Param, decay float64, ranks dist.Group) (_ *Average,
	err error) {
	if len(from.Params) != len(to) {
		return nil, fmt.Errorf("averaging weights: %d parameters and a copy of %d", len(from.Params), len(to))
	}
	if ranks == nil {
		ranks = dist.Alone()
	}
	a := &Average{Decay: decay, exchange: exchange{dev: dev, ranks: ranks}, from: layOut(from, ranks), to: to}
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
		largest = max(largest, p.Grad.Len())
	}
	if a.avg, err = kernels.NewTensor(dev, kernels.F32, 1, a.from.len()); err != nil {
		return nil, err
	}
	if a.tmp, err = kernels.NewTensor(dev, kernels.F32, 1, largest); err != nil {
		return nil, err
	}
	if err = a.openLink(&a.from); err != nil {
		return nil, err
	}
	if a.from.len() > 0 {
		dev.Copy(a.avg, a.from.own(from.Master))
	}
	return a, a.give()
}

// Update moves the average a step towards what is trained.
func (a *Average) Update() error {
	own := a.from.own(a.from.Master)
	for from := 0; from < a.avg.Cols; from += a.tmp.Cols {
		n := min(a.tmp.Cols, a.avg.Cols-from)
		x, avg := a.tmp.ColRange(0, n), a.avg.ColRange(from, n)
		a.dev.Zero(x)
		a.dev.Axpy(x, float32(a.Decay), avg)
		a.dev.Axpy(x, float32(1-a.Decay), own.ColRange(from, n))
		a.dev.Copy(avg, x)
	}
	return a.give()
}

// give writes the average to the copy, in all ranks.
func (a *Average) give() error {
	if a.ranks.Size() > 1 {
		if err := a.publish(&a.from, a.avg, a.to); err != nil {
			return err
		}
		return a.dev.Sync()
	}
	for i, p := range a.to {
		avg := a.from.Of(a.avg, i)
		if p.W != nil {
			a.dev.Pack(p.W, 0, avg)
		}
		if !p.Master.IsZero() {
			a.dev.Copy(p.Master, avg)
		}
	}
	return a.dev.Sync()
}

const averageFile = "reference.safetensors"

// Save writes reference.safetensors into dir, F32. All ranks call it; rank 0 writes the file.
func (a *Average) Save(dir string) error {
	return a.write(filepath.Join(dir, averageFile), a.state(), map[string]string{})
}

// Load restores what Save wrote, bit for bit. If ctx ends before that, it returns its error. All ranks call it; rank 0
// reads the file.
func (a *Average) Load(ctx context.Context, dir string) error {
	if _, err := readTensors(ctx, a.dev, a.ranks, filepath.Join(dir, averageFile), a.state()); err != nil {
		return fmt.Errorf("restoring the averaged reference: %w", err)
	}
	return a.give()
}

func (a *Average) state() (out []stateEntry) {
	for i := range a.from.Params {
		out = append(out, a.entry(&a.from, "", i, a.avg))
	}
	return out
}

// Close frees the averages; the copy stays.
func (a *Average) Close() {
	a.closeLink()
	for _, t := range []*kernels.Tensor{&a.avg, &a.tmp} {
		if !t.IsZero() {
			t.Buf.Free()
			*t = kernels.Tensor{}
		}
	}
}

package train

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/safetensors"
)

// ErrDiverged is the error of weights or moments that are no numbers any more; nothing of them is worth saving.
var ErrDiverged = errors.New("it has values that are NaN or infinite: training diverged")

const stateFile = "optimizer.safetensors"

// SaveState writes optimizer.safetensors into dir: for every parameter P its F32 master "P", and AdamW's moments "m.P"
// and "v.P". The number of steps taken is in the metadata.
func (t *optimizer) SaveState(dir string) error {
	return writeTensors(t.dev, filepath.Join(dir, stateFile), t.state(),
		map[string]string{"step": strconv.Itoa(t.step)})
}

// LoadState restores what SaveState wrote and repacks the weights from their masters, so that the next step gives the
// bits that an uninterrupted run would have given. Where ctx ends before, its error is returned, and the weights are
// partly restored.
func (t *optimizer) LoadState(ctx context.Context, dir string) error {
	meta, err := readTensors(ctx, t.dev, filepath.Join(dir, stateFile), t.state())
	if err != nil {
		return fmt.Errorf("restoring the optimizer: %w", err)
	}
	step, err := strconv.Atoi(meta["step"])
	if err != nil || step < 0 {
		return fmt.Errorf("restoring the optimizer: %s carries no step count: it was not written by this program",
			filepath.Join(dir, stateFile))
	}
	for _, f := range t.flats {
		for _, p := range f.Params {
			t.repack(p)
		}
	}
	t.step = step
	return t.dev.Sync()
}

// writeTensors writes F32 tensors to the file path.
func writeTensors(dev kernels.Device, path string, list []stateEntry, meta map[string]string) error {
	var specs []safetensors.Spec
	for _, e := range list {
		specs = append(specs, safetensors.Spec{Name: e.name, DType: safetensors.F32, Shape: e.shape})
	}
	meta["format"] = "pt"
	w, err := safetensors.Create(path, specs, meta)
	if err != nil {
		return err
	}
	defer w.Abort()
	var host []float32
	for _, e := range list {
		if cap(host) < e.t.Len() {
			host = make([]float32, e.t.Len())
		}
		host = host[:e.t.Len()]
		if err := kernels.Download(dev, host, e.t); err != nil {
			return err
		}
		if slices.ContainsFunc(host, func(x float32) bool { return x-x != 0 }) {
			return fmt.Errorf("%s: %w", e.name, ErrDiverged)
		}
		if err := w.WriteFloat32(e.name, host); err != nil {
			return err
		}
	}
	return w.Close()
}

// readTensors fills the tensors of list from the file path and returns its metadata.
func readTensors(ctx context.Context, dev kernels.Device, path string, list []stateEntry) (meta map[string]string,
	err error) {
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for _, e := range list {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		src, ok := f.Tensor(e.name)
		if !ok {
			return nil, fmt.Errorf("%s has no tensor %q: it is of another model or of other trained parameters", path,
				e.name)
		}
		host := make([]float32, e.t.Len())
		if src.Elements() != len(host) {
			return nil, fmt.Errorf("%s: tensor %q has shape %v where %v is wanted", path, e.name, src.Shape, e.shape)
		}
		if err := src.Float32(host); err != nil {
			return nil, err
		}
		kernels.Upload(dev, e.t, host)
	}
	return f.Metadata(), dev.Sync()
}

type stateEntry struct {
	name  string
	shape []int
	t     kernels.Tensor
}

func (t *optimizer) state() []stateEntry {
	var out []stateEntry
	for _, f := range t.flats {
		for i, p := range f.Params {
			out = append(out, stateEntry{p.Name, p.Shape, p.Master}, stateEntry{"m." + p.Name, p.Shape, f.Of(f.m, i)},
				stateEntry{"v." + p.Name, p.Shape, f.Of(f.v, i)})
		}
	}
	return out
}

package train

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/safetensors"
)

// ErrDiverged is the error about weights or moments that are NaN or infinite. They are not saved.
var ErrDiverged = errors.New("it has values that are NaN or infinite: training diverged")

const stateFile = "optimizer.safetensors"

// SaveState writes optimizer.safetensors into dir: for every parameter P its F32 master "P", and AdamW's moments "m.P"
// and "v.P". The metadata holds the number of optimizer steps. All ranks call it, and only rank 0's dir is used. The
// file does not depend on the number of ranks: rank 0 creates it under a temporary name, each rank that sees it on a
// common file system writes its part, the others send their parts to rank 0, and when everything is on disk, rank 0
// renames the file.
func (t *optimizer) SaveState(dir string) error {
	return t.write(filepath.Join(dir, stateFile), t.state(), map[string]string{"step": strconv.Itoa(t.step)})
}

// LoadState restores what SaveState wrote and repacks the weights from their masters, so that the next step gives the
// bits of an uninterrupted run. If ctx ends before that, LoadState returns its error, and only a part of the weights is
// restored. All ranks call it; rank 0 reads the file.
func (t *optimizer) LoadState(ctx context.Context, dir string) error {
	meta, err := readTensors(ctx, t.dev, t.ranks, filepath.Join(dir, stateFile), t.state())
	if err != nil {
		return fmt.Errorf("restoring the optimizer: %w", err)
	}
	step, err := strconv.Atoi(meta["step"])
	if err != nil || step < 0 {
		return fmt.Errorf("restoring the optimizer: %s carries no step count: it was not written by this program",
			filepath.Join(dir, stateFile))
	}
	for _, f := range t.flats {
		if !f.Whole() {
			if err := t.publish(&f.layout, f.Master, f.Params); err != nil {
				return fmt.Errorf("restoring the optimizer: %w", err)
			}
			continue
		}
		for _, p := range f.Params {
			t.repack(p)
		}
	}
	t.step = step
	return t.dev.Sync()
}

// write writes F32 tensors, of which the ranks may hold parts, to rank 0's file path.
func (x *exchange) write(path string, list []stateEntry, meta map[string]string) error {
	if x.ranks.Size() > 1 {
		return x.writeParts(path, list, meta)
	}
	return writeTensors(path, list, meta, reader(x.dev))
}

// createTensors begins a file of F32 tensors.
func createTensors(path string, list []stateEntry, meta map[string]string) (*safetensors.Writer, error) {
	var specs []safetensors.Spec
	for _, e := range list {
		specs = append(specs, safetensors.Spec{Name: e.name, DType: safetensors.F32, Shape: e.shape})
	}
	meta["format"] = "pt"
	return safetensors.Create(path, specs, meta)
}

// writeTensors writes F32 tensors to the file path; read gives the elements of each, valid until the next.
func writeTensors(path string, list []stateEntry, meta map[string]string,
	read func(e stateEntry) ([]float32, error)) error {
	w, err := createTensors(path, list, meta)
	if err != nil {
		return err
	}
	defer w.Abort()
	for _, e := range list {
		host, err := read(e)
		if err != nil {
			return err
		}
		if !allFinite(host) {
			return fmt.Errorf("%s: %w", e.name, ErrDiverged)
		}
		if err := w.WriteFloat32(e.name, host); err != nil {
			return err
		}
	}
	return w.Close()
}

func allFinite(x []float32) bool {
	return !slices.ContainsFunc(x, func(x float32) bool { return x-x != 0 })
}

// reader reads the elements of tensors that are complete on dev.
func reader(dev kernels.Device) func(e stateEntry) ([]float32, error) {
	var host []float32
	return func(e stateEntry) ([]float32, error) {
		host = sized(host, e.t.Len())
		return host, kernels.Download(dev, host, e.t)
	}
}

// readTensors fills the tensors of list from rank 0's file path and returns its metadata.
func readTensors(ctx context.Context, dev kernels.Device, ranks dist.Group, path string, list []stateEntry) (
	meta map[string]string, err error) {
	read := func(stateEntry, []float32) error { return nil }
	if ranks.Rank() == 0 {
		f, err := safetensors.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		meta = f.Metadata()
		read = func(e stateEntry, host []float32) error { return readTensor(f, path, e, host) }
	}
	for _, e := range list {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		host := make([]float32, e.len())
		if err := read(e, host); err != nil {
			return nil, err
		}
		if err := ranks.Broadcast(0, bytesOf(host)); err != nil {
			return nil, err
		}
		if part := e.part(ranks.Rank()); part.len() > 0 {
			kernels.Upload(dev, e.t, host[part.from:part.to])
		}
	}
	if meta, err = dist.First(ranks, meta); err != nil {
		return nil, err
	}
	return meta, dev.Sync()
}

// readTensor fills host with the tensor of e.
func readTensor(f *safetensors.File, path string, e stateEntry, host []float32) error {
	src, ok := f.Tensor(e.name)
	if !ok {
		return fmt.Errorf("%s has no tensor %q: it is of another model or of other trained parameters", path, e.name)
	}
	if src.Elements() != len(host) {
		return fmt.Errorf("%s: tensor %q has shape %v where %v is wanted", path, e.name, src.Shape, e.shape)
	}
	return src.Float32(host)
}

// stateEntry is a tensor of a checkpoint. t is the complete tensor or, where the ranks hold parts, the part of this
// rank.
type stateEntry struct {
	name  string
	shape []int
	t     kernels.Tensor
	parts []shard // by rank; nil: t is the whole
}

// len is the number of elements.
func (e stateEntry) len() int {
	n := 1
	for _, d := range e.shape {
		n *= d
	}
	return n
}

// part returns the elements of the tensor that a rank holds.
func (e stateEntry) part(rank int) shard {
	if e.parts == nil {
		return shard{0, e.len()}
	}
	return e.parts[rank]
}

func (t *optimizer) state() []stateEntry {
	var out []stateEntry
	for _, f := range t.flats {
		for i, p := range f.Params {
			master := stateEntry{p.Name, p.Shape, p.Master, nil}
			if !f.Whole() {
				master = t.entry(&f.layout, "", i, f.Master)
			}
			out = append(out, master, t.entry(&f.layout, "m.", i, f.m), t.entry(&f.layout, "v.", i, f.v))
		}
	}
	return out
}

// entry is parameter i of a tensor of which this rank has its part, x.
func (x *exchange) entry(f *layout, prefix string, i int, part kernels.Tensor) stateEntry {
	p := f.Params[i]
	e := stateEntry{name: prefix + p.Name, shape: p.Shape}
	if x.ranks.Size() == 1 {
		e.t = f.Of(part, i)
		return e
	}
	at := f.Ranges()[i]
	for r := range x.ranks.Size() {
		s := shard{f.parts[r], f.parts[r+1]}.cut(at.From, at.To)
		e.parts = append(e.parts, shard{s.from - at.From, s.to - at.From})
		if r == x.ranks.Rank() && s.len() > 0 {
			e.t = part.ColRange(s.from-f.from, s.len())
		}
	}
	return e
}

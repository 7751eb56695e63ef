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

// ErrDiverged is the error of weights or moments that are no numbers any more; nothing of them is worth saving.
var ErrDiverged = errors.New("it has values that are NaN or infinite: training diverged")

const stateFile = "optimizer.safetensors"

// SaveState writes optimizer.safetensors into dir: for every parameter P its F32 master "P", and AdamW's moments "m.P"
// and "v.P". The number of steps taken is in the metadata. All ranks call it; rank 0 writes the file, which is the same
// however many they are, and only that one's dir is used.
func (t *optimizer) SaveState(dir string) error {
	return t.write(filepath.Join(dir, stateFile), t.state(), map[string]string{"step": strconv.Itoa(t.step)})
}

// LoadState restores what SaveState wrote and repacks the weights from their masters, so that the next step gives the
// bits that an uninterrupted run would have given. Where ctx ends before, its error is returned, and the weights are
// partly restored. All ranks call it; rank 0 reads the file.
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
	defer func() { x.host = staging{} }()
	if x.ranks.Rank() > 0 {
		for _, e := range list {
			if _, err := x.whole(e); err != nil {
				return err
			}
		}
		return nil
	}
	return writeTensors(path, list, meta, x.whole)
}

// writeTensors writes F32 tensors to the file path; read gives the elements of each, valid until the next.
func writeTensors(path string, list []stateEntry, meta map[string]string,
	read func(e stateEntry) ([]float32, error)) error {
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
	for _, e := range list {
		host, err := read(e)
		if err != nil {
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

// reader gives the elements of tensors that lie whole on dev.
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

// stateEntry is a tensor of a checkpoint: t, or the parts of it that the ranks hold, of which t is this one's.
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

// part is what of the tensor is in t.
func (e stateEntry) part(rank int) shard {
	if e.parts == nil {
		return shard{0, e.len()}
	}
	return e.parts[rank]
}

// whole gives rank 0 the elements of e, valid until the next call; the other ranks send their parts.
func (x *exchange) whole(e stateEntry) ([]float32, error) {
	own, rank := e.part(x.ranks.Rank()), x.ranks.Rank()
	x.host.send = sized(x.host.send, own.len())
	if own.len() > 0 {
		if err := kernels.Download(x.dev, x.host.send, e.t.Reshape(1, own.len())); err != nil {
			return nil, err
		}
	}
	if e.parts == nil {
		return x.host.send, nil
	}
	sent, received := make([]int, x.ranks.Size()), make([]int, x.ranks.Size())
	sent[0] = 4 * own.len()
	x.host.recv = sized(x.host.recv, 0)
	if rank == 0 {
		x.host.recv = sized(x.host.recv, e.len())
		for r, p := range e.parts {
			received[r] = 4 * p.len()
		}
	}
	return x.host.recv, x.ranks.AllToAll(bytesOf(x.host.recv), received, bytesOf(x.host.send), sent)
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

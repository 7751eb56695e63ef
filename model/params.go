package model

import (
	"cmp"
	"fmt"
	"slices"
	"unsafe"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
)

// Param is one tensor of a checkpoint or of an adapter.
type Param struct {
	Name  string // as in the file
	Shape []int  // as in the file: [N, K], or [n] for norms and biases

	// W is the packed matrix that operations use, nil for vectors. After Master changes, Repack must update W.
	W    kernels.Weight
	held kernels.DType // the type of W; 0: that of the bank
	// Master is F32 [N, K]: what the optimizer moves; none for the matrices of a frozen model, and after KeepMasters. A
	// vector is F32 [1, n] in every model and is used as it is.
	Master kernels.Tensor
	// Grad is F32 [N, K], what Backward adds to; none in a frozen model.
	Grad kernels.Tensor
}

// size is the parameter's shape as a matrix; a vector is one row.
func (p *Param) size() (rows, cols int) {
	if len(p.Shape) == 1 {
		return 1, p.Shape[0]
	}
	return p.Shape[0], p.Shape[1]
}

// bank holds the memory of a list of parameters: each weight, and in flat the masters and gradients of all of them, or
// of a frozen model the vectors.
type bank struct {
	dev       kernels.Device
	dtype     kernels.DType // of matrices, if they do not say otherwise
	trainable bool
	params    []*Param
	byName    map[string]*Param
	flat      Flat
	wide      []float32 // staging of store
	stage     []uint64  // and of load
}

// newBank allocates params, which have their names and shapes; everything is zero.
func newBank(dev kernels.Device, dtype kernels.DType, trainable bool, params []*Param) (b *bank, err error) {
	if trainable && dtype.Quantised() {
		return nil,
			fmt.Errorf("%[1]v weights cannot be trained: use bf16 or f32, or train an adapter on the frozen %[1]v model",
				dtype)
	}
	b = &bank{dev: dev, dtype: dtype, trainable: trainable, params: params,
		byName: make(map[string]*Param, len(params))}
	defer func() {
		if err != nil {
			b.free()
			b = nil
		}
	}()
	for _, p := range params {
		b.byName[p.Name] = p
	}
	if trainable {
		b.flat, err = NewFlat(dev, params)
	} else {
		b.flat.Params = slices.DeleteFunc(slices.Clone(params), func(p *Param) bool { return len(p.Shape) != 1 })
		b.flat.Master, err = layFlat(dev, b.flat.Params, func(p *Param) *kernels.Tensor { return &p.Master })
	}
	if err != nil {
		return b, err
	}
	return b, b.newWeights()
}

func (b *bank) heldAs(p *Param) kernels.DType { return cmp.Or(p.held, b.dtype) }

// newWeights makes the matrices, those of one type and of projections that share an input together.
func (b *bank) newWeights() error {
	matrices := slices.DeleteFunc(slices.Clone(b.params), func(p *Param) bool { return len(p.Shape) != 2 })
	for len(matrices) > 0 {
		n := 1
		t := b.heldAs(matrices[0])
		for n < len(matrices) && inputOf(matrices[n].Name) == inputOf(matrices[0].Name) &&
			b.heldAs(matrices[n]) == t {
			n++
		}
		group := matrices[:n]
		matrices = matrices[n:]
		var rows []int
		for _, p := range group {
			rows = append(rows, p.Shape[0])
		}
		all, err := kernels.NewWeights(b.dev, group[0].Shape[1], t, rows...)
		if err != nil {
			return fmt.Errorf("allocating %s %v: %w", group[0].Name, group[0].Shape, err)
		}
		for i, p := range group {
			p.W = all[i]
		}
	}
	return nil
}

// Bytes is the memory that the parameters occupy, masters and gradients included.
func (b *bank) Bytes() int64 {
	var n int64
	for _, p := range b.params {
		if p.W != nil {
			n += p.W.Bytes()
		}
	}
	for _, t := range []kernels.Tensor{b.flat.Master, b.flat.Grad} {
		if !t.IsZero() {
			n += t.Buf.Bytes()
		}
	}
	return n
}

func (b *bank) free() {
	for _, p := range b.params {
		if p.W != nil {
			p.W.Free()
		}
		p.W = nil
	}
	b.flat.Free()
}

// op is the type to which operands of a weight gradient are rounded.
func (b *bank) op() kernels.DType {
	if b.dtype == kernels.F32 {
		return kernels.F32
	}
	return kernels.BF16
}

// All lists the parameters, trainable or not, in the order of the checkpoint.
func (b *bank) All() []*Param { return b.params }

// trained lists the parameters that have gradients.
func (b *bank) trained() []*Param { return b.Trained().Params }

// Trained is the parameters that have gradients, as an optimizer moves them; none if they are frozen.
func (b *bank) Trained() Flat {
	if !b.trainable {
		return Flat{}
	}
	return b.flat
}

// KeepMasters gives up the masters of all elements of Trained but [from, to), which are cuts of it (Flat.Cut): where
// several processes train together, each moves a part. What was got of Trained before is of no use then.
func (b *bank) KeepMasters(from, to int) error { return b.flat.keep(b.dev, from, to) }

func (b *bank) zeroGrads() {
	if b.trainable {
		b.dev.Zero(b.flat.Grad)
	}
}

func (b *bank) repack(p *Param) {
	if p.W != nil && !p.Master.IsZero() {
		b.dev.Pack(p.W, 0, p.Master)
	}
}

// store sets rows [row0, ...) of p from host bytes of type src (F32, BF16, F16), a vector always as a whole.
func (b *bank) store(p *Param, row0 int, rows []byte, src kernels.DType) {
	if p.W != nil {
		b.dev.PackHost(p.W, row0, rows, src)
	}
	if p.Master.IsZero() {
		return
	}
	_, k := p.size()
	kernels.Upload(b.dev, p.Master.RowRange(row0, len(rows)/src.Size()/k), b.widen(rows, src))
}

// widen sees host bytes as float32, converting where they are not; valid until the next call.
func (b *bank) widen(rows []byte, src kernels.DType) []float32 {
	if src == kernels.F32 {
		return cast[float32](rows)
	}
	if n := len(rows) / 2; cap(b.wide) < n {
		b.wide = make([]float32, n)
	}
	out := b.wide[:len(rows)/2]
	widen(out, rows, src)
	return out
}

// widen converts host bytes to float32.
func widen(out []float32, rows []byte, src kernels.DType) {
	switch src {
	case kernels.F32:
		copy(out, cast[float32](rows))
	case kernels.F16:
		num.WidenF16(out, cast[uint16](rows))
	default:
		num.WidenBF16(out, cast[uint16](rows))
	}
}

// chunkElements is about how much is moved at a time; tests make it small.
var chunkElements = 1 << 20

// chunkRows is how many rows of k columns are moved at a time, in whole panels of 32.
func chunkRows(k int) int { return max(32, chunkElements/max(k, 1)/32*32) }

// cast sees bytes of this machine's order, aligned, as elements.
func cast[E uint16 | uint64 | float32](b []byte) []E {
	var e E
	return unsafe.Slice((*E)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(e)))
}

// bytesOf sees elements as bytes.
func bytesOf[E int8 | uint16 | uint64 | float32](s []E) []byte {
	var e E
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(e)))
}

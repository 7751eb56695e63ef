package kernels

import (
	"strings"
	"sync"
)

// Sizes says what memory things take on a kind of device, whether one is open here, elsewhere or nowhere: plans are
// made of it. All sizes are bytes.
type Sizes interface {
	// Weight is the size of a weight [n, k] held as t.
	Weight(n, k int, t DType) int64
	// KV is the size of a cache.
	KV(s KVSpec) int64
	// Batch is the size of a batch, and of what the device keeps with it; backward: for AttentionBackward too.
	Batch(s BatchSpec, backward bool) int64
	// Operand is Device.Operand.
	Operand(t DType) DType
	// Scratch is what the device itself holds after it has done all of this work: memory that operations share and that
	// grows to the largest need.
	Scratch(all []Work) int64
}

// Shape is that of a weight.
type Shape struct{ N, K int }

// Work is passes of one model, as far as a device's scratch memory depends on them: the most of each. What is 0 does
// not happen.
type Work struct {
	Type     DType     // of the matrices
	Products [][]Shape // of a layer; those that share an input, together
	Head     Shape     // [V, C], the output matrix
	Heads    int       // H
	KV       KVSpec    // of the cache; its number of layers and pages does not count
	Rank     int       // R of an adapter on every product
	LoRAType DType     // of its matrices

	Rows     int // T of a pass
	Segments int // sequences in it
	Longest  int // positions of the longest of them, with what it shares
	Scored   int // rows of a LogProb
	Sampled  int // rows of a Sample
	Backward bool
	Weights  bool // the backward reaches the model's own weights
	Squares  int  // elements of a SumSquares
	Packed   int  // elements of a PackHost
}

var registered struct {
	sync.Mutex
	kinds map[string]func(threads int) Sizes
}

// RegisterSizes makes SizesOf know a kind of device: the part of Device.Name before a colon. The package of a device
// calls it when it is initialised.
func RegisterSizes(kind string, of func(threads int) Sizes) {
	registered.Lock()
	defer registered.Unlock()
	if registered.kinds == nil {
		registered.kinds = map[string]func(int) Sizes{}
	}
	registered.kinds[kind] = of
}

// SizesOf is the sizes on the device of this name, which computes with so many threads if it is a CPU. Where no package
// of the program knows the kind of device, weights and caches are planned as dense rows, and no scratch.
func SizesOf(device string, threads int) Sizes {
	kind, _, _ := strings.Cut(device, ":")
	registered.Lock()
	of := registered.kinds[kind]
	registered.Unlock()
	if of == nil {
		return denseSizes{}
	}
	return of(threads)
}

// denseSizes are those of rows without padding.
type denseSizes struct{}

func (denseSizes) Weight(n, k int, t DType) int64 { return DenseWeightBytes(n, k, t) }
func (denseSizes) KV(s KVSpec) int64              { return DenseKVBytes(s) }
func (denseSizes) Operand(DType) DType            { return F32 }
func (denseSizes) Scratch([]Work) int64           { return 0 }
func (denseSizes) Batch(s BatchSpec, _ bool) int64 {
	return 4 * int64(3*s.Tokens+s.Rows)
}

// DenseWeightBytes is the size of a weight whose rows have no padding.
func DenseWeightBytes(n, k int, t DType) int64 {
	if t == Q8 {
		return int64(n) * int64(Q8RowBytes(k))
	}
	return int64(n) * int64(k) * int64(t.Size())
}

// DenseKVBytes is the size of a cache without padding.
func DenseKVBytes(s KVSpec) int64 {
	return 2 * int64(s.Layers) * int64(s.Pages) * PageSize * int64(s.KVHeads) * int64(s.HeadDim) * int64(s.Type.Size())
}

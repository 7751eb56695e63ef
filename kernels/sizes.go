package kernels

import (
	"strings"
	"sync"
)

// Sizes computes memory sizes, in bytes, for a kind of device. It needs no open device: memory plans are made with it,
// also for devices of another machine.
type Sizes interface {
	// Weight is the size of a weight [n, k] held as t.
	Weight(n, k int, t DType) int64
	// KV is the size of a cache.
	KV(s KVSpec) int64
	// Batch is the size of a batch with everything that the device stores beside it; backward: also for
	// AttentionBackward.
	Batch(s BatchSpec, backward bool) int64
	// Operand is Device.Operand.
	Operand(t DType) DType
	// Scratch is the size of the device's scratch memory after it has done all of this work. Operations share scratch
	// memory, which grows to the largest need.
	Scratch(all []Work) int64
}

// Shape is that of a weight.
type Shape struct{ N, K int }

// Work describes the passes of one model, as far as a device's scratch memory depends on them. Numbers are maxima; 0
// means that the operation does not occur.
type Work struct {
	Type     DType     // of the matrices of layers
	HeadType DType     // of the output matrix; 0: as Type
	Products [][]Shape // the matrices of a layer, grouped by common input
	Head     Shape     // [V, C], the output matrix
	Heads    int       // H
	KV       KVSpec    // the cache; its numbers of layers and pages do not matter
	Rank     int       // R of a LoRA adapter on every matrix, 0 without adapter
	LoRAType DType     // of its matrices

	Rows     int // T of a pass
	Segments int // sequences in it
	Longest  int // positions of the longest sequence, shared prompt included
	Scored   int // rows of a LogProb
	Sampled  int // rows of a Sample
	Backward bool
	Weights  bool // the backward computes gradients of the model's weights (not only of adapters)
	Squares  int  // elements of a SumSquares
	Packed   int  // elements of a PackHost
}

var registered struct {
	sync.Mutex
	kinds map[string]func(threads int) Sizes
}

// RegisterSizes registers the Sizes of a kind of device: the part of Device.Name before a colon. The device's package
// calls it in init.
func RegisterSizes(kind string, of func(threads int) Sizes) {
	registered.Lock()
	defer registered.Unlock()
	if registered.kinds == nil {
		registered.kinds = map[string]func(int) Sizes{}
	}
	registered.kinds[kind] = of
}

// SizesOf returns the Sizes of the device of this name; a CPU is assumed to use so many threads. For kinds of devices
// that are not linked into the program, weights and caches are planned as dense rows, without scratch memory.
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

// denseSizes are the sizes of rows without padding.
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
	switch t {
	case Q8:
		return int64(n) * int64(Q8RowBytes(k))
	case Q4:
		return int64(n) * int64(Q4RowBytes(k))
	}
	return int64(n) * int64(k) * int64(t.Size())
}

// DenseKVBytes is the size of a cache without padding.
func DenseKVBytes(s KVSpec) int64 {
	return 2 * int64(s.Layers) * int64(s.Pages) * PageSize * int64(s.KVHeads) * int64(s.HeadDim) * int64(s.Type.Size())
}

// Package ops has what is measured of a device: every operation of kernels.Ops on the shapes of real models, each with
// its cost, the arithmetic and the memory traffic that it needs at least. It times nothing.
package ops

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// Case is an operation on one shape.
type Case struct {
	Op    string
	Of    string // the model that the shape is taken from
	Shape Shape
	DType kernels.DType
	Cost  Cost
	// make allocates operands and returns the call. Calls are numbered, so that a case can rotate through several
	// copies of its operands that together exceed the caches, as the layers of a model do.
	make func(b *bed) (call func(i int))
}

// Shape is what is measured: m, k and n for operations, prompt, gen and batch for models.
type Shape map[string]int

// Dims is the order in which the numbers of a shape are printed.
var Dims = []string{"m", "k", "n", "prompt", "gen", "batch", "depth", "sequences", "length", "rank", "questions",
	"rollouts", "turns", "observation"}

// String is "m=512 k=576 n=1536".
func (s Shape) String() string {
	var out []string
	for _, d := range Dims {
		if v, ok := s[d]; ok {
			out = append(out, fmt.Sprintf("%s=%d", d, v))
		}
	}
	return strings.Join(out, " ")
}

// Prepare allocates the operands of c on d. Calls of call are numbered from 0; free gives the operands back.
func (c Case) Prepare(d kernels.Device) (call func(i int), free func(), err error) {
	b := &bed{d: d}
	defer func() {
		switch p := recover().(type) {
		case nil:
		case bedError:
			b.close()
			err = p.error
		default:
			panic(p)
		}
	}()
	return c.make(b), b.close, nil
}

// family makes the cases of some operations for a list of models.
type family func(models []string) []Case

// families is the table of all operations of kernels.Ops, in its order.
var families = []family{embedCases, normCases, matmulCases, ropeCases, cacheCases, attentionCases, gatedCases,
	gatherCases, lossCases, sampleCases, optimCases, moveCases}

// Cases are all cases of the models' shapes.
func Cases(models []string) (out []Case) {
	for _, f := range families {
		out = append(out, f(models)...)
	}
	return out
}

// cacheBytes is the size that operands must exceed to be read from memory: three times the last-level cache of this
// project's usual machines.
const cacheBytes = 96 << 20

// copies is the number of sets of operands, of bytes each, that exceeds the caches; at most 64.
func copies(bytes float64) int {
	return max(1, min(64, int(cacheBytes/max(bytes, 1))+1))
}

// bed allocates the operands of a case; close frees them all. If memory runs out, it panics with a bedError, which ends
// the case.
type bed struct {
	d       kernels.Device
	buffers []interface{ Free() }
	noise   []float32
}

// bedError is the panic of a bed that has no memory left.
type bedError struct{ error }

func (b *bed) keep(x interface{ Free() }, err error) {
	if err != nil {
		panic(bedError{fmt.Errorf("allocating operands: %w", err)})
	}
	b.buffers = append(b.buffers, x)
}

func (b *bed) close() {
	for _, x := range b.buffers {
		x.Free()
	}
	b.buffers = nil
}

// f32 is a matrix of small pseudo-random numbers.
func (b *bed) f32(rows, cols int) kernels.Tensor {
	t := b.empty(kernels.F32, rows, cols)
	b.fill(t)
	return t
}

// empty is a zeroed matrix.
func (b *bed) empty(t kernels.DType, rows, cols int) kernels.Tensor {
	buf, err := b.d.Alloc(int64(rows) * int64(cols) * int64(t.Size()))
	b.keep(buf, err)
	return kernels.Mat(buf, t, 0, rows, cols)
}

const noiseRow = 1 << 16

// fill writes pseudo-random numbers in [-1, 1): a block that repeats, because the speed of most operations does not
// depend on the values.
func (b *bed) fill(t kernels.Tensor) {
	if b.noise == nil {
		b.noise = make([]float32, noiseRow)
		x := uint32(1)
		for i := range b.noise {
			x = x*1664525 + 1013904223
			b.noise[i] = float32(int32(x)) / (1 << 31)
		}
	}
	flat := t.Reshape(1, t.Len())
	for at := 0; at < t.Len(); at += noiseRow {
		n := min(noiseRow, t.Len()-at)
		kernels.Upload(b.d, flat.ColRange(at, n), b.noise[:n])
	}
}

// logitSpread is about the standard deviation of a trained model's logits. It affects the speed: with a larger one
// exponentials are denormals, which take a hundred times as long; with a smaller one the nucleus of top-p is most of
// the vocabulary.
const logitSpread = 3

// normal is a matrix of normally distributed numbers.
func (b *bed) normal(rows, cols int, deviation float64) kernels.Tensor {
	r := rand.New(rand.NewPCG(1, uint64(rows)))
	x := make([]float32, rows*cols)
	for i := range x {
		x[i] = float32(r.NormFloat64() * deviation)
	}
	t := b.empty(kernels.F32, rows, cols)
	kernels.Upload(b.d, t, x)
	return t
}

// ints is a column of n ids: (from+i)*step mod limit.
func (b *bed) ints(from, n, step, limit int) kernels.Tensor {
	t := b.empty(kernels.I32, n, 1)
	kernels.Upload(b.d, t, numbers(from, n, step, limit))
	return t
}

// numbers are the integers of ints.
func numbers(from, n, step, limit int) []int32 {
	v := make([]int32, n)
	for i := range v {
		v[i] = int32((from + i) * step % limit)
	}
	return v
}

// weight is a packed matrix [n, k] of noise.
func (b *bed) weight(n, k int, t kernels.DType) kernels.Weight {
	w, err := b.d.NewWeight(n, k, t)
	b.keep(w, err)
	step := max(32, noiseRow/k/32*32)
	rows := b.f32(min(step, n), k)
	for r := 0; r < n; r += step {
		b.packRows(w, r, min(step, n-r), rows)
	}
	return w
}

func (b *bed) packRows(w kernels.Weight, row0, n int, src kernels.Tensor) {
	host := make([]byte, 4*n*src.Cols)
	if err := kernels.Download(b.d, host, kernels.Tensor{Buf: src.Buf, Off: 4 * src.Off, Rows: 1, Cols: len(host),
		Stride: len(host), Type: kernels.U8}); err != nil {
		panic(bedError{err})
	}
	b.d.PackHost(w, row0, host, kernels.F32)
}

// batch makes a batch with exactly the size of l.
func (b *bed) batch(l kernels.Layout, kv kernels.KV) kernels.Batch {
	x, err := kernels.BatchOf(b.d, l, kv)
	b.keep(x, err)
	return x
}

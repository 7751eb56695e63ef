// Package embed turns sequences into vectors with a decoder, and finds the nearest of many vectors.
package embed

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// Encoder turns sequences into vectors: the hidden state of the last token after the final norm, divided by its length
// (Qwen3-Embedding, arXiv 2506.05176). One goroutine at a time uses it, and its device.
type Encoder struct {
	m   *model.Model
	ws  *model.Workspace
	kv  kernels.KV
	max int
}

// passSequences is the largest number of sequences of a pass: each may leave most of a page of keys and values unused.
const passSequences = 16

// NewEncoder makes room for passes of up to maxTokens tokens, which is also the longest sequence.
func NewEncoder(m *model.Model, maxTokens int) (*Encoder, error) {
	e := &Encoder{m: m, max: min(maxTokens, m.Config.MaxPos)}
	var err error
	if e.ws, err = m.NewWorkspace(e.max, model.WorkspaceOptions{Positions: e.max}); err != nil {
		return nil, err
	}
	kind := kernels.BF16
	if m.DType == kernels.F32 {
		kind = kernels.F32
	}
	if e.kv, err = m.Device.NewKV(m.KVSpec(kernels.PagesFor(e.max)+passSequences, kind)); err != nil {
		e.ws.Close()
		return nil, fmt.Errorf("keys and values for %d tokens: %w", e.max, err)
	}
	return e, nil
}

// MaxTokens is the length of the longest sequence.
func (e *Encoder) MaxTokens() int { return e.max }

// Dim is the length of a vector, C.
func (e *Encoder) Dim() int { return e.m.Config.Hidden }

// Close gives the memory back.
func (e *Encoder) Close() {
	e.kv.Free()
	e.ws.Close()
}

// Encode gives the vectors of sequences, [sequences, C]. A vector depends on its own sequence only. Sequences are not
// empty and have at most MaxTokens tokens; ids are below the size of the vocabulary.
func (e *Encoder) Encode(seqs [][]int32) ([]float32, error) {
	for _, ids := range seqs {
		if len(ids) < 1 || len(ids) > e.max {
			return nil, fmt.Errorf("embedding: a sequence of %d tokens: give 1 to %d", len(ids), e.max)
		}
		if err := e.m.Config.CheckIDs(ids); err != nil {
			return nil, fmt.Errorf("embedding: %w", err)
		}
	}
	out := make([]float32, 0, len(seqs)*e.Dim())
	for len(seqs) > 0 {
		n, tokens := 0, 0
		for n < min(len(seqs), passSequences) && tokens+len(seqs[n]) <= e.max {
			tokens += len(seqs[n])
			n++
		}
		var err error
		if out, err = e.pass(out, seqs[:n]); err != nil {
			return nil, fmt.Errorf("embedding: %w", err)
		}
		seqs = seqs[n:]
	}
	return out, nil
}

// pass appends the vectors of sequences that fit into one pass.
func (e *Encoder) pass(out []float32, seqs [][]int32) ([]float32, error) {
	b := &model.Batch{}
	page := int32(0)
	for _, ids := range seqs {
		s := kernels.Segment{Row: len(b.IDs), Len: len(ids)}
		for range kernels.PagesFor(len(ids)) {
			s.Pages = append(s.Pages, page)
			page++
		}
		for i, id := range ids {
			b.IDs, b.Pos = append(b.IDs, id), append(b.Pos, int32(i))
			b.Slots = append(b.Slots, s.Pages[i/kernels.PageSize]*kernels.PageSize+int32(i%kernels.PageSize))
		}
		b.Segs = append(b.Segs, s)
	}
	h := e.m.Forward(e.ws, b, e.kv)
	all := make([]float32, h.Len())
	if err := kernels.Download(e.m.Device, all, h); err != nil {
		return nil, err
	}
	for _, s := range b.Segs {
		last := all[(s.Row+s.Len-1)*e.Dim():][:e.Dim()]
		v := Normalize(last)
		if math.IsNaN(float64(v[0])) {
			return nil, fmt.Errorf("the model gave no number: its weights are damaged")
		}
		out = append(out, v...)
	}
	return out, nil
}

// Normalize is a vector divided by its length. It is NaN throughout if a number of v is NaN or infinite.
func Normalize(v []float32) []float32 {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	if math.IsInf(sum, 0) {
		sum = math.NaN()
	}
	norm := max(math.Sqrt(sum), 1e-12) // torch.nn.functional.normalize's eps
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(float64(x) / norm)
	}
	return out
}

// Index finds the vectors nearest to another one, exactly: it computes every product. Vectors are held in BF16.
type Index struct {
	dev           kernels.Device
	n             int
	w             kernels.Weight // [n, C]
	query, scores kernels.Tensor // [1, C], [1, n]
}

// NewIndex makes room for n vectors of length dim, at least one.
func NewIndex(dev kernels.Device, n, dim int) (*Index, error) {
	x := &Index{dev: dev, n: n}
	var err error
	fail := func(err error) (*Index, error) {
		x.Close()
		return nil, fmt.Errorf("room for %d vectors of %d: %w", n, dim, err)
	}
	if x.w, err = dev.NewWeight(n, dim, kernels.BF16); err != nil {
		return fail(err)
	}
	if x.query, err = kernels.NewTensor(dev, kernels.F32, 1, dim); err != nil {
		return fail(err)
	}
	if x.scores, err = kernels.NewTensor(dev, kernels.F32, 1, n); err != nil {
		return fail(err)
	}
	return x, nil
}

// Put stores the vectors [at, at+k), whose numbers are BF16 in little-endian order, [k, dim].
func (x *Index) Put(at int, vectors []byte) { x.dev.PackHost(x.w, at, vectors, kernels.BF16) }

// Hit is a vector and its product with the query.
type Hit struct {
	Vector int // from 0
	Score  float32
}

// Find gives the k vectors with the largest products with a query, [dim], best first; of equal ones the earlier.
func (x *Index) Find(query []float32, k int) ([]Hit, error) {
	kernels.Upload(x.dev, x.query, query)
	x.dev.MatMul(x.scores, x.query, x.w, kernels.Epilogue{})
	scores := make([]float32, x.n)
	if err := kernels.Download(x.dev, scores, x.scores); err != nil {
		return nil, fmt.Errorf("searching vectors: %w", err)
	}
	hits := make([]Hit, x.n)
	for i, s := range scores {
		hits[i] = Hit{i, s}
	}
	slices.SortStableFunc(hits, func(a, b Hit) int { return cmp.Compare(b.Score, a.Score) })
	return hits[:min(max(k, 0), x.n)], nil
}

// Close gives the memory back.
func (x *Index) Close() {
	if x.w != nil {
		x.w.Free()
	}
	for _, t := range []kernels.Tensor{x.query, x.scores} {
		if t.Buf != nil {
			t.Buf.Free()
		}
	}
}

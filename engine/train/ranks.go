package train

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// Several ranks train one model (ZeRO-1, arXiv 1910.02054). Each rank computes the gradient of its own sequences. Then
// each rank sums the gradients of one part of the parameters over all ranks (reduce-scatter), updates that part, of
// which it alone holds f32 masters and moments, and sends the new weights to the others (all-gather). Sums are taken in
// the order of the ranks, whatever arrives first, so that the same number of ranks gives the same bits.

// shard is the range [from, to) of elements of a tensor that holds several parameters.
type shard struct{ from, to int }

func (s shard) len() int { return s.to - s.from }

// of returns the shard's elements of x, a tensor of all elements.
func (s shard) of(x kernels.Tensor) kernels.Tensor { return x.ColRange(s.from, s.len()) }

// cut returns the intersection of s with the elements [from, to).
func (s shard) cut(from, to int) shard {
	from, to = max(s.from, from), min(s.to, to)
	return shard{min(from, to), to}
}

// bank is what has trained parameters: a model or an adapter.
type bank interface {
	Trained() model.Flat
	KeepMasters(from, to int) error
}

// share frees the masters that other ranks hold, and returns the parameters that trained selects from x.
func (o Options) share(x bank, trained func() model.Flat) (model.Flat, error) {
	f := trained()
	if o.Ranks.Size() == 1 || len(f.Params) == 0 {
		return f, nil
	}
	if !f.Whole() {
		return f, fmt.Errorf("another trainer shares this model's masters among ranks")
	}
	parts := f.Divide(o.Ranks.Size())
	if err := x.KeepMasters(parts[o.Ranks.Rank()], parts[o.Ranks.Rank()+1]); err != nil {
		return f, fmt.Errorf("sharing the masters among ranks: %w", err)
	}
	return trained(), nil
}

// report is what a rank tells the others about its sequences of a step before the gradients are summed.
type report struct {
	Stats Stats
	Err   string
	Bad   *NonFiniteError // a loss that is not finite
}

// agree sums the counts over all ranks. If a rank has an error, all ranks return one: their own, or else that of the
// first rank that has one. A loss that is not finite in one rank skips the step in all.
func (t *optimizer) agree(st *Stats, err error) error {
	if t.ranks.Size() == 1 {
		return err
	}
	own := report{Stats: *st}
	if !errors.As(err, &own.Bad) && err != nil {
		own.Err = err.Error()
	}
	all, failed := dist.Share(t.ranks, own)
	if failed != nil {
		return cmp.Or(err, failed)
	}
	var bad *NonFiniteError
	*st = Stats{}
	for r, x := range all {
		if x.Err != "" && failed == nil {
			failed = &dist.RankError{Rank: r, Text: x.Err}
		}
		bad = cmp.Or(bad, x.Bad)
		st.Tokens, st.TrainedTokens = st.Tokens+x.Stats.Tokens, st.TrainedTokens+x.Stats.TrainedTokens
		st.MicroBatches += x.Stats.MicroBatches
	}
	switch {
	case own.Err != "":
		return err
	case failed != nil:
		return failed
	case bad != nil:
		return bad
	}
	return nil
}

// sumGradients replaces this rank's part of the gradients by the sum over all ranks, in the order of the ranks.
func (t *optimizer) sumGradients() error {
	if t.ranks.Size() == 1 {
		return nil
	}
	for _, f := range t.flats {
		var err error
		if t.link != nil {
			err = t.eachLinked(&f.layout, func(pieces []shard) { t.sumLinked(f.Grad, pieces) })
		} else {
			err = t.eachChunk(&f.layout, func(pieces []shard) error { return t.sumChunk(f.Grad, pieces) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sumChunk sends to each rank its piece of this rank's gradient and sums the pieces that the other ranks send.
func (t *optimizer) sumChunk(grad kernels.Tensor, pieces []shard) error {
	own := pieces[t.ranks.Rank()]
	total := 0
	for _, p := range pieces {
		total += p.len()
	}
	t.host.send, t.host.recv = sized(t.host.send, total), sized(t.host.recv, own.len()*len(pieces))
	sent, received := make([]int, len(pieces)), make([]int, len(pieces))
	at := 0
	for r, p := range pieces {
		if err := t.download(t.host.send[at:at+p.len()], grad, p); err != nil {
			return err
		}
		at += p.len()
		sent[r], received[r] = 4*p.len(), 4*own.len()
	}
	if err := t.ranks.AllToAll(bytesOf(t.host.recv), received, bytesOf(t.host.send), sent); err != nil {
		return err
	}
	if own.len() == 0 {
		return nil
	}
	sum := t.host.recv[:own.len()]
	for r := 1; r < len(pieces); r++ {
		for i, x := range t.host.recv[r*own.len() : (r+1)*own.len()] {
			sum[i] += x
		}
	}
	kernels.Upload(t.dev, own.of(grad), sum)
	return nil
}

// WithMasters calls do in all ranks; meanwhile the parameters of rank 0 have all masters, as in a run of one process.
// The masters use the memory of the gradients, which must be zero, as they are after Finish. All ranks call it.
func (t *optimizer) WithMasters(do func() error) (err error) {
	if t.ranks.Size() == 1 {
		return do()
	}
	defer func() { t.host = staging{} }()
	for _, f := range t.flats {
		if f.Whole() {
			continue
		}
		if err := t.eachChunk(&f.layout, func(pieces []shard) error { return t.toFirst(&f, pieces) }); err != nil {
			return err
		}
		if t.ranks.Rank() > 0 {
			continue
		}
		own := make([]kernels.Tensor, len(f.Params))
		for i, p := range f.Params {
			own[i], p.Master = p.Master, f.Of(f.Grad, i)
		}
		defer func() {
			for i, p := range f.Params {
				p.Master = own[i]
			}
			t.dev.Zero(f.Grad)
			err = errors.Join(err, t.dev.Sync())
		}()
	}
	return do()
}

// toFirst copies pieces of the masters to the gradients of rank 0.
func (t *optimizer) toFirst(f *flat, pieces []shard) error {
	own, sent, received := pieces[t.ranks.Rank()], make([]int, len(pieces)), make([]int, len(pieces))
	t.host.send, t.host.recv = sized(t.host.send, own.len()), sized(t.host.recv, 0)
	if err := t.download(t.host.send, f.own(f.Master), shard{own.from - f.from, own.to - f.from}); err != nil {
		return err
	}
	sent[0] = 4 * own.len()
	if t.ranks.Rank() == 0 {
		total := 0
		for r, p := range pieces {
			received[r] = 4 * p.len()
			total += p.len()
		}
		t.host.recv = sized(t.host.recv, total)
	}
	if err := t.ranks.AllToAll(bytesOf(t.host.recv), received, bytesOf(t.host.send), sent); err != nil {
		return err
	}
	at := 0
	for r, p := range pieces {
		if n := received[r] / 4; n > 0 {
			kernels.Upload(t.dev, p.of(f.Grad), t.host.recv[at:at+n])
			at += n
		}
	}
	return nil
}

package train

import (
	"cmp"
	"errors"
	"unsafe"

	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// Several ranks train one model (ZeRO-1, arXiv 1910.02054): each computes the gradient of its own sequences; then the
// gradients are summed, and each rank moves a shard of the parameters, of which it alone holds the moments, and gives
// the others the new values. Sums are taken in rank order, whatever arrives first: the same number of ranks gives the
// same bits.

// exchangeElements is how many elements of a shard are exchanged at a time; tests make it small.
var exchangeElements = 1 << 20

// shardAlign is where shards begin: at the lines of memory on which the parameters begin.
const shardAlign = 16

// shard is the elements [from, to) of parameters that lie in one tensor.
type shard struct{ from, to int }

func (s shard) len() int { return s.to - s.from }

// of is the shard's part of x, a tensor of all elements.
func (s shard) of(x kernels.Tensor) kernels.Tensor { return x.ColRange(s.from, s.len()) }

// cut is the part of s that lies in the elements [from, to).
func (s shard) cut(from, to int) shard {
	from, to = max(s.from, from), min(s.to, to)
	return shard{min(from, to), to}
}

// shardOf is the shard that a rank holds of n elements.
func shardOf(n, rank int, g dist.Group) shard {
	from, to := dist.Shard(n, shardAlign, rank, g.Size())
	return shard{from, to}
}

// report is what a rank says of its part of a step before the gradients are summed.
type report struct {
	Stats Stats
	Err   string
	Bad   *NonFiniteError // a loss that is not finite
}

// agree gives all ranks the counts and the error of all: the rank's own error, or else that of the first rank that has
// one. A loss that is not finite in one rank skips the step in all.
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

// sumGradients replaces the shard of each gradient by the sum over the ranks, in their order.
func (t *optimizer) sumGradients() error {
	if t.ranks.Size() == 1 {
		return nil
	}
	for _, f := range t.flats {
		err := t.eachChunk(f.Flat, func(pieces []shard) error { return t.sumChunk(f.Grad, pieces) })
		if err != nil {
			return err
		}
	}
	return nil
}

// eachChunk calls do with a piece of every rank's shard of f at a time, until all elements have had their turn.
func (t *optimizer) eachChunk(f model.Flat, do func(pieces []shard) error) error {
	n := f.Master.Cols
	for at := 0; at < shardOf(n, 0, t.ranks).len(); at += exchangeElements {
		pieces := make([]shard, t.ranks.Size())
		for r := range pieces {
			s := shardOf(n, r, t.ranks)
			pieces[r] = s.cut(s.from+at, s.from+at+exchangeElements)
		}
		if err := do(pieces); err != nil {
			return err
		}
	}
	return nil
}

// sumChunk sends each rank its piece of this rank's gradient and sums what comes for the own piece.
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

// gatherMasters gives all ranks the parameters that each has moved.
func (t *optimizer) gatherMasters() error {
	for _, f := range t.flats {
		err := t.eachChunk(f.Flat, func(pieces []shard) error {
			own := pieces[t.ranks.Rank()]
			t.host.send = sized(t.host.send, own.len())
			if err := t.download(t.host.send, f.Master, own); err != nil {
				return err
			}
			all, err := t.ranks.AllGather(bytesOf(t.host.recv[:cap(t.host.recv)]), bytesOf(t.host.send))
			if err != nil {
				return err
			}
			for r, p := range pieces {
				if r != t.ranks.Rank() && p.len() > 0 {
					t.dev.Upload(p.of(f.Master), all[r])
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// staging are this process's copies of what is sent and received.
type staging struct{ send, recv []float32 }

// download copies elements of x, a tensor of all, to dst.
func (t *optimizer) download(dst []float32, x kernels.Tensor, s shard) error {
	if s.len() == 0 {
		return nil
	}
	return kernels.Download(t.dev, dst, s.of(x))
}

func sized(x []float32, n int) []float32 {
	if cap(x) < n {
		x = make([]float32, n)
	}
	return x[:n]
}

// bytesOf sees elements as bytes.
func bytesOf(x []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}

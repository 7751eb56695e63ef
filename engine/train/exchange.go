package train

import (
	"unsafe"

	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/num"
)

// exchange sends tensors between ranks.
type exchange struct {
	dev   kernels.Device
	ranks dist.Group
	host  staging

	link kernels.Link   // from device to device; nil: through the host's memory
	room kernels.Tensor // [1, n] F32 for what is exchanged by link
}

// staging holds this process's copies, in the host's memory, of what is sent and received.
type staging struct {
	send, recv []float32
	wire       []byte
}

// exchangeElements is about the number of elements that are exchanged at a time; tests make it small.
var exchangeElements = 4 << 20

// ExchangeBytes returns the bytes of the host's memory that a rank needs for what it sends and receives, if n
// parameters are trained.
func ExchangeBytes(n int64, ranks int) int64 {
	each := int64(exchangeElements)
	n = min(n, each)
	return 8*n + 4*n/int64(ranks)
}

// layout is how parameters are divided among the ranks.
type layout struct {
	model.Flat
	parts []int // rank r holds the elements from parts[r] to parts[r+1]
	shard       // of this rank
}

func layOut(f model.Flat, g dist.Group) layout {
	parts := f.Divide(g.Size())
	return layout{f, parts, shard{parts[g.Rank()], parts[g.Rank()+1]}}
}

// own returns this rank's part of x, which has all elements or only those of this rank.
func (f *layout) own(x kernels.Tensor) kernels.Tensor {
	if x.Cols == f.Len() {
		return f.shard.of(x)
	}
	return x.ColRange(0, f.len())
}

// eachChunk divides the part of every rank in f into pieces and calls do with one piece of each rank at a time, until
// all elements are done.
func (x *exchange) eachChunk(f *layout, do func(pieces []shard) error) error {
	each := max(1, exchangeElements/x.ranks.Size())
	pieces := make([]shard, x.ranks.Size())
	for r := range pieces {
		pieces[r].to = f.parts[r]
	}
	for {
		most := 0
		for r, p := range pieces {
			end := f.parts[r+1]
			pieces[r] = shard{p.to, min(end, f.Cut(min(end, p.to+each)))}
			most = max(most, pieces[r].len())
		}
		if most == 0 {
			return nil
		}
		if err := do(pieces); err != nil {
			return err
		}
	}
}

// publish sends every rank's part of values to all ranks, which write them to the parameters to: those of f or of a
// copy.
func (x *exchange) publish(f *layout, values kernels.Tensor, to []*model.Param) error {
	if x.link != nil {
		return x.eachLinked(f, func(pieces []shard) { x.publishLinked(f, values, to, pieces) })
	}
	return x.eachChunk(f, func(pieces []shard) error {
		own := pieces[x.ranks.Rank()]
		x.host.send = sized(x.host.send, own.len())
		if err := x.download(x.host.send, f.own(values), shard{own.from - f.from, own.to - f.from}); err != nil {
			return err
		}
		x.host.wire = x.host.wire[:0]
		f.in(own, func(i, _ int, s shard) {
			x.host.wire = encode(x.host.wire, x.host.send[s.from-own.from:s.to-own.from], wireType(to[i]))
		})
		all, err := x.ranks.AllGather(bytesOf(x.host.recv[:cap(x.host.recv)]), x.host.wire)
		if err != nil {
			return err
		}
		for r, p := range pieces {
			f.in(p, func(i, at int, s shard) {
				n := s.len() * wireType(to[i]).Size()
				x.set(to[i], at, all[r][:n])
				all[r] = all[r][n:]
			})
		}
		return nil
	})
}

// in calls do for each parameter i of which a part lies in s: at is the element of the parameter where that part
// begins.
func (f *layout) in(s shard, do func(i, at int, part shard)) {
	for i, p := range f.Ranges() {
		if part := s.cut(p.From, p.To); part.len() > 0 {
			do(i, part.from-p.From, part)
		}
	}
}

// wireType returns the type in which the values of p are sent: BF16 if the forward pass uses the parameter in BF16,
// else F32.
func wireType(p *model.Param) kernels.DType {
	if p.W != nil && p.W.Type() == kernels.BF16 && p.Master.IsZero() {
		return kernels.BF16
	}
	return kernels.F32
}

// encode appends values of type t, BF16 or F32, to wire.
func encode(wire []byte, values []float32, t kernels.DType) []byte {
	if t == kernels.F32 {
		return append(wire, bytesOf(values)...)
	}
	at := len(wire)
	wire = append(wire, make([]byte, 2*len(values))...)
	num.BF16Slice(unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(wire[at:]))), len(values)), values)
	return wire
}

// set sets the elements of p from element at on, which are whole rows, to values, which are of p's wireType.
func (x *exchange) set(p *model.Param, at int, values []byte) {
	t, k := wireType(p), p.Shape[len(p.Shape)-1]
	if p.W != nil {
		x.dev.PackHost(p.W, at/k, values, t)
	}
	if !p.Master.IsZero() {
		x.dev.Upload(p.Master.RowRange(at/k, len(values)/t.Size()/k), values)
	}
}

// download copies the elements s of the tensor from to dst.
func (x *exchange) download(dst []float32, from kernels.Tensor, s shard) error {
	if s.len() == 0 {
		return nil
	}
	return kernels.Download(x.dev, dst, s.of(from))
}

func sized(x []float32, n int) []float32 {
	if cap(x) < n {
		x = make([]float32, n)
	}
	return x[:n]
}

// bytesOf returns the memory of x as bytes.
func bytesOf(x []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}

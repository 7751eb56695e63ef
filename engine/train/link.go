package train

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// Link connects the devices of the ranks if they have a library for it (kernels.Linker, such as NCCL): trainers that
// are made afterwards exchange gradients and weights from device to device; everything else still goes through g. note
// is a message for the user: the name of the library, or the reason why gradients and weights pass through the host's
// memory. It is empty if no device has such a library. All ranks call Link before they make trainers.
func Link(dev kernels.Device, g dist.Group) (note string, err error) {
	type library struct {
		Linker bool
		Name   string
		Why    string
	}
	var own library
	l, ok := dev.(kernels.Linker)
	if own.Linker = ok && g.Size() > 1; own.Linker {
		own.Name, err = l.LinkLibrary()
		if err != nil {
			own.Why = err.Error()
		}
	}
	all, err := dist.Share(g, own)
	if err != nil {
		return "", err
	}
	if !slices.ContainsFunc(all, func(x library) bool { return x.Linker }) {
		return "", nil
	}
	for r, x := range all {
		switch {
		case !x.Linker:
			x.Why = "its device is not a GPU"
		case x.Name != "" && x.Name != all[0].Name:
			x.Why = fmt.Sprintf("it has %s, and rank 0 has %s", x.Name, all[0].Name)
		}
		if x.Why != "" {
			return fmt.Sprintf("gradients and weights pass through the host's memory: rank %d: %s", r, x.Why), nil
		}
	}
	if err := link(l, dev, g); err != nil {
		return "", err
	}
	return fmt.Sprintf("the GPUs exchange gradients and weights by %s", own.Name), nil
}

// link connects the devices and sends a small tensor, so that connections are opened now and not in the first step.
func link(l kernels.Linker, dev kernels.Device, g dist.Group) error {
	var id []byte
	var err error
	if g.Rank() == 0 {
		id, err = l.LinkID()
	}
	ids, err := dist.Agree(g, id, err)
	if err != nil {
		return err
	}
	return together(g, func() error {
		if err := l.Link(ids[0], g.Rank(), g.Size()); err != nil {
			return err
		}
		n := g.Size()
		x, err := kernels.NewTensor(dev, kernels.F32, n+1, n)
		if err != nil {
			return err
		}
		defer x.Buf.Free()
		send, recv := make([]kernels.Tensor, n), make([]kernels.Tensor, n)
		for r := range n {
			send[r], recv[r] = x.RowRange(n, 1).ColRange(r, 1), x.RowRange(0, 1).ColRange(r, 1)
		}
		l.Linked().AllToAll(recv, send)
		l.Linked().AllGather(x.RowRange(0, n), x.RowRange(n, 1))
		return dev.Sync()
	}, func() error { return nil })
}

// patience is the time that a rank waits for its device before it asks whether another rank has failed.
const patience = time.Second

// together calls do, which waits for the devices of the other ranks, in all ranks. If do fails in one rank, give makes
// it return in the others, and all ranks return an error. Without this, a device would wait for another one for ever.
func together(g dist.Group, do, give func() error) (err error) {
	done := make(chan error, 1)
	go func() { done <- do() }()
	finished := false
	for {
		if !finished {
			select {
			case err = <-done:
				finished = true
			case <-time.After(patience):
			}
		}
		all, failed := dist.Agree(g, finished, err)
		if failed == nil {
			if !slices.Contains(all, false) {
				return nil
			}
			continue
		}
		given := give()
		if !finished && given == nil {
			select {
			case <-done:
			case <-time.After(5 * patience):
			}
		}
		return errors.Join(failed, given)
	}
}

// chunksAtOnce is the largest number of chunks that are queued on a device before the ranks tell each other that none
// has failed: the queue of a GPU is bounded, and a call that adds to a full one blocks.
const chunksAtOnce = 16

// openLink uses the link of the device, if it has one, for parameters of these layouts.
func (x *exchange) openLink(layouts ...*layout) (err error) {
	l, ok := x.dev.(kernels.Linker)
	if !ok || x.ranks.Size() == 1 || l.Linked() == nil {
		return nil
	}
	n := 1
	for _, f := range layouts {
		_ = x.eachChunk(f, func(pieces []shard) error {
			n = max(n, pieces[x.ranks.Rank()].len()*len(pieces), (len(pieces)+2)*longest(pieces))
			return nil
		})
	}
	if x.room, err = kernels.NewTensor(x.dev, kernels.F32, 1, n); err == nil {
		x.link = l.Linked()
	}
	return err
}

func (x *exchange) closeLink() {
	if !x.room.IsZero() {
		x.room.Buf.Free()
		x.room = kernels.Tensor{}
	}
	x.link = nil
}

func longest(pieces []shard) (n int) {
	for _, p := range pieces {
		n = max(n, p.len())
	}
	return n
}

// eachLinked is eachChunk for work that is queued on the devices; it returns when all devices have done the work.
func (x *exchange) eachLinked(f *layout, queue func(pieces []shard)) error {
	n := 0
	err := x.eachChunk(f, func(pieces []shard) error {
		queue(pieces)
		if n++; n%chunksAtOnce == 0 {
			return x.settle()
		}
		return nil
	})
	if err == nil && n%chunksAtOnce != 0 {
		err = x.settle()
	}
	return err
}

// settle waits until the devices of all ranks have done the queued work.
func (x *exchange) settle() error {
	word := make([]byte, 4)
	return together(x.ranks, x.dev.Fetch(word, x.room.ColRange(0, 1)).Wait, x.link.Abort)
}

// sumLinked is sumChunk over the link, from device to device.
func (x *exchange) sumLinked(grad kernels.Tensor, pieces []shard) {
	n, own := len(pieces), pieces[x.ranks.Rank()]
	send, recv := make([]kernels.Tensor, n), make([]kernels.Tensor, n)
	all := x.room.ColRange(0, n*own.len()).Reshape(n, own.len())
	for r, p := range pieces {
		if p.len() > 0 {
			send[r] = p.of(grad)
		}
		if own.len() > 0 {
			recv[r] = all.RowRange(r, 1)
		}
	}
	x.link.AllToAll(recv, send)
	if own.len() == 0 {
		return
	}
	sum := own.of(grad)
	x.dev.Copy(sum, recv[0])
	for _, y := range recv[1:] {
		x.dev.Axpy(sum, 1, y)
	}
}

// publishLinked publishes a chunk over the link, from device to device. In the buffer each rank's part of every
// parameter begins at a multiple of 4 bytes, and the pieces of all ranks are as long as the longest one.
func (x *exchange) publishLinked(f *layout, values kernels.Tensor, to []*model.Param, pieces []shard) {
	n, own, width := len(pieces), pieces[x.ranks.Rank()], 0
	for _, p := range pieces {
		words := 0
		f.in(p, func(i, _ int, s shard) { words += wireWords(s.len(), wireType(to[i])) })
		width = max(width, words)
	}
	if width == 0 {
		return
	}
	wire := x.room.ColRange(0, width)
	all := x.room.ColRange(width, n*width).Reshape(n, width)
	wide := x.room.ColRange((n+1)*width, x.room.Cols-(n+1)*width)
	at := 0
	f.in(own, func(i, _ int, s shard) {
		t := wireType(to[i])
		x.dev.Copy(wireTensor(wire, at, s.len(), t), f.own(values).ColRange(s.from-f.from, s.len()))
		at += wireWords(s.len(), t)
	})
	x.link.AllGather(all, wire)
	for r, p := range pieces {
		at := 0
		f.in(p, func(i, row int, s shard) {
			t := wireType(to[i])
			x.setLinked(to[i], row, wireTensor(all.RowRange(r, 1), at, s.len(), t), wide)
			at += wireWords(s.len(), t)
		})
	}
}

// wireWords returns the number of words of 4 bytes that n elements of type t take.
func wireWords(n int, t kernels.DType) int { return (n*t.Size() + 3) / 4 }

// wireTensor returns the n elements of type t that begin at word at of wire.
func wireTensor(wire kernels.Tensor, at, n int, t kernels.DType) kernels.Tensor {
	return kernels.Mat(wire.Buf, t, (wire.Off+at)*4/t.Size(), 1, n)
}

// setLinked is set with the values in a tensor on the device; wide is a buffer for the same values in F32.
func (x *exchange) setLinked(p *model.Param, at int, values, wide kernels.Tensor) {
	k := p.Shape[len(p.Shape)-1]
	rows := values.Len() / k
	if values.Type != kernels.F32 {
		wide = wide.ColRange(0, values.Len())
		x.dev.Copy(wide, values)
		values = wide
	}
	values = values.Reshape(rows, k)
	if p.W != nil {
		x.dev.Pack(p.W, at/k, values)
	}
	if !p.Master.IsZero() {
		x.dev.Copy(p.Master.RowRange(at/k, rows), values)
	}
}

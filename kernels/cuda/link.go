package cuda

import (
	"errors"
	"fmt"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
)

var _ kernels.Linker = (*Device)(nil)

// joiner is the library that joins GPUs, NCCL, loaded when it is first asked for.
func (d *Device) joiner() (gpu.Joiner, error) {
	if d.findJoiner == nil {
		return nil, errors.New("this build cannot join GPUs")
	}
	return d.findJoiner()
}

// LinkLibrary is the version of NCCL.
func (d *Device) LinkLibrary() (string, error) {
	l, err := d.joiner()
	if err != nil {
		return "", err
	}
	return l.Version(), nil
}

// LinkID is an id of NCCL.
func (d *Device) LinkID() ([]byte, error) {
	l, err := d.joiner()
	if err != nil {
		return nil, err
	}
	return l.ID()
}

// Link joins the GPU to those of other ranks by NCCL.
func (d *Device) Link(id []byte, rank, n int) error {
	d.outside("Link")
	l, err := d.joiner()
	if err != nil {
		return err
	}
	if err := d.unlink(); err != nil {
		return err
	}
	c, err := l.Join(d.gpu, id, rank, n)
	if err != nil {
		return fmt.Errorf("%s: %w", d.name, err)
	}
	d.link = &link{d, c, n}
	return nil
}

// Linked is the link, or nil.
func (d *Device) Linked() kernels.Link {
	if d.link == nil {
		return nil
	}
	return d.link
}

func (d *Device) unlink() error {
	if d.link == nil {
		return nil
	}
	c := d.link.comm
	d.link = nil
	return c.Close()
}

// link is GPUs joined by NCCL.
type link struct {
	d    *Device
	comm gpu.Comm
	n    int
}

// AllToAll queues sends and receives.
func (l *link) AllToAll(recv, send []kernels.Tensor) {
	const op = "AllToAll"
	l.d.outside(op)
	if len(recv) != l.n || len(send) != l.n {
		fail(op, "%d and %d tensors of %d ranks", len(recv), len(send), l.n)
	}
	spans := func(what string, all []kernels.Tensor) []gpu.Span {
		out := make([]gpu.Span, l.n)
		for r, t := range all {
			if !t.IsZero() {
				out[r] = l.span(op, what, t)
			}
		}
		return out
	}
	to, from := spans("recv", recv), spans("send", send)
	if l.d.err == nil {
		l.d.note(l.comm.AllToAll(to, from))
	}
}

// AllGather queues an all-gather.
func (l *link) AllGather(recv, own kernels.Tensor) {
	const op = "AllGather"
	l.d.outside(op)
	if recv.Rows != l.n || own.Rows != 1 || recv.Cols != own.Cols || recv.Type != own.Type {
		fail(op, "%v from %v of %d ranks", recv, own, l.n)
	}
	to, from := l.span(op, "recv", recv), l.span(op, "own", own)
	if l.d.err == nil {
		l.d.note(l.comm.AllGather(to.At, from))
	}
}

func (l *link) span(op, what string, t kernels.Tensor) gpu.Span {
	if !t.Dense() {
		fail(op, "%s, %v, is not dense", what, t)
	}
	return gpu.Span{At: l.d.at(op, what, t), Bytes: int64(t.Len() * t.Type.Size())}
}

// Abort ends what waits.
func (l *link) Abort() error { return l.comm.Abort() }

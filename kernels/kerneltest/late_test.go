package kerneltest

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
)

// late is ref with a fault: the named operation runs only when the next one is called, on the host's lists as they are
// then.
type late struct {
	kernels.Device
	fault   string
	waiting []func()
}

// do is f, now or later.
func (d *late) do(fault string, f func()) {
	d.flush()
	if d.fault != fault || fault == "" {
		f()
		return
	}
	d.waiting = append(d.waiting, f)
}

func (d *late) flush() {
	for _, f := range d.waiting {
		f()
	}
	d.waiting = nil
}

func (d *late) Upload(dst kernels.Tensor, src []byte) {
	d.do("reads an upload late", func() { d.Device.Upload(dst, src) })
}

func (d *late) PackHost(w kernels.Weight, row0 int, rows []byte, src kernels.DType) {
	d.do("reads a checkpoint late", func() { d.Device.PackHost(w, row0, rows, src) })
}

// lateLists makes a copy of l, now, read one of l's lists as it is when the copy is read.
var lateLists = map[string]func(now, l *kernels.Layout){
	"reads ids late":       func(now, l *kernels.Layout) { now.IDs = l.IDs },
	"reads positions late": func(now, l *kernels.Layout) { now.Pos = l.Pos },
	"reads slots late":     func(now, l *kernels.Layout) { now.Slots = l.Slots },
	"reads pages late":     func(now, l *kernels.Layout) { now.Segs = slices.Clone(l.Segs) }, // with l's pages
	"reads rows late":      func(now, l *kernels.Layout) { now.Rows = l.Rows },
	"reads draws late":     func(now, l *kernels.Layout) { now.Draws = l.Draws },
	"reads fed rows late":  func(now, l *kernels.Layout) {},
}

func (d *late) SetBatch(b kernels.Batch, l *kernels.Layout, kv kernels.KV, ids kernels.Tensor,
	fed []kernels.SampledInput) {
	now := new(kernels.Layout)
	now.CopyFrom(l)
	early := fed
	if share := lateLists[d.fault]; share != nil {
		share(now, l)
		if d.fault != "reads fed rows late" {
			early = slices.Clone(fed)
		}
	}
	d.do(d.fault, func() { d.Device.SetBatch(b, now, kv, ids, early) })
}

func (d *late) KVCopy(kv kernels.KV, dst, src []int32) {
	d.do("copies pages late", func() {
		if !slices.Equal(dst, src) { // ref sees that
			d.Device.KVCopy(kv, dst, src)
		}
	})
}

func (d *late) Sample(ids kernels.Tensor, out kernels.LogProbs, logits kernels.Tensor, b kernels.Batch, first int) {
	d.do("draws late", func() { d.Device.Sample(ids, out, logits, b, first) })
}

func (d *late) MatMuls(x kernels.Tensor, to []kernels.Product) {
	d.do("multiplies late", func() {
		for _, p := range to {
			if p.W != nil {
				d.Device.MatMuls(x, []kernels.Product{p})
			}
		}
	})
}

func (d *late) MatMulDWs(dw []kernels.Tensor, dy, x kernels.Tensor, op kernels.DType) {
	d.do("multiplies late", func() {
		if !dw[0].IsZero() {
			d.Device.MatMulDWs(dw, dy, x, op)
		}
	})
}

func (d *late) Embed(y kernels.Tensor, w kernels.Weight, b kernels.Batch) {
	d.flush()
	d.Device.Embed(y, w, b)
}

func (d *late) Attention(y, q, lse kernels.Tensor, kv kernels.KV, layer int, b kernels.Batch, scale float32) {
	d.flush()
	d.Device.Attention(y, q, lse, kv, layer, b, scale)
}

func (d *late) KVWrite(kv kernels.KV, layer int, k, v kernels.Tensor, b kernels.Batch) {
	d.flush()
	d.Device.KVWrite(kv, layer, k, v, b)
}

func (d *late) MatMul(y, x kernels.Tensor, w kernels.Weight, e kernels.Epilogue) {
	d.flush()
	d.Device.MatMul(y, x, w, e)
}

func (d *late) Sync() error {
	d.flush()
	return d.Device.Sync()
}

func (d *late) Zero(t kernels.Tensor) {
	d.flush()
	d.Device.Zero(t)
}

// ticket is a Wait of any kind.
type ticket func() error

func (t ticket) Wait() error { return t() }

func (d *late) Fetch(dst []byte, src kernels.Tensor) kernels.Ticket {
	d.flush()
	switch d.fault {
	case "fetches when waited for":
		return ticket(func() error { return d.Device.Fetch(dst, src).Wait() })
	case "fetches through one buffer":
		if len(shared) < len(dst) {
			shared = make([]byte, len(dst))
		}
		from := shared[:len(dst)]
		if err := d.Device.Fetch(from, src).Wait(); err != nil {
			return ticket(func() error { return err })
		}
		return ticket(func() error {
			copy(dst, from)
			return nil
		})
	}
	return d.Device.Fetch(dst, src)
}

var shared []byte

// atHome is ref, but works in the goroutine only that opened it.
type atHome struct {
	kernels.Device
	home string
}

// goroutine is the head of the stack, which names the running goroutine.
func goroutine() string {
	b := make([]byte, 64)
	head, _, _ := strings.Cut(string(b[:runtime.Stack(b, false)]), "[")
	return head
}

func (d atHome) Axpy(y kernels.Tensor, a float32, x kernels.Tensor) {
	if d.home == goroutine() {
		d.Device.Axpy(y, a, x)
	}
}

// failing is ref with work that fails when it is told to: the error comes late and stays, but for its fault.
type failing struct {
	kernels.Device
	fault string
	lost  error
	shown int
}

// breakFailing is Tolerances.Break of such devices.
func breakFailing(d kernels.Device) { d.(*failing).lost = errors.New("the GPU is lost") }

func (d *failing) show() error {
	if d.lost == nil {
		return nil
	}
	d.shown++
	switch {
	case d.fault == "shows no error", d.fault == "forgets its error" && d.shown > 1:
		return nil
	case d.fault == "shows another error" && d.shown > 1:
		return errors.New("invalid value")
	}
	return d.lost
}

func (d *failing) Sync() error { return errors.Join(d.Device.Sync(), d.show()) }

func (d *failing) Fetch(dst []byte, src kernels.Tensor) kernels.Ticket {
	t := d.Device.Fetch(dst, src)
	return ticket(func() error { return errors.Join(t.Wait(), d.show()) })
}

func (d *failing) Zero(t kernels.Tensor) {
	if d.lost != nil && d.fault == "panics when it is lost" {
		panic(d.lost)
	}
	d.Device.Zero(t)
}

func TestQueuedErrorsPass(t *testing.T) {
	open := func() (kernels.Device, error) { return &failing{Device: ref.New()}, nil }
	testErrors(t, &env{open: open, tol: Tolerances{Break: breakFailing}})
}

// small is ref that counts in too few bits.
type small struct {
	kernels.Device
	fault string
}

// most is the first n rows of t.
func most(t kernels.Tensor, n int) kernels.Tensor {
	if t.IsZero() {
		return t
	}
	return t.RowRange(0, min(n, t.Rows))
}

func (d small) SwiGLU(y, gate, up kernels.Tensor) {
	if d.fault == "counts rows in 16 bits" {
		y, gate, up = most(y, 1<<16), most(gate, 1<<16), most(up, 1<<16)
	}
	d.Device.SwiGLU(y, gate, up)
}

func (d small) SetBatch(b kernels.Batch, l *kernels.Layout, kv kernels.KV, ids kernels.Tensor,
	fed []kernels.SampledInput) {
	mine := new(kernels.Layout)
	mine.CopyFrom(l)
	for i := range mine.Segs {
		s := &mine.Segs[i]
		switch {
		case d.fault == "counts pages in 16 bits":
			for k := range s.Pages {
				s.Pages[k] &= 1<<16 - 1
			}
		case d.fault == "counts positions in 16 bits" && s.Start >= 1<<16:
			s.Start -= 1 << 16
		case d.fault == "counts segments in 16 bits" && i >= 1<<16:
			copy(s.Pages, mine.Segs[i-1<<16].Pages)
		case d.fault == "forgets a page behind a partition" && s.Start == 256:
			s.Pages[8] = s.Pages[0]
		case d.fault == "forgets a page" && s.Start == 32:
			s.Pages[1] = s.Pages[0]
		}
	}
	if d.fault == "forgets what is fed" {
		fed = nil
	}
	if d.fault == "keeps the draws of the first rows" && len(mine.Draws) > 7 {
		copy(mine.Draws[7:], mine.Draws)
	}
	d.Device.SetBatch(b, mine, kv, ids, fed)
}

func (d small) Upload(dst kernels.Tensor, src []byte) {
	if d.fault == "uploads whole words" && dst.Off == 1 && len(src) == 1 {
		dst.Cols, src = 4, append(slices.Clone(src), 0, 0, 0)
	}
	d.Device.Upload(dst, src)
}

func (d small) Attention(y, q, lse kernels.Tensor, kv kernels.KV, layer int, b kernels.Batch, scale float32) {
	d.Device.Attention(y, q, lse, kv, layer, b, scale)
	if hd := kv.Spec().HeadDim; d.fault == "has heads of 64" && hd > 64 {
		d.Device.Zero(y.ColRange(64, hd-64))
	}
}

func (d small) AttentionBackward(dq, dk, dv, dy, y, q, lse kernels.Tensor, kv kernels.KV, layer int, b kernels.Batch,
	scale float32) {
	d.Device.AttentionBackward(dq, dk, dv, dy, y, q, lse, kv, layer, b, scale)
	if hd := kv.Spec().HeadDim; d.fault == "has heads of 64 back" && hd > 64 {
		d.Device.Zero(dk.ColRange(64, hd-64))
	}
}

func (d small) LogProb(out kernels.LogProbs, h kernels.Tensor, w kernels.Weight, targets kernels.Tensor,
	invTemp float32) {
	d.Device.LogProb(out, h, w, targets, invTemp)
	if n, _ := w.Shape(); d.fault == "sums 128k words" && n > 1<<17 {
		(&faulty{Device: d.Device}).edit(out.LSE, times(0.999))
	}
}

func (d small) Sample(ids kernels.Tensor, out kernels.LogProbs, logits kernels.Tensor, b kernels.Batch, first int) {
	if d.fault == "draws from 128k words" {
		logits.Cols = min(logits.Cols, 1<<17)
	}
	d.Device.Sample(ids, out, logits, b, first)
}

func (d small) MatMuls(x kernels.Tensor, to []kernels.Product) {
	for i, p := range to {
		if d.fault == "packs its columns" && i == 2 && p.Y.Off > p.Y.Cols && p.Y.Buf == to[1].Y.Buf {
			p.Y.Off--
		}
		d.Device.MatMuls(x, []kernels.Product{p})
	}
}

func (d small) MatMul(y, x kernels.Tensor, w kernels.Weight, e kernels.Epilogue) {
	d.Device.MatMul(y, x, w, e)
	if d.fault == "computes a row of none" && y.Rows == 0 && !y.IsZero() && y.Off > 0 {
		y.Rows = 1
		d.Device.Zero(y)
	}
}

// faultyDevice is a device with a fault.
func faultyDevice(fault string) kernels.Device {
	switch f := faults[fault]; {
	case f.part == "lists", f.part == "tickets", fault == "reads an upload late":
		return &late{Device: ref.New(), fault: fault}
	case f.part == "threads":
		return atHome{ref.New(), goroutine()}
	case strings.HasPrefix(f.part, "record"):
		return &recorder{Device: ref.New(), fault: fault}
	case f.part == "errors":
		return &failing{Device: ref.New(), fault: fault}
	case f.small:
		return small{ref.New(), fault}
	default:
		return &faulty{Device: ref.New(), fault: fault}
	}
}

// TestLateWithoutFault: a device that is late in nothing passes.
func TestLateWithoutFault(t *testing.T) {
	e := &env{d: &late{Device: ref.New()}, ref: ref.New()}
	testLists(t, e)
	testTickets(t, e)
	require.NoError(t, e.d.Close())
}

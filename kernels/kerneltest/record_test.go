package kerneltest

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
)

// recorder is ref that records by keeping the calls.
type recorder struct {
	kernels.Device
	fault string
	now   *recordedCalls // that calls are kept on
	set   func()
}

// recordedCalls is a recording.
type recordedCalls struct {
	d     *recorder
	calls []func()
	set   func() // sets the batch as it was when the calls were recorded
}

func (d *recorder) Record(f func()) (kernels.Recording, error) {
	t := &recordedCalls{d: d, set: d.set}
	d.now = t
	defer func() { d.now = nil }()
	f()
	return t, nil
}

func (t *recordedCalls) Replay() {
	if t.d.fault == "replays the batch of its recording" && t.set != nil {
		t.set()
	}
	for i, f := range t.calls {
		if t.d.fault != "forgets a call" || i != 5 {
			f()
		}
	}
}

func (t *recordedCalls) Free() {}

// do is f, now or when it is replayed.
func (d *recorder) do(f func()) {
	if d.now == nil {
		f()
		return
	}
	if d.fault == "runs what it records" {
		f()
	}
	d.now.calls = append(d.now.calls, f)
}

func (d *recorder) SetBatch(b kernels.Batch, l *kernels.Layout, kv kernels.KV, ids kernels.Tensor,
	fed []kernels.SampledInput) {
	d.set = func() { d.Device.SetBatch(b, l, kv, ids, fed) }
	d.set()
}

func (d *recorder) Embed(y kernels.Tensor, w kernels.Weight, b kernels.Batch) {
	d.do(func() { d.Device.Embed(y, w, b) })
}

func (d *recorder) RMSNorm(y, x, w kernels.Tensor, eps float32, rstd kernels.Tensor) {
	d.do(func() { d.Device.RMSNorm(y, x, w, eps, rstd) })
}

func (d *recorder) MatMul(y, x kernels.Tensor, w kernels.Weight, e kernels.Epilogue) {
	d.do(func() { d.Device.MatMul(y, x, w, e) })
}

func (d *recorder) MatMuls(x kernels.Tensor, to []kernels.Product) {
	d.do(func() { d.Device.MatMuls(x, to) })
}

func (d *recorder) RoPE(x kernels.Tensor, heads int, b kernels.Batch, table kernels.Tensor, inverse bool) {
	d.do(func() { d.Device.RoPE(x, heads, b, table, inverse) })
}

func (d *recorder) KVWrite(kv kernels.KV, layer int, k, v kernels.Tensor, b kernels.Batch) {
	d.do(func() { d.Device.KVWrite(kv, layer, k, v, b) })
}

func (d *recorder) Attention(y, q, lse kernels.Tensor, kv kernels.KV, layer int, b kernels.Batch, scale float32) {
	d.do(func() { d.Device.Attention(y, q, lse, kv, layer, b, scale) })
}

func (d *recorder) SwiGLU(y, gate, up kernels.Tensor) {
	d.do(func() { d.Device.SwiGLU(y, gate, up) })
}

func (d *recorder) Gather(dst, src, idx kernels.Tensor) {
	d.do(func() { d.Device.Gather(dst, src, idx) })
}

func (d *recorder) Sample(ids kernels.Tensor, out kernels.LogProbs, logits kernels.Tensor, b kernels.Batch, first int) {
	d.do(func() { d.Device.Sample(ids, out, logits, b, first) })
}

func (d *recorder) Axpy(y kernels.Tensor, a float32, x kernels.Tensor) {
	d.do(func() { d.Device.Axpy(y, a, x) })
}

func (d *recorder) Zero(t kernels.Tensor) {
	d.do(func() { d.Device.Zero(t) })
}

func TestRecorderWithoutFault(t *testing.T) {
	e := &env{d: &recorder{Device: ref.New()}, ref: ref.New()}
	testRecord(t, e)
	require.NoError(t, e.d.Close())
}

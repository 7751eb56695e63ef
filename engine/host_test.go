package engine

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// idle is a device that computes nothing: what a pass takes on it is what the host takes. Sampled ids are 5.
type idle struct{ kernels.Ops }

// idleGPU is an idle device that is Asynchronous and a Recorder.
type idleGPU struct{ idle }

func (idleGPU) Asynchronous()                              {}
func (idleGPU) Record(f func()) (kernels.Recording, error) { f(); return idleRecording{}, nil }

type idleRecording struct{}

func (idleRecording) Replay() {}
func (idleRecording) Free()   {}

type idleBuffer int64

func (b idleBuffer) Bytes() int64 { return int64(b) }
func (b idleBuffer) Free()        {}

type idleWeight struct {
	idleBuffer
	n, k int
	t    kernels.DType
}

func (w idleWeight) Shape() (n, k int)   { return w.n, w.k }
func (w idleWeight) Type() kernels.DType { return w.t }

type idleKV struct {
	idleBuffer
	spec kernels.KVSpec
}

func (x idleKV) Spec() kernels.KVSpec { return x.spec }

// idleBatch copies its layout, as a device that transfers it does.
type idleBatch struct {
	kernels.Layout
	idleBuffer
	spec kernels.BatchSpec
}

func (b *idleBatch) Spec() kernels.BatchSpec { return b.spec }
func (b *idleBatch) Tokens() int             { return len(b.Layout.IDs) }
func (b *idleBatch) IDs() kernels.Tensor     { return b.tensor(0, len(b.Layout.IDs)) }
func (b *idleBatch) Pos() kernels.Tensor     { return b.tensor(b.spec.Tokens, len(b.Layout.Pos)) }
func (b *idleBatch) Slots() kernels.Tensor   { return b.tensor(2*b.spec.Tokens, len(b.Layout.Slots)) }
func (b *idleBatch) Rows() kernels.Tensor    { return b.tensor(3*b.spec.Tokens, len(b.Layout.Rows)) }

func (b *idleBatch) tensor(off, n int) kernels.Tensor {
	return kernels.Mat(b.idleBuffer, kernels.I32, off, n, 1)
}

func (d idle) Name() string                                        { return "idle" }
func (d idle) Alloc(bytes int64) (kernels.Buffer, error)           { return idleBuffer(bytes), nil }
func (d idle) Upload(kernels.Tensor, []byte)                       {}
func (d idle) Sync() error                                         { return nil }
func (d idle) Close() error                                        { return nil }
func (d idle) PackHost(kernels.Weight, int, []byte, kernels.DType) {}
func (d idle) Pack(kernels.Weight, int, kernels.Tensor)            {}
func (d idle) Unpack(kernels.Tensor, kernels.Weight, int)          {}
func (d idle) Operand(kernels.DType) kernels.DType                 { return kernels.F32 }
func (d idle) NewKV(s kernels.KVSpec) (kernels.KV, error)          { return idleKV{spec: s}, nil }
func (d idle) NewBatch(s kernels.BatchSpec) (kernels.Batch, error) { return &idleBatch{spec: s}, nil }
func (d idle) NewWeight(n, k int, t kernels.DType) (kernels.Weight, error) {
	return idleWeight{n: n, k: k, t: t}, nil
}

func (d idle) SetBatch(b kernels.Batch, l *kernels.Layout, kv kernels.KV, ids kernels.Tensor,
	fed []kernels.SampledInput) {
	x := b.(*idleBatch)
	if err := l.Check(x.spec, kv.Spec()); err != nil {
		panic(err)
	}
	x.CopyFrom(l)
}

func (d idle) Fetch(dst []byte, src kernels.Tensor) kernels.Ticket {
	clear(dst)
	for i := 0; i < len(dst)/2; i += 4 {
		dst[i] = 5
	}
	return kernels.Done()
}

func (d idle) Embed(kernels.Tensor, kernels.Weight, kernels.Batch)                                  {}
func (d idle) RMSNorm(y, x, w kernels.Tensor, eps float32, rstd kernels.Tensor)                     {}
func (d idle) MatMul(y, x kernels.Tensor, w kernels.Weight, e kernels.Epilogue)                     {}
func (d idle) MatMuls(kernels.Tensor, []kernels.Product)                                            {}
func (d idle) RoPE(kernels.Tensor, int, kernels.Batch, kernels.Tensor, bool)                        {}
func (d idle) KVWrite(kv kernels.KV, layer int, k, v kernels.Tensor, b kernels.Batch)               {}
func (d idle) KVCopy(kernels.KV, []int32, []int32)                                                  {}
func (d idle) SwiGLU(y, gate, up kernels.Tensor)                                                    {}
func (d idle) Gather(dst, src, idx kernels.Tensor)                                                  {}
func (d idle) Copy(dst, src kernels.Tensor)                                                         {}
func (d idle) Zero(kernels.Tensor)                                                                  {}
func (d idle) Sample(kernels.Tensor, kernels.LogProbs, kernels.Tensor, kernels.Batch, int)          {}
func (d idle) Attention(y, q, lse kernels.Tensor, kv kernels.KV, l int, b kernels.Batch, s float32) {}

// decoding is an engine in the middle of generation, without its loop: n sequences of context tokens on a model of
// Qwen2.5-1.5B's shape, on a device that computes nothing. The function it returns makes one pass.
func decoding(t testing.TB, dev kernels.Device, n, context int) (*runner, func()) {
	c := &model.Config{Arch: "qwen2", Vocab: 151936, Hidden: 1536, Inter: 8960, Layers: 28, Heads: 12, KVHeads: 2,
		HeadDim: 128, MaxPos: 32768,
		Eps: 1e-6, RopeTheta: 1e6, QKVBias: true, Tied: true}
	m, err := model.New(dev, c, model.Options{DType: kernels.BF16})
	require.NoError(t, err)
	const steps = 4000 // at most
	r, err := newRunner(dev, "m", m, ModelOptions{KVPages: n * kernels.PagesFor(context+steps),
		MaxContext: context + steps, MaxSequences: n, MaxBatchTokens: 8192},
		Options{LogitsBytes: 1 << 30})
	require.NoError(t, err)
	t.Cleanup(r.close)
	e := newEngine(dev, Options{})
	e.lanes[r.lane], e.sched.lanes = r, []*lane{r.lane}
	for i := range n {
		req := Request{Model: "m", Prompt: make([]int32, context), MaxTokens: steps, Temperature: 1, Stream: uint64(i)}
		for k := range req.Prompt {
			req.Prompt[k] = int32((i + k*k) % 1000)
		}
		q := &sequence{ids: append(make([]int32, 0, context+steps), req.Prompt...), prompt: context, target: context,
			reuse: context - 1, fresh: true}
		q.job = &job{r: r, q: q, req: &req, eos: []int32{}, invTemp: 1, limit: steps, done: make(chan struct{}),
			more: make(chan struct{}, 1),
			ids:  make([]int32, 0, steps), logprobs: make([]float32, 0, steps)}
		e.sched.add(r.lane, q)
	}
	pass := func() { require.NoError(t, e.step()) }
	for len(r.lane.waiting) > 0 || r.lane.running[len(r.lane.running)-1].left() > 1 {
		pass()
	}
	return r, pass
}

// hosts are devices that compute nothing.
var hosts = map[string]kernels.Device{"calls": idle{}, "recordings": idleGPU{}}

// TestHostPassAllocatesNothing: a decode pass allocates nothing, but where sequences grow by a page.
func TestHostPassAllocatesNothing(t *testing.T) {
	for name, dev := range hosts {
		r, pass := decoding(t, dev, 8, 100)
		for i := 0; i < 2*kernels.PageSize || r.lane.running[0].table.Len()%kernels.PageSize != 1; i++ {
			pass()
		}
		require.Zero(t, testing.AllocsPerRun(kernels.PageSize-4, pass), name)
		if name == "recordings" {
			require.Greater(t, r.stats.Replayed, int64(kernels.PageSize))
		}
	}
}

// BenchmarkHostPass is the time of a decode pass on the host, for a model of 28 layers whose device takes no time:
// where every operation is called, and where passes are replayed while results come later.
func BenchmarkHostPass(b *testing.B) {
	for _, name := range slices.Sorted(maps.Keys(hosts)) {
		for _, n := range []int{64, 256} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				_, pass := decoding(b, hosts[name], n, 1500)
				b.ReportAllocs()
				best := time.Duration(1 << 60)
				runtime.GC() // of what was made before
				b.ResetTimer()
				for range b.N {
					began := time.Now()
					pass()
					best = min(best, time.Since(began))
				}
				b.ReportMetric(float64(best.Nanoseconds())/1e3, "best-us")
			})
		}
	}
}

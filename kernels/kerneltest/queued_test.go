package kerneltest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
)

// A device that does everything as late as it may gives the bits of the one behind it.
func TestQueuedConforms(t *testing.T) {
	now, later := ref.New(), Queue(ref.New())
	for _, g := range groups {
		if g.name == narrowGroup {
			continue // ref wants its operands in F32
		}
		for _, c := range g.cases(Exact) {
			want, got := execute(t, now, layouts[0], c.body), execute(t, later, layouts[0], c.body)
			require.Equal(t, len(want), len(got))
			for i := range want {
				require.Equal(t, want[i].data, got[i].data, "%s/%s: %s", g.name, c.name, want[i].name)
			}
		}
	}
	require.NoError(t, later.Close())
}

// queuedRig is a batch of two sequences that decode, and what attends to them.
type queuedRig struct {
	*Queued
	kv   kernels.KV
	b    kernels.Batch
	y, q kernels.Tensor // [2, 8]
}

func newQueuedRig(t *testing.T) *queuedRig {
	r := &queuedRig{Queued: Queue(ref.New())}
	var err error
	r.kv, err = r.NewKV(kernels.KVSpec{Layers: 1, Pages: 8, KVHeads: 1, HeadDim: 8, Type: kernels.F32})
	require.NoError(t, err)
	r.b, err = r.NewBatch(kernels.BatchSpec{Tokens: 4, Segments: 4, Pages: 16, Rows: 4})
	require.NoError(t, err)
	for _, x := range []*kernels.Tensor{&r.y, &r.q} {
		*x, err = kernels.NewTensor(r, kernels.F32, 2, 8)
		require.NoError(t, err)
	}
	return r
}

// set makes b two sequences of so many pages.
func (r *queuedRig) set(pages int) {
	l := kernels.Layout{IDs: make([]int32, 2), Pos: make([]int32, 2), Slots: []int32{0, 1}}
	for i := range 2 {
		l.Segs = append(l.Segs, kernels.Segment{Row: i, Len: 1, Pages: make([]int32, pages)})
	}
	r.SetBatch(r.b, &l, r.kv, kernels.Tensor{}, nil)
}

func (r *queuedRig) attend() { r.Attention(r.y, r.q, kernels.Tensor{}, r.kv, 0, r.b, 1) }

// TestQueuedContract: what breaks the contract of Recorder panics, and says how.
func TestQueuedContract(t *testing.T) {
	recorded := func(r *queuedRig) kernels.Recording {
		r.set(3)
		r.attend()
		rec, err := r.Record(r.attend)
		if err != nil {
			panic(err)
		}
		return rec
	}
	within := func(f func(r *queuedRig)) func(r *queuedRig) {
		return func(r *queuedRig) { r.Record(func() { f(r) }) }
	}
	for what, f := range map[string]func(r *queuedRig){
		"Alloc within Record":    within(func(r *queuedRig) { r.Alloc(1) }),
		"SetBatch within Record": within(func(r *queuedRig) { r.set(1) }),
		"Fetch within Record":    within(func(r *queuedRig) { kernels.Fetch(r, make([]float32, 16), r.y) }),
		"Upload within Record":   within(func(r *queuedRig) { kernels.Upload(r, r.y, make([]float32, 16)) }),
		"Free within Record":     within(func(r *queuedRig) { r.y.Buf.Free() }),
		"Sync within Record":     within(func(r *queuedRig) { r.Sync() }),
		"without having run before": func(r *queuedRig) {
			r.set(3)
			r.Record(r.attend)
		},
		"for 3 pages a sequence without having run before": func(r *queuedRig) {
			r.set(2)
			r.attend()
			r.set(3)
			r.Record(r.attend)
		},
		"4 pages a sequence, recorded": func(r *queuedRig) {
			rec := recorded(r)
			r.set(4)
			rec.Replay()
		},
		"Replay of a recording that was freed": func(r *queuedRig) {
			rec := recorded(r)
			rec.Free()
			rec.Replay()
		},
		"second Free of a recording": func(r *queuedRig) {
			rec := recorded(r)
			rec.Free()
			rec.Free()
		},
		"Replay: kernels.Tensor was freed": func(r *queuedRig) {
			rec := recorded(r)
			r.y.Buf.Free()
			rec.Replay()
		},
		"second Wait": func(r *queuedRig) {
			ticket := kernels.Fetch(r, make([]float32, 16), r.y)
			ticket.Wait()
			ticket.Wait()
		},
		"another Fetch has until its Wait": func(r *queuedRig) {
			host := make([]float32, 20)
			kernels.Fetch(r, host[:16], r.y)
			kernels.Fetch(r, host[4:], r.y)
		},
		"SetBatch: segment 0": func(r *queuedRig) { r.set(0) },
	} {
		t.Run(what, func(t *testing.T) {
			r := newQueuedRig(t)
			defer func() { require.Contains(t, recover(), what) }()
			f(r)
		})
	}
	r := newQueuedRig(t)
	rec := recorded(r)
	for pages := 1; pages <= 3; pages++ {
		r.set(pages)
		rec.Replay()
	}
	require.NoError(t, r.Sync())
	require.Equal(t, 3, r.Replays())
}

// TestQueuedIsLate: what is fetched is not there before Wait, what comes after a fetch is not done by its Wait, and
// an error stays.
func TestQueuedIsLate(t *testing.T) {
	r := newQueuedRig(t)
	kernels.Upload(r, r.q, []float32{15: 7})
	host := make([]float32, 16)
	ticket := kernels.Fetch(r, host, r.q)
	require.NotEqual(t, float32(7), host[15])
	r.RMSNorm(r.y, r.q, r.q, 1, kernels.Tensor{}) // of wrong shapes, which appears when its turn comes
	require.NoError(t, ticket.Wait())
	require.Equal(t, float32(7), host[15])
	ticket = kernels.Fetch(r, host, r.q)
	require.ErrorContains(t, ticket.Wait(), "queued RMSNorm: panic: ref: RMSNorm")
	require.ErrorContains(t, r.Sync(), "RMSNorm")
	require.ErrorContains(t, r.Sync(), "RMSNorm")
	r.Recover()
	require.NoError(t, r.Sync())
	require.Error(t, r.Close(), "nothing was freed")
}

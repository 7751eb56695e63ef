//go:build !nogpu && linux

package cuda

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/fake"
)

// scored is a small pass over a batch: rows of an embedding, and ids drawn from them.
type scored struct {
	d      *Device
	w      kernels.Weight
	b      kernels.Batch
	z, ids kernels.Tensor
}

const scoredIDs = 40

func newScored(t *testing.T, d *Device, rows int) *scored {
	s := &scored{d: d}
	var err error
	s.w, err = d.NewWeight(scoredIDs, scoredIDs, kernels.F32)
	require.NoError(t, err)
	diagonal := make([]float32, scoredIDs*scoredIDs)
	for i := range scoredIDs {
		diagonal[i*scoredIDs+i] = 1
	}
	d.PackHost(s.w, 0, bytesOf32(diagonal), kernels.F32)
	s.b, err = d.NewBatch(kernels.BatchSpec{Tokens: rows, Rows: rows})
	require.NoError(t, err)
	s.z, err = kernels.NewTensor(d, kernels.F32, rows, scoredIDs)
	require.NoError(t, err)
	s.ids, err = kernels.NewTensor(d, kernels.I32, rows, 1)
	require.NoError(t, err)
	return s
}

func (s *scored) set(ids []int32, never ...int32) {
	l := kernels.Layout{IDs: ids, Pos: make([]int32, len(ids)), Rows: make([]int32, len(ids))}
	for range ids {
		l.Draws = append(l.Draws, kernels.Sampling{Greedy: true, InvTemp: 1, Never: never})
	}
	s.d.SetBatch(s.b, &l, nil, kernels.Tensor{}, nil)
}

func (s *scored) step() {
	n := s.b.Tokens()
	s.d.Embed(s.z.RowRange(0, n), s.w, s.b)
	s.d.Sample(s.ids.RowRange(0, n), kernels.LogProbs{}, s.z.RowRange(0, n), s.b, 0)
}

func (s *scored) drawn(t *testing.T, n int) []int32 {
	got := make([]int32, n)
	require.NoError(t, kernels.Download(s.d, got, s.ids.RowRange(0, n)))
	return got
}

func (s *scored) free() {
	s.w.Free()
	s.b.Free()
	s.z.Buf.Free()
	s.ids.Buf.Free()
}

// TestReplay: a replay is one call of the driver, and one upload to set the batch; it leaves nothing behind.
func TestReplay(t *testing.T) {
	m := fake.New(fake.A100())
	d, err := openOn(m, 0)
	require.NoError(t, err)
	s := newScored(t, d, 4)
	s.set([]int32{1, 2, 3})
	s.step()
	r, err := d.Record(s.step)
	require.NoError(t, err)
	require.Equal(t, []int32{1, 2, 3}, s.drawn(t, 3))

	launches, graphs, uploads := m.Calls["LaunchKernel"], m.Calls["GraphLaunch"], m.Calls["MemcpyHtoD"]
	s.set([]int32{7, 0, 9})
	r.Replay()
	require.Equal(t, []int32{7, 0, 9}, s.drawn(t, 3))
	require.Equal(t, launches, m.Calls["LaunchKernel"])
	require.Equal(t, graphs+1, m.Calls["GraphLaunch"])
	require.Equal(t, uploads+1, m.Calls["MemcpyHtoD"])

	long := make([]int32, 5000) // the lists of draws move
	for i := range long {
		long[i] = 7
	}
	s.set([]int32{7, 8, 9}, long...)
	r.Replay()
	require.Equal(t, []int32{0, 8, 9}, s.drawn(t, 3))
	r.Free()
	require.PanicsWithValue(t, "cuda: Replay: the recording was freed", r.Replay)
	s.free()
	require.NoError(t, d.Close())
	require.NoError(t, m.Check())
}

// TestLeftGraphs: a recording that nobody frees is noticed.
func TestLeftGraphs(t *testing.T) {
	m := fake.New(fake.A100())
	d, err := openOn(m, 0)
	require.NoError(t, err)
	_, err = d.Record(func() {})
	require.NoError(t, err)
	require.NoError(t, d.Close())
	require.Equal(t, []string{"1 executable graphs"}, m.Left())
}

// TestReplayOfAnotherLayout: a layout that a recording cannot be replayed over is a panic, and no kernel runs.
func TestReplayOfAnotherLayout(t *testing.T) {
	m := fake.New(fake.A100())
	d, err := openOn(m, 0)
	require.NoError(t, err)
	c, err := d.NewKV(kernels.KVSpec{Layers: 1, Pages: 8, KVHeads: 1, HeadDim: 16, Type: kernels.BF16})
	require.NoError(t, err)
	other, err := d.NewKV(kernels.KVSpec{Layers: 1, Pages: 9, KVHeads: 1, HeadDim: 16, Type: kernels.BF16})
	require.NoError(t, err)
	w, err := d.NewWeight(20, 16, kernels.BF16)
	require.NoError(t, err)
	x, err := kernels.NewTensor(d, kernels.F32, 2, 16)
	require.NoError(t, err)
	y, err := kernels.NewTensor(d, kernels.F32, 2, 16)
	require.NoError(t, err)
	table, err := kernels.NewTensor(d, kernels.F32, 60, 16)
	require.NoError(t, err)
	b, err := d.NewBatch(kernels.BatchSpec{Tokens: 3, Segments: 3, Pages: 8, Rows: 2})
	require.NoError(t, err)
	layout := func(edit func(l *kernels.Layout)) *kernels.Layout {
		l := &kernels.Layout{IDs: []int32{1, 2}, Pos: []int32{40, 3}, Slots: []int32{72, 99}, Rows: []int32{0},
			Segs: []kernels.Segment{
				{Row: 0, Len: 1, Start: 40, Pages: []int32{1, 2}}, {Row: 1, Len: 1, Start: 3, Pages: []int32{3}}}}
		edit(l)
		return l
	}
	step := func() {
		d.Embed(x, w, b)
		d.RoPE(x, 1, b, table, false)
		d.KVWrite(c, 0, x, x, b)
		d.Attention(y, x, kernels.Tensor{}, c, 0, b, 1)
	}
	d.SetBatch(b, layout(func(*kernels.Layout) {}), c, kernels.Tensor{}, nil)
	step()
	r, err := d.Record(step)
	require.NoError(t, err)
	for want, edit := range map[string]func(l *kernels.Layout){
		"id 20 of 20":       func(l *kernels.Layout) { l.IDs[1] = 20 },
		"position 60 of 60": func(l *kernels.Layout) { l.Pos[0] = 60 },
		"a batch of 3 tokens": func(l *kernels.Layout) {
			l.IDs, l.Pos, l.Slots, l.Segs[1].Len = append(l.IDs, 1), append(l.Pos, 4), append(l.Slots, 7), 2
		},
		"2 rows":             func(l *kernels.Layout) { l.Rows = append(l.Rows, 1) },
		"1 draws":            func(l *kernels.Layout) { l.Draws = make([]kernels.Sampling, 1) },
		"segment 0 is row 0": func(l *kernels.Layout) { l.Segs[0].Pages = []int32{1, 2, 4} },
		"segment 0 is row 1": func(l *kernels.Layout) { l.Segs[0].Row, l.Segs[1].Row = 1, 0 },
		"length 2":           func(l *kernels.Layout) { l.Segs[0].Len, l.Segs[1].Len, l.Segs[1].Row = 2, 0, 2 },
	} {
		d.SetBatch(b, layout(edit), c, kernels.Tensor{}, nil)
		require.Panics(t, r.Replay, want)
		func() {
			defer func() { require.Contains(t, recover(), want) }()
			r.Replay()
		}()
	}
	d.SetBatch(b, layout(func(*kernels.Layout) {}), other, kernels.Tensor{}, nil)
	require.PanicsWithValue(t, "cuda: Replay: a batch that was set for a cache of 9 pages, recorded with 8", r.Replay)
	d.SetBatch(b, layout(func(l *kernels.Layout) { l.Segs[1].Pages, l.Segs[1].Start = []int32{5, 3}, 63 }), c,
		kernels.Tensor{}, nil)
	r.Replay()
	require.NoError(t, d.Sync())
	b.Free()
	require.PanicsWithValue(t, "cuda: Replay: the batch was freed", r.Replay)
	r.Free()
	for _, f := range []interface{ Free() }{c, other, w, x.Buf, y.Buf, table.Buf} {
		f.Free()
	}
	require.NoError(t, d.Close())
	require.NoError(t, m.Check())
}

// TestNothingIsRecorded: what cannot be recorded is an error, or a panic of the caller's own mistake, and the device
// goes on.
func TestNothingIsRecorded(t *testing.T) {
	m := fake.New(fake.A100())
	d, err := openOn(m, 0)
	require.NoError(t, err)
	s := newScored(t, d, 4)
	s.set([]int32{1, 2, 3})
	_, err = d.Record(s.step)
	require.ErrorIs(t, err, errScratch)
	s.step()
	require.Equal(t, []int32{1, 2, 3}, s.drawn(t, 3))

	for name, f := range map[string]func(){
		"Alloc":    func() { d.Alloc(8) },
		"Free":     func() { s.z.Buf.Free() },
		"Upload":   func() { kernels.Upload(d, s.z.RowRange(0, 1), make([]float32, scoredIDs)) },
		"Fetch":    func() { s.drawn(t, 1) },
		"Sync":     func() { d.Sync() },
		"SetBatch": func() { s.set([]int32{1}) },
		"PackHost": func() { d.PackHost(s.w, 0, make([]byte, 4*scoredIDs), kernels.F32) },
		"Record":   func() { d.Record(func() {}) },
	} {
		require.PanicsWithValue(t, "cuda: "+name+": called while operations are recorded", func() { d.Record(f) })
	}
	for _, function := range []string{"StreamBeginCapture", "GraphInstantiate", "LaunchKernel"} {
		m.Fail = func(f string, _ int) int {
			if f == function {
				return fake.OutOfMemory
			}
			return 0
		}
		_, err := d.Record(s.step)
		require.ErrorContains(t, err, "error 2", function)
		m.Fail = nil
	}
	s.set([]int32{4, 5, 6})
	s.step()
	require.Equal(t, []int32{4, 5, 6}, s.drawn(t, 3))
	s.free()
	require.NoError(t, d.Close())
	require.NoError(t, m.Check())
}

package engine

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/kerneltest"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
)

func TestShapes(t *testing.T) {
	for n, want := range map[int]int{1: 1, 2: 2, 3: 4, 17: 32, 32: 32, 33: 64, 65: 96, 96: 96, 97: 128, 256: 256,
		257: 288} {
		require.Equal(t, want, rowBucket(n), n)
	}
}

// counted is a recording that counts how often it was freed.
type counted struct {
	idleRecording
	freed *int
}

func (c counted) Free() { *c.freed++ }

// TestRecordings: what was used last stays longest; recordings go with their adapter, and all of them when memory
// moves.
func TestRecordings(t *testing.T) {
	r, freed := newRecordings(idleGPU{}, 10, 64, 4), 0
	require.Equal(t, 2, r.padPages())
	for i := range 4 {
		s := shape{rows: 1 << i, reach: 4, adapter: uint64(i % 2)}
		require.Nil(t, r.find(s, 0))
		require.True(t, r.wants(s), "the second time")
		r.all = append(r.all, &recorded{s, counted{freed: &freed}})
		require.False(t, r.wants(s), "it is there")
	}
	first := r.all[0].shape
	require.NotNil(t, r.find(first, 0))
	require.Equal(t, first, r.all[3].shape)
	r.drop(func(x *recorded) bool { return x.adapter == 1 })
	require.Equal(t, 2, freed)
	require.NotNil(t, r.find(first, 0))
	require.Nil(t, r.find(first, 1), "memory has moved")
	require.Equal(t, 4, freed)
	require.Empty(t, r.all)
}

// unrecordable is a device whose recordings fail.
type unrecordable struct{ *kerneltest.Queued }

func (unrecordable) Record(func()) (kernels.Recording, error) {
	return nil, errors.New("CUDA graph of 70 nodes: out of memory")
}

// TestRecordFails: a device that cannot record a pass still computes it, with the same results, and the reason is in
// the statistics and told once.
func TestRecordFails(t *testing.T) {
	generate := func(dev kernels.Device, o Options) (ids []int32, s ModelStats) {
		m := tiny(t, dev, kernels.F32, 1)
		defer m.Close()
		e := New(dev, o)
		defer e.Close()
		require.NoError(t, e.AddModel("m", m, ModelOptions{KVPages: 60}))
		r, err := e.Generate(t.Context(), Request{Model: "m", Prompt: prompt(30, 1), MaxTokens: 12, EOS: []int32{}})
		require.NoError(t, err)
		return r.IDs, e.Stats().Models[0]
	}
	good := kerneltest.Queue(ref.New())
	defer good.Close()
	want, recorded := generate(good, Options{})
	require.Positive(t, recorded.Replayed)
	require.Empty(t, recorded.Unrecorded)

	bad := unrecordable{kerneltest.Queue(ref.New())}
	defer bad.Close()
	var notes []string
	ids, s := generate(bad, Options{Note: func(text string) { notes = append(notes, text) }})
	require.Equal(t, want, ids)
	require.Zero(t, s.Replayed)
	require.Equal(t, "CUDA graph of 70 nodes: out of memory", s.Unrecorded)
	require.Len(t, notes, 1)
	require.Contains(t, notes[0], "m: recording a pass on ")
	require.Contains(t, notes[0], " failed: CUDA graph of 70 nodes: out of memory: ")
	ids, _ = generate(bad, Options{})
	require.Equal(t, want, ids, "nobody is told")
}

package engine

import (
	"fmt"
	"slices"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// mostRecordings is the largest number of recordings (CUDA graphs) per model. One takes some megabytes of GPU memory.
const mostRecordings = 32

// recordings are the decode passes of a runner that its device has recorded (kernels.Recorder), one for each shape. A
// pass is padded to a shape with rows of dummy sequences, which use extra pages of the cache. No row depends on other
// rows, so padding changes no result.
//
// The first pass of a shape runs without recording, the second is recorded. Recordings stay valid when weights change
// in place.
type recordings struct {
	dev     kernels.Recorder // nil: none
	maxRows int
	reach   int       // pages of the longest sequence
	pads    [][]int32 // for every 32 rows of padding a page table, reach times the same page

	all   []*recorded // the one used last at the end
	seen  map[shape]bool
	moved int   // Workspace.Moved of all
	b     batch // the layout to record with
}

// shape is what is fixed in a recording: rows, pages of the longest sequence, and the adapter of all rows. The zero
// shape is that of passes which are not recorded.
type shape struct {
	rows, reach int
	adapter     uint64 // 0: none
}

type recorded struct {
	shape
	kernels.Recording
}

// newRecordings is for passes of up to maxRows sequences of reach pages, with a cache of so many pages.
func newRecordings(dev kernels.Device, pages, maxRows, reach int) recordings {
	r := recordings{maxRows: maxRows, reach: reach}
	if r.dev, _ = dev.(kernels.Recorder); r.dev == nil {
		return r
	}
	r.seen = map[shape]bool{}
	for i := range kernels.PagesFor(maxRows) {
		r.pads = append(r.pads, slices.Repeat([]int32{int32(pages + i)}, reach))
	}
	return r
}

// padPages is the number of pages that padding needs beside the cache's own.
func (r *recordings) padPages() int { return len(r.pads) }

// positions is the number of positions that passes reach, context that of sequences.
func (r *recordings) positions(context int) int {
	if r.dev == nil {
		return context
	}
	return r.reach * kernels.PageSize
}

// shape is that of a pass over b, rounded up; zero if it is none that is recorded.
func (r *recordings) shape(b *batch) shape {
	if r.dev == nil || !b.decodes() {
		return shape{}
	}
	pages := 0
	for i := range b.Segs {
		pages = max(pages, len(b.Segs[i].Pages))
	}
	s := shape{rows: min(rowBucket(len(b.IDs)), r.maxRows), reach: min(max(powerOf2(pages), 8), r.reach)}
	if a := b.Adapters[0]; a != nil {
		s.adapter = a.ID()
	}
	return s
}

// rowBucket rounds n up to 1, 2, 4, 8, 16, 32, 64, 96, 128 and so on.
func rowBucket(n int) int {
	if n <= 32 {
		return powerOf2(n)
	}
	return (n + 31) / 32 * 32
}

// powerOf2 is the least one that is not below n.
func powerOf2(n int) int {
	p := 1
	for p < n {
		p *= 2
	}
	return p
}

// pad adds rows to b up to so many.
func (r *recordings) pad(b *batch, rows int) {
	for i := 0; len(b.IDs) < rows; i++ {
		r.dummy(b, i, 1, b.Adapters[0])
	}
}

// dummy adds dummy row i, which reaches over so many pages, to b.
func (r *recordings) dummy(b *batch, i, reach int, a *model.Adapter) {
	table, place := r.pads[i/kernels.PageSize][:reach], i%kernels.PageSize
	row, pos := len(b.IDs), (reach-1)*kernels.PageSize+place
	b.IDs, b.Pos = append(b.IDs, 0), append(b.Pos, int32(pos))
	b.Slots = append(b.Slots, table[0]*kernels.PageSize+int32(place))
	b.Segs = append(b.Segs, kernels.Segment{Row: row, Len: 1, Start: pos, Pages: table})
	b.Adapters, b.Rows = append(b.Adapters, a), append(b.Rows, int32(row))
	b.Draws = append(b.Draws, kernels.Sampling{Greedy: true, InvTemp: 1})
}

// wants reports whether a pass of shape s is to be recorded now: it is neither recorded nor the first of its kind.
func (r *recordings) wants(s shape) bool {
	return s != shape{} && r.dev != nil && r.seen[s] && r.at(s) < 0
}

// record makes a recording of f's shape. The operations run once beforehand, over padding only, and those of the
// recording are kept for the longest sequences that the shape allows. Nothing else may be under way: the results are
// overwritten.
func (r *recordings) record(n *runner, f *queuedPass) error {
	s := f.shape
	r.b.fill(&plan{})
	for i := range s.rows {
		r.dummy(&r.b, i, s.reach, f.b.Adapters[0])
	}
	n.m.SetBatch(n.ws, &r.b.Batch, n.kv)
	r.current(n.ws.Moved())
	if err := n.compute(&r.b, nil); err != nil {
		return err
	}
	rec, err := r.dev.Record(func() { n.compute(&r.b, nil) })
	if err != nil {
		r.drop(func(*recorded) bool { return true })
		r.dev = nil // it goes on without recordings: the same results, slower
		n.stats.Unrecorded = err.Error()
		if n.note != nil {
			n.note(fmt.Sprintf("%s: recording a pass on %s failed: %v: its passes are queued one operation at a time, "+
				"with the same results, slower", n.name, n.m.Device.Name(), err))
		}
		return nil
	}
	if len(r.all) == mostRecordings {
		delete(r.seen, r.all[0].shape) // recorded anew only if it comes twice
		r.all[0].Free()
		r.all = slices.Delete(r.all, 0, 1)
	}
	r.all = append(r.all, &recorded{s, rec})
	return nil
}

// find is the recording of shape s; nil if there is none. moved is Workspace.Moved of the pass.
func (r *recordings) find(s shape, moved int) kernels.Recording {
	if s == (shape{}) || r.dev == nil {
		return nil
	}
	r.current(moved)
	i := r.at(s)
	if i < 0 {
		r.see(s)
		return nil
	}
	x := r.all[i]
	copy(r.all[i:], r.all[i+1:])
	r.all[len(r.all)-1] = x
	return x.Recording
}

// see notes that there was a pass of shape s.
func (r *recordings) see(s shape) {
	if len(r.seen) >= 32*mostRecordings {
		clear(r.seen)
	}
	r.seen[s] = true
}

// current drops all recordings if memory has moved since they were made.
func (r *recordings) current(moved int) {
	if moved != r.moved {
		r.drop(func(*recorded) bool { return true })
		r.moved = moved
	}
}

// at is the place of shape s among all, or -1.
func (r *recordings) at(s shape) int {
	return slices.IndexFunc(r.all, func(x *recorded) bool { return x.shape == s })
}

// drop frees the recordings that which names.
func (r *recordings) drop(which func(*recorded) bool) {
	r.all = slices.DeleteFunc(r.all, func(x *recorded) bool {
		if which(x) {
			x.Free()
			return true
		}
		return false
	})
}

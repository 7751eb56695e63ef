package cuda

import (
	"errors"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
)

var (
	_ kernels.Recorder     = (*Device)(nil)
	_ kernels.Asynchronous = (*Device)(nil)
)

// Asynchronous says that work is queued.
func (d *Device) Asynchronous() {}

// Record makes a CUDA graph of the launches of f. Everything that a launch depends on is an address that does not
// change (of tensors, of a batch, of scratch memory), or is fixed by the contract of Replay, or is read on the GPU.
func (d *Device) Record(f func()) (kernels.Recording, error) {
	d.outside("Record")
	if d.err != nil {
		return nil, d.err
	}
	r := &recording{d: d}
	d.recording = r
	defer func() {
		d.recording = nil
		if r.graph == nil {
			r.release()
		}
	}()
	graph, err := d.gpu.Capture(f)
	if d.err != nil { // nothing has run: the device goes on
		err, d.err = d.err, nil
		if graph != nil {
			d.note(graph.Free())
		}
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	r.graph = graph
	return r, nil
}

// outside panics while operations are recorded.
func (d *Device) outside(op string) {
	if d.recording != nil {
		fail(op, "called while operations are recorded")
	}
}

// recording is a graph and what must not change while it exists.
type recording struct {
	d       *Device
	graph   gpu.Graph
	scratch []*scratch
	batches []recorded
}

// keep notes that the recording uses s.
func (r *recording) keep(s *scratch) {
	for _, x := range r.scratch {
		if x == s {
			return
		}
	}
	s.users++
	r.scratch = append(r.scratch, s)
}

// release gives up scratch memory. What was replaced by a larger piece goes with its last recording.
func (r *recording) release() {
	for _, s := range r.scratch {
		s.users--
		s.drop(r.d)
	}
	r.scratch = nil
}

// Replay queues the graph.
func (r *recording) Replay() {
	d := r.d
	d.outside("Replay")
	if r.graph == nil {
		fail("Replay", "the recording was freed")
	}
	for i := range r.batches {
		r.batches[i].check()
	}
	if d.err == nil {
		d.note(r.graph.Launch())
	}
}

// Free destroys the graph when the work queued so far has ended.
func (r *recording) Free() {
	r.d.outside("Free")
	if r.graph == nil {
		panic("cuda: second Free of a recording")
	}
	r.d.note(r.graph.Free())
	r.graph = nil
	r.release()
}

// recorded is what a batch was set to when operations on it were recorded, as far as a later layout must be the same.
type recorded struct {
	b                            *batch
	tokens, rows, draws, kvPages int
	longest                      int      // pages of a sequence
	runs                         [][2]int // Row and Len of each segment
	ids, positions               int      // how many there may be; 0: any number
}

// uses notes that the operation being recorded reads b.
func (d *Device) uses(b *batch) {
	r := d.recording
	if r == nil || r.batch(b) != nil {
		return
	}
	x := recorded{b: b, tokens: b.Tokens(), rows: len(b.Layout.Rows), draws: len(b.Draws), kvPages: b.pages}
	for i := range b.Segs {
		x.longest = max(x.longest, len(b.Segs[i].Pages))
		x.runs = append(x.runs, [2]int{b.Segs[i].Row, b.Segs[i].Len})
	}
	r.batches = append(r.batches, x)
}

func (r *recording) batch(b *batch) *recorded {
	for i := range r.batches {
		if r.batches[i].b == b {
			return &r.batches[i]
		}
	}
	return nil
}

// below panics if the largest id or position of b is not below limit, now or at a replay.
func (d *Device) below(op string, b *batch, what string, largest int32, limit int) {
	if int(largest) >= limit {
		fail(op, "%s %d: there are %d", what, largest, limit)
	}
	if d.recording == nil {
		return
	}
	x := d.recording.batch(b)
	to := &x.ids
	if what == "position" {
		to = &x.positions
	}
	if *to == 0 || limit < *to {
		*to = limit
	}
}

// check panics if the layout of the batch is not one that the recording can be replayed over.
func (x *recorded) check() {
	const op = "Replay"
	b := x.b
	switch {
	case b.buffer.d == nil:
		fail(op, "the batch was freed")
	case b.Tokens() != x.tokens || len(b.Layout.Rows) != x.rows || len(b.Draws) != x.draws ||
		len(b.Segs) != len(x.runs):
		fail(op, "a batch of %d tokens, %d rows, %d draws and %d segments, recorded with %d, %d, %d and %d", b.Tokens(),
			len(b.Layout.Rows),
			len(b.Draws), len(b.Segs), x.tokens, x.rows, x.draws, len(x.runs))
	case b.pages != x.kvPages:
		fail(op, "a batch that was set for a cache of %d pages, recorded with %d", b.pages, x.kvPages)
	case x.ids > 0 && int(b.lastID) >= x.ids || x.positions > 0 && int(b.lastPos) >= x.positions:
		fail(op, "id %d of %d, position %d of %d", b.lastID, x.ids, b.lastPos, x.positions)
	}
	for i := range b.Segs {
		s := &b.Segs[i]
		if s.Row != x.runs[i][0] || s.Len != x.runs[i][1] || len(s.Pages) > x.longest {
			fail(op, "segment %d is row %d, length %d, %d pages, recorded as row %d, length %d, at most %d pages", i,
				s.Row, s.Len, len(s.Pages),
				x.runs[i][0], x.runs[i][1], x.longest)
		}
	}
}

// errScratch is of operations that are recorded without having run before.
var errScratch = errors.New("they need more scratch memory than there is: run them once before they are recorded")

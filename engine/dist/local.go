package dist

import (
	"errors"
	"sync"
)

// Local makes a group of n ranks in this process, one for each of n goroutines: for tests and benchmarks.
func Local(n int) []Group {
	if n == 1 {
		return []Group{Alone()}
	}
	w := newWorld(n)
	out := make([]Group, n)
	for r := range out {
		out[r] = &ranks{t: &local{w, r}}
	}
	return out
}

func newWorld(n int) *world {
	return &world{slots: make([]any, n), left: n, ended: make(chan struct{}), turn: make(chan struct{})}
}

// world is what the ranks of a local group share.
type world struct {
	mu    sync.Mutex
	slots []any         // what each rank passes to the current operation
	left  int           // ranks that have not called it yet
	turn  chan struct{} // closed when all have
	ended chan struct{} // closed by abort
}

var errAborted = errors.New("another rank has ended the run")

// meet waits until every rank has called it, calls do with what they pass, [ranks], and waits until all have done so.
func (w *world) meet(rank int, bring any, do func(all []any)) error {
	if err := w.wait(rank, bring); err != nil {
		return err
	}
	do(w.slots)
	return w.wait(-1, nil)
}

func (w *world) wait(rank int, bring any) error {
	w.mu.Lock()
	if rank >= 0 {
		w.slots[rank] = bring
	}
	turn := w.turn
	if w.left--; w.left == 0 {
		w.left, w.turn = len(w.slots), make(chan struct{})
		close(turn)
	}
	w.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-w.ended:
		return errAborted
	}
}

// local is a rank of a world.
type local struct {
	w  *world
	me int
}

func (l *local) name() string { return "goroutines of one process" }

func (l *local) rank() int { return l.me }

func (l *local) size() int { return len(l.w.slots) }

func (l *local) headers(own header) (out []header, err error) {
	err = l.w.meet(l.me, own, func(all []any) {
		for _, h := range all {
			out = append(out, h.(header))
		}
	})
	return out, err
}

// parcels are the bytes that a rank sends to each rank.
type parcels struct {
	data  []byte
	sizes []int
}

func (l *local) allToAll(recv []byte, received []int, send []byte, sent []int) error {
	return l.w.meet(l.me, parcels{send, sent}, func(all []any) {
		at := offsets(received)
		for r, x := range all {
			p := x.(parcels)
			from := offsets(p.sizes)[l.me]
			copy(recv[at[r]:at[r]+received[r]], p.data[from:from+p.sizes[l.me]])
		}
	})
}

func (l *local) allGather(recv []byte, sizes []int, own []byte) error {
	return l.w.meet(l.me, own, func(all []any) {
		for r, at := range offsets(sizes) {
			copy(recv[at:], all[r].([]byte))
		}
	})
}

func (l *local) broadcast(from int, data []byte) error {
	return l.w.meet(l.me, data, func(all []any) {
		if from != l.me {
			copy(data, all[from].([]byte))
		}
	})
}

func (l *local) head(n int) (out transport, err error) {
	err = l.w.meet(l.me, newWorld(n), func(all []any) { out = &local{all[0].(*world), l.me} })
	return out, err
}

func (l *local) abort(int) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	select {
	case <-l.w.ended:
	default:
		close(l.w.ended)
	}
}

func (l *local) close() error { return nil }

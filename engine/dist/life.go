//go:build !nogpu && linux

package dist

import (
	"fmt"
	"time"

	"github.com/zerosearch-go/zerosearch/internal/foreign"
)

// beatEvery is the time between two heartbeats of a rank.
const beatEvery = time.Second

// life detects ranks that hang or have ended. Rank 0 and each of the others send each other a byte (a heartbeat) every
// beatEvery. The thread that calls MPI sends it, independently of the rest of the program. If a rank is not heard for
// timeout, it counts as lost, and the run is ended.
type life struct {
	m       *mpi
	comm    uintptr // a communicator for heartbeats only
	timeout time.Duration
	lost    func(text string)
	peers   []int
	heard   []time.Time // by peer
	sent    time.Time
	ended   bool
	byte    []byte
	request uintptr
	got     int32
}

func newLife(m *mpi, comm uintptr, timeout time.Duration, lost func(text string)) *life {
	l := &life{m: m, comm: comm, timeout: timeout, lost: lost, byte: make([]byte, 2), sent: time.Now()}
	l.peers = []int{0}
	if m.me == 0 {
		l.peers = nil
		for r := 1; r < m.n; r++ {
			l.peers = append(l.peers, r)
		}
	}
	for range l.peers {
		l.heard = append(l.heard, l.sent)
	}
	return l
}

// beat sends and receives the heartbeats that are due.
func (l *life) beat(now time.Time) {
	if now.Sub(l.sent) < beatEvery || l.ended {
		return
	}
	if now.Sub(l.sent) > l.timeout/2 { // this process was stopped itself: the others' heartbeats are not read yet
		for i := range l.heard {
			l.heard[i] = now
		}
	}
	l.sent = now
	for i, r := range l.peers {
		foreign.Call(l.m.Isend, address(l.byte), 1, l.m.bytes, uintptr(r), 0, l.comm, addressOf(&l.request))
		foreign.Call(l.m.RequestFree, addressOf(&l.request))
		if l.read(r) {
			l.heard[i] = now
		}
		if now.Sub(l.heard[i]) > l.timeout {
			l.lost(fmt.Sprintf("rank %d has given no sign of life for %v: all ranks are ended: go on with --resume auto "+
				"(%s sets this time)", r, l.timeout, TimeoutVariable))
			l.m.end(1)
		}
	}
}

// read receives the heartbeats of rank r that have arrived, and reports whether there were any.
func (l *life) read(r int) (any bool) {
	for {
		l.got = 0
		foreign.Call(l.m.Iprobe, uintptr(r), 0, l.comm, addressOf(&l.got), l.m.ignore)
		if l.got == 0 {
			return any
		}
		foreign.Call(l.m.Recv, address(l.byte[1:]), 1, l.m.bytes, uintptr(r), 0, l.comm, l.m.ignore)
		any = true
	}
}

// end sends no more heartbeats and receives those that have arrived: MPI warns of messages that were never received.
func (l *life) end() {
	l.ended = true
	for _, r := range l.peers {
		l.read(r)
	}
}

//go:build !nogpu && linux

package fake

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/nccl"
)

// NCCL is NVIDIA's library of communication in Go, behind the same functions, for GPUs of one process. As there, an
// operation is queued in a stream, which waits at it until the streams of all ranks have come to theirs; joining waits
// for all ranks, and a rank that does not come is waited for until somebody aborts.
type NCCL struct {
	Code    int    // its version: 10000*major + 100*minor + patch
	Without string // a function that it does not have, without "nccl"

	// Fail is asked before every call, as Machine.Fail; its result is a ncclResult_t.
	Fail func(function string, n int) int

	Calls map[string]int
	Bytes int64 // that went from one GPU to another

	cliques map[nccl.ID]*clique
	comms   map[uintptr]*ncclComm
	groups  map[int]*part // by the thread on which a group was started
}

func newNCCL() NCCL {
	return NCCL{Code: 22105, Calls: map[string]int{}, cliques: map[nccl.ID]*clique{}, comms: map[uintptr]*ncclComm{},
		groups: map[int]*part{}}
}

// Results: ncclResult_t.
const (
	NCCLUnhandledCUDA   = 1
	NCCLInternalError   = 3
	NCCLInvalidArgument = 4
	NCCLInvalidUsage    = 5
)

// clique is ranks that have joined, or will.
type clique struct {
	ranks []*ncclComm
	there int
	ops   map[int]*collective // by their number
}

// ncclComm is a communicator: a rank of a clique.
type ncclComm struct {
	*clique
	rank, gpu int
	calls     int // operations so far
	aborted   bool
}

// collective is an operation of all ranks.
type collective struct {
	parts []*part
	done  bool
}

// part is what one rank does of it.
type part struct {
	comm         *ncclComm
	stream       *stream
	at           int // place in the stream
	reached      bool
	gather       bool
	bad          int // the result of a call within the group that failed: nothing of it happens
	sends, recvs []transfer
}

// transfer are bytes of a GPU, and the rank that they go to or come from.
type transfer struct {
	rank  int
	at    uint64
	bytes int
}

// NCCLLibrary is what the library is called.
const NCCLLibrary = "libnccl.fake"

// NCCLSymbol finds a function of NCCL.
func (m *Machine) NCCLSymbol(name string) (uintptr, error) {
	if name == "nccl"+m.NCCL.Without {
		return 0, fmt.Errorf("undefined symbol: %s", name)
	}
	return symbol(ncclFunctions, name)
}

// comm counts a call, asks Fail, and does f.
func comm(name string, f func(m *Machine, n *NCCL) uintptr) uintptr {
	m := machine
	m.mu.Lock()
	defer m.mu.Unlock()
	n := &m.NCCL
	n.Calls[name]++
	if n.Fail != nil {
		if r := n.Fail(name, n.Calls[name]); r != 0 {
			if p := n.groups[unix.Gettid()]; p != nil {
				p.bad = r
			}
			return uintptr(r)
		}
	}
	return f(m, n)
}

var ncclFunctions = []function{
	{"ncclGetVersion", ncclGetVersion}, {"ncclGetUniqueId", ncclGetUniqueID}, {"ncclCommInitRank", ncclCommInitRank},
	{"ncclCommDestroy", ncclCommDestroy}, {"ncclCommAbort", ncclCommAbort},
	{"ncclGetErrorString", ncclGetErrorString}, {"ncclGetLastError", ncclGetErrorString},
	{"ncclGroupStart", ncclGroupStart}, {"ncclGroupEnd", ncclGroupEnd}, {"ncclSend", ncclSend},
	{"ncclRecv", ncclRecv}, {"ncclAllGather", ncclAllGather},
}

func ncclGetVersion(v *int32) uintptr {
	return comm("GetVersion", func(_ *Machine, n *NCCL) uintptr { *v = int32(n.Code); return 0 })
}

var ncclText = []byte("the fake NCCL was asked to fail\x00")

func ncclGetErrorString(uintptr) uintptr { return uintptr(unsafe.Pointer(&ncclText[0])) }

func ncclGetUniqueID(id *nccl.ID) uintptr {
	return comm("GetUniqueId", func(m *Machine, _ *NCCL) uintptr {
		h := m.handle()
		for i := range id.Internal {
			id.Internal[i] = byte(h) + byte(7*i)
		}
		return 0
	})
}

func ncclCommInitRank(c *uintptr, size int32, id nccl.ID, rank int32) uintptr {
	return comm("CommInitRank", func(m *Machine, n *NCCL) uintptr {
		switch {
		case m.gpu() == nil:
			return NCCLUnhandledCUDA
		case rank < 0 || rank >= size:
			return NCCLInvalidArgument
		}
		q := n.cliques[id]
		if q == nil {
			q = &clique{ranks: make([]*ncclComm, size), ops: map[int]*collective{}}
			n.cliques[id] = q
		}
		if len(q.ranks) != int(size) || q.ranks[rank] != nil {
			return NCCLInvalidArgument
		}
		x := &ncclComm{clique: q, rank: int(rank), gpu: m.current[unix.Gettid()] - 1}
		q.ranks[rank] = x
		q.there++
		m.cond.Broadcast()
		for q.there < len(q.ranks) {
			m.cond.Wait()
		}
		for _, o := range q.ranks {
			if o != x && o.gpu == x.gpu {
				return NCCLInvalidUsage
			}
		}
		*c = m.handle()
		n.comms[*c] = x
		return 0
	})
}

func ncclCommDestroy(c uintptr) uintptr {
	return comm("CommDestroy", func(_ *Machine, n *NCCL) uintptr { return forget(n.comms, c, NCCLInvalidArgument) })
}

func ncclCommAbort(c uintptr) uintptr {
	return comm("CommAbort", func(m *Machine, n *NCCL) uintptr {
		if x := n.comms[c]; x != nil {
			x.aborted = true
			m.cond.Broadcast()
		}
		return forget(n.comms, c, NCCLInvalidArgument)
	})
}

func ncclGroupStart() uintptr {
	return comm("GroupStart", func(_ *Machine, n *NCCL) uintptr {
		if n.groups[unix.Gettid()] != nil {
			return NCCLInvalidUsage
		}
		n.groups[unix.Gettid()] = &part{}
		return 0
	})
}

func ncclGroupEnd() uintptr {
	return comm("GroupEnd", func(m *Machine, n *NCCL) uintptr {
		p := n.groups[unix.Gettid()]
		delete(n.groups, unix.Gettid())
		switch {
		case p == nil:
			return NCCLInvalidUsage
		case p.bad != 0:
			return uintptr(p.bad)
		case p.comm == nil: // nothing to do
			return 0
		}
		return m.exchange(p)
	})
}

// transfers adds to the group of the thread. Sends and receives that are in none would wait for each other.
func transfers(name string, at, count, kind, rank, c, s uintptr, add func(p *part, t transfer)) uintptr {
	return comm(name, func(m *Machine, n *NCCL) uintptr {
		p, x := n.groups[unix.Gettid()], n.comms[c]
		if p == nil || x == nil || kind != 1 || int(rank) >= len(x.ranks) || p.comm != nil && p.comm != x {
			return NCCLInvalidUsage
		}
		p.comm, p.stream = x, m.streams[s]
		add(p, transfer{int(rank), uint64(at), int(count)})
		return 0
	})
}

func ncclSend(at, count, kind, rank, c, s uintptr) uintptr {
	return transfers("Send", at, count, kind, rank, c, s, func(p *part, t transfer) { p.sends = append(p.sends, t) })
}

func ncclRecv(at, count, kind, rank, c, s uintptr) uintptr {
	return transfers("Recv", at, count, kind, rank, c, s, func(p *part, t transfer) { p.recvs = append(p.recvs, t) })
}

func ncclAllGather(send, recv, count, kind, c, s uintptr) uintptr {
	return comm("AllGather", func(m *Machine, n *NCCL) uintptr {
		x := n.comms[c]
		if x == nil || kind != 1 {
			return NCCLInvalidArgument
		}
		p := &part{comm: x, stream: m.streams[s], gather: true}
		for r := range x.ranks {
			p.sends = append(p.sends, transfer{r, uint64(send), int(count)})
			p.recvs = append(p.recvs, transfer{r, uint64(recv) + uint64(r)*uint64(count), int(count)})
		}
		return m.exchange(p)
	})
}

// exchange queues this rank's part of an operation.
func (m *Machine) exchange(p *part) uintptr {
	if g := m.gpu(); g == nil || p.stream == nil || p.stream.gpu != p.comm.gpu || m.GPUs[p.comm.gpu] != g {
		return NCCLUnhandledCUDA
	}
	c := p.comm
	o := c.ops[c.calls]
	if o == nil {
		o = &collective{parts: make([]*part, len(c.ranks))}
		c.ops[c.calls] = o
	}
	c.calls++
	o.parts[c.rank] = p
	p.stream.total++
	p.at = p.stream.total
	p.stream.queue = append(p.stream.queue, func() int {
		p.reached = true
		m.cond.Broadcast()
		return m.meet(c, o)
	})
	m.cond.Broadcast()
	return 0
}

// meet waits until the streams of all ranks have come to o; whose stream nobody runs is run here.
func (m *Machine) meet(c *ncclComm, o *collective) int {
	for !o.done && !c.aborted {
		all, ran := true, false
		for _, p := range o.parts {
			if p != nil && p.reached {
				continue
			}
			all = false
			if p != nil && !p.stream.busy && p.stream.done < p.at {
				m.run(p.stream, p.at)
				ran = true
				break
			}
		}
		switch {
		case all:
			o.done = true
			if err := m.deliver(o); err != nil {
				return m.result(err)
			}
			m.cond.Broadcast()
		case !ran:
			m.cond.Wait()
		}
	}
	return 0
}

// deliver copies what is sent to where it is received.
func (m *Machine) deliver(o *collective) error {
	mem := func(p *part, t transfer) ([]byte, error) { return m.GPUs[p.comm.gpu].mem.Bytes(t.at, t.bytes) }
	type copied struct {
		to   []byte
		data []byte
	}
	var all []copied
	for r, p := range o.parts {
		if p.gather != o.parts[0].gather {
			return fmt.Errorf("NCCL: rank %d gathers, and rank 0 does not, or the other way round", r)
		}
		for _, t := range p.recvs {
			from := o.parts[t.rank]
			i := 0
			for i < len(from.sends) && from.sends[i].rank != r {
				i++
			}
			if i == len(from.sends) || from.sends[i].bytes != t.bytes {
				return fmt.Errorf("NCCL: rank %d waits for %d bytes that rank %d does not send", r, t.bytes, t.rank)
			}
			data, err := mem(from, from.sends[i])
			if err != nil {
				return err
			}
			to, err := mem(p, t)
			if err != nil {
				return err
			}
			all = append(all, copied{to, append([]byte(nil), data...)})
			if t.rank != r {
				m.NCCL.Bytes += int64(t.bytes)
			}
		}
		for _, t := range p.sends {
			if !hasRank(o.parts[t.rank].recvs, r) {
				return fmt.Errorf("NCCL: rank %d sends to rank %d, which does not receive it", r, t.rank)
			}
		}
	}
	for _, c := range all {
		copy(c.to, c.data)
	}
	return nil
}

func hasRank(all []transfer, rank int) bool {
	for _, t := range all {
		if t.rank == rank {
			return true
		}
	}
	return false
}

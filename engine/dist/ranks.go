package dist

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// transport sends bytes between ranks. All ranks call its operations in the same order. headers is called before each
// of the others: it waits for all ranks, so that the operation after it does not have to wait long.
type transport interface {
	name() string
	rank() int
	size() int
	headers(own header) ([]header, error) // waits for all ranks
	allToAll(recv []byte, received []int, send []byte, sent []int) error
	allGather(recv []byte, sizes []int, own []byte) error // own is sizes[rank] bytes
	broadcast(from int, data []byte) error
	head(n int) (transport, error) // a transport of the first n ranks; the other ranks must not use theirs
	abort(code int)
	close() error
}

// header is what ranks send each other before an operation.
type header struct {
	op   op
	root int // the root of a broadcast
	n    int // number of bytes of this rank
}

type op uint8

const (
	opAllToAll op = iota
	opAllGather
	opBroadcast
	opBarrier
	opFail
	opClose
	opHead
)

func (o op) String() string {
	return [...]string{"all-to-all", "all-gather", "broadcast", "barrier", "failure", "closing", "division"}[o]
}

const headerBytes = 24

func (h header) put(b []byte) {
	binary.LittleEndian.PutUint64(b, uint64(h.op))
	binary.LittleEndian.PutUint64(b[8:], uint64(h.root))
	binary.LittleEndian.PutUint64(b[16:], uint64(h.n))
}

func getHeader(b []byte) header {
	return header{op(binary.LittleEndian.Uint64(b)), int(binary.LittleEndian.Uint64(b[8:])),
		int(binary.LittleEndian.Uint64(b[16:]))}
}

// ranks is a Group over a transport.
type ranks struct {
	t      transport
	broken error // the error of every further operation
}

func (g *ranks) Rank() int { return g.t.rank() }

func (g *ranks) Size() int { return g.t.size() }

func (g *ranks) String() string { return fmt.Sprintf("%d ranks by %s", g.Size(), g.t.name()) }

// meet waits for all ranks to begin an operation and returns their headers.
func (g *ranks) meet(own header) ([]header, error) {
	if g.broken != nil {
		return nil, g.broken
	}
	all, err := g.t.headers(own)
	if err != nil {
		g.broken = err
		return nil, err
	}
	for r, h := range all {
		if h.op == opFail {
			text := make([]byte, h.n)
			if own.op == opFail && r == g.Rank() {
				return all, nil // Fail tells the others
			}
			if err := g.t.broadcast(r, text); err != nil {
				g.broken = err
			} else {
				g.broken = &RankError{r, string(text)}
			}
			return nil, g.broken
		}
	}
	for r, h := range all {
		if h.op != own.op || h.root != own.root || own.op == opBroadcast && h.n != own.n {
			g.broken = fmt.Errorf("the ranks have lost step: rank %d is in %v (%d, %d bytes), rank %d in %v (%d, %d bytes): "+
				"this is a fault of zerosearch: please report it", r, h.op, h.root, h.n, g.Rank(), own.op, own.root,
				own.n)
			return nil, g.broken
		}
	}
	return all, nil
}

// after stores the error of an operation, which all later operations return.
func (g *ranks) after(err error) error {
	if err != nil {
		g.broken = err
	}
	return err
}

func (g *ranks) AllToAll(recv []byte, received []int, send []byte, sent []int) error {
	checkAllToAll(g.Size(), recv, received, send, sent)
	if _, err := g.meet(header{op: opAllToAll}); err != nil {
		return err
	}
	return g.after(g.t.allToAll(recv, received, send, sent))
}

func (g *ranks) AllGather(into, own []byte) ([][]byte, error) {
	all, err := g.meet(header{op: opAllGather, n: len(own)})
	if err != nil {
		return nil, err
	}
	sizes := make([]int, len(all))
	for r, h := range all {
		sizes[r] = h.n
	}
	n := total(sizes)
	if cap(into) < n {
		into = make([]byte, n)
	}
	into = into[:n]
	if err := g.after(g.t.allGather(into, sizes, own)); err != nil {
		return nil, err
	}
	out := make([][]byte, len(all))
	for r, at := range offsets(sizes) {
		out[r] = into[at : at+sizes[r] : at+sizes[r]]
	}
	return out, nil
}

func (g *ranks) Broadcast(from int, data []byte) error {
	checkRank(g.Size(), from)
	if _, err := g.meet(header{op: opBroadcast, root: from, n: len(data)}); err != nil {
		return err
	}
	return g.after(g.t.broadcast(from, data))
}

func (g *ranks) Barrier() error {
	_, err := g.meet(header{op: opBarrier})
	return err
}

func (g *ranks) Fail(err error) {
	if g.broken != nil {
		return
	}
	text := []byte(err.Error())
	if _, met := g.meet(header{op: opFail, n: len(text)}); met == nil {
		g.after(g.t.broadcast(g.Rank(), text))
	}
	if g.broken == nil {
		g.broken = errors.New("this rank has failed")
	}
}

func (g *ranks) Head(n int) (Group, error) {
	checkRank(g.Size(), n-1)
	if _, err := g.meet(header{op: opHead, root: n}); err != nil {
		return nil, err
	}
	t, err := g.t.head(n)
	if err != nil || g.Rank() >= n {
		return nil, g.after(err)
	}
	return &ranks{t: t}, nil
}

func (g *ranks) Abort(code int) { g.t.abort(code) }

func (g *ranks) Close() error {
	if g.broken == nil {
		g.meet(header{op: opClose})
	}
	if g.broken == nil {
		g.broken = errors.New("the group is closed")
	}
	return g.t.close()
}

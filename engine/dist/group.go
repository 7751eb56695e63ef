// Package dist connects the processes of one run, which are called ranks, and sends bytes between them by collective
// operations. It uses MPI (Open MPI, MPICH), which is loaded if mpirun or srun started the program. What the bytes mean
// is up to the caller.
//
// All ranks call the same operations in the same order. An operation waits, without a time limit, until all ranks have
// called it. It fails in all ranks if one of them has failed (Fail), has called another operation, has ended, or sends
// no heartbeat. After that every operation of the group fails at once.
package dist

import (
	"fmt"
)

// Group is the ranks of a run as one of them sees them. One goroutine at a time calls its operations.
type Group interface {
	// Rank returns the number of this rank, from 0; Size returns the number of ranks.
	Rank() int
	Size() int
	// AllToAll sends send to the ranks: sent[0] bytes to rank 0, the next sent[1] bytes to rank 1, and so on. recv gets
	// received[i] bytes from rank i, in order of ranks. What rank i sends to rank j is as long as what j receives.
	AllToAll(recv []byte, received []int, send []byte, sent []int) error
	// AllGather returns the bytes own of every rank, [ranks]; their lengths may differ. The result uses the memory of
	// into if that is large enough.
	AllGather(into, own []byte) ([][]byte, error)
	// Broadcast copies data of rank from to all ranks; it has the same length in all of them.
	Broadcast(from int, data []byte) error
	// Barrier returns when all ranks have called it.
	Barrier() error
	// Fail tells the other ranks that this one cannot continue: the operation that they are in, or their next one,
	// returns a *RankError with the text of err. Fail returns when they have received it. It does nothing in a group
	// that has failed.
	Fail(err error)
	// Head makes a group of the first n ranks; the other ranks get nil. All ranks call it. A rank that fails calls Fail
	// of the group that it works with first, then Fail of this one. Only this one is closed.
	Head(n int) (Group, error)
	// Abort ends the processes of all ranks at once, this one included, if the group can do that; code is their exit
	// code.
	Abort(code int)
	// Close leaves the group. All ranks close it, after which none may use it.
	Close() error
	// String names the group for the user: "4 ranks by Open MPI 4.1.4".
	String() string
}

// RankError is the error of an operation in which another rank failed.
type RankError struct {
	Rank int
	Text string // of that rank's error
}

// Error names the rank.
func (e *RankError) Error() string { return fmt.Sprintf("rank %d: %s", e.Rank, e.Text) }

// Alone is the group of a program that is one process.
func Alone() Group { return alone{} }

// alone is a group of one.
type alone struct{}

func (alone) Rank() int { return 0 }

func (alone) Size() int { return 1 }

func (alone) String() string { return "1 rank" }

func (alone) AllToAll(recv []byte, received []int, send []byte, sent []int) error {
	checkAllToAll(1, recv, received, send, sent)
	copy(recv, send)
	return nil
}

func (alone) AllGather(into, own []byte) ([][]byte, error) {
	return [][]byte{append(into[:0], own...)}, nil
}

func (alone) Broadcast(from int, _ []byte) error {
	checkRank(1, from)
	return nil
}

func (alone) Barrier() error { return nil }

func (alone) Fail(error) {}

func (alone) Head(n int) (Group, error) {
	checkRank(1, n-1)
	return alone{}, nil
}

func (alone) Abort(int) {}

func (alone) Close() error { return nil }

// checkAllToAll panics if the lengths do not agree with the buffers or the number of ranks.
func checkAllToAll(size int, recv []byte, received []int, send []byte, sent []int) {
	if len(received) != size || len(sent) != size {
		panic(fmt.Sprintf("dist: AllToAll: %d and %d lengths for %d ranks", len(received), len(sent), size))
	}
	if total(received) != len(recv) || total(sent) != len(send) {
		panic(fmt.Sprintf("dist: AllToAll: %d bytes to receive of %d, %d to send of %d", total(received), len(recv),
			total(sent), len(send)))
	}
}

// checkRank panics if there is no such rank.
func checkRank(size, rank int) {
	if rank < 0 || rank >= size {
		panic(fmt.Sprintf("dist: rank %d of %d", rank, size))
	}
}

func total(sizes []int) (n int) {
	for _, s := range sizes {
		n += s
	}
	return n
}

// offsets returns where pieces of these sizes begin if they follow each other.
func offsets(sizes []int) []int {
	out, at := make([]int, len(sizes)), 0
	for i, n := range sizes {
		out[i], at = at, at+n
	}
	return out
}

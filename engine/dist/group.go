// Package dist joins processes, the ranks of one run: who is who, and how bytes go between them. Among CPUs it calls
// MPI (Open MPI, MPICH), loaded when the program was started by mpirun or srun. Nothing here knows what the bytes mean.
//
// All ranks call the same operations in the same order. An operation waits, however long, until all ranks have called
// it. It fails in all of them if one of them has failed (Fail), has called another operation, has ended, or gives no
// sign of life. After that the group is of no use, and its operations fail at once.
package dist

import (
	"fmt"
)

// Group is the ranks of a run as one of them sees them. One goroutine at a time calls its operations.
type Group interface {
	// Rank is this one's number, from 0; Size is how many there are.
	Rank() int
	Size() int
	// AllToAll sends send to the ranks: sent[0] bytes to rank 0, the next sent[1] bytes to rank 1, and so on. recv gets
	// received[i] bytes from rank i, in order of ranks. What rank i sends to rank j is as long as what j receives.
	AllToAll(recv []byte, received []int, send []byte, sent []int) error
	// AllGather gives every rank's own, by rank; they may have different lengths. The result uses the memory of into
	// where that is large enough.
	AllGather(into, own []byte) ([][]byte, error)
	// Broadcast copies data of rank from to all ranks; it has the same length in all of them.
	Broadcast(from int, data []byte) error
	// Barrier returns when all ranks have called it.
	Barrier() error
	// Fail tells the other ranks that this one cannot go on: their operation under way, or their next, returns a
	// *RankError with the text of err. It waits until they have heard it. It does nothing in a group that has failed.
	Fail(err error)
	// Head makes a group of the first n ranks, and gives nil to the others. All ranks call it. A rank that fails tells
	// the group that it works with first, and then this one. Only this one is closed.
	Head(n int) (Group, error)
	// Abort ends the processes of all ranks at once, this one's too, where the group can do that; code is their exit
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

// checkAllToAll panics on lengths that do not fit.
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

// offsets are where pieces of these sizes begin.
func offsets(sizes []int) []int {
	out, at := make([]int, len(sizes)), 0
	for i, n := range sizes {
		out[i], at = at, at+n
	}
	return out
}

package gpu

// Joiner is a library that sends bytes between GPUs, each of which is one rank of a communicator (NCCL).
type Joiner interface {
	// Version returns the library's name and version, such as "NCCL 2.21.5".
	Version() string
	// ID makes an id by which ranks find each other. One rank calls it and sends the id to the others.
	ID() ([]byte, error)
	// Join makes g the rank with this number, of n ranks. It returns when all n have called it with the same id.
	Join(g GPU, id []byte, rank, n int) (Comm, error)
}

// Comm is a communicator of several GPUs, as one rank sees it. All ranks call AllToAll and AllGather in the same order.
// These operations are queued in the rank's stream. An operation runs when it has begun in all ranks; until then the
// work queued after it waits.
type Comm interface {
	// AllToAll sends send[r] to rank r and receives recv[r] from it. The span that rank i sends to rank j must be as
	// long as the one that j receives from i.
	AllToAll(recv, send []Span) error
	// AllGather copies own of every rank r to recv + r*own.Bytes in all ranks; own has the same length in all of them.
	AllGather(recv Ptr, own Span) error
	// Abort ends queued operations that cannot complete because a rank has failed. Any goroutine may call it.
	Abort() error
	// Close leaves the communicator. All ranks call it, unless the communicator was aborted.
	Close() error
}

// Span is a range of bytes in the memory of a GPU.
type Span struct {
	At    Ptr
	Bytes int64
}

package gpu

// Joiner is a library that moves bytes between GPUs, each of them one rank of several (NCCL).
type Joiner interface {
	// Version is "NCCL 2.21.5".
	Version() string
	// ID makes an id by which ranks find each other. One rank makes it and sends it to the others.
	ID() ([]byte, error)
	// Join makes g rank number rank of n. It returns when all n have called it with the same id.
	Join(g GPU, id []byte, rank, n int) (Comm, error)
}

// Comm are GPUs that were joined, as one of them sees them. All call AllToAll and AllGather in the same order. These
// are queued; they happen when all ranks have come to them, and until then the work behind them waits. Bytes go into
// the memory of no other rank than it was said.
type Comm interface {
	// AllToAll sends send[r] to rank r and receives recv[r] from it. What rank i sends to rank j is as long as what
	// j receives from i.
	AllToAll(recv, send []Span) error
	// AllGather brings own, equally long in all ranks, from rank r to recv + r*own.Bytes.
	AllGather(recv Ptr, own Span) error
	// Abort ends what is queued and will not happen, because a rank has failed. Any goroutine may call it.
	Abort() error
	// Close leaves. All ranks close what was not aborted.
	Close() error
}

// Span is memory of a GPU.
type Span struct {
	At    Ptr
	Bytes int64
}

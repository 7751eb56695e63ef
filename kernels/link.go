package kernels

// Linker is implemented by devices whose maker has a library that moves data from one device to another without the
// host's memory: NCCL of NVIDIA's GPUs.
type Linker interface {
	// LinkLibrary names the library, "NCCL 2.21.5", or says why there is none and what to do.
	LinkLibrary() (string, error)
	// LinkID makes an id by which the devices of several ranks find each other. One rank makes it and sends it to the
	// others.
	LinkID() ([]byte, error)
	// Link joins this device, rank number rank of n, to the others. It returns when all have called it with the same
	// id. Close ends the link, and so does a second one.
	Link(id []byte, rank, n int) error
	// Linked is the link of this device; nil: there is none.
	Linked() Link
}

// Link is devices that were joined, one a rank, as one of them sees them. All call its operations in the same order,
// with dense tensors. An operation is queued and happens when all ranks have come to it. Errors are those of queued
// work.
type Link interface {
	// AllToAll sends send[r] to rank r and fills recv[r] with what rank r sends; a zero Tensor is nothing. What rank i
	// sends to rank j has the type and length of what j receives from i.
	AllToAll(recv, send []Tensor)
	// AllGather fills row r of recv [ranks, C] with own [1, C] of rank r.
	AllGather(recv, own Tensor)
	// Abort lets work that waits for other ranks end without its results: one of them has failed. Any goroutine may
	// call it. The link is of no use then.
	Abort() error
}

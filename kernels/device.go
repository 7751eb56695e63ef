package kernels

// Device is a processor or GPU that a model runs on: memory, weights, KV pages and the operations of Ops.
//
// The interface is written for the hardest case, a GPU. Memory is opaque. Work is queued and runs in the order of the
// calls. Results are on the host only after the Wait of a Fetch or after Sync, which also return errors of queued work.
// After such an error every later Wait and Sync fails. Arguments on the host (a Layout, page numbers) are read before
// the call returns.
//
// A Device may be used by one goroutine at a time; some should be used by one operating-system thread (see
// ThreadBound). Any goroutine may wait for a Ticket.
//
// Shape errors of the programmer panic with the shapes. Allocation and transfers return errors.
type Device interface {
	// Name is "ref", "cpu" or "cuda:0".
	Name() string
	// Alloc returns zeroed memory, aligned to 64 bytes or better, outside the Go heap where that matters. bytes may be
	// 0.
	Alloc(bytes int64) (Buffer, error)
	// Upload queues a copy of host bytes to the dense tensor dst; src may be reused when the call returns.
	Upload(dst Tensor, src []byte)
	// Fetch queues a copy of the dense tensor src to the host. dst must not be touched until the ticket's Wait returns.
	Fetch(dst []byte, src Tensor) Ticket
	// Sync waits for all queued work and returns its first error.
	Sync() error
	// Close waits for queued work and releases everything that the device itself holds. Buffers must have been freed.
	Close() error

	// NewWeight allocates a weight [N, K] of type t (F32, BF16, Q8 or Q4) in the device's layout.
	NewWeight(n, k int, t DType) (Weight, error)
	// PackHost packs rows [row0, row0+len/K) of w from row-major host bytes of type src (F32, BF16, F16), rounding as
	// needed. Checkpoints are loaded with it: the device holds nothing but w. CUDA: chunks through a pinned buffer.
	//
	// A Q8 weight also takes rows of type Q8, which are stored unchanged. Such a row has K signed bytes and then an F16
	// scale for each group of 32 of them, Q8RowBytes together. A Q4 weight also takes rows of type Q4: 16 bytes for
	// each group, byte i holding element i in its lower half and element i+16 in its upper one, and then a head for
	// each group, Q4RowBytes together. Elements past K are 0.
	PackHost(w Weight, row0 int, rows []byte, src DType)
	// Pack packs rows [row0, row0+rows.Rows) of w from an F32 tensor [rows, K], as is done after an optimizer step.
	Pack(w Weight, row0 int, rows Tensor)
	// Unpack writes rows [row0, row0+dst.Rows) of w, widened to F32, to dst [rows, K].
	Unpack(dst Tensor, w Weight, row0 int)

	// NewKV allocates a cache of KV pages.
	NewKV(s KVSpec) (KV, error)
	// NewBatch allocates a batch.
	NewBatch(s BatchSpec) (Batch, error)
	// SetBatch sets b to the layout l over the cache kv (nil without a cache). It panics if l.Check returns an error.
	// The ids of the rows in sampled are read on the device from the tensor ids, I32 [n, 1], into which earlier queued
	// work has sampled them; the ids of these rows in l are ignored.
	SetBatch(b Batch, l *Layout, kv KV, ids Tensor, sampled []SampledInput)

	// Operand is the type for activations that are read only by matmuls with weights of type t: BF16 on devices whose
	// matmuls read BF16 activations, else F32. RMSNorm and SwiGLU can write either type, and matmuls with BF16 weights
	// can read either. The choice changes no result.
	Operand(t DType) DType

	Ops
}

// ThreadBound is implemented by devices that are best used from one operating-system thread, such as GPUs, whose
// context belongs to a thread. A goroutine that uses such a device for long, like an engine's loop, locks itself to its
// thread. Calls from other threads, one at a time, work too.
type ThreadBound interface{ ThreadBound() }

// OwnMemory is implemented by devices whose memory is not the host's.
type OwnMemory interface {
	// Memory returns the bytes of memory that the device has, and how many of them are available now.
	Memory() (total, available int64, err error)
}

// Weight is a matrix [N, K] of a checkpoint, packed by a device in its own layout. y = x W^T: N outputs, K inputs.
// The CPU keeps [N/32][K/2][32][2] panels, padded with zeros, which serve decode, prefill and training alike.
type Weight interface {
	Shape() (n, k int)
	Type() DType
	Bytes() int64
	Free()
}

// PageSize is the number of tokens (P) in a KV page of every device. Slot s of a cache is token s%PageSize of page
// s/PageSize.
const PageSize = 32

// PagesFor is the number of pages that hold so many tokens.
func PagesFor(tokens int) int { return (tokens + PageSize - 1) / PageSize }

// KVSpec describes a cache: every page holds PageSize tokens of all layers, keys and values.
type KVSpec struct {
	Layers, Pages    int
	KVHeads, HeadDim int   // G, D
	Type             DType // F32 or BF16
}

// KV is a cache of pages in the layout of its device (CPU: panels of 32 keys).
type KV interface {
	Spec() KVSpec
	Bytes() int64
	Free()
}

// Segment is a run of consecutive tokens of one sequence in a batch: rows [Row, Row+Len) of the batch hold positions
// [Start, Start+Len) of the sequence, whose position p lives in page Pages[p/PageSize]. Row i attends to positions
// 0..Start+i. A decode step is a segment of length 1. Two segments may share pages (a common prompt).
type Segment struct {
	Row, Len, Start int
	Pages           []int32
}

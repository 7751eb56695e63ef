package kernels

// Device is a chip that a model runs on: memory, weights, KV pages and the operations of Ops.
//
// It is written for the hardest case, a GPU: memory is opaque, work is queued and runs in the order of the calls,
// results exist on the host only after the Wait of a Fetch or after Sync, and an error of queued work appears there too
// (and stays: a device that failed is poisoned). What an operation is given on the host (a Layout, page numbers) is
// read before the call returns.
//
// A Device is used by one goroutine at a time, and some by one operating-system thread (see ThreadBound). Tickets may
// be waited for by any goroutine. What a device does inside is its own affair.
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
	// Fetch queues a copy of the dense tensor src to the host. dst belongs to the device until the ticket's Wait
	// returns.
	Fetch(dst []byte, src Tensor) Ticket
	// Sync waits for all queued work and returns its first error.
	Sync() error
	// Close waits and releases everything that the device itself holds. Buffers must have been freed.
	Close() error

	// NewWeight makes room for a weight [N, K] held as t (F32, BF16 or Q8) in the device's own layout.
	NewWeight(n, k int, t DType) (Weight, error)
	// PackHost packs rows [row0, row0+len/K) of w from row-major host bytes of type src (F32, BF16, F16), rounding as
	// needed. It is how checkpoints are loaded: nothing but w is held on the device. CUDA: chunks through a pinned
	// buffer.
	//
	// A Q8 weight also takes src Q8, what was quantised before: of each row K bytes, signed, and then an F16 scale for
	// each group of 32 of them, Q8RowBytes together; it is kept as it is.
	PackHost(w Weight, row0 int, rows []byte, src DType)
	// Pack packs rows [row0, row0+rows.Rows) of w from an F32 tensor [rows, K]: what follows an optimizer step.
	Pack(w Weight, row0 int, rows Tensor)
	// Unpack writes rows [row0, row0+dst.Rows) of w, widened to F32, to dst [rows, K].
	Unpack(dst Tensor, w Weight, row0 int)

	// NewKV makes room for a cache of KV pages.
	NewKV(s KVSpec) (KV, error)
	// NewBatch makes room for what a pass is about.
	NewBatch(s BatchSpec) (Batch, error)
	// SetBatch makes b describe l over the cache kv (nil where there is none). It panics where l.Check finds something.
	// The ids of fed rows are taken from the tensor ids, I32 [n, 1], where earlier work on the device puts them; those
	// in l do not count.
	SetBatch(b Batch, l *Layout, kv KV, ids Tensor, fed []SampledInput)

	// Operand is the type in which an operation writes what only products with weights of type t will read: BF16 where
	// the device takes operands as they are, else F32. RMSNorm and SwiGLU write both, and products of BF16 weights read
	// both; no bit depends on it.
	Operand(t DType) DType

	Ops
}

// ThreadBound is what a Device implements that is best used by one operating-system thread, as the context of a GPU is
// a thread's: whoever drives it for long locks the goroutine to its thread (an engine's loop does). For the CPU that
// would only cost time. Calls of other threads, one at a time, work all the same.
type ThreadBound interface{ ThreadBound() }

// OwnMemory is what a Device implements whose memory is not the host's.
type OwnMemory interface {
	// Memory is the bytes that the device has, and that it could give now.
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

// PageSize is the number of tokens (P) in a KV page of every device. Slot s of a cache is place s%PageSize of page
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

// KV is a cache of pages in the layout that its device likes (the CPU: panels of 32 keys).
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

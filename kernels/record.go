package kernels

// Recorder is implemented by devices that can record the operations of a pass and queue them again with one call, as
// CUDA graphs do. Without it, decode passes on a GPU are bound by kernel launches.
type Recorder interface {
	// Record calls f and records the operations that f queues instead of running them. The same operations must have
	// run once before with the same shapes, so that the device has allocated their scratch memory. f calls operations
	// of a forward pass only: it allocates nothing, frees nothing, sets no batch, copies no pages (KVCopy reads its
	// lists on the host), uploads and fetches nothing and does not wait. If f panics, the device drops the recording
	// and the panic passes through.
	//
	// An error means that nothing was recorded, for example because the driver is too old. The device still works.
	Record(f func()) (Recording, error)
}

// Recording is a list of recorded operations. Their tensors, weights, caches and batches must not be freed before the
// recording.
type Recording interface {
	// Replay queues the operations. They read the contents that their operands have when they run. A batch may have
	// been set again in between, to a layout with the same numbers of tokens, segments, rows and draws, the same Row
	// and Len of each segment, and no sequence with more pages than the longest sequence had when it was recorded.
	// (Page tables, positions, slots, ids and Start may differ.)
	Replay()
	Free()
}

// Asynchronous is implemented by devices whose operations return before they have finished. An engine then prepares the
// next pass while the device runs the last one.
type Asynchronous interface{ Asynchronous() }

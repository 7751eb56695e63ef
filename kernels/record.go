package kernels

// Recorder is a Device that can keep the operations of a pass and queue them again with one call, as CUDA graphs do.
// Decode passes on a GPU are bound by launches without it.
type Recorder interface {
	// Record calls f and keeps the operations that f queues instead of running them. The same operations have run once
	// before, with the same shapes, so that the device has all the scratch that they need. f calls operations of a
	// forward pass only: it allocates nothing, frees nothing, sets no batch, copies no pages (KVCopy reads its lists on
	// the host), uploads and fetches nothing and does not wait. A panic of f passes through, after the device has
	// dropped what was kept.
	//
	// An error says that nothing was recorded, as where a driver is too old; the device goes on without.
	Record(f func()) (Recording, error)
}

// Recording is a list of operations on tensors, weights, caches and batches that stay where they are until it is freed.
type Recording interface {
	// Replay queues the operations. They read what is in their operands then. A batch may have been set anew in
	// between, to a layout with the same numbers of tokens, segments, rows and draws, the same Row and Len of each
	// segment, and no sequence with more pages than the longest sequence had when it was recorded. (Page tables,
	// positions, slots, ids and Start may differ.)
	Replay()
	Free()
}

// Asynchronous is what a Device implements whose operations return before their work has ended. An engine then prepares
// the next pass while the results of the last one are on their way.
type Asynchronous interface{ Asynchronous() }

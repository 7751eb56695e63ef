package kernels

// HostBatch is the part of a Batch that devices share whose memory is the host's: a layout whose ids, positions, slots
// and output rows lie one after the other in a buffer.
type HostBatch struct {
	Layout
	Room BatchSpec // what the buffer has room for
	Buf  Buffer    // I32: ids [Tokens], positions [Tokens], slots [Tokens], rows [Rows] of Room
}

// HostBatchBytes is the size of the buffer of a HostBatch.
func HostBatchBytes(s BatchSpec) int64 { return 4 * int64(3*s.Tokens+s.Rows) }

// Spec is what the batch has room for.
func (b *HostBatch) Spec() BatchSpec { return b.Room }

// Tokens is the number of tokens of the layout.
func (b *HostBatch) Tokens() int { return len(b.Layout.IDs) }

// IDs are the ids, I32 [Tokens, 1].
func (b *HostBatch) IDs() Tensor { return b.list(0, len(b.Layout.IDs)) }

// Pos are the positions, I32 [Tokens, 1].
func (b *HostBatch) Pos() Tensor { return b.list(b.Room.Tokens, len(b.Layout.Pos)) }

// Slots are the slots of the cache, I32 [Tokens, 1].
func (b *HostBatch) Slots() Tensor { return b.list(2*b.Room.Tokens, len(b.Layout.Slots)) }

// Rows are the output rows, I32 [Rows, 1].
func (b *HostBatch) Rows() Tensor { return b.list(3*b.Room.Tokens, len(b.Layout.Rows)) }

// Bytes is the size of the buffer.
func (b *HostBatch) Bytes() int64 { return b.Buf.Bytes() }

// Free frees the buffer.
func (b *HostBatch) Free() { b.Buf.Free() }

func (b *HostBatch) list(off, n int) Tensor { return Mat(b.Buf, I32, off, n, 1) }

package cuda

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// Words of a draw: a kernels.Sampling whose lists are addresses of words.
//
//	0 flags (1: greedy)  1 invTemp  2 topK  3 topP  4 minP  5 stream, low  6 stream, high  7 position
//	8 never, low  9 never, high  10 its length  11 adjustments, low  12 adjustments, high: {id, add, scale, sub} each  13 their number
const drawWords = 14

// layDraws writes draws and the lists that they point to, and uploads the lists.
func (b *batch) layDraws(d *Device, draws []kernels.Sampling) {
	h := b.write(b.drawsAt(), drawWords*len(draws))
	b.words = b.words[:0]
	for i := range draws {
		at := h[drawWords*i:]
		layDraw(at, &draws[i])
		if i > 0 && sameList(draws[i-1].Never, draws[i].Never) { // most draws have the list of their vocabulary
			at[8] = h[drawWords*(i-1)+8]
		} else {
			at[8] = uint32(len(b.words))
			for _, id := range draws[i].Never {
				b.words = append(b.words, uint32(id))
			}
		}
		at[11] = uint32(len(b.words))
		for _, a := range draws[i].Adjust {
			b.words = append(b.words, uint32(a.ID), math.Float32bits(a.Add), math.Float32bits(a.Scale),
				math.Float32bits(a.Sub))
		}
	}
	if len(b.words) == 0 {
		return
	}
	if b.lists == nil || b.lists.bytes < int64(4*len(b.words)) {
		b.growLists(d)
	}
	if d.err != nil {
		return
	}
	d.note(d.gpu.Upload(b.lists.p, bytesOf(b.words)))
	for i := range draws {
		for _, w := range []int{8, 11} {
			at := h[drawWords*i+w:]
			p := uint64(b.lists.p) + 4*uint64(at[0])
			at[0], at[1] = uint32(p), uint32(p>>32)
		}
	}
}

// layDraw writes all of s but where its lists are.
func layDraw(at []uint32, s *kernels.Sampling) {
	at[0] = 0
	if s.Greedy {
		at[0] = 1
	}
	at[1], at[2], at[3] = math.Float32bits(s.InvTemp), uint32(s.TopK), math.Float32bits(s.TopP)
	at[4], at[5], at[6], at[7] = math.Float32bits(s.MinP), uint32(s.Stream), uint32(s.Stream>>32), uint32(s.Pos)
	at[10], at[13] = uint32(len(s.Never)), uint32(len(s.Adjust))
}

// sameList says whether x and y are the same slice.
func sameList(x, y []int32) bool {
	return len(x) == len(y) && unsafe.SliceData(x) == unsafe.SliceData(y)
}

// growLists allocates twice the memory of words for the lists. Queued work reads the old lists until it has ended.
func (b *batch) growLists(d *Device) {
	buf, err := d.alloc(8 * int64(len(b.words)))
	if err != nil {
		d.note(fmt.Errorf("the lists of a batch: %w", err))
		return
	}
	if b.lists != nil {
		b.lists.Free()
	}
	b.lists = buf
}

// bytesOf is the memory of x.
func bytesOf(x []uint32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}

package cuda

import (
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
)

// Keys are summed up by partitions of absolute positions; a tile is so many rows of one segment.
const (
	partitionKeys = 256
	tileRows      = 64
)

// work is what attention does for a batch, as its kernels want it, words on the GPU in this order:
//
//	segOf[T]         the segment of each row
//	tiles[..]        the first row of each tile of the segments of more than one row
//	decodes[S][2]    of each segment of one row: the row, and its first entry in parts
//	parts[..][2]     a partition of one of these segments: index in decodes, number of the partition
type work struct{ tiles, decodes, parts int }

// How many tiles and parts there can be at most: all but one of each segment are whole.
func maxTiles(s kernels.BatchSpec) int { return s.Segments + s.Tokens/tileRows }
func maxParts(s kernels.BatchSpec) int { return s.Segments + s.Pages*kernels.PageSize/partitionKeys }

func tilesAt(s kernels.BatchSpec) int   { return s.Tokens }
func decodesAt(s kernels.BatchSpec) int { return tilesAt(s) + maxTiles(s) }
func partsAt(s kernels.BatchSpec) int   { return decodesAt(s) + 2*s.Segments }
func workWords(s kernels.BatchSpec) int { return partsAt(s) + 2*maxParts(s) }

// lay writes what segs need to h and returns where it ends. Tiles with more keys come first, so that the last to run are short.
func (w *work) lay(h []uint32, s kernels.BatchSpec, segs []kernels.Segment) (end int) {
	*w = work{}
	for i := range segs {
		g := &segs[i]
		for r := range g.Len {
			h[g.Row+r] = uint32(i)
		}
		switch {
		case g.Len == 1:
			at := h[decodesAt(s)+2*w.decodes:]
			at[0], at[1] = uint32(g.Row), uint32(w.parts)
			for p := range g.Start/partitionKeys + 1 {
				at := h[partsAt(s)+2*w.parts:]
				at[0], at[1] = uint32(w.decodes), uint32(p)
				w.parts++
			}
			w.decodes++
		case g.Len > 1:
			for r := (g.Len - 1) / tileRows; r >= 0; r-- {
				h[tilesAt(s)+w.tiles] = uint32(g.Row + r*tileRows)
				w.tiles++
			}
		}
	}
	return partsAt(s) + 2*w.parts
}

// Addresses of a batch's segments, page tables and work.
func (b *batch) segs() gpu.Ptr      { return b.word(b.segsAt()) }
func (b *batch) pageTable() gpu.Ptr { return b.word(b.pagesAt()) }
func (b *batch) segOf() gpu.Ptr     { return b.word(b.workAt()) }
func (b *batch) tiles() gpu.Ptr     { return b.word(b.workAt() + tilesAt(b.spec)) }
func (b *batch) decodes() gpu.Ptr   { return b.word(b.workAt() + decodesAt(b.spec)) }
func (b *batch) parts() gpu.Ptr     { return b.word(b.workAt() + partsAt(b.spec)) }

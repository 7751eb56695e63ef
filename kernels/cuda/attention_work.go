package cuda

import (
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
)

// Keys are summed up by partitions of absolute positions; a tile is a number of rows of one segment.
const (
	partitionKeys = 256
	tileRows      = 64
)

// work describes to the kernels what attention computes for a batch, in words on the GPU in this order:
//
//	segOf[T]         the segment of each row
//	tiles[..]        the first row of each tile of the segments of more than one row
//	decodes[S][2]    of each segment of one row: the row, and the number of its first part
//	parts[1+..][2]   {number of parts, 0}, and then the parts: each a partition of one of these segments: index in decodes, number of the partition
//
// tiles and decodes depend on the lengths of segments only, which a recording may rely on. The parts depend on where
// segments begin.
type work struct {
	tiles, decodes, parts int
	// as many parts as there can be if every segment of one row is as long as the pages of the longest segment
	mostParts int
}

// The largest numbers of tiles and parts: all but one of each segment are complete.
func maxTiles(s kernels.BatchSpec) int { return s.Segments + s.Tokens/tileRows }
func maxParts(s kernels.BatchSpec) int { return s.Segments + s.Pages*kernels.PageSize/partitionKeys }

func tilesAt(s kernels.BatchSpec) int   { return s.Tokens }
func decodesAt(s kernels.BatchSpec) int { return tilesAt(s) + maxTiles(s) }
func partsAt(s kernels.BatchSpec) int   { return decodesAt(s) + 2*s.Segments }
func workWords(s kernels.BatchSpec) int { return partsAt(s) + 2*(1+maxParts(s)) }

// layWork writes the work of segs.
func (b *batch) layWork(segs []kernels.Segment) {
	b.work = work{}
	if len(segs) == 0 {
		return
	}
	w, s, longest := &b.work, b.spec, 0
	for i := range segs {
		longest = max(longest, len(segs[i].Pages))
		switch g := &segs[i]; {
		case g.Len == 1:
			w.decodes++
			w.parts += g.Start/partitionKeys + 1
		case g.Len > 1:
			w.tiles += ceil(g.Len, tileRows)
		}
	}
	w.mostParts = min(w.decodes*ceil(longest*kernels.PageSize, partitionKeys), maxParts(s))

	at := b.workAt()
	segOf := b.write(at, b.Tokens())
	tiles, decodes := b.write(at+tilesAt(s), w.tiles), b.write(at+decodesAt(s), 2*w.decodes)
	parts := b.write(at+partsAt(s), 2*(1+w.parts))
	parts[0], parts[1] = uint32(w.parts), 0
	decode, part, tile := 0, 0, 0
	for i := range segs {
		g := &segs[i]
		for r := range g.Len {
			segOf[g.Row+r] = uint32(i)
		}
		switch {
		case g.Len == 1:
			decodes[2*decode], decodes[2*decode+1] = uint32(g.Row), uint32(part)
			for p := range g.Start/partitionKeys + 1 {
				part++
				parts[2*part], parts[2*part+1] = uint32(decode), uint32(p)
			}
			decode++
		case g.Len > 1: // tiles with more keys come first, so that the last to run are short
			for r := (g.Len - 1) / tileRows; r >= 0; r-- {
				tiles[tile] = uint32(g.Row + r*tileRows)
				tile++
			}
		}
	}
}

// Addresses of a batch's segments, page tables and work.
func (b *batch) segs() gpu.Ptr      { return b.word(b.segsAt()) }
func (b *batch) pageTable() gpu.Ptr { return b.word(b.pagesAt()) }
func (b *batch) segOf() gpu.Ptr     { return b.word(b.workAt()) }
func (b *batch) tiles() gpu.Ptr     { return b.word(b.workAt() + tilesAt(b.spec)) }
func (b *batch) decodes() gpu.Ptr   { return b.word(b.workAt() + decodesAt(b.spec)) }
func (b *batch) parts() gpu.Ptr     { return b.word(b.workAt() + partsAt(b.spec)) }

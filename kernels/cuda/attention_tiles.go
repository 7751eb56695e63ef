package cuda

import (
	"strconv"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
)

// tileWidths are the head sizes of the kernels on tensor cores: a head uses the next larger one, padded with zeros.
var tileWidths = []int{16, 64, 96, 128, 256}

// tileWidth is that of the cache's heads; 0: none.
func (a *attend) tileWidth() int {
	s := a.kv.spec
	if s.Type == kernels.BF16 && s.HeadDim%8 == 0 { // copies are of 8 elements
		for _, w := range tileWidths {
			if s.HeadDim <= w {
				return w
			}
		}
	}
	return 0
}

// tileShared is the shared memory of a block with this number of rows of queries, and the number of columns of the
// output that it computes: see the kernel.
func tileShared(width, queries int) (bytes, columns int) {
	row := func(n int) int { return 2*n + 16 }
	columns = min(width, 128)
	stages := 2
	if width > 128 {
		stages = 1
	}
	return queries*row(width) + stages*64*(row(width)+row(columns)) + 16, columns
}

// attentionTiles launches prefill over the tiles of longer segments, decode over the partitions of segments of one row,
// and their merge.
func (d *Device) attentionTiles(a *attend, out output, width int) {
	s, w := a.kv.spec, a.b.work
	name, h := strconv.Itoa(width), a.heads
	lists := func(x *gpu.Args) *gpu.Args {
		return x.Ptr(a.b.segOf()).Ptr(a.b.segs()).Ptr(a.b.pageTable()).Int(h).Int(s.KVHeads).Int(s.HeadDim).
			Float(a.scale)
	}
	shared, columns := tileShared(width, tileRows)
	halves := ceil(s.HeadDim, columns)
	d.launch("attention_prefill_"+name, gpu.Grid{X: w.tiles * h, Y: 1, Z: halves, Threads: 128, Dynamic: shared},
		lists(d.arg().Ptr(out.p).Long(out.ld).Ptr(out.lse).Long(out.ldl).Ptr(a.qp).Long(int64(a.q.Stride)).
			Ptr(a.kv.keys(a.layer)).Ptr(a.kv.values(a.layer)).Ptr(a.b.tiles())))
	if w.parts == 0 {
		return
	}
	part := d.need(forPartials, partsBytes(w.mostParts, h, s.HeadDim))
	parts := w.parts
	if d.recording != nil { // later layouts may have more
		parts = w.mostParts
	}
	shared, _ = tileShared(width, 16)
	grid := gpu.Grid{X: parts, Y: s.KVHeads * ceil(h/s.KVHeads, 16), Z: halves, Threads: 32, Dynamic: shared}
	d.launch("attention_decode_"+name, grid, lists(d.arg().Ptr(part).Ptr(a.qp).Long(int64(a.q.Stride)).
		Ptr(a.kv.keys(a.layer)).Ptr(a.kv.values(a.layer)).Ptr(a.b.parts()).Ptr(a.b.decodes())))
	d.launch("attention_merge", line(w.decodes*h, 128), d.arg().Ptr(out.p).Long(out.ld).Ptr(out.lse).Long(out.ldl).
		Ptr(part).Ptr(a.b.decodes()).Ptr(a.b.segOf()).Ptr(a.b.segs()).Int(h).Int(s.HeadDim))
}

// partsBytes is the size of the results of partitions of keys: maximum, sum and output of each head.
func partsBytes(parts, heads, dim int) int64 { return 4 * int64(parts) * int64(heads) * int64(dim+2) }

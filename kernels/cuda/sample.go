package cuda

import (
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
)

// mostIDs is the largest vocabulary that Sample draws from: the capacity of the kernel sampleRows.
const mostIDs = 1024 * chunkIDs

// copyBytes is the size of the copy of rows whose logits are changed; it limits their number at a time.
const copyBytes = 64 << 20

// sampleThreads is the size of a block that draws from a vocabulary of v ids.
func sampleThreads(v int) int {
	switch {
	case v <= 512:
		return 32
	case v <= 4096:
		return 256
	}
	return 512
}

// Sample reduces the chunks of all rows, and then draws from each row. The rules are read from the batch on the GPU:
// no launch depends on them.
func (d *Device) Sample(ids kernels.Tensor, out kernels.LogProbs, logits kernels.Tensor, kb kernels.Batch, first int) {
	const op = "Sample"
	b, n, v := d.batch(op, kb), logits.Rows, logits.Cols
	d.uses(b)
	if first < 0 || first+n > len(b.Draws) {
		fail(op, "draws [%d, %d) of %d", first, first+n, len(b.Draws))
	}
	if n > 0 && (v < 1 || v > mostIDs) {
		fail(op, "logits is %v: at least one id, and at most %d", logits, mostIDs)
	}
	z, id, o := d.f32(op, "logits", logits, -1, -1), d.ids(op, "ids", ids, n), d.scores(op, out, n)
	if n == 0 {
		return
	}
	stride, chunks := ceil(v, 4)*4, ceil(v, chunkIDs)
	most := min(n, max(1, copyBytes/(4*stride)))
	changed := d.need(forLogits, 4*int64(most)*int64(stride))
	raw := d.need(forResults, int64(most)*int64(chunks)*(2*partBytes+8))
	drawn := raw + gpu.Ptr(most*chunks*partBytes)
	best := drawn + gpu.Ptr(most*chunks*partBytes)
	for r := 0; r < n; r += most {
		rows := min(most, n-r)
		z, draws, o := z+gpu.Ptr(4*r*logits.Stride), b.word(b.drawsAt()+drawWords*(first+r)), o.from(r)
		a := d.arg().Ptr(raw).Ptr(drawn).Ptr(best).Ptr(changed).Long(int64(stride))
		a = addr(a, z, logits).Ptr(draws).Int(v).Int(chunks)
		d.launch("sampleChunks", chunkGrid(rows, v, chunkThreads(v)), a)
		a = d.arg().Ptr(row(id, r)).Ptr(o.logp).Ptr(o.entropy).Ptr(o.lse)
		a = a.Ptr(raw).Ptr(drawn).Ptr(best).Ptr(changed).Long(int64(stride))
		d.launch("sampleRows", line(rows, sampleThreads(v)), addr(a, z, logits).Ptr(draws).Int(v).Int(chunks))
	}
}

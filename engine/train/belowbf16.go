package train

import (
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
)

// BF16Sample is a sample of the f32 masters of weights that the forward pass uses in bf16: of each matrix the middle
// row, or the part of it that this rank updates.
type BF16Sample [][]float32

// SampleBF16 reads a sample of the weights; it is empty if they are held in f32.
func (t *optimizer) SampleBF16() (out BF16Sample, err error) {
	for _, f := range t.flats {
		for i, p := range f.Params {
			if p.W == nil || p.W.Type() != kernels.BF16 {
				continue
			}
			k := p.Grad.Cols
			at := f.Ranges()[i].From + p.Grad.Rows/2*k
			row := f.cut(at, at+k)
			x := make([]float32, row.len())
			if err := t.download(x, f.own(f.Master), shard{row.from - f.from, row.to - f.from}); err != nil {
				return nil, err
			}
			out = append(out, x)
		}
	}
	return out, nil
}

// Compare counts the masters that differ from those before (changed), and how many of these still round to the same
// bf16 value (below), so that neither the forward pass nor a bf16 checkpoint shows the change. The masters keep such
// changes, which add up over steps.
func (s BF16Sample) Compare(before BF16Sample) (changed, below int) {
	for i, x := range s {
		for k, now := range x {
			was := before[i][k]
			if now == was {
				continue
			}
			changed++
			if num.BF16FromF32(now) == num.BF16FromF32(was) {
				below++
			}
		}
	}
	return changed, below
}

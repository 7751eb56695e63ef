package cpu

import (
	"fmt"
	"slices"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
)

// Gather: dst[b] = src[idx[b]].
func (d *Device) Gather(dst, src, idx kernels.Tensor) {
	shape("Gather", "dst", dst, dst.Rows, src.Cols)
	out, in, id := f32(dst), f32(src), indices("Gather", "idx", idx, dst.Rows, src.Rows)
	d.forRows(dst.Rows, dst.Cols, func(r0, r1 int) {
		for r := r0; r < r1; r++ {
			copy(out[r*dst.Stride:][:dst.Cols], in[int(id[r])*src.Stride:][:src.Cols])
		}
	})
}

// ScatterAdd: dst[idx[b]] += src[b], b ascending. The columns are divided among tasks.
func (d *Device) ScatterAdd(dst, src, idx kernels.Tensor) {
	shape("ScatterAdd", "dst", dst, dst.Rows, src.Cols)
	out, in, id, k := f32(dst), f32(src), indices("ScatterAdd", "idx", idx, src.Rows, dst.Rows), d.rows()
	groups := min(strips(src.Cols), d.pool.threads)
	d.pool.Run(groups, func(g int) {
		lo, _ := strip(g*strips(src.Cols)/groups, src.Cols)
		_, hi := strip((g+1)*strips(src.Cols)/groups-1, src.Cols)
		for r := range src.Rows {
			k.add(out[int(id[r])*dst.Stride:][lo:hi], in[r*src.Stride:][lo:hi])
		}
	})
}

// Axpy: y = fma(a, x, y).
func (d *Device) Axpy(y kernels.Tensor, a float32, x kernels.Tensor) {
	shape("Axpy", "x", x, y.Rows, y.Cols)
	out, in, k := f32(y), f32(x), d.rows()
	d.forPieces(func(at []int, n int) { k.axpy(out[at[0]:][:n], in[at[1]:][:n], a) }, y, x)
}

func axpy(y, x []float32, a float32) {
	for i, v := range x {
		y[i] = num.FMA32(a, v, y[i])
	}
}

// Copy: dst = src, converted between F32 and BF16.
func (d *Device) Copy(dst, src kernels.Tensor) {
	shape("Copy", "src", src, dst.Rows, dst.Cols)
	k := d.rows()
	switch [2]kernels.DType{dst.Type, src.Type} {
	case [2]kernels.DType{kernels.F32, kernels.F32}:
		pieces(d, dst, src, f32(dst), f32(src), func(y, x []float32) { copy(y, x) })
	case [2]kernels.DType{kernels.BF16, kernels.BF16}:
		pieces(d, dst, src, bf16(dst), bf16(src), func(y, x []uint16) { copy(y, x) })
	case [2]kernels.DType{kernels.BF16, kernels.F32}:
		pieces(d, dst, src, bf16(dst), f32(src), k.narrow)
	case [2]kernels.DType{kernels.F32, kernels.BF16}:
		pieces(d, dst, src, f32(dst), bf16(src), k.widen)
	default:
		panic(fmt.Sprintf("cpu: Copy: %v = %v: F32 and BF16 only", dst, src))
	}
}

func pieces[Y, X any](d *Device, dst, src kernels.Tensor, y []Y, x []X, f func(y []Y, x []X)) {
	d.forPieces(func(at []int, n int) { f(y[at[0]:][:n], x[at[1]:][:n]) }, dst, src)
}

// Zero: t = 0.
func (d *Device) Zero(t kernels.Tensor) {
	switch t.Type.Size() {
	case 8:
		zero(d, t, view[uint64](t, t.Type))
	case 4:
		zero(d, t, view[uint32](t, t.Type))
	case 2:
		zero(d, t, view[uint16](t, t.Type))
	case 1:
		zero(d, t, view[uint8](t, t.Type))
	default:
		panic(fmt.Sprintf("cpu: Zero: %v", t))
	}
}

func zero[E any](d *Device, t kernels.Tensor, x []E) {
	d.forPieces(func(at []int, n int) { clear(x[at[0]:][:n]) }, t)
}

// squaresBlock is the number of elements in a block of SumSquares.
const squaresBlock = 4096

// SumSquares: dst = or += sum x^2 in F64, range by range, each in blocks of 4096 elements in row-major order, merged
// in order. The blocks of all ranges are computed at once.
func (d *Device) SumSquares(dst, x kernels.Tensor, ranges []kernels.Range, add bool) {
	shape("SumSquares", "dst", dst, 1, 1)
	out, in, k, dense := f64(dst), f32(x), d.rows(), x.Dense()
	if ranges == nil {
		ranges = []kernels.Range{{To: x.Len()}}
	} else if !dense {
		panic(fmt.Sprintf("cpu: SumSquares: ranges of x, which is %v", x))
	}
	first := make([]int, len(ranges)+1) // block of each range; behind the last: how many blocks
	for i, r := range ranges {
		first[i+1] = first[i] + (r.To-r.From+squaresBlock-1)/squaresBlock
	}
	parts := elems[float64](d.scratch(slotRows, 8*first[len(ranges)]))
	d.pool.Run(len(parts), func(b int) {
		i, _ := slices.BinarySearch(first, b+1) // the first range that begins behind b
		r := ranges[i-1]
		lo := r.From + (b-first[i-1])*squaresBlock
		hi := min(lo+squaresBlock, r.To)
		if dense {
			parts[b] = k.sumSquares64(in[lo:hi])
			return
		}
		row := make([]float32, hi-lo)
		for i := range row {
			row[i] = in[(lo+i)/x.Cols*x.Stride+(lo+i)%x.Cols]
		}
		parts[b] = k.sumSquares64(row)
	})
	all := 0.0
	if add {
		all = out[0]
	}
	for i := range ranges {
		sum := 0.0
		for _, p := range parts[first[i]:first[i+1]] {
			sum += p
		}
		all += sum
	}
	out[0] = all
}

// sumSquaresWith sums squares in 32 lanes. add adds multiples of 32 elements to the lanes. Squares of float32 are exact
// in float64.
func sumSquaresWith(add func(lanes *[32]float64, x []float32), x []float32) float64 {
	var a [32]float64
	n := len(x) &^ 31
	add(&a, x[:n])
	addSquares(&a, x[n:])
	for h := 16; h > 0; h /= 2 {
		for i := range h {
			a[i] += a[h+i]
		}
	}
	return a[0]
}

func addSquares(a *[32]float64, x []float32) {
	for j, v := range x {
		a[j%32] += float64(float64(v) * float64(v))
	}
}

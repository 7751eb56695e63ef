package cpu

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
)

// TestLoRAInPieces: however the product is divided into chunks, adding a LoRA adapter gives the bits of separate
// products.
func TestLoRAInPieces(t *testing.T) {
	const m, n, k = 61, 100, 131
	onPath(t, func(t *testing.T, d *Device) {
		d.gemm.bounds = bounds{rows: 1, made: 1, group: 1, piece: 1, dw: num.BlockAMX}
		for _, typ := range []kernels.DType{kernels.F32, kernels.BF16, kernels.Q8} {
			for _, of := range []kernels.DType{kernels.F32, kernels.BF16} {
				for _, rank := range []int{1, 16, 40} {
					testLow(t, d, typ, of, m, n, k, rank)
				}
			}
		}
	})
}

func testLow(t *testing.T, d *Device, typ, of kernels.DType, m, n, k, rank int) {
	name := fmt.Sprintf("%v+%v rank %d", typ, of, rank)
	r := rand.New(rand.NewPCG(uint64(m), uint64(rank)))
	weight := func(n, k int, t2 kernels.DType) kernels.Weight {
		w, err := d.NewWeight(n, k, t2)
		require.NoError(t, err)
		d.Pack(w, 0, tensor(t, d, n, k, fill(r, make([]float32, n*k))).Tensor)
		return w
	}
	w, a, b := weight(n, k, typ), weight(rank, k, of), weight(n, rank, of)
	defer w.Free()
	defer a.Free()
	defer b.Free()
	xs, ys := fill(r, make([]float32, m*k)), fill(r, make([]float32, m*n))
	x, y := tensor(t, d, m, k, xs), tensor(t, d, m, n, ys)
	u1, u2 := tensor(t, d, m, rank, nil), tensor(t, d, m, rank, nil)

	to := tensor(t, d, m, n, ys)
	d.MatMul(to.Tensor, x.Tensor, w, kernels.Epilogue{Add: true})
	d.MatMul(u1.Tensor, x.Tensor, a, kernels.Epilogue{Scale: 0.7})
	d.MatMul(to.Tensor, u1.Tensor, b, kernels.Epilogue{Add: true})
	lora := kernels.LoRA{A: a, B: b, U: u2.Tensor, Scale: 0.7}
	got := tensor(t, d, m, n, ys)
	d.MatMuls(x.Tensor, []kernels.Product{{Y: got.Tensor, W: w, Epilogue: kernels.Epilogue{Add: true}, LoRA: lora}})
	same(t, u1.values(), u2.values(), "U %s", name)
	same(t, to.values(), got.values(), "y %s", name)

	to = tensor(t, d, m, k, xs)
	d.MatMulDX(to.Tensor, y.Tensor, w, true, 1)
	d.MatMulDX(u1.Tensor, y.Tensor, b, false, 0.7)
	d.MatMulDX(to.Tensor, u1.Tensor, a, true, 1)
	got = tensor(t, d, m, k, xs)
	d.MatMulDXLoRA(got.Tensor, y.Tensor, w, true, lora)
	same(t, u1.values(), u2.values(), "U of dx %s", name)
	same(t, to.values(), got.values(), "dx %s", name)
}

package cpu

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
)

// TestQ4 follows the definition at the head of q4.go, from heads and values as num.QuantizeQ4 gives them.
func TestQ4(t *testing.T) {
	onPath(t, func(t *testing.T, d *Device) {
		for _, s := range oddShapes {
			testQ4(t, d, s[0], s[1], s[2], false)
		}
		testQ4(t, d, 9, 40, 1000, false)
		for _, m := range []int{1, 2, 3, 10, 11, 20, q8ManyRows + 5} {
			testQ4(t, d, m, 70, 97, false)
			testQ4(t, d, m, 70, 128, true)
		}
	})
}

// q4Case is a product: x [m, k] and a weight [n, k], also as rows that are quantised, as integers and scales of groups,
// and what the definition makes of them.
type q4Case struct {
	x, w, scale, want []float32
	rows              []byte
	value             []int32
}

// q4Cases keeps the cases: rounding weights takes longer than the products of all paths.
var q4Cases = map[string]*q4Case{}

// q4CaseOf is a product of this shape; extreme: the largest sums of products, where 16 bits could overflow.
func q4CaseOf(m, n, k int, extreme bool) *q4Case {
	name := fmt.Sprint(m, n, k, extreme)
	if c := q4Cases[name]; c != nil {
		return c
	}
	r := rand.New(rand.NewPCG(uint64(m), uint64(n*k)))
	groups := (k + 31) / 32
	c := &q4Case{x: fill(r, make([]float32, m*k)), w: fill(r, make([]float32, n*k)), value: make([]int32, n*k),
		scale: make([]float32, n*groups), want: make([]float32, m*n)}
	q4Cases[name] = c
	if extreme {
		for i := range c.x {
			c.x[i] = []float32{127, -127}[r.IntN(2)*(i/k%3)/2]
		}
	} else if k > 33 && m > 2 { // a group of zeros, of tiny numbers, of infinities
		clear(c.x[:32])
		for i := range 32 {
			c.x[k+i], c.x[2*k+i] = 0x1p-110, float32(math.Inf(1))
		}
	}
	for j := range n {
		var heads []byte
		for g := range groups {
			var q [32]uint8
			part := c.w[j*k+g*32 : j*k+min((g+1)*32, k)]
			var head uint16
			if extreme {
				head = 0x3c<<8 | uint16([]int{0, 127, 64}[r.IntN(3)])
				for i := range q {
					q[i] = uint8(15 * (r.IntN(2) | j%2))
				}
			} else {
				head = num.QuantizeQ4(q[:len(part)], part)
			}
			for i := range part {
				c.value[j*k+g*32+i] = 8*int32(q[i]) - int32(num.ZeroQ4(head))
			}
			c.scale[j*groups+g] = num.StepQ4(head) / 8
			heads = binary.LittleEndian.AppendUint16(heads, head)
			for i := range 16 {
				c.rows = append(c.rows, q[i]|q[16+i]<<4)
			}
		}
		c.rows = append(c.rows, heads...)
	}
	for i := range m {
		for g := range groups {
			part := c.x[i*k+g*32 : i*k+min((g+1)*32, k)]
			s, inverse := q8Scales(part)
			var qx [32]int32
			for e, v := range part {
				if inverse != 0 {
					qx[e] = int32(math.RoundToEven(float64(v * inverse)))
				}
			}
			for j := range n {
				sum := int32(0)
				for e := range part {
					sum += qx[e] * c.value[j*k+g*32+e]
				}
				c.want[i*n+j] = num.FMA32(float32(sum)*s, c.scale[j*groups+g], c.want[i*n+j])
			}
		}
	}
	return c
}

// testQ4 compares a product with the definition.
func testQ4(t *testing.T, d *Device, m, n, k int, extreme bool) {
	c := q4CaseOf(m, n, k, extreme)
	hw, err := d.NewWeight(n, k, kernels.Q4)
	require.NoError(t, err)
	defer hw.Free()
	d.PackHost(hw, 0, c.rows, kernels.Q4)
	name := fmt.Sprintf("%dx%dx%d", m, n, k)
	wide := make([]float32, n*k)
	for i, v := range c.value {
		wide[i] = float32(v) * c.scale[i/k*((k+31)/32)+i%k/32]
	}
	u := tensor(t, d, n, k, nil)
	d.Unpack(u.Tensor, hw, 0)
	same(t, wide, u.values(), "Unpack %s", name)
	if !extreme && d.pool.threads > 1 { // rows are quantised one by one, whatever the number of threads
		other, err := d.NewWeight(n, k, kernels.Q4)
		require.NoError(t, err)
		defer other.Free()
		d.PackHost(other, 0, asBytes(c.w), kernels.F32)
		require.Equal(t, hw.(*weight).buf.mem, other.(*weight).buf.mem, "packing %s", name)
	}

	want := slices.Clone(c.want)
	y := tensor(t, d, m, n, nil)
	d.MatMul(y.Tensor, tensor(t, d, m, k, c.x).Tensor, hw, kernels.Epilogue{})
	same(t, want, y.values(), "MatMul %s", name)
	for i := range want {
		want[i] = float32(want[i]*0.25) + want[i]
	}
	d.MatMul(y.Tensor, tensor(t, d, m, k, c.x).Tensor, hw, kernels.Epilogue{Scale: 0.25, Add: true})
	same(t, want, y.values(), "MatMul with epilogue %s", name)
}

// TestQ4Panel: what makes panels of Q8 from those of Q4, in assembly or not, gives q4Widen's bits for every block.
func TestQ4Panel(t *testing.T) {
	onPath(t, func(t *testing.T, d *Device) {
		r := rand.New(rand.NewPCG(1, 2))
		const steps = 5
		src, want, got := make([]byte, steps*q4Block), make([]byte, steps*q8Block), make([]byte, steps*q8Block+64)
		for range 50 {
			for i := range src {
				src[i] = byte(r.Uint32())
			}
			for i := range steps {
				for col := range panelCols { // an infinite step or NaN is as good as another
					if b := src[i*q4Block+2*col:]; b[1] >= 0xf8 {
						b[1] = byte(r.IntN(0xf8))
					}
				}
				q4Widen(want[i*q8Block:], src[i*q4Block:])
			}
			d.gemm.q4Panel(unsafe.Pointer(&got[0]), unsafe.Pointer(&src[0]), steps)
			require.Equal(t, want, got[:len(want)])
			require.Equal(t, make([]byte, 64), got[len(want):])
		}
	})
}

// TestQ4Errors: the search for steps and zeros in assembly gives the bits of plain Go, for groups of every length.
func TestQ4Errors(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 2000 {
		x := fill(r, make([]float32, 1+i%num.Q4Group))
		for j := range x {
			x[j] *= float32(math.Exp(20 * (r.Float64() - 0.5)))
			if i%3 == 0 {
				x[j] = float32(math.Abs(float64(x[j])))
			}
		}
		want, got := make([]uint8, len(x)), make([]uint8, len(x))
		head := num.QuantizeQ4With(want, x, num.PlainQ4Errors)
		require.Equal(t, head, num.QuantizeQ4(got, x), "%v", x)
		require.Equal(t, want, got)
	}
}

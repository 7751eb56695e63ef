package kernels_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
	"pgregory.net/rapid"
)

// elements lists the places of a tensor's elements in its buffer, row-major, straight from the definition.
func elements(t kernels.Tensor) (at []int) {
	for r := range t.Rows {
		for c := range t.Cols {
			at = append(at, t.Off+r*t.Stride+c)
		}
	}
	return at
}

func TestRanges(t *testing.T) {
	buf, err := ref.New().Alloc(0)
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		rows, cols := rapid.IntRange(0, 6).Draw(t, "rows"), rapid.IntRange(0, 6).Draw(t, "cols")
		x := kernels.Mat(buf, kernels.F32, rapid.IntRange(0, 9).Draw(t, "off"), rows, cols)
		require.True(t, x.Dense())
		require.Equal(t, rows*cols, x.Len())
		x.Stride += rapid.IntRange(0, 3).Draw(t, "gap")
		all := elements(x)

		r := rapid.IntRange(0, rows).Draw(t, "r")
		n := rapid.IntRange(0, rows-r).Draw(t, "n")
		require.Equal(t, append([]int(nil), all[r*cols:(r+n)*cols]...),
			append([]int(nil), elements(x.RowRange(r, n))...))

		c := rapid.IntRange(0, cols).Draw(t, "c")
		m := rapid.IntRange(0, cols-c).Draw(t, "m")
		var want []int
		for i := range rows {
			want = append(want, all[i*cols+c:i*cols+c+m]...)
		}
		require.Equal(t, want, elements(x.ColRange(c, m)))

		for _, bad := range []func(){
			func() { x.RowRange(-1, 1) }, func() { x.RowRange(r, rows-r+1) }, func() { x.RowRange(0, -1) },
			func() { x.ColRange(-1, 1) }, func() { x.ColRange(c, cols-c+1) }, func() { x.ColRange(0, -1) },
		} {
			require.Panics(t, bad)
		}
	})
}

func TestReshape(t *testing.T) {
	buf, err := ref.New().Alloc(0)
	require.NoError(t, err)
	x := kernels.Mat(buf, kernels.F32, 7, 4, 6)
	require.Equal(t, elements(x), elements(x.Reshape(8, 3)))
	require.Equal(t, elements(x), elements(x.Reshape(1, 24)))
	require.PanicsWithValue(t, "kernels: reshape f32[4, 6] to [5, 5]", func() { x.Reshape(5, 5) })
	require.PanicsWithValue(t, "kernels: reshape f32[4, 2] stride 6 to [8, 1]",
		func() { x.ColRange(1, 2).Reshape(8, 1) })
	require.NotPanics(t, func() { x.RowRange(2, 1).ColRange(1, 4).Reshape(2, 2) }, "one row has no gaps")
	require.Equal(t, "none", kernels.Tensor{}.String())
	require.True(t, kernels.Tensor{}.IsZero())
}

func TestHostCopies(t *testing.T) {
	d := ref.New()
	x, err := kernels.NewTensor(d, kernels.I32, 2, 3)
	require.NoError(t, err)
	defer x.Buf.Free()
	kernels.Upload(d, x, []int32{1, 2, 3, 4, 5, 6})
	got := make([]int32, 2)
	require.NoError(t, kernels.Download(d, got, x.RowRange(1, 1).ColRange(1, 2)))
	require.Equal(t, []int32{5, 6}, got)
	require.NoError(t, kernels.Download(d, []int32{}, x.RowRange(1, 0)), "nothing to copy still waits")
	kernels.Upload(d, x.RowRange(0, 0), []int32{})

	type id int32
	ids := make([]id, 6)
	require.NoError(t, kernels.Download(d, ids, x))
	require.Equal(t, id(6), ids[5])

	require.PanicsWithValue(t, "kernels: host slice of 5 elements of 4 bytes for i32[2, 3]",
		func() { kernels.Upload(d, x, make([]int32, 5)) })
	require.PanicsWithValue(t, "kernels: host slice of 6 elements of 8 bytes for i32[2, 3]",
		func() { kernels.Upload(d, x, make([]float64, 6)) })
	require.PanicsWithValue(t, "kernels: host slice of 4 elements of 4 bytes for i32[2, 2] stride 3",
		func() { kernels.Upload(d, x.ColRange(0, 2), make([]int32, 4)) })
}

func TestDTypes(t *testing.T) {
	for dt, size := range map[kernels.DType]int{kernels.F32: 4, kernels.BF16: 2, kernels.F64: 8, kernels.I32: 4,
		kernels.U8: 1, kernels.F16: 2, kernels.Q8: 0, kernels.Q4: 0} {
		require.Equal(t, size, dt.Size(), "%v", dt)
		back, err := kernels.ParseDType(dt.String())
		require.NoError(t, err)
		require.Equal(t, dt, back)
	}
	_, err := kernels.ParseDType("float32")
	require.ErrorContains(t, err, `"float32": use f32, bf16, q8 or q4`)
	require.Equal(t, "dtype(99)", kernels.DType(99).String())
	require.Zero(t, kernels.DType(0).Size())
}

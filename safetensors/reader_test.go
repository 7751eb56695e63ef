package safetensors

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/internal/usage"
	"github.com/zerosearch-go/zerosearch/num"
)

// fileOf makes a file of a header and data.
func fileOf(header, data string) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header+data...)
}

func must(t *testing.T, header, data string) *File {
	t.Helper()
	f, err := FromBytes("memory", fileOf(header, data))
	require.NoError(t, err)
	return f
}

func tensorOf(t *testing.T, f *File, name string) *Tensor {
	t.Helper()
	tensor, ok := f.Tensor(name)
	require.True(t, ok, name)
	return tensor
}

// A file of 8 GB with an hour of reading in it opens in milliseconds, because only the header is touched.
func TestOpenTouchesHeaderOnly(t *testing.T) {
	if strconv.IntSize < 64 {
		t.Skip("8 GB do not fit the address space of a 32-bit machine")
	}
	path := filepath.Join(t.TempDir(), "huge.safetensors")
	var h strings.Builder
	const tensors, elements = 300, 7 << 20 // 300 * 7 Mi * 4 bytes
	for i := range tensors {
		fmt.Fprintf(&h, `,"layer.%d":{"dtype":"F32","shape":[%d],"data_offsets":[%d,%d]}`, i, elements, 4*elements*i,
			4*elements*(i+1))
	}
	file := fileOf("{"+h.String()[1:]+"}   ", "")
	require.NoError(t, os.WriteFile(path, file, 0o666))
	size := int64(len(file)) + 4*elements*tensors
	require.Greater(t, size, int64(8e9))
	if err := os.Truncate(path, size); err != nil {
		t.Skipf("no sparse files here: %v", err)
	}
	start := usage.CPU()
	f, err := Open(path)
	took := usage.CPU() - start
	require.NoError(t, err)
	defer f.Close()
	t.Logf("opened %d bytes in %v of processor time", size, took)
	require.Less(t, took, 200*time.Millisecond) // about 1 ms; reading it all takes seconds
	last := tensorOf(t, f, "layer.299")
	row := []float32{1, 1, 1}
	require.NoError(t, last.Float32Rows(row, elements-3, 3))
	require.Equal(t, []float32{0, 0, 0}, row)
}

// An unaligned tensor cannot be a view, but its values are the same.
func TestUnaligned(t *testing.T) {
	values := []float32{1, -2.5, float32(math.Inf(1)), 1e-40, 3}
	type typ struct {
		d   DType
		put func(b []byte, x float32) []byte
	}
	for _, c := range []typ{{F32, fromFloat32[F32]}, {F64, fromFloat32[F64]}, {BF16, fromFloat32[BF16]},
		{F16, fromFloat32[F16]}} {
		for skew := range 9 {
			for _, n := range []int{0, 1, 5, 511, 512, 513, 1030} {
				data := make([]byte, skew)
				for i := range n {
					data = c.put(data, values[i%len(values)])
				}
				size := n * c.d.Bits() / 8
				f := must(t,
					fmt.Sprintf(
						`{"s":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]},"x":{"dtype":"%s","shape":[%d],"data_offsets":[%d,%d]}}`,
						skew, skew, c.d, n, skew, skew+size), string(data))
				got := make([]float32, n)
				require.NoError(t, tensorOf(t, f, "x").Float32(got))
				for i, x := range got {
					want := values[i%len(values)]
					switch c.d { // 1e-40 becomes 0 or another subnormal
					case F16:
						want = num.RoundF16(want)
					case BF16:
						want = num.RoundBF16(want)
					}
					require.Equal(t, want, x, "%s[%d] skewed by %d", c.d, i, skew)
				}
			}
		}
	}
}

func TestViews(t *testing.T) {
	f := must(t,
		`{"b":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]},"f":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`,
		"\x80\x3f\x00\x40\x00\x00\x40\x40")
	_, ok := tensorOf(t, f, "b").Float32View()
	require.False(t, ok)
	_, ok = tensorOf(t, f, "f").Uint16View()
	require.False(t, ok)
	skewed := 0
	for skew := range 4 { // one of four places is aligned
		memory := make([]byte, 3+len(f.data))
		copy(memory[skew:], f.data)
		g, err := FromBytes("moved", memory[skew:skew+len(f.data)])
		require.NoError(t, err)
		v, ok := tensorOf(t, g, "f").Float32View()
		if !ok {
			skewed++
			continue
		}
		require.Equal(t, []float32{3}, v)
		u, ok := tensorOf(t, g, "b").Uint16View()
		require.True(t, ok)
		require.Equal(t, []uint16{0x3f80, 0x4000}, u)
		binary.LittleEndian.PutUint32(g.tensors[1].data, math.Float32bits(7))
		require.Equal(t, []float32{7}, v, "the view is a copy")
	}
	if littleEndian {
		require.Equal(t, 3, skewed)
	}
}

func TestConversionErrors(t *testing.T) {
	f := must(t,
		`{"i":{"dtype":"I32","shape":[2],"data_offsets":[0,8]},"f":{"dtype":"F32","shape":[2,2],"data_offsets":[8,24]},`+
			`"q":{"dtype":"F4","shape":[4],"data_offsets":[24,26]},"s":{"dtype":"F32","shape":[],"data_offsets":[26,30]},`+
			`"e":{"dtype":"F32","shape":[0,3],"data_offsets":[30,30]}}`, strings.Repeat("\x00", 30))
	i, x, q, s, e := tensorOf(t, f, "i"), tensorOf(t, f, "f"), tensorOf(t, f, "q"), tensorOf(t, f, "s"),
		tensorOf(t, f, "e")
	require.EqualError(t, i.Float32(make([]float32, 2)),
		`safetensors: memory: tensor "i": I32 cannot be converted to float32`)
	require.EqualError(t, x.Int32(make([]int32, 4)), `safetensors: memory: tensor "f": F32 is not a type of integers`)
	require.EqualError(t, x.Float32(make([]float32, 3)),
		`safetensors: memory: tensor "f": 4 elements of shape [2 2] do not fit a destination of 3`)
	require.EqualError(t, i.Int64(make([]int64, 3)),
		`safetensors: memory: tensor "i": 2 elements of shape [2] do not fit a destination of 3`)
	require.Equal(t, 4, q.Elements())
	require.ErrorContains(t, q.Float32(make([]float32, 4)), "F4 cannot be converted")
	for _, bad := range [][2]int{{-1, 1}, {0, 3}, {3, 0}, {1, math.MaxInt}, {0, -1}} {
		require.ErrorContains(t, x.Float32Rows(nil, bad[0], bad[1]), "rows from row")
	}
	require.NoError(t, x.Float32Rows(nil, 2, 0))
	require.NoError(t, e.Float32Rows(nil, 0, 0))
	require.Equal(t, 1, s.Elements())
	require.ErrorContains(t, s.Float32Rows(make([]float32, 1), 0, 1), "has no 1 rows")
	require.NoError(t, s.Float32(make([]float32, 1)))
	require.ErrorContains(t, x.View(func([]byte) error { return fmt.Errorf("mine") }), "mine")
	require.PanicsWithValue(t, "mine", func() { _ = x.View(func([]byte) error { panic("mine") }) })
	require.NoError(t, f.Close())
	require.NoError(t, f.Close())
	require.EqualError(t, x.Float32(make([]float32, 4)), `safetensors: memory: tensor "f": the file is closed`)
	require.Nil(t, x.Bytes())
	_, ok := x.Float32View()
	require.False(t, ok)
	x.Release()
}

func TestFloat32Rows(t *testing.T) {
	f, err := Open("testdata/good/shapes.safetensors")
	require.NoError(t, err)
	defer f.Close()
	cube := tensorOf(t, f, "cube") // [2 3 4]
	all, row := make([]float32, 24), make([]float32, 12)
	require.NoError(t, cube.Float32(all))
	for i := range 2 {
		require.NoError(t, cube.Float32Rows(row, i, 1))
		require.Equal(t, all[12*i:12*i+12], row)
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, data, 0o666))
		return path
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "absent"): "no such file", // the system's own words
		dir:                          "not a regular file",
		write("lfs",
			[]byte("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")): "git lfs pull",
		write("pickle",
			[]byte("PK\x03\x04\x00\x00\x08\x08\x00\x00")): "not a safetensors file",
		write("cut", fileOf(`{"x":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}`,
			"12345")): "7 of 12 bytes of data are missing: the file was cut off",
		write("long", fileOf(`{"x":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}`,
			"12345678901234")): "2 bytes follow the last tensor",
	} {
		_, err := Open(path)
		requireOneLine(t, err, "safetensors: open "+path+": ")
		require.ErrorContains(t, err, want)
	}
}

// Each rule is broken alone, and its own message says so.
func TestHeaderErrors(t *testing.T) {
	one := func(entry string) []byte { return fileOf(`{"x":`+entry+`}`, "123456789012") }
	long := fileOf("{}", "")
	long[0]++
	for want, file := range map[string][]byte{
		"the header needs 11 bytes, the file has 10: it was cut off": long,
		"the header would have 100000001 bytes, at most 100000000 are allowed": binary.LittleEndian.AppendUint64(nil,
			maxHeader+1),
		"the header needs 100000008 bytes, the file has 8": binary.LittleEndian.AppendUint64(nil,
			maxHeader),
		`tensor "x": data_offsets [12 0] run backwards`: one(
			`{"dtype":"U8","shape":[12],"data_offsets":[12,0]}`),
		`tensor "x": shape [3 2] of F32 needs 24 bytes, data_offsets [0 12] hold 12`: one(
			`{"dtype":"F32","shape":[3,2],"data_offsets":[0,12]}`),
		`tensor "x": data_offsets [4 12]: leaves a hole before it: byte 0 was to be next`: one(
			`{"dtype":"U8","shape":[8],"data_offsets":[4,12]}`),
		`tensor "x": unknown dtype "F31"`: one(
			`{"dtype":"F31","shape":[3],"data_offsets":[0,12]}`),
		// 2^64 + 12
		`tensor "x": byte 47 of the header: the number is too large`: one(
			`{"dtype":"U8","shape":[18446744073709551628],"data_offsets":[0,12]}`),
		`tensor "x": shape is missing`: one(
			`{"dtype":"F32","data_offsets":[0,12]}`),
		`tensor "x": byte 27 of the header: "dtype" is given twice`: one(
			`{"dtype":"U8","dtype":"U8","shape":[12],"data_offsets":[0,12]}`),
		`tensor "x": byte 31 of the header: a number starts with 0`: one(
			`{"dtype":"U8","shape":[012],"data_offsets":[0,12]}`),
		`tensor "x": byte 29 of the header: expected an integer of 0 or more, found '.'`: one(
			`{"dtype":"U8","shape":[1.0],"data_offsets":[0,12]}`),
		"levels of nesting": one(strings.Repeat(`{"a":`, 102)),
	} {
		_, err := FromBytes("f", file)
		require.ErrorContains(t, err, want)
	}
	// An empty tensor lies before the one that starts at the same place, wherever the header mentions it.
	f := must(t,
		`{"z":{"dtype":"U8","shape":[2],"data_offsets":[1,3]},"e":{"dtype":"U8","shape":[0],"data_offsets":[1,1]},"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}`, "123")
	require.Equal(t, []string{"a", "e", "z"}, f.Names())
}

// A header may nest deeply and be hostile in other ways; none of it may cost more than an error.
func TestHostileHeaders(t *testing.T) {
	for name, header := range map[string]string{
		"deep object":  `{"a":{"x":` + strings.Repeat(`{"a":`, 1_000_000),
		"deep array":   `{"a":{"x":` + strings.Repeat(`[`, 1_000_000),
		"long number":  `{"a":{"shape":[` + strings.Repeat("9", 1_000_000) + `]}}`,
		"long name":    `{"` + strings.Repeat("ö", 1_000_000) + `":1}`,
		"wrapping":     `{"a":{"dtype":"U8","shape":[18446744073709551617],"data_offsets":[0,1]}}`,
		"end wraps":    `{"a":{"dtype":"U8","shape":[9223372036854775807],"data_offsets":[0,9223372036854775807]},"b":{"dtype":"U8","shape":[9223372036854775807],"data_offsets":[9223372036854775807,9223372036854775807]}}`,
		"bad literal":  `{"a":{"x":nul}}`,
		"bad number":   `{"a":{"x":1.}}`,
		"bad exponent": `{"a":{"x":1e}}`,
		"bare minus":   `{"a":{"x":-}}`,
		"half escape":  `{"\`,
		"half u":       `{"\u00`,
		"two highs":    `{"\ud800\ud800":1}`,
		"lone low":     `{"\udc00":1}`,
	} {
		_, err := FromBytes("x", fileOf(header, ""))
		t.Run(name, func(t *testing.T) { requireOneLine(t, err, "safetensors: x: ") })
	}
	f := must(t,
		`{"x":{"extra":[{"a":[1,-2.5e+7,0.1,"\u00e9\n"],"b":{}},null,true,false],"dtype":"U8","shape":[],"data_offsets":[0,1]}}`, "a")
	require.Equal(t, []byte("a"), tensorOf(t, f, "x").Bytes())
}

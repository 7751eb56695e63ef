package gguf_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/internal/gguf"
	"github.com/zerosearch-go/zerosearch/internal/gguf/gguftest"
)

// good is a file with every kind of metadata and three tensors.
func good() []byte {
	return gguftest.File([]gguftest.KV{
		{Key: "general.architecture", Value: "llama"}, {Key: "a.int", Value: uint32(7)},
		{Key: "a.neg", Value: int32(-7)},
		{Key: "a.float", Value: float32(0.5)}, {Key: "a.yes", Value: true}, {Key: "a.byte", Value: uint8(200)},
		{Key: "a.long", Value: uint64(1 << 40)}, {Key: "a.texts", Value: []string{"x", "", "é"}},
		{Key: "a.ints", Value: []int32{-1, 2}}, {Key: "a.floats", Value: []float32{1, -2}},
	}, []gguftest.Tensor{
		{Name: "v", Type: gguf.F32, Shape: []int{3}, Data: make([]byte, 12)},
		{Name: "m", Type: gguf.Q8_0, Shape: []int{2, 64}, Data: bytes.Repeat([]byte{1, 2}, 68)},
		{Name: "h", Type: gguf.F16, Shape: []int{2, 2}, Data: []byte{1, 2, 3, 4, 5, 6, 7, 8}},
	})
}

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.gguf")
	require.NoError(t, os.WriteFile(path, good(), 0o644))
	f, err := gguf.Open(path)
	require.NoError(t, err)
	defer f.Close()
	text, _ := f.Text("general.architecture")
	require.Equal(t, "llama", text)
	for key, want := range map[string]int64{"a.int": 7, "a.neg": -7, "a.byte": 200, "a.long": 1 << 40} {
		n, ok := f.Int(key)
		require.True(t, ok)
		require.Equal(t, want, n)
	}
	x, ok := f.Float("a.float")
	require.True(t, ok)
	require.Equal(t, 0.5, x)
	x, ok = f.Float("a.int")
	require.True(t, ok)
	require.Equal(t, 7.0, x)
	yes, ok := f.Bool("a.yes")
	require.True(t, yes && ok)
	texts, _ := f.Texts("a.texts")
	require.Equal(t, []string{"x", "", "é"}, texts)
	ints, _ := f.Ints("a.ints")
	require.Equal(t, []int64{-1, 2}, ints)
	floats, _ := f.Floats("a.floats")
	require.Equal(t, []float64{1, -2}, floats)
	_, ok = f.Int("a.float")
	require.False(t, ok)
	require.False(t, f.Has("absent"))
	m, ok := f.Tensor("m")
	require.True(t, ok)
	require.Equal(t, []int{2, 64}, m.Shape)
	require.Equal(t, 68, m.RowBytes())
	require.Equal(t, "Q8_0", m.Type.String())
	row := make([]byte, 68)
	require.NoError(t, m.ReadRows(row, 1))
	require.Equal(t, bytes.Repeat([]byte{1, 2}, 34), row)
	require.Error(t, m.ReadRows(row, 2))
	h, _ := f.Tensor("h")
	two := make([]byte, 4)
	require.NoError(t, h.ReadRows(two, 1))
	require.Equal(t, []byte{5, 6, 7, 8}, two)
}

// change overwrites the bytes of a good file behind the first place of text.
func change(text string, skip int, with ...byte) []byte {
	b := good()
	at := bytes.Index(b, []byte(text)) + len(text) + skip
	copy(b[at:], with)
	return b
}

// le are numbers as bytes.
func le(v any) []byte {
	var b bytes.Buffer
	binary.Write(&b, binary.LittleEndian, v)
	return b.Bytes()
}

// Damaged and hostile headers: each is one error that says what is wrong.
func TestHostile(t *testing.T) {
	with := func(more ...gguftest.KV) []byte { return gguftest.File(more, nil) }
	one := func(x gguftest.Tensor) []byte { return gguftest.File(nil, []gguftest.Tensor{x}) }
	same := gguftest.Tensor{Name: "v", Type: gguf.F32, Shape: []int{1}, Data: make([]byte, 4)}
	for name, c := range map[string]struct {
		file []byte
		says string
	}{
		"empty":              {nil, "too few for a GGUF file"},
		"other format":       {[]byte("PK\x03\x04 and so on and so on"), "does not begin with GGUF"},
		"lfs pointer":        {[]byte("version https://git-lfs.github.com/spec/v1"), "Git LFS pointer"},
		"version 1":          {change("GGUF", 0, le(uint32(1))...), "version 1 is not supported"},
		"big-endian":         {change("GGUF", 0, 0, 0, 0, 3), "big-endian"},
		"tensor count":       {change("GGUF", 4, le(uint64(math.MaxUint64))...), "elements, which no model does"},
		"tensor count small": {change("GGUF", 4, le(uint64(100000))...), "the file ends inside the header"},
		"value count":        {change("GGUF", 12, le(uint64(1<<40))...), "elements, which no model does"},
		"more values":        {change("GGUF", 12, le(uint64(12))...), "the file is damaged"},
		"key length":         {change("GGUF", 20, le(uint64(1<<20))...), "the file ends inside the header"},
		"key not UTF-8":      {change("a.in", -1, 0xff), "not UTF-8"},
		"value type":         {change("a.int", 0, le(uint32(77))...), "its type is 77, which the format does not know"},
		"text length": {change("general.architecture", 4, le(uint64(1<<50))...),
			"elements, which no model does"},
		"truth value":    {change("a.yes", 4, 7), "its truth value is 7"},
		"list of lists":  {change("a.texts", 4, le(uint32(9))...), "a list of type 9"},
		"list of what":   {change("a.texts", 4, le(uint32(99))...), "a list of type 99"},
		"list length":    {change("a.ints", 8, le(uint64(1<<25))...), "the file ends inside the header"},
		"alignment":      {with(gguftest.KV{Key: "general.alignment", Value: uint32(24)}), "no power of two"},
		"alignment zero": {with(gguftest.KV{Key: "general.alignment", Value: uint32(0)}), "no power of two"},
		"alignment huge": {with(gguftest.KV{Key: "general.alignment", Value: uint32(1 << 31)}), "no power of two"},
		"alignment text": {with(gguftest.KV{Key: "general.alignment", Value: "x"}), "no power of two"},
		"key again": {with(gguftest.KV{Key: "k", Value: true}, gguftest.KV{Key: "k", Value: true}),
			`"k" is given twice`},
		"no dimensions": {one(gguftest.Tensor{Name: "x", Type: gguf.F32}), "it has 0 dimensions"},
		"dimensions": {one(gguftest.Tensor{Name: "x", Type: gguf.F32, Shape: []int{1, 1, 1, 1, 1}}),
			"it has 5 dimensions"},
		"empty tensor": {one(gguftest.Tensor{Name: "x", Type: gguf.F32, Shape: []int{0}}), "its dimension 1 is 0"},
		"overflow": {one(gguftest.Tensor{Name: "x", Type: gguf.F32, Shape: []int{1 << 40, 1 << 40}}),
			"which cannot be"},
		"type": {one(gguftest.Tensor{Name: "x", Type: 31, Shape: []int{32}}),
			"its type is 31, which is not known here"},
		"block": {one(gguftest.Tensor{Name: "x", Type: gguf.Q4_K, Shape: []int{2, 128}}),
			"do not consist of blocks of 256"},
		"no data": {one(gguftest.Tensor{Name: "x", Type: gguf.F32, Shape: []int{9}}),
			"ends beyond the end of the file"},
		"twice":    {gguftest.File(nil, []gguftest.Tensor{same, same}), `tensor "v" is given twice`},
		"offset":   {change("v", 4+8+4, le(uint64(8))...), "no multiple of the alignment"},
		"offset -": {change("v", 4+8+4, le(uint64(math.MaxUint64-31))...), "beyond the end of the file"},
		"offset +": {change("v", 4+8+4, le(uint64(math.MaxInt64-31))...), "beyond the end of the file"},
		"overlap":  {change("\x01\x00\x00\x00\x00\x00\x00\x00m", 4+16+4, le(uint64(0))...), "overlaps another one"},
		"long name": {one(gguftest.Tensor{Name: strings.Repeat("x", 2000), Type: gguf.F32, Shape: []int{1}}),
			"a name of 2000 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := gguf.Read(bytes.NewReader(c.file), int64(len(c.file)))
			require.ErrorContains(t, err, c.says)
			require.NotContains(t, err.Error(), "\n")
			require.Less(t, len(err.Error()), 300)
		})
	}
	for n := range len(good()) - 10 { // wherever it is cut off
		_, err := gguf.Read(bytes.NewReader(good()[:n]), int64(n))
		require.Error(t, err, n)
	}
	_, err := gguf.Open(filepath.Join(t.TempDir(), "absent.gguf"))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = gguf.Open(t.TempDir())
	require.ErrorContains(t, err, "not a regular file")
}

// Whatever the bytes are: an error, or tensors that lie in the file.
func FuzzRead(f *testing.F) {
	f.Add(good())
	f.Add(good()[:100])
	f.Add(change("GGUF", 4, le(uint64(3))...))
	f.Add(change("a.texts", 8, le(uint64(1<<20))...))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := gguf.Read(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		for _, x := range file.Tensors {
			require.NoError(t, x.ReadRows(make([]byte, x.Bytes()), 0))
			require.Equal(t, int(x.Bytes())/x.RowBytes()*x.Shape[len(x.Shape)-1], x.Elements())
		}
	})
}

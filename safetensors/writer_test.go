package safetensors

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var allTypes = []DType{Bool, F4, F6E2M3, F6E3M2, U8, I8, F8E5M2, F8E4M3, F8E8M0, F8E4M3FNUZ, F8E5M2FNUZ, I16, U16, F16,
	BF16, I32, U32, F32, C64, F64, I64, U64}

func TestDTypeBits(t *testing.T) {
	require.Len(t, bitsOf, len(allTypes))
	for _, d := range allTypes {
		require.Positive(t, d.Bits(), d)
	}
	require.Zero(t, DType("f32").Bits())
}

// drawSpecs draws tensors with distinct names and sizes that end at bytes.
func drawSpecs(t *rapid.T) []Spec {
	var specs []Spec
	for _, name := range rapid.SliceOfNDistinct(rapid.String().Filter(func(s string) bool { return s != metadataKey }),
		0, 6, rapid.ID[string]).Draw(t, "names") {
		s := Spec{Name: name, DType: rapid.SampledFrom(allTypes).Draw(t, "dtype"),
			Shape: rapid.SliceOfN(rapid.IntRange(0, 5), 0, 3).Draw(t, "shape")}
		if s.DType.Bits() < 8 {
			s.Shape = append(s.Shape, 4)
		}
		specs = append(specs, s)
	}
	return specs
}

func drawData(t *rapid.T, specs []Spec) map[string][]byte {
	data := map[string][]byte{}
	for _, s := range specs {
		n, err := s.check()
		require.NoError(t, err)
		data[s.Name] = rapid.SliceOfN(rapid.Byte(), int(n), int(n)).Draw(t, "data")
	}
	return data
}

// What goes in comes out: any types, shapes and names, written in any order, in pieces of any size.
func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		path := filepath.Join(dir, "x.safetensors")
		specs := drawSpecs(t)
		data := drawData(t, specs)
		var metadata map[string]string
		if rapid.Bool().Draw(t, "has metadata") {
			metadata = rapid.MapOfN(rapid.String(), rapid.String(), 0, 3).Draw(t, "metadata")
		}
		w, err := Create(path, specs, metadata)
		require.NoError(t, err)
		for _, s := range rapid.Permutation(specs).Draw(t, "order") {
			require.NoError(t, w.WriteFunc(s.Name, func(to io.Writer) error {
				_, err := io.Copy(to, iotest.OneByteReader(bytes.NewReader(data[s.Name])))
				return err
			}))
		}
		require.NoError(t, w.Close())
		f, err := Open(path)
		require.NoError(t, err)
		defer f.Close()
		require.Equal(t, metadata, f.Metadata())
		require.Len(t, f.Names(), len(specs))
		for _, s := range specs {
			tensor, ok := f.Tensor(s.Name)
			require.True(t, ok)
			require.Equal(t, s, Spec{tensor.Name, tensor.DType, tensor.Shape})
			require.Equal(t, data[s.Name], tensor.Bytes())
			if tensor.DType.Bits() == 64 {
				_, ok := view[uint64](tensor.Bytes())
				require.Equal(t, littleEndian, ok, "data is not aligned")
			}
			if tensor.DType == F32 {
				_, ok := tensor.Float32View()
				require.Equal(t, littleEndian, ok, "data is not aligned")
			}
		}
		onlyFile(t, dir, "x.safetensors")
	})
}

// onlyFile demands that dir holds these files and nothing else, hidden ones included.
func onlyFile(t require.TestingT, dir string, names ...string) {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var found []string
	for _, e := range entries {
		found = append(found, e.Name())
	}
	slices.Sort(names)
	require.Equal(t, names, found)
}

func TestWriteFloat32(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	src := make([]float32, 10_000) // more than one piece
	for i := range src {
		src[i] = float32(i)/7 - 500
	}
	src[0], src[1] = float32(math.Inf(-1)), float32(math.NaN())
	specs := []Spec{{"bf16", BF16, []int{100, 100}}, {"f16", F16, []int{10_000}}, {"f32", F32, []int{10_000}},
		{"f64", F64, []int{10_000}}}
	w, err := Create(path, specs, nil)
	require.NoError(t, err)
	for _, s := range specs {
		require.NoError(t, w.WriteFloat32(s.Name, src))
	}
	require.NoError(t, w.Close())
	f, err := Open(path)
	require.NoError(t, err)
	defer f.Close()
	require.Equal(t, []string{"f64", "f32", "bf16", "f16"}, f.Names(), "large elements first")
	for name, tolerance := range map[string]float64{"f64": 0, "f32": 0, "bf16": 1. / 256, "f16": 1. / 2048} {
		got := make([]float32, len(src))
		require.NoError(t, tensorOf(t, f, name).Float32(got))
		require.True(t, got[0] == src[0] && got[1] != got[1])
		for i := 2; i < len(src); i++ {
			require.LessOrEqual(t, math.Abs(float64(got[i]-src[i])), tolerance*math.Abs(float64(src[i])), "%s[%d]",
				name, i)
		}
	}
	require.ErrorContains(t, EncodeFloat32(io.Discard, I32, src), "float32 cannot be converted to I32")
}

func TestCreateErrors(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.safetensors")
	cases := map[string][]Spec{
		`tensor "a": announced twice`:                    {{"a", F32, nil}, {"a", F32, nil}},
		`tensor "a": unknown dtype "f32"`:                {{"a", "f32", nil}},
		`tensor "__metadata__": the name is reserved`:    {{"__metadata__", F32, nil}},
		`tensor "\xff": the name is not valid UTF-8`:     {{"\xff", F32, nil}},
		`tensor "a": shape [2 -1] has a negative size`:   {{"a", F32, []int{2, -1}}},
		`tensor "a": shape [3] of F4 ends inside a byte`: {{"a", F4, []int{3}}},
	}
	if strconv.IntSize == 64 {
		quarter := math.MaxInt/4 + 1 // 2^61
		cases[`tensor "a": shape [2305843009213693952 8] of U8 overflows 64 bits`] = []Spec{
			{"a", U8, []int{quarter, 8}}}
		cases[`tensor "a": shape [2305843009213693952] of U16 overflows 64 bits`] = []Spec{{"a", U16, []int{quarter}}}
		cases[`tensor "d": the file grows beyond 2^63 bytes`] = []Spec{{"a", U8, []int{quarter - 1}},
			{"b", U8, []int{quarter - 1}}, {"c", U8, []int{quarter - 1}}, {"d", U8, []int{quarter - 1}}}
	}
	for want, specs := range cases {
		_, err := Create(path, specs, nil)
		require.EqualError(t, err, "safetensors: create "+path+": "+want)
	}
	_, err := Create(path, nil, map[string]string{"a": "\xff"})
	require.ErrorContains(t, err, `metadata "a" is not valid UTF-8`)
	_, err = Create(filepath.Join(dir, "absent", "x"), nil, nil)
	requireOneLine(t, err, "safetensors: write "+filepath.Join(dir, "absent", "x")+": ")
	require.ErrorIs(t, err, os.ErrNotExist)
	onlyFile(t, dir)
}

// Every misuse is an error that stays, and leaves the old file alone.
func TestWriteErrors(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.safetensors")
	old := fileOf("{}", "")
	require.NoError(t, os.WriteFile(path, old, 0o666))
	sentinel := errors.New("no more weights")
	for _, c := range []struct {
		want   string
		misuse func(w *Writer) error
	}{
		{`tensor "c": written but never announced`, func(w *Writer) error { return w.Write("c", nil) }},
		{`tensor "a": written twice`, func(w *Writer) error {
			_ = w.Write("a", make([]byte, 8))
			return w.Write("a", make([]byte, 8))
		}},
		{`tensor "a": only 7 of 8 announced bytes were written`,
			func(w *Writer) error { return w.Write("a", make([]byte, 7)) }},
		{`tensor "a": more than the 8 announced bytes were written`,
			func(w *Writer) error { return w.Write("a", make([]byte, 9)) }},
		{`tensor "a": no more weights`, func(w *Writer) error {
			return w.WriteFunc("a", func(io.Writer) error { return sentinel })
		}},
		{`tensor "b": announced but never written`, func(w *Writer) error {
			_ = w.Write("a", make([]byte, 8))
			return w.Close()
		}},
		{`tensor "a": float32 cannot be converted to U8`, func(w *Writer) error {
			return w.WriteFloat32("a", make([]float32, 8))
		}},
		{`tensor "c": written but never announced`, func(w *Writer) error { return w.WriteFloat32("c", nil) }},
	} {
		w, err := Create(path, []Spec{{"a", U8, []int{8}}, {"b", U8, nil}}, nil)
		require.NoError(t, err)
		err = c.misuse(w)
		want := "safetensors: write " + path + ": " + c.want
		require.EqualError(t, err, want)
		require.EqualError(t, w.Write("b", []byte{1}), want)
		require.EqualError(t, w.Close(), want)
		w.Abort()
		now, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, old, now)
		onlyFile(t, dir, "x.safetensors")
	}
	w, err := Create(path, nil, nil)
	require.NoError(t, err)
	w.Abort()
	require.ErrorContains(t, w.Close(), "already closed or given up")
	onlyFile(t, dir, "x.safetensors")
	w, err = Create(path, nil, nil)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	w.Abort()
	require.ErrorContains(t, w.Close(), "already closed or given up")
	onlyFile(t, dir, "x.safetensors")
}

// faultyFS is the real file system until its step number n, which fails as a full disk does.
type faultyFS struct {
	osFS
	left *int
}

var errFull = fmt.Errorf("step refused: %w", enospc)

func (f faultyFS) step() error {
	if *f.left--; *f.left == 0 {
		return errFull
	}
	return nil
}

func (f faultyFS) Create(path string, size int64) (tempFile, string, error) {
	if err := f.step(); err != nil {
		return nil, "", err
	}
	file, temp, err := f.osFS.Create(path, size)
	return faultyFile{file, f}, temp, err
}

func (f faultyFS) Rename(from, to string) error {
	if err := f.step(); err != nil {
		return err
	}
	return f.osFS.Rename(from, to)
}

func (f faultyFS) SyncDir(path string) error {
	if err := f.step(); err != nil {
		return err
	}
	return f.osFS.SyncDir(path)
}

type faultyFile struct {
	tempFile
	fs faultyFS
}

func (f faultyFile) WriteAt(b []byte, at int64) (int, error) {
	if err := f.fs.step(); err != nil {
		n, _ := f.tempFile.WriteAt(b[:len(b)/2], at) // as much as fitted
		return n, err
	}
	return f.tempFile.WriteAt(b, at)
}

func (f faultyFile) Sync() error { return errors.Join(f.fs.step(), f.tempFile.Sync()) }

func (f faultyFile) Close() error { return errors.Join(f.fs.step(), f.tempFile.Close()) }

// Whichever step of writing fails, the error says so, the old file is untouched (or the new one complete, when only the
// folder could not be synced) and nothing lies beside it.
func TestWriteFaults(t *testing.T) {
	old := fileOf("{}", "")
	specs := []Spec{{"a", U8, []int{8}}, {"b", F32, []int{2}}}
	for n := 1; ; n++ {
		dir := t.TempDir()
		path := filepath.Join(dir, "x.safetensors")
		require.NoError(t, os.WriteFile(path, old, 0o666))
		left := n
		err := func() error {
			w, err := create(faultyFS{left: &left}, path, specs, nil)
			if err != nil {
				return err
			}
			defer w.Abort()
			for _, s := range specs {
				if err := w.Write(s.Name, []byte("12345678")); err != nil {
					return err
				}
			}
			return w.Close()
		}()
		now, readErr := os.ReadFile(path)
		require.NoError(t, readErr)
		onlyFile(t, dir, "x.safetensors")
		if left > 0 {
			require.NoError(t, err)
			require.Equal(t, 9, n,
				"create, header, two tensors, sync, close, rename, sync of the folder, and once without a fault")
			return
		}
		require.ErrorIs(t, err, enospc, "step %d", n)
		if strings.Contains(err.Error(), "the file is there") {
			require.Equal(t, 8, n)
			require.NotEqual(t, old, now)
			continue
		}
		require.ErrorContains(t, err, "free space or write elsewhere")
		require.Equal(t, old, now, "step %d", n)
	}
}

package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzHeader reads any bytes as a file. What is accepted must cover the file, must be the JSON that the standard
// library reads as well, and must survive being written and read again.
func FuzzHeader(f *testing.F) {
	for _, c := range readHeaderCases(f, "testdata/headers.jsonl") {
		f.Add(c.Base64)
	}
	paths, err := filepath.Glob("testdata/good/*.safetensors")
	require.NoError(f, err)
	for _, path := range paths {
		file, err := Open(path)
		require.NoError(f, err)
		f.Add(bytes.Clone(file.data))
		require.NoError(f, file.Close())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := FromBytes("fuzz", data)
		if err != nil {
			requireOneLine(t, err, "safetensors: fuzz: ")
			return
		}
		head := 8 + int(binary.LittleEndian.Uint64(data))
		var fields map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(data[8:head], &fields))
		delete(fields, metadataKey)
		require.ElementsMatch(t, slices.Collect(maps.Keys(fields)), file.Names())

		covered := head
		var joined []byte
		for _, x := range file.tensors {
			covered += len(x.Bytes())
			joined = append(joined, x.Bytes()...)
			size, err := byteSize(x.DType, x.Shape)
			require.NoError(t, err)
			require.Equal(t, int(size), len(x.Bytes()))
			_ = x.Float32(make([]float32, x.Elements())) // must not panic
			_ = x.Int64(make([]int64, x.Elements()))
		}
		require.Equal(t, len(data), covered)
		require.Equal(t, data[head:], append([]byte{}, joined...))
		requireRewritable(t, file)
	})
}

// requireRewritable writes the tensors again, into memory, and compares.
func requireRewritable(t *testing.T, file *File) {
	var memory memoryFS
	w, err := create(&memory, "again", specsOf(file), file.Metadata())
	require.NoError(t, err)
	for _, x := range file.tensors {
		require.NoError(t, w.Write(x.Name, x.Bytes()))
	}
	require.NoError(t, w.Close())
	again, err := FromBytes("again", memory.data)
	require.NoError(t, err)
	require.Equal(t, file.Metadata(), again.Metadata())
	require.ElementsMatch(t, file.Names(), again.Names())
	for _, x := range file.tensors {
		y := again.byName[x.Name]
		require.Equal(t, specsOf(&File{tensors: []*Tensor{x}}), specsOf(&File{tensors: []*Tensor{y}}))
		require.Equal(t, x.Bytes(), y.Bytes())
	}
}

// memoryFS holds the one file that is written to it.
type memoryFS struct{ data []byte }

func (m *memoryFS) Create(_ string, size int64) (tempFile, string, error) {
	m.data = make([]byte, size)
	return m, "temp", nil
}

func (m *memoryFS) WriteAt(b []byte, at int64) (int, error) { return copy(m.data[at:], b), nil }
func (m *memoryFS) Rename(string, string) error             { return nil }
func (m *memoryFS) Remove(string) error                     { return nil }
func (m *memoryFS) SyncDir(string) error                    { return nil }
func (m *memoryFS) Sync() error                             { return nil }
func (m *memoryFS) Close() error                            { return nil }

package safetensors

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

const enospc = syscall.ENOSPC

func fillFrom(data map[string][]byte) func(string, io.Writer) error {
	return func(name string, w io.Writer) error {
		_, err := w.Write(data[name])
		return err
	}
}

// Any tensors in shards of any size come back as one set, and shards keep to their size.
func TestShardedRoundTrip(t *testing.T) {
	dir := t.TempDir() // the same one throughout: every model replaces an earlier one
	rapid.Check(t, func(t *rapid.T) {
		specs := drawSpecs(t)
		data := drawData(t, specs)
		limit := rapid.Int64Range(0, 200).Draw(t, "limit")
		require.NoError(t, WriteSharded(dir, "model", limit, specs, map[string]string{"format": "pt"}, fillFrom(data)))
		set, err := OpenDir(dir)
		require.NoError(t, err)
		defer set.Close()
		require.Len(t, set.Names(), len(specs))
		for _, s := range specs {
			tensor, ok := set.Tensor(s.Name)
			require.True(t, ok)
			require.Equal(t, s, Spec{tensor.Name, tensor.DType, tensor.Shape})
			require.Equal(t, data[s.Name], tensor.Bytes())
			set.Release(tensor)
		}
		require.Equal(t, "pt", set.Metadata()["format"])
		names := []string{SingleFile}
		if n := len(set.Files()); n > 1 {
			names = []string{IndexFile}
			for i, f := range set.Files() {
				names = append(names, fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, n))
				size := 0
				for _, x := range f.tensors {
					size += len(x.data)
				}
				require.True(t, len(f.tensors) == 1 || int64(size) <= limit, "%d bytes in a shard of %d", size, limit)
			}
		}
		onlyFile(t, dir, names...)
	})
}

// The index is laid out as transformers does.
func TestIndexText(t *testing.T) {
	dir := t.TempDir()
	specs := []Spec{{"b<", BF16, []int{3}}, {"a", F32, []int{2}}, {"q", F4, []int{4}}}
	data := map[string][]byte{"a": make([]byte, 8), "b<": make([]byte, 6), "q": make([]byte, 2)}
	require.NoError(t, WriteSharded(dir, "model", 10, specs, nil, fillFrom(data)))
	text, err := os.ReadFile(filepath.Join(dir, IndexFile))
	require.NoError(t, err)
	require.Equal(t, `{
  "metadata": {
    "total_parameters": 9,
    "total_size": 16
  },
  "weight_map": {
    "a": "model-00002-of-00002.safetensors",
    "b<": "model-00001-of-00002.safetensors",
    "q": "model-00002-of-00002.safetensors"
  }
}
`, string(text))
}

// Files of other models and other programs stay.
func TestShardedRemovesOnlyItsOwn(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"config.json", "model-2.safetensors", "models.safetensors",
		"adapter_model.safetensors", "model-0000x-of-00002.safetensors",
		"model.safetensors.bak", "model-00001-of-00009.safetensors", "model.safetensors.index.json"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o666))
	}
	require.NoError(t, WriteSharded(dir, "model", 0, nil, nil, nil))
	onlyFile(t, dir, "config.json", "model-2.safetensors", "models.safetensors", "adapter_model.safetensors",
		"model-0000x-of-00002.safetensors",
		"model.safetensors.bak", "model.safetensors")
}

// Until the first shard gets its name, whatever fails leaves the old model readable and nothing beside it.
func TestShardedFaults(t *testing.T) {
	specs := []Spec{{"a", U8, []int{8}}, {"b", F32, []int{2}}}
	data := map[string][]byte{"a": []byte("12345678"), "b": []byte("abcdefgh")}
	for n := 1; ; n++ {
		dir := t.TempDir()
		require.NoError(t, WriteSharded(dir, "model", 0, []Spec{{"old", U8, nil}}, nil,
			fillFrom(map[string][]byte{"old": {7}})))
		left := n
		err := writeSharded(faultyFS{left: &left}, dir, "model", 8, specs, nil, fillFrom(data))
		entries, readErr := os.ReadDir(dir)
		require.NoError(t, readErr)
		for _, e := range entries {
			require.False(t, strings.HasPrefix(e.Name(), "."), "step %d left %s", n, e.Name())
		}
		if left > 0 {
			require.NoError(t, err)
			onlyFile(t, dir, IndexFile, "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
			return
		}
		require.ErrorIs(t, err, enospc)
		set, err := OpenDir(dir)
		require.NoError(t, err, "step %d", n)
		require.Equal(t, []string{"old"}, set.Names())
		require.NoError(t, set.Close())
		if n <= 10 { // both shards: create, header, tensor, sync, close
			onlyFile(t, dir, SingleFile)
		}
	}
}

func TestShardedErrors(t *testing.T) {
	dir := t.TempDir()
	twice := []Spec{{"a", U8, []int{8}}, {"a", U8, []int{8}}}
	require.EqualError(t, WriteSharded(dir, "model", 8, twice, nil, nil),
		"safetensors: write "+filepath.Join(dir, "model")+`: tensor "a": announced twice`)
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o666))
	requireOneLine(t, WriteSharded(file, "model", 8, nil, nil, nil), "safetensors: write "+file+": ")
	onlyFile(t, dir, "file")
}

// shards writes a model of two shards and gives its index to change.
func shards(t *testing.T, change func(weightMap map[string]any)) (dir string) {
	t.Helper()
	dir = t.TempDir()
	specs := []Spec{{"a", U8, []int{8}}, {"b", U8, []int{8}}}
	require.NoError(t, WriteSharded(dir, "model", 8, specs, map[string]string{"format": "pt"},
		fillFrom(map[string][]byte{"a": make([]byte, 8), "b": make([]byte, 8)})))
	path := filepath.Join(dir, IndexFile)
	var index map[string]any
	readJSON(t, path, &index)
	change(index["weight_map"].(map[string]any))
	text, err := json.Marshal(index)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, text, 0o666))
	return dir
}

func TestOpenDirErrors(t *testing.T) {
	const first, second = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
	for want, change := range map[string]func(m map[string]any){
		"1 of 3 shards are missing, first model-00003.safetensors: fetch the model again": func(m map[string]any) {
			m["c"] = "model-00003.safetensors"
		},
		`tensor "c" is not there, though the index says so`: func(m map[string]any) {
			m["c"] = first
		},
		`tensor "a" is not there, though the index says so`: func(m map[string]any) {
			m["a"] = second
		},
		`tensor "c": shard "../../etc/passwd" is not a file of this folder`: func(m map[string]any) {
			m["c"] = "../../etc/passwd"
		},
		`tensor "c": shard "/etc/passwd" is not a file of this folder`: func(m map[string]any) {
			m["c"] = "/etc/passwd"
		},
		`not a valid index: "weight_map": a number where a string is expected`: func(m map[string]any) {
			m["c"] = 1
		},
		"not a valid index: weight_map is missing or empty": func(m map[string]any) {
			clear(m)
		},
	} {
		_, err := OpenDir(shards(t, change))
		requireOneLine(t, err, "safetensors: ")
		require.ErrorContains(t, err, want)
	}
	dir := t.TempDir()
	_, err := OpenDir(dir)
	require.EqualError(t, err,
		"safetensors: open "+dir+": the folder has neither model.safetensors nor model.safetensors.index.json")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pytorch_model.bin"), nil, 0o666))
	_, err = OpenDir(dir)
	require.ErrorContains(t, err, "(it has pytorch_model.bin, which is something else)")
	_, err = OpenDir(filepath.Join(dir, "absent"))
	requireOneLine(t, err, "safetensors: open "+filepath.Join(dir, "absent")+": ")
}

// The index decides where two shards have a tensor; without a word from it that is an error. Unlisted tensors are
// there.
func TestIndexDecides(t *testing.T) {
	overwrite := func(dir string, value byte) {
		specs := []Spec{{"b", U8, []int{8}}, {"a", U8, []int{8}}}
		w, err := Create(filepath.Join(dir, "model-00002-of-00002.safetensors"), specs,
			map[string]string{"format": "np", "more": "x"})
		require.NoError(t, err)
		require.NoError(t, w.Write("a", []byte{value, 0, 0, 0, 0, 0, 0, 0}))
		require.NoError(t, w.Write("b", make([]byte, 8)))
		require.NoError(t, w.Close())
	}
	dir := shards(t, func(map[string]any) {})
	overwrite(dir, 9)
	set, err := OpenDir(dir)
	require.NoError(t, err)
	a, _ := set.Tensor("a")
	require.Zero(t, a.Bytes()[0])
	require.Equal(t, []string{"a", "b"}, set.Names())
	require.Equal(t, map[string]string{"format": "pt", "more": "x"}, set.Metadata(), "the first file wins")
	require.NoError(t, set.Close())

	dir = shards(t, func(m map[string]any) { delete(m, "a"); m["b"] = "model-00002-of-00002.safetensors" })
	overwrite(dir, 9)
	set, err = OpenDir(dir) // the first shard is not in the index any more, so "a" exists once
	require.NoError(t, err)
	a, _ = set.Tensor("a")
	require.Equal(t, byte(9), a.Bytes()[0])
	require.NoError(t, set.Close())

	dir = shards(t, func(m map[string]any) { delete(m, "a"); m["c"] = "model-00001-of-00002.safetensors" })
	overwrite(dir, 9)
	_, err = OpenDir(dir)
	requireOneLine(t, err, "safetensors: "+filepath.Join(dir, "model-00002-of-00002.safetensors")+`: tensor "a": `)
	require.ErrorContains(t, err, "model-00001-of-00002.safetensors has it too")
}

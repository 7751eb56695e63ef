package safetensors

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/zerosearch-go/zerosearch/internal/pyjson"
)

// Names of the files of a model folder.
const (
	SingleFile = "model.safetensors"
	IndexFile  = "model.safetensors.index.json"
)

// Set is the tensors of one or more files, such as the shards of a checkpoint.
type Set struct {
	files  []*File
	names  []string
	byName map[string]*Tensor
}

// OpenDir opens the model in a folder: model.safetensors, or else the shards that model.safetensors.index.json lists.
// path may also name one .safetensors file. A missing shard or tensor is an error that names it. The caller closes the
// set.
func OpenDir(path string) (*Set, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("safetensors: open %s: %w", path, bare(err))
	}
	if !info.IsDir() {
		return openSet([]string{path}, nil)
	}
	single, index := filepath.Join(path, SingleFile), filepath.Join(path, IndexFile)
	if exists(single) {
		return openSet([]string{single}, nil)
	}
	if exists(index) {
		shards, home, err := readIndex(index)
		if err != nil {
			return nil, fmt.Errorf("safetensors: open %s: %w", index, err)
		}
		return openSet(shards, home)
	}
	hint := ""
	for _, other := range [...]string{"pytorch_model.bin", "pytorch_model.bin.index.json",
		"adapter_model.safetensors"} {
		if exists(filepath.Join(path, other)) {
			hint = " (it has " + other + ", which is something else)"
			break
		}
	}
	return nil, fmt.Errorf("safetensors: open %s: the folder has neither %s nor %s%s", path, SingleFile, IndexFile,
		hint)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil || !errors.Is(err, os.ErrNotExist) // opening it will return the error
}

// readIndex returns the paths of an index's shards, sorted, and the shard of each tensor.
func readIndex(path string) (shards []string, home map[string]string, err error) {
	if info, err := os.Stat(path); err != nil {
		return nil, nil, bare(err)
	} else if !info.Mode().IsRegular() || info.Size() > maxHeader {
		return nil, nil, errors.New("not a regular file of a reasonable size")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, bare(err)
	}
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := pyjson.Unmarshal(text, &index); err != nil {
		return nil, nil, fmt.Errorf("not a valid index: %w", err)
	}
	if len(index.WeightMap) == 0 {
		return nil, nil, errors.New("not a valid index: weight_map is missing or empty")
	}
	home = make(map[string]string, len(index.WeightMap))
	for name, shard := range index.WeightMap {
		if !filepath.IsLocal(shard) { // an index must not reach outside its folder
			return nil, nil, fmt.Errorf("tensor %s: shard %s is not a file of this folder", quote(name), quote(shard))
		}
		home[name] = filepath.Join(filepath.Dir(path), shard)
	}
	shards = slices.Compact(slices.Sorted(maps.Values(home)))
	missing := slices.DeleteFunc(slices.Clone(shards), exists)
	if len(missing) > 0 {
		return nil, nil, fmt.Errorf("%d of %d shards are missing, first %s: fetch the model again", len(missing),
			len(shards), filepath.Base(missing[0]))
	}
	return shards, home, nil
}

// openSet opens files as one set. home, if given, maps a tensor to its file; tensors that it does not mention are
// included if only one file has them.
func openSet(paths []string, home map[string]string) (_ *Set, err error) {
	s := &Set{byName: map[string]*Tensor{}}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	for _, path := range paths {
		f, err := Open(path)
		if err != nil {
			return nil, err
		}
		s.files = append(s.files, f)
		for _, t := range f.tensors {
			if at, ok := home[t.Name]; ok && at != path {
				continue
			}
			if other := s.byName[t.Name]; other != nil {
				return nil, t.errorf("%s has it too", other.file.path)
			}
			s.byName[t.Name] = t
			s.names = append(s.names, t.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(home)) {
		if s.byName[name] == nil {
			return nil, fmt.Errorf("safetensors: %s: tensor %s is not there, though the index says so", home[name],
				quote(name))
		}
	}
	return s, nil
}

// Files returns the set's files, sorted by path.
func (s *Set) Files() []*File { return slices.Clone(s.files) }

// Names returns the names of all tensors, file by file in the order of their data: the order in which reading is
// fastest.
func (s *Set) Names() []string { return slices.Clone(s.names) }

// Tensor returns the tensor called name and whether there is one.
func (s *Set) Tensor(name string) (*Tensor, bool) {
	t, ok := s.byName[name]
	return t, ok
}

// Metadata returns the free strings of all headers; if two files differ, the first file's value is used.
func (s *Set) Metadata() map[string]string {
	all := map[string]string{}
	for _, f := range slices.Backward(s.files) {
		maps.Copy(all, f.metadata)
	}
	return all
}

// Release is t.Release: a hint that t's pages are not needed for now.
func (s *Set) Release(t *Tensor) { t.Release() }

// Close closes every file; see [File.Close].
func (s *Set) Close() error {
	var all []error
	for _, f := range s.files {
		all = append(all, f.Close())
	}
	return errors.Join(all...)
}

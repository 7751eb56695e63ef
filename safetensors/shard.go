package safetensors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// WriteSharded writes tensors into dir as base.safetensors, or, where their data exceeds maxBytes, as
// base-00001-of-0000N.safetensors and so on with base.safetensors.index.json. No shard's data exceeds maxBytes, except
// where one tensor alone does; 0 means no limit. base is "model" for a model that [OpenDir] and Hugging Face's
// libraries are to find.
//
// fill writes the bytes of one tensor ([EncodeFloat32] helps) and is called once for each, in the given order but for a
// shard's larger element sizes first. metadata is written to every file. dir is created if need be.
//
// All files are complete and on disk before the first gets its name, and the index comes last, so an error before that
// leaves dir as it was. An earlier model of the same base is replaced: files of it that the new one lacks are removed.
func WriteSharded(dir, base string, maxBytes int64, specs []Spec, metadata map[string]string,
	fill func(name string, w io.Writer) error) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("safetensors: write %s: %w", dir, bare(err))
	}
	return writeSharded(osFS{}, dir, base, maxBytes, specs, metadata, fill)
}

func writeSharded(fs fileSystem, dir, base string, maxBytes int64, specs []Spec, metadata map[string]string,
	fill func(string, io.Writer) error) error {
	shards, err := split(specs, maxBytes)
	if err != nil {
		return fmt.Errorf("safetensors: write %s: %w", filepath.Join(dir, base), err)
	}
	var done []*Writer
	defer func() {
		for _, w := range done {
			w.Abort()
		}
	}()
	names := make([]string, len(shards))
	for i, shard := range shards {
		names[i] = base + ".safetensors"
		if len(shards) > 1 {
			names[i] = fmt.Sprintf("%s-%05d-of-%05d.safetensors", base, i+1, len(shards))
		}
		w, err := create(fs, filepath.Join(dir, names[i]), shard, metadata)
		if err != nil {
			return err
		}
		done = append(done, w)
		for _, name := range w.order {
			if err := w.WriteFunc(name, func(to io.Writer) error { return fill(name, to) }); err != nil {
				return err
			}
		}
		if err := w.finish(); err != nil {
			return err
		}
	}
	for _, w := range done {
		if err := w.commit(); err != nil {
			return err
		}
	}
	index := base + ".safetensors.index.json"
	if len(shards) > 1 {
		if err := writeIndex(fs, filepath.Join(dir, index), names, shards); err != nil {
			return err
		}
		names = append(names, index)
	}
	return removeOthers(fs, dir, base, names)
}

// split fills shards one after the other.
func split(specs []Spec, maxBytes int64) ([][]Spec, error) {
	seen := map[string]bool{}
	shards, size := [][]Spec{nil}, int64(0)
	for _, s := range specs {
		n, err := s.check()
		if err == nil && seen[s.Name] { // two shards would not notice
			err = errors.New("announced twice")
		}
		if err != nil {
			return nil, fmt.Errorf("tensor %s: %w", quote(s.Name), err)
		}
		seen[s.Name] = true
		last := len(shards) - 1
		if maxBytes > 0 && len(shards[last]) > 0 && int64(n) > maxBytes-size {
			shards, last, size = append(shards, nil), last+1, 0
		}
		shards[last] = append(shards[last], s)
		size += int64(n)
	}
	return shards, nil
}

// writeIndex writes the file that says which shard holds which tensor, in the way of a Writer.
func writeIndex(fs fileSystem, path string, names []string, shards [][]Spec) error {
	var index struct {
		Metadata struct {
			Parameters uint64 `json:"total_parameters"`
			Size       uint64 `json:"total_size"`
		} `json:"metadata"`
		WeightMap map[string]string `json:"weight_map"`
	}
	index.WeightMap = map[string]string{}
	for i, shard := range shards {
		for _, s := range shard {
			n, _ := s.check() // was checked by split
			index.Metadata.Size += n
			index.Metadata.Parameters += n * 8 / uint64(s.DType.Bits())
			index.WeightMap[s.Name] = names[i]
		}
	}
	var b bytes.Buffer
	if err := json.Indent(&b, compactJSON(index), "", "  "); err != nil {
		return fmt.Errorf("safetensors: write %s: %w", path, err)
	}
	text := append(b.Bytes(), '\n')
	w := &Writer{fs: fs, path: path, size: int64(len(text))}
	var err error
	if w.file, w.temp, err = fs.Create(path, w.size); err == nil {
		_, err = w.file.WriteAt(text, 0)
	}
	if err != nil {
		return w.fail("", err)
	}
	return w.Close()
}

// removeOthers removes files of an earlier model with the same base, except those in names.
func removeOthers(fs fileSystem, dir, base string, names []string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("safetensors: write %s: %w", dir, err)
	}
	for _, e := range entries {
		rest, ours := strings.CutPrefix(e.Name(), base)
		ours = ours && (rest == ".safetensors" || rest == ".safetensors.index.json" || isShard(rest))
		if !ours || slices.Contains(names, e.Name()) {
			continue
		}
		if err := fs.Remove(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("safetensors: write %s: removing %s of an earlier model: %w", dir, e.Name(), err)
		}
	}
	return nil
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isShard recognises -00001-of-00003.safetensors.
func isShard(rest string) bool {
	pattern := "-#####-of-#####.safetensors"
	if len(rest) != len(pattern) {
		return false
	}
	for i := range len(rest) {
		if pattern[i] == '#' && !isDigit(rest[i]) || pattern[i] != '#' && pattern[i] != rest[i] {
			return false
		}
	}
	return true
}

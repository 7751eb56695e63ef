// Package gguf reads the header of GGUF files: metadata, and where tensors of which type lie. It takes versions 2 and
// 3.
//
// A file is the magic "GGUF", its version, the counts of tensors and of metadata, the metadata as (key, type, value),
// the tensors as (name, dimensions, type, offset), and the data, which begins at a multiple of general.alignment.
// Everything is little-endian. Headers are not trusted: what does not fit the file is refused before memory is taken.
//
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
package gguf

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"os"
	"slices"
	"strings"
)

// Limits beyond which a header is taken for damaged or hostile.
const (
	maxHeader   = 128 << 20 // bytes; the largest vocabularies need some 20 MB
	maxCount    = 1 << 26   // elements of a list, bytes of a string
	maxDims     = 4
	maxName     = 1 << 10
	maxKey      = 1 << 16
	minKeyValue = 8 + 4 + 1         // bytes of the shortest metadata
	minTensor   = 8 + 4 + 8 + 4 + 8 // bytes of the shortest tensor
)

// File is an open GGUF file.
type File struct {
	Metadata
	Tensors []*Tensor // in the order of the header

	path   string
	f      io.ReaderAt
	close  func() error
	byName map[string]*Tensor
}

// Tensor is where a tensor lies.
type Tensor struct {
	Name  string
	Type  Type
	Shape []int // row-major: the last dimension is contiguous, as in other formats; GGUF writes them in reverse
	file  *File
	at    int64 // of its data in the file
	bytes int64
}

// Is reports whether a path is named as a GGUF file.
func Is(path string) bool { return strings.HasSuffix(strings.ToLower(path), ".gguf") }

// Open reads the header of the file at path. The caller closes it. Errors name the file.
func Open(path string) (*File, error) {
	f, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the GGUF file %s: %w", path, err)
	}
	return f, nil
}

func open(path string) (*File, error) {
	// Opening a pipe would wait for a writer, so look before opening.
	if st, err := os.Stat(path); err != nil {
		return nil, bare(err)
	} else if !st.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, bare(err)
	}
	st, err := f.Stat()
	if err == nil {
		var out *File
		if out, err = Read(f, st.Size()); err == nil {
			out.path, out.close = path, f.Close
			return out, nil
		}
	}
	f.Close()
	return nil, bare(err)
}

// bare is an error without the path, which the caller says.
func bare(err error) error {
	if p := new(os.PathError); errors.As(err, &p) {
		return p.Err
	}
	return err
}

// Read reads the header of a file of the given size.
func Read(f io.ReaderAt, size int64) (*File, error) {
	r := newReader(f, size)
	out := &File{f: f, Metadata: Metadata{}, byName: map[string]*Tensor{}}
	tensors, values, err := r.start()
	if err != nil {
		return nil, err
	}
	for i := range values {
		if err := r.keyValue(out.Metadata); err != nil {
			return nil, fmt.Errorf("metadata %d of %d: %w", i+1, values, err)
		}
	}
	for i := range tensors {
		t, err := r.tensor()
		if err != nil {
			return nil, fmt.Errorf("tensor %d of %d: %w", i+1, tensors, err)
		}
		if out.byName[t.Name] != nil {
			return nil, fmt.Errorf("tensor %q is given twice", t.Name)
		}
		t.file, out.byName[t.Name] = out, t
		out.Tensors = append(out.Tensors, t)
	}
	align, err := out.alignment()
	if err != nil {
		return nil, err
	}
	return out, out.place((r.at+align-1)/align*align, align, size)
}

// alignment is general.alignment, 32 where it is not given.
func (f *File) alignment() (int64, error) {
	if !f.Has("general.alignment") {
		return 32, nil
	}
	n, ok := f.Int("general.alignment")
	if !ok || n < 1 || n > 1<<20 || bits.OnesCount64(uint64(n)) != 1 {
		return 0, fmt.Errorf("general.alignment is %v, which is no power of two up to %d",
			f.Metadata["general.alignment"],
			1<<20)
	}
	return n, nil
}

// place makes the offsets of tensors places in the file, and checks them: inside the file, aligned, one after the
// other.
func (f *File) place(start, align, size int64) error {
	order := slices.Clone(f.Tensors)
	slices.SortStableFunc(order, func(a, b *Tensor) int {
		switch {
		case a.at < b.at:
			return -1
		case a.at > b.at:
			return 1
		}
		return 0
	})
	end := int64(0)
	for _, t := range order {
		switch {
		case t.at%align != 0:
			return fmt.Errorf("tensor %q begins at %d, which is no multiple of the alignment %d", t.Name, t.at, align)
		case t.at < end:
			return fmt.Errorf("tensor %q overlaps another one", t.Name)
		case t.at > math.MaxInt64-start-t.bytes || start+t.at+t.bytes > size:
			return fmt.Errorf("tensor %q ends beyond the end of the file (%d bytes): the download was probably cut off",
				t.Name, size)
		}
		end = t.at + t.bytes
	}
	for _, t := range order {
		t.at += start
	}
	return nil
}

// Path is the path that the file was opened by.
func (f *File) Path() string { return f.path }

// Tensor returns the tensor called name and whether there is one.
func (f *File) Tensor(name string) (*Tensor, bool) {
	t, ok := f.byName[name]
	return t, ok
}

// Close closes the file.
func (f *File) Close() error {
	if f.close == nil {
		return nil
	}
	return f.close()
}

// Elements is the number of elements.
func (t *Tensor) Elements() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Bytes is the number of bytes.
func (t *Tensor) Bytes() int64 { return t.bytes }

// RowBytes is the number of bytes of a row.
func (t *Tensor) RowBytes() int { return t.Type.rowBytes(t.Shape[len(t.Shape)-1]) }

// ReadRows reads rows from row0 on into dst, as they are stored: as many as fit. A vector is one row.
func (t *Tensor) ReadRows(dst []byte, row0 int) error {
	at := int64(row0) * int64(t.RowBytes())
	if at < 0 || at+int64(len(dst)) > t.bytes {
		return fmt.Errorf("tensor %q has no %d bytes from row %d on", t.Name, len(dst), row0)
	}
	if _, err := t.file.f.ReadAt(dst, t.at+at); err != nil && !(err == io.EOF && len(dst) == 0) {
		return fmt.Errorf("reading tensor %q of %s: %w", t.Name, t.file.path, bare(err))
	}
	return nil
}

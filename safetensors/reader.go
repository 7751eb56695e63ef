package safetensors

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
)

// File is an open safetensors file.
type File struct {
	path     string
	tensors  []*Tensor // in the order of their data
	byName   map[string]*Tensor
	metadata map[string]string
	data     []byte // the whole file; nil once closed
	mapped   bool   // data is a mapping, not memory of the Go heap
}

// Open maps the file at path and checks its header; no tensor is read. The caller closes it.
func Open(path string) (*File, error) {
	f, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("safetensors: open %s: %w", path, bare(err))
	}
	return f, nil
}

// bare strips the operation and paths that package os puts before its errors, for callers that say both themselves.
func bare(err error) error {
	switch e := err.(type) {
	case *os.PathError:
		return e.Err
	case *os.LinkError:
		return e.Err
	}
	return err
}

func open(path string) (*File, error) {
	// Opening a pipe would wait for a writer, so look before opening.
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close() // a mapping outlives its descriptor
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > math.MaxInt {
		return nil, fmt.Errorf("%d bytes do not fit the address space of this machine", info.Size())
	}
	h, err := readHeader(file, info.Size())
	if err != nil {
		return nil, err
	}
	data, mapped, err := mapFile(file, int(info.Size()))
	if err != nil {
		return nil, fmt.Errorf("mapping into memory: %w", err)
	}
	return newFile(path, h, data, mapped), nil
}

// FromBytes reads a whole file held in memory; name stands for its path in errors. The tensors are views of data.
func FromBytes(name string, data []byte) (*File, error) {
	h, err := readHeader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("safetensors: %s: %w", name, err)
	}
	return newFile(name, h, data, false), nil
}

func newFile(path string, h header, data []byte, mapped bool) *File {
	f := &File{path: path, metadata: h.metadata, data: data, mapped: mapped,
		byName: make(map[string]*Tensor, len(h.entries))}
	list := make([]Tensor, len(h.entries))
	for i, e := range h.entries {
		begin, end := int(h.start)+e.begin, int(h.start)+e.end
		list[i] = Tensor{Name: e.name, DType: e.dtype, Shape: e.shape, file: f, data: data[begin:end:end]}
		f.tensors = append(f.tensors, &list[i])
		f.byName[e.name] = &list[i]
	}
	return f
}

// Path is the path that the file was opened by.
func (f *File) Path() string { return f.path }

// Names returns the names of all tensors in the order of their data.
func (f *File) Names() []string {
	names := make([]string, len(f.tensors))
	for i, t := range f.tensors {
		names[i] = t.Name
	}
	return names
}

// Tensor returns the tensor called name and whether there is one.
func (f *File) Tensor(name string) (*Tensor, bool) {
	t, ok := f.byName[name]
	return t, ok
}

// Metadata returns a copy of the header's free strings, such as "format": "pt"; nil where the header has none.
func (f *File) Metadata() map[string]string { return maps.Clone(f.metadata) }

// Close unmaps the file. Views of its tensors become invalid: reading one afterwards crashes the program. Methods of
// tensors return errors instead. Closing twice is no error.
func (f *File) Close() error {
	data := f.data
	f.data = nil
	if data == nil || !f.mapped {
		return nil
	}
	if err := unmap(data); err != nil {
		return fmt.Errorf("safetensors: close %s: %w", f.path, err)
	}
	return nil
}

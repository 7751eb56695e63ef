package safetensors

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"syscall"
	"unicode/utf8"
)

// Spec declares a tensor that a Writer will write.
type Spec struct {
	Name  string
	DType DType
	Shape []int // empty for a scalar
}

// Writer writes one file, a tensor at a time, holding none of them in memory.
//
// The bytes go to a hidden file beside path that replaces path in Close, when every announced tensor is there and on
// disk. Until then, and after any error or Abort, path is unchanged and no temporary file is left. Every later call
// returns the first error. Disk space is reserved at once where the system supports it, so that a full disk is an error
// of Create.
//
//	w, err := safetensors.Create(path, specs, map[string]string{"format": "pt"})
//	...
//	defer w.Abort() // does nothing after Close
//	for _, s := range specs {
//		err = w.WriteFloat32(s.Name, weights[s.Name])
//	}
//	err = w.Close()
type Writer struct {
	fs         fileSystem
	path, temp string
	file       tempFile // nil once closed
	places     map[string]*place
	order      []string // names in the order of their data
	size       int64
	buffer     *bufio.Writer
	err        error
}

// place is where a tensor goes in the file.
type place struct {
	dtype      DType
	begin, end int64
	written    bool
}

// Create begins a file of exactly the given tensors. They are laid out by falling element size and otherwise in the
// given order, which keeps all data aligned, and may be written in any order. metadata becomes the header's free
// strings; Hugging Face's libraries expect "format": "pt" there. It is nil for none.
func Create(path string, specs []Spec, metadata map[string]string) (*Writer, error) {
	return create(osFS{}, path, specs, metadata)
}

func create(fs fileSystem, path string, specs []Spec, metadata map[string]string) (*Writer, error) {
	w := &Writer{fs: fs, path: path, places: map[string]*place{}, buffer: bufio.NewWriterSize(nil, 256<<10)}
	head, err := w.layout(specs, metadata)
	if err != nil {
		return nil, fmt.Errorf("safetensors: create %s: %w", path, err)
	}
	if w.file, w.temp, err = fs.Create(path, w.size); err == nil {
		_, err = w.file.WriteAt(head, 0)
	}
	if err != nil {
		return nil, w.fail("", err)
	}
	return w, nil
}

// layout places the tensors and returns the first bytes of the file, up to the data.
func (w *Writer) layout(specs []Spec, metadata map[string]string) ([]byte, error) {
	sorted := slices.Clone(specs)
	slices.SortStableFunc(sorted, func(a, b Spec) int { return cmp.Compare(b.DType.Bits(), a.DType.Bits()) })
	head := append(make([]byte, 8), '{')
	if metadata != nil {
		text, err := metadataJSON(metadata)
		if err != nil {
			return nil, err
		}
		head = append(append(head, `"`+metadataKey+`":`...), text...)
	}
	at := int64(0)
	for _, s := range sorted {
		size, err := s.check()
		if err == nil && w.places[s.Name] != nil {
			err = errors.New("announced twice")
		}
		if err == nil && int64(size) > math.MaxInt64-at-2*maxHeader {
			err = errors.New("the file grows beyond 2^63 bytes")
		}
		if err != nil {
			return nil, fmt.Errorf("tensor %s: %w", quote(s.Name), err)
		}
		if len(head) > 9 {
			head = append(head, ',')
		}
		head = append(head, appendEntry(s, at, at+int64(size))...)
		w.places[s.Name] = &place{dtype: s.DType, begin: at, end: at + int64(size)}
		w.order = append(w.order, s.Name)
		at += int64(size)
	}
	head = append(head, '}')
	head = append(head, bytes.Repeat([]byte(" "), -len(head)&7)...) // data starts at a multiple of 8
	if len(head)-8 > maxHeader {
		return nil, fmt.Errorf("the header would have %d bytes, at most %d are allowed", len(head)-8, maxHeader)
	}
	binary.LittleEndian.PutUint64(head, uint64(len(head)-8))
	for _, p := range w.places {
		p.begin, p.end = p.begin+int64(len(head)), p.end+int64(len(head))
	}
	w.size = at + int64(len(head))
	return head, nil
}

// check returns the tensor's size in bytes.
func (s Spec) check() (uint64, error) {
	switch {
	case s.DType.Bits() == 0:
		return 0, fmt.Errorf("unknown dtype %s", quote(string(s.DType)))
	case s.Name == metadataKey:
		return 0, errors.New("the name is reserved")
	case !utf8.ValidString(s.Name):
		return 0, errors.New("the name is not valid UTF-8")
	case slices.ContainsFunc(s.Shape, func(n int) bool { return n < 0 }):
		return 0, fmt.Errorf("shape %v has a negative size", s.Shape)
	}
	size, err := byteSize(s.DType, s.Shape)
	if err == nil && size > math.MaxInt64 {
		err = fmt.Errorf("shape %v of %s overflows 63 bits", s.Shape, s.DType)
	}
	return size, err
}

func metadataJSON(metadata map[string]string) ([]byte, error) {
	for _, k := range slices.Sorted(maps.Keys(metadata)) {
		if !utf8.ValidString(k) || !utf8.ValidString(metadata[k]) {
			return nil, fmt.Errorf("metadata %s is not valid UTF-8", quote(k))
		}
	}
	return compactJSON(metadata), nil
}

func appendEntry(s Spec, begin, end int64) []byte {
	type entry struct {
		DType   DType    `json:"dtype"`
		Shape   []int    `json:"shape"`
		Offsets [2]int64 `json:"data_offsets"`
	}
	shape := append([]int{}, s.Shape...) // [], not null
	return slices.Concat(compactJSON(s.Name), []byte{':'}, compactJSON(entry{s.DType, shape, [2]int64{begin, end}}))
}

// compactJSON encodes v, which is known to be encodable, without HTML's escapes.
func compactJSON(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// Write writes the tensor called name from its bytes: row-major, little-endian, exactly as many as announced.
func (w *Writer) Write(name string, data []byte) error {
	return w.WriteFunc(name, func(to io.Writer) error {
		_, err := to.Write(data)
		return err
	})
}

// WriteFloat32 writes the tensor called name from src, converted to its announced type: F32, F64, BF16 or F16.
func (w *Writer) WriteFloat32(name string, src []float32) error {
	return w.WriteFunc(name, func(to io.Writer) error {
		return EncodeFloat32(to, w.places[name].dtype, src)
	})
}

// WriteFunc writes the tensor called name from what fill writes, in pieces of any size, exactly as many bytes as
// announced.
func (w *Writer) WriteFunc(name string, fill func(to io.Writer) error) error {
	if w.err != nil {
		return w.err
	}
	p := w.places[name]
	switch {
	case p == nil:
		return w.fail(name, errors.New("written but never announced"))
	case p.written:
		return w.fail(name, errors.New("written twice"))
	}
	p.written = true
	to := &section{to: w.file, at: p.begin, end: p.end, size: p.end - p.begin}
	w.buffer.Reset(to)
	err := fill(w.buffer)
	if err == nil {
		err = w.buffer.Flush()
	}
	if err == nil && to.at < to.end {
		err = fmt.Errorf("only %d of %d announced bytes were written", to.size-(to.end-to.at), to.size)
	}
	if err != nil {
		return w.fail(name, err)
	}
	return nil
}

// section writes to a part of a file and refuses to go beyond.
type section struct {
	to            io.WriterAt
	at, end, size int64
}

func (s *section) Write(b []byte) (int, error) {
	if int64(len(b)) > s.end-s.at {
		return 0, fmt.Errorf("more than the %d announced bytes were written", s.size)
	}
	n, err := s.to.WriteAt(b, s.at)
	s.at += int64(n)
	return n, err
}

// Close completes the file: on disk, under its name. An announced tensor that was not written is an error, and like
// every error it leaves things as they were before Create.
func (w *Writer) Close() error {
	if err := w.finish(); err != nil {
		return err
	}
	return w.commit()
}

// Abort gives the file up, unless Close was called before.
func (w *Writer) Abort() {
	if w.err == nil {
		w.err = fmt.Errorf("safetensors: write %s: already closed or given up", w.path)
	}
	w.discard()
}

// finish makes the temporary file complete and durable.
func (w *Writer) finish() error {
	if w.err != nil {
		return w.err
	}
	for _, name := range w.order {
		if !w.places[name].written {
			return w.fail(name, errors.New("announced but never written"))
		}
	}
	err := w.file.Sync()
	if closing := w.file.Close(); err == nil {
		err = closing
	}
	w.file = nil
	if err != nil {
		return w.fail("", err)
	}
	return nil
}

// commit gives the finished file its name.
func (w *Writer) commit() error {
	if err := w.fs.Rename(w.temp, w.path); err != nil {
		return w.fail("", err)
	}
	w.temp = ""
	w.Abort() // nothing is left to discard; from now on the Writer refuses
	if err := w.fs.SyncDir(w.path); err != nil {
		return fmt.Errorf("safetensors: write %s: the file is there, but its folder cannot be synced: %w", w.path, err)
	}
	return nil
}

// fail records the first error, wrapped, and discards the temporary file.
func (w *Writer) fail(name string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = fmt.Errorf("%w: the file needs %d bytes: free space or write elsewhere", err, w.size)
	}
	at := ""
	if name != "" {
		at = "tensor " + quote(name) + ": "
	}
	w.err = fmt.Errorf("safetensors: write %s: %s%w", w.path, at, err)
	w.discard()
	return w.err
}

func (w *Writer) discard() {
	if w.file != nil {
		w.file.Close()
		w.file = nil
	}
	if w.temp != "" {
		_ = w.fs.Remove(w.temp) // there is an error already, and nothing else to be done
		w.temp = ""
	}
}

package safetensors

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Shared is a file that a Writer has begun, for other processes that write parts of its tensors: gob and JSON carry it.
type Shared struct {
	Path   string // of the finished file
	Temp   string // where it is until Close, absolute, with a name that is random
	Size   int64
	Places map[string]Place
}

// Place is where a tensor lies in a file.
type Place struct {
	Begin, End int64
	DType      DType
}

// Share lets others write the tensors, in parts. Whoever calls Close knows that all parts are there and on disk.
func (w *Writer) Share() (Shared, error) {
	if w.err != nil {
		return Shared{}, w.err
	}
	temp, err := filepath.Abs(w.temp)
	if err == nil { // where no space could be reserved it is shorter
		err = bare(os.Truncate(temp, w.size))
	}
	if err != nil {
		return Shared{}, w.fail("", err)
	}
	s := Shared{Path: w.path, Temp: temp, Size: w.size, Places: map[string]Place{}}
	for name, p := range w.places {
		s.Places[name] = Place{p.begin, p.end, p.dtype}
		p.written = true
	}
	return s, nil
}

// ErrNotShared is the error of Open where this process does not see the file.
var ErrNotShared = errors.New("the file is not there: this host has another disk")

// Part writes parts of the tensors of a file that another process has begun, and will complete.
type Part struct {
	s      Shared
	file   *os.File
	buffer *bufio.Writer
}

// Open opens the file for its parts. It is opened for writing only: over NFS several hosts may then write neighbouring
// bytes, since none of them reads a page and writes it back.
func (s Shared) Open() (*Part, error) {
	f, err := os.OpenFile(s.Temp, os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("safetensors: write %s: %w: %w", s.Path, ErrNotShared, err)
	}
	if info, err := f.Stat(); err != nil || info.Size() != s.Size {
		f.Close()
		return nil, fmt.Errorf("safetensors: write %s: %w", s.Path, ErrNotShared)
	}
	return &Part{s: s, file: f, buffer: bufio.NewWriterSize(nil, 256<<10)}, nil
}

// WriteFloat32 writes elements of the tensor called name from number from on, converted to its type.
func (p *Part) WriteFloat32(name string, from int, src []float32) error {
	at, ok := p.s.Places[name]
	bytes := int64(at.DType.Bits() / 8)
	begin := at.Begin + int64(from)*bytes
	end := begin + int64(len(src))*bytes
	if !ok || from < 0 || end > at.End {
		return fmt.Errorf("safetensors: write %s: tensor %s: elements [%d, %d) are not in it", p.s.Path, quote(name), from,
			from+len(src))
	}
	p.buffer.Reset(&section{to: p.file, at: begin, end: end, size: end - begin})
	err := EncodeFloat32(p.buffer, at.DType, src)
	if err == nil {
		err = p.buffer.Flush()
	}
	if err != nil {
		return fmt.Errorf("safetensors: write %s: tensor %s: %w", p.s.Path, quote(name), bare(err))
	}
	return nil
}

// Close brings what was written to disk.
func (p *Part) Close() error {
	err := p.file.Sync()
	if closing := p.file.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return fmt.Errorf("safetensors: write %s: %w", p.s.Path, bare(err))
	}
	return nil
}

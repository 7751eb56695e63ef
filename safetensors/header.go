package safetensors

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"github.com/zerosearch-go/zerosearch/internal/jsonscan"
)

// maxHeader is the largest header that the format allows, in bytes.
const maxHeader = 100_000_000

const metadataKey = "__metadata__"

// entry is one tensor of a header; begin and end count from the start of the data.
type entry struct {
	name       string
	dtype      DType
	shape      []int
	begin, end int
}

// header is a parsed header: the tensors in the order of their data and where that data starts in the file.
type header struct {
	entries  []entry
	metadata map[string]string
	start    int64
}

// readHeader reads and checks the header of a file of the given size.
func readHeader(r io.ReaderAt, size int64) (header, error) {
	var first [8]byte
	if size < 8 {
		return header{}, fmt.Errorf("%d bytes are too few for a safetensors file: the download was probably cut off",
			size)
	}
	if _, err := r.ReadAt(first[:], 0); err != nil {
		return header{}, fmt.Errorf("reading the header: %w", bare(err))
	}
	n := binary.LittleEndian.Uint64(first[:])
	switch {
	case string(first[:]) == "version ":
		return header{}, errors.New("this is a Git LFS pointer, not the tensors: fetch the real file with git lfs pull")
	case n > maxHeader:
		return header{}, fmt.Errorf("the header would have %d bytes, at most %d are allowed: not a safetensors file", n,
			maxHeader)
	case int64(n) > size-8:
		return header{}, fmt.Errorf("the header needs %d bytes, the file has %d: it was cut off", n+8, size)
	}
	text := make([]byte, n)
	if _, err := r.ReadAt(text, 8); err != nil {
		return header{}, fmt.Errorf("reading the header: %w", bare(err))
	}
	h, err := parseHeader(text)
	if err != nil {
		return header{}, err
	}
	h.start = 8 + int64(n)
	return h, h.checkCover(size - h.start)
}

// parseHeader parses the JSON of a header and checks each tensor by itself.
func parseHeader(text []byte) (header, error) {
	var h header
	if !utf8.Valid(text) {
		return h, errors.New("the header is not valid UTF-8: not a safetensors file, or a damaged one")
	}
	s := &jsonscan.Scanner{Text: text, Of: "the header"}
	seen := map[string]bool{}
	err := s.Object(func(key []byte) error {
		name := string(key)
		if seen[name] {
			return s.Errorf("%s is given twice", quote(name))
		}
		seen[name] = true
		if name == metadataKey {
			return h.readMetadata(s)
		}
		e, err := readEntry(s, name)
		if err != nil {
			return fmt.Errorf("tensor %s: %w", quote(name), err)
		}
		h.entries = append(h.entries, e)
		return nil
	})
	if err == nil {
		err = s.End()
	}
	return h, err
}

func (h *header) readMetadata(s *jsonscan.Scanner) error {
	if s.Literal("null") {
		return nil
	}
	h.metadata = map[string]string{}
	return s.Object(func(raw []byte) error {
		key := string(raw)
		if _, twice := h.metadata[key]; twice {
			return s.Errorf("%s is given twice in %s", quote(key), metadataKey)
		}
		value, err := s.Str(nil)
		if err != nil {
			return fmt.Errorf("%s %s: %w", metadataKey, quote(key), err)
		}
		h.metadata[key] = string(value)
		return nil
	})
}

// readEntry reads {"dtype":...,"shape":[...],"data_offsets":[begin,end]}, in any order; other fields are skipped.
func readEntry(s *jsonscan.Scanner, name string) (entry, error) {
	e := entry{name: name, shape: []int{}}
	seen := map[string]bool{}
	err := s.Object(func(key []byte) (err error) {
		field := string(key)
		if seen[field] {
			return s.Errorf("%s is given twice", quote(field))
		}
		seen[field] = true
		switch field {
		case "dtype":
			var d []byte
			if d, err = s.Str(nil); err == nil && DType(d).Bits() == 0 {
				err = fmt.Errorf("unknown dtype %s", quote(string(d)))
			}
			e.dtype = DType(d)
		case "shape":
			e.shape, err = uints(s)
		case "data_offsets":
			var o []int
			if o, err = uints(s); err == nil && len(o) != 2 {
				err = fmt.Errorf("data_offsets has %d numbers, not 2", len(o))
			}
			if err == nil {
				e.begin, e.end = o[0], o[1]
			}
		default:
			err = s.Skip(1)
		}
		return err
	})
	for _, field := range [...]string{"dtype", "shape", "data_offsets"} {
		if err == nil && !seen[field] {
			err = fmt.Errorf("%s is missing", field)
		}
	}
	if err == nil {
		err = e.check()
	}
	return e, err
}

// uints reads an array of integers of 0 or more.
func uints(s *jsonscan.Scanner) ([]int, error) {
	list := []int{}
	err := s.Array(func() error {
		n, err := s.Uint()
		list = append(list, n)
		return err
	})
	return list, err
}

// check compares the size that type and shape give with the one that the offsets give.
func (e *entry) check() error {
	size, err := byteSize(e.dtype, e.shape)
	switch {
	case err != nil:
		return err
	case e.end < e.begin:
		return fmt.Errorf("data_offsets [%d %d] run backwards", e.begin, e.end)
	case size != uint64(e.end-e.begin):
		return fmt.Errorf("shape %v of %s needs %d bytes, data_offsets [%d %d] hold %d", e.shape, e.dtype, size,
			e.begin, e.end, e.end-e.begin)
	}
	return nil
}

// checkCover sorts the tensors by place and demands that they cover data bytes exactly.
func (h *header) checkCover(data int64) error {
	slices.SortStableFunc(h.entries,
		func(a, b entry) int { return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end)) })
	at := 0
	for _, e := range h.entries {
		if e.begin != at {
			fault := "leaves a hole before it"
			if e.begin < at {
				fault = "overlaps another tensor"
			}
			return fmt.Errorf("tensor %s: data_offsets [%d %d]: %s: byte %d was to be next", quote(e.name), e.begin,
				e.end, fault, at)
		}
		at = e.end
	}
	switch {
	case int64(at) > data:
		return fmt.Errorf("%d of %d bytes of data are missing: the file was cut off, fetch it again", int64(at)-data,
			at)
	case int64(at) < data:
		return fmt.Errorf("%d bytes follow the last tensor: the file is damaged", data-int64(at))
	}
	return nil
}

// quote quotes a name from outside for an error of one line and reasonable length.
func quote(name string) string {
	const most = 120
	if len(name) > most {
		cut := most
		for cut > 0 && !utf8.RuneStart(name[cut]) {
			cut--
		}
		return fmt.Sprintf("%q... (%d bytes)", name[:cut], len(name))
	}
	return fmt.Sprintf("%q", name)
}

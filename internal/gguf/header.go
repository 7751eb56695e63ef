package gguf

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"unicode/utf8"
)

// Metadata are the values of a header by key: uint64, int64, float64, bool, string, or slices of these.
type Metadata map[string]any

// Types of metadata.
const (
	kindUint8 = iota
	kindInt8
	kindUint16
	kindInt16
	kindUint32
	kindInt32
	kindFloat32
	kindBool
	kindString
	kindArray
	kindUint64
	kindInt64
	kindFloat64
	kinds
)

// kindBytes is the size of a value, of a string or an array the least.
var kindBytes = [kinds]int64{1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8}

// reader reads the header in order.
type reader struct {
	b     *bufio.Reader
	at    int64 // bytes that have been read
	limit int64 // bytes that a header can have
	size  int64 // of the file
}

func newReader(f io.ReaderAt, size int64) *reader {
	return &reader{b: bufio.NewReaderSize(io.NewSectionReader(f, 0, size), 1<<16), limit: min(size, maxHeader),
		size: size}
}

// room refuses what the header cannot hold.
func (r *reader) room(n int64) error {
	switch {
	case n <= r.limit-r.at:
		return nil
	case r.limit < r.size:
		return fmt.Errorf("the header needs more than %d bytes, which no model does: the file is damaged", r.limit)
	}
	return fmt.Errorf("the file ends inside the header, after %d bytes: the download was probably cut off", r.size)
}

// bytes reads n bytes.
func (r *reader) bytes(n int64) ([]byte, error) {
	if err := r.room(n); err != nil {
		return nil, err
	}
	out := make([]byte, n)
	k, err := io.ReadFull(r.b, out)
	r.at += int64(k)
	if err != nil {
		return nil, bare(err)
	}
	return out, nil
}

func (r *reader) uint32() (uint32, error) {
	b, err := r.bytes(4)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}

func (r *reader) uint64() (uint64, error) {
	b, err := r.bytes(8)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b), nil
}

// count reads the number of things that need each bytes at least.
func (r *reader) count(each int64) (int64, error) {
	n, err := r.uint64()
	if err != nil {
		return 0, err
	}
	if n > maxCount {
		return 0, fmt.Errorf("it would have %d elements, which no model does: the file is damaged", n)
	}
	return int64(n), r.room(int64(n) * each)
}

func (r *reader) text(longest int64) (string, error) {
	n, err := r.count(1)
	if err != nil {
		return "", err
	}
	if n > longest {
		return "", fmt.Errorf("it would have a name of %d bytes: the file is damaged", n)
	}
	b, err := r.bytes(n)
	return string(b), err
}

// start reads magic, version and counts.
func (r *reader) start() (tensors, values int64, err error) {
	magic, err := r.bytes(4)
	if err != nil {
		return 0, 0, fmt.Errorf("%d bytes are too few for a GGUF file", r.size)
	}
	if string(magic) == "vers" {
		return 0, 0, errors.New("this is a Git LFS pointer, not the model: fetch the real file with git lfs pull")
	}
	if string(magic) != "GGUF" {
		return 0, 0, errors.New("it does not begin with GGUF: it is another format, or an older one")
	}
	version, err := r.uint32()
	if err != nil {
		return 0, 0, err
	}
	switch {
	case version == 2 || version == 3:
	case bits.ReverseBytes32(version) < 1<<16:
		return 0, 0, errors.New("its numbers are big-endian: convert it to little-endian")
	default:
		return 0, 0, fmt.Errorf("GGUF version %d is not supported: only 2 and 3 are", version)
	}
	if tensors, err = r.count(minTensor); err == nil {
		values, err = r.count(minKeyValue)
	}
	return tensors, values, err
}

// keyValue reads one piece of metadata.
func (r *reader) keyValue(m Metadata) error {
	key, err := r.text(maxKey)
	if err != nil {
		return fmt.Errorf("its key: %w", err)
	}
	if !utf8.ValidString(key) {
		return errors.New("its key is not UTF-8: the file is damaged")
	}
	if _, twice := m[key]; twice {
		return fmt.Errorf("%q is given twice", key)
	}
	kind, err := r.uint32()
	if err == nil {
		m[key], err = r.value(kind)
	}
	if err != nil {
		return fmt.Errorf("%q: %w", key, err)
	}
	return nil
}

func (r *reader) value(kind uint32) (any, error) {
	switch kind {
	case kindString:
		return r.text(maxHeader)
	case kindArray:
		return r.array()
	}
	if kind >= kinds {
		return nil, fmt.Errorf("its type is %d, which the format does not know", kind)
	}
	b, err := r.bytes(kindBytes[kind])
	if err != nil {
		return nil, err
	}
	return scalar(kind, b)
}

// scalar decodes a number or a truth value.
func scalar(kind uint32, b []byte) (any, error) {
	le := binary.LittleEndian
	switch kind {
	case kindUint8:
		return uint64(b[0]), nil
	case kindInt8:
		return int64(int8(b[0])), nil
	case kindUint16:
		return uint64(le.Uint16(b)), nil
	case kindInt16:
		return int64(int16(le.Uint16(b))), nil
	case kindUint32:
		return uint64(le.Uint32(b)), nil
	case kindInt32:
		return int64(int32(le.Uint32(b))), nil
	case kindUint64:
		return le.Uint64(b), nil
	case kindInt64:
		return int64(le.Uint64(b)), nil
	case kindFloat32:
		return float64(math.Float32frombits(le.Uint32(b))), nil
	case kindFloat64:
		return math.Float64frombits(le.Uint64(b)), nil
	}
	if b[0] > 1 {
		return nil, fmt.Errorf("its truth value is %d", b[0])
	}
	return b[0] == 1, nil
}

// array reads a list of strings, of numbers or of truth values.
func (r *reader) array() (any, error) {
	kind, err := r.uint32()
	if err != nil {
		return nil, err
	}
	if kind >= kinds || kind == kindArray {
		return nil, fmt.Errorf("it is a list of type %d, which no model has", kind)
	}
	n, err := r.count(kindBytes[kind])
	if err != nil {
		return nil, err
	}
	switch kind {
	case kindString:
		return list(n, func() (string, error) { return r.text(maxHeader) })
	case kindBool:
		return numbers[bool](r, kind, n)
	case kindFloat32, kindFloat64:
		return numbers[float64](r, kind, n)
	case kindInt8, kindInt16, kindInt32, kindInt64:
		return numbers[int64](r, kind, n)
	}
	return numbers[uint64](r, kind, n)
}

func numbers[E any](r *reader, kind uint32, n int64) ([]E, error) {
	return list(n, func() (out E, err error) {
		b, err := r.bytes(kindBytes[kind])
		if err != nil {
			return out, err
		}
		v, err := scalar(kind, b)
		if err == nil {
			out = v.(E)
		}
		return out, err
	})
}

func list[E any](n int64, next func() (E, error)) ([]E, error) {
	out := make([]E, 0, n)
	for range n {
		e, err := next()
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// tensor reads where a tensor lies: at counts from the beginning of the data.
func (r *reader) tensor() (*Tensor, error) {
	name, err := r.text(maxName)
	if err != nil {
		return nil, fmt.Errorf("its name: %w", err)
	}
	t := &Tensor{Name: name}
	fail := func(format string, args ...any) (*Tensor, error) {
		return nil, fmt.Errorf("%q: %w", name, fmt.Errorf(format, args...))
	}
	dims, err := r.uint32()
	if err != nil {
		return fail("%w", err)
	}
	if dims < 1 || dims > maxDims {
		return fail("it has %d dimensions: between 1 and %d are possible", dims, maxDims)
	}
	elements := uint64(1)
	t.Shape = make([]int, dims)
	for i := range t.Shape {
		n, err := r.uint64()
		if err != nil {
			return fail("%w", err)
		}
		hi, lo := bits.Mul64(elements, n)
		if n == 0 || hi != 0 || lo > 1<<48 {
			return fail("its dimension %d is %d, which cannot be", i+1, n)
		}
		elements, t.Shape[len(t.Shape)-1-i] = lo, int(n)
	}
	kind, err := r.uint32()
	if err != nil {
		return fail("%w", err)
	}
	offset, err := r.uint64()
	if err != nil {
		return fail("%w", err)
	}
	t.Type = Type(kind)
	block, bytes := t.Type.Block()
	switch row := t.Shape[len(t.Shape)-1]; {
	case block == 0:
		return fail("its type is %d, which is not known here", kind)
	case row%block != 0:
		return fail("its rows of %d elements do not consist of blocks of %d, as %s needs", row, block, t.Type)
	case offset > math.MaxInt64:
		return fail("it begins at %d, which is beyond the end of the file", offset)
	}
	t.at, t.bytes = int64(offset), int64(elements)/int64(block)*int64(bytes)
	return t, nil
}

// Has reports whether there is a value.
func (m Metadata) Has(key string) bool { return m[key] != nil }

// Int is a whole number; ok is false if it is something else, or is not there.
func (m Metadata) Int(key string) (n int64, ok bool) {
	switch v := m[key].(type) {
	case uint64:
		return int64(v), v <= math.MaxInt64
	case int64:
		return v, true
	}
	return 0, false
}

// Float is a number.
func (m Metadata) Float(key string) (x float64, ok bool) {
	if n, ok := m.Int(key); ok {
		return float64(n), true
	}
	x, ok = m[key].(float64)
	return x, ok
}

// Text is a string.
func (m Metadata) Text(key string) (s string, ok bool) {
	s, ok = m[key].(string)
	return s, ok
}

// Bool is a truth value.
func (m Metadata) Bool(key string) (b, ok bool) {
	b, ok = m[key].(bool)
	return b, ok
}

// Texts is a list of strings.
func (m Metadata) Texts(key string) (list []string, ok bool) {
	list, ok = m[key].([]string)
	return list, ok
}

// Ints is a list of whole numbers.
func (m Metadata) Ints(key string) (list []int64, ok bool) {
	switch v := m[key].(type) {
	case []int64:
		return v, true
	case []uint64:
		for _, n := range v {
			list = append(list, int64(n))
		}
		return list, true
	}
	return nil, false
}

// Floats is a list of numbers.
func (m Metadata) Floats(key string) (list []float64, ok bool) {
	list, ok = m[key].([]float64)
	return list, ok
}

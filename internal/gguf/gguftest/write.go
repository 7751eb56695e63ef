// Package gguftest writes GGUF files for tests.
package gguftest

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/zerosearch-go/zerosearch/internal/gguf"
)

// KV is a piece of metadata: a string, bool, uint32, int32, float32, or a slice of string, int32 or float32.
type KV struct {
	Key   string
	Value any
}

// Tensor is a tensor with its bytes.
type Tensor struct {
	Name  string
	Type  gguf.Type
	Shape []int // row-major
	Data  []byte
}

// align is general.alignment where the metadata has none.
const align = 32

// File is the bytes of a GGUF file of version 3.
func File(meta []KV, tensors []Tensor) []byte {
	var b bytes.Buffer
	put := func(v any) { binary.Write(&b, binary.LittleEndian, v) }
	text := func(s string) {
		put(uint64(len(s)))
		b.WriteString(s)
	}
	b.WriteString("GGUF")
	put(uint32(3))
	put(uint64(len(tensors)))
	put(uint64(len(meta)))
	for _, kv := range meta {
		text(kv.Key)
		switch v := kv.Value.(type) {
		case string:
			put(uint32(8))
			text(v)
		case []string:
			put([]uint32{9, 8})
			put(uint64(len(v)))
			for _, s := range v {
				text(s)
			}
		case []int32:
			put([]uint32{9, 5})
			put(uint64(len(v)))
			put(v)
		case []float32:
			put([]uint32{9, 6})
			put(uint64(len(v)))
			put(v)
		default:
			kind := map[string]uint32{"uint32": 4, "int32": 5, "float32": 6, "bool": 7, "uint8": 0, "uint64": 10}
			put(kind[fmt.Sprintf("%T", v)])
			put(v)
		}
	}
	offset := 0
	for _, t := range tensors {
		text(t.Name)
		put(uint32(len(t.Shape)))
		for i := range t.Shape {
			put(uint64(t.Shape[len(t.Shape)-1-i]))
		}
		put(uint32(t.Type))
		put(uint64(offset))
		offset += (len(t.Data) + align - 1) / align * align
	}
	for _, t := range tensors {
		b.Write(make([]byte, -b.Len()&(align-1)))
		b.Write(t.Data)
	}
	return b.Bytes()
}

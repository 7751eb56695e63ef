package gguf

import "fmt"

// Type is how the elements of a tensor are stored.
type Type uint32

// The types that are known here, by the numbers of the format.
const (
	F32  Type = 0
	F16  Type = 1
	Q4_0 Type = 2
	Q4_1 Type = 3
	Q5_0 Type = 6
	Q5_1 Type = 7
	Q8_0 Type = 8
	Q4_K Type = 12
	Q5_K Type = 13
	Q6_K Type = 14
	BF16 Type = 30
)

// layouts say how many elements are stored together, in how many bytes. Of types that cannot be dequantised here the
// size is known, so that files that have them can be shown.
var layouts = map[Type]struct {
	name            string
	elements, bytes int
}{
	F32: {"F32", 1, 4}, F16: {"F16", 1, 2}, BF16: {"BF16", 1, 2}, 28: {"F64", 1, 8},
	24: {"I8", 1, 1}, 25: {"I16", 1, 2}, 26: {"I32", 1, 4}, 27: {"I64", 1, 8},
	Q4_0: {"Q4_0", 32, 2 + 16}, Q4_1: {"Q4_1", 32, 2 + 2 + 16}, Q5_0: {"Q5_0", 32, 2 + 4 + 16},
	Q5_1: {"Q5_1", 32, 2 + 2 + 4 + 16}, Q8_0: {"Q8_0", 32, 2 + 32}, 9: {"Q8_1", 32, 2 + 2 + 32},
	10: {"Q2_K", 256, 16 + 64 + 2 + 2}, 11: {"Q3_K", 256, 32 + 64 + 12 + 2},
	Q4_K: {"Q4_K", 256, 2 + 2 + 12 + 128}, Q5_K: {"Q5_K", 256, 2 + 2 + 12 + 32 + 128},
	Q6_K: {"Q6_K", 256, 128 + 64 + 16 + 2}, 15: {"Q8_K", 256, 4 + 256 + 32},
	16: {"IQ2_XXS", 256, 2 + 64}, 17: {"IQ2_XS", 256, 2 + 64 + 8}, 18: {"IQ3_XXS", 256, 2 + 64 + 32},
	19: {"IQ1_S", 256, 2 + 32 + 16}, 20: {"IQ4_NL", 32, 2 + 16}, 21: {"IQ3_S", 256, 2 + 64 + 32 + 8 + 4},
	22: {"IQ2_S", 256, 2 + 64 + 16}, 23: {"IQ4_XS", 256, 2 + 2 + 4 + 128}, 29: {"IQ1_M", 256, 32 + 16 + 8},
	34: {"TQ1_0", 256, 2 + 52}, 35: {"TQ2_0", 256, 2 + 64}, 39: {"MXFP4", 32, 1 + 16},
}

// String is the name of the type as llama.cpp spells it.
func (t Type) String() string {
	if l, ok := layouts[t]; ok {
		return l.name
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// Block is the number of elements that are stored together, and their bytes; 0 of an unknown type.
func (t Type) Block() (elements, bytes int) {
	l := layouts[t]
	return l.elements, l.bytes
}

// rowBytes is the size of a row of n elements, a multiple of a block.
func (t Type) rowBytes(n int) int {
	elements, bytes := t.Block()
	return n / elements * bytes
}

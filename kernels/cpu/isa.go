package cpu

import (
	"fmt"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// isa is an instruction set that kernels are written for.
type isa uint8

const (
	generic    isa = iota // plain Go
	neon                  // arm64
	neonbf16              // with FEAT_BF16
	avx2                  // AVX2 with FMA and F16C
	avx512                // AVX-512 F, BW, DQ, VL
	avx512vnni            // also AVX512_VNNI, for Q8
	avx512bf16            // also AVX512_BF16
	amx                   // also AMX, for matmuls in BF16 and, with many rows, in Q8
)

var isaNames = [...]string{generic: "generic", neon: "neon", neonbf16: "neonbf16", avx2: "avx2", avx512: "avx512",
	avx512vnni: "avx512vnni", avx512bf16: "avx512bf16", amx: "amx"}

// String is the name of the path.
func (i isa) String() string { return isaNames[i] }

func isaNamed(name string) isa {
	for i, n := range isaNames {
		if n == name {
			return isa(i)
		}
	}
	panic(fmt.Sprintf("cpu: no path %q", name))
}

// Paths are the implementations of this package: amx, avx512bf16, avx512vnni, avx512, avx2 or neonbf16, neon, then
// generic. The environment variable ZEROSEARCH_CPU_PATH chooses one; -tags noasm leaves generic.
var Paths, pathsErr = kernels.NewPaths("ZEROSEARCH_CPU_PATH", isaPaths()...)

//go:build !noasm

package cpu

import (
	"github.com/zerosearch-go/zerosearch/kernels"
	"golang.org/x/sys/cpu"
)

func isaPaths() []kernels.Path {
	x := &cpu.X86
	base := needs("AVX2 and FMA", x.HasAVX2 && x.HasFMA)
	wide := needs("AVX-512 F, BW, DQ and VL", base == "" && x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ &&
		x.HasAVX512VL)
	bytes := needs("AVX512_VNNI", wide == "" && x.HasAVX512VNNI)
	brain := needs("AVX512_BF16 and AVX512_VNNI", bytes == "" && x.HasAVX512BF16)
	tiles := needs("AMX-TILE, AMX-BF16 and AMX-INT8", brain == "" && x.HasAMXTile && x.HasAMXBF16 && x.HasAMXInt8)
	if tiles == "" {
		tiles = permitAMX()
	}
	return []kernels.Path{{Name: "amx", Missing: tiles}, {Name: "avx512bf16", Missing: brain},
		{Name: "avx512vnni", Missing: bytes},
		{Name: "avx512", Missing: wide}, {Name: "avx2", Missing: base}, {Name: "generic"}}
}

func needs(what string, have bool) string {
	if have {
		return ""
	}
	return what
}

// pause tells the processor that this is a waiting loop.
//
//go:noescape
func pause()

//go:build !noasm

package cpu

import (
	"github.com/zerosearch-go/zerosearch/kernels"
	"golang.org/x/sys/cpu"
)

// isaPaths: NEON is part of every arm64, products of BF16 came with ARMv8.6.
func isaPaths() []kernels.Path {
	brain := ""
	if !hasBF16() {
		brain = "FEAT_BF16"
	}
	return []kernels.Path{{Name: "neonbf16", Missing: brain}, {Name: "neon"}, {Name: "generic"}}
}

// hasDot reports whether the processor has SDOT: sums of integers are exact, so that this is no path of its own.
func hasDot() bool { return cpu.ARM64.HasASIMDDP }

// pause tells the processor that this is a waiting loop.
//
//go:noescape
func pause()

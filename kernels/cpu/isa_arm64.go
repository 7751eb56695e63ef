//go:build !noasm

package cpu

import (
	"github.com/zerosearch-go/zerosearch/kernels"
	"golang.org/x/sys/cpu"
)

// isaPaths: every arm64 has NEON; FEAT_BF16, with BFMLALB and BFMLALT, came with ARMv8.6.
func isaPaths() []kernels.Path {
	brain := ""
	if !hasBF16() {
		brain = "FEAT_BF16"
	}
	return []kernels.Path{{Name: "neonbf16", Missing: brain}, {Name: "neon"}, {Name: "generic"}}
}

// hasDot reports whether the processor has SDOT. Integer sums are exact, so SDOT changes no result and needs no
// separate path.
func hasDot() bool { return cpu.ARM64.HasASIMDDP }

// pause tells the processor that this is a waiting loop.
//
//go:noescape
func pause()

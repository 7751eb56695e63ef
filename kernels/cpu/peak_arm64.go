//go:build !noasm

package cpu

import "unsafe"

var peakLoops = map[isa]struct{ f32, bf16, q8 peakLoop }{
	neon:     {f32: peakLoop{peakFMANEON, 24 * 8}, q8: peakDot()},
	neonbf16: {f32: peakLoop{peakFMANEON, 24 * 8}, bf16: peakLoop{peakBF16NEON, 24 * 8}, q8: peakDot()},
}

// peakDot is empty if there is no SDOT.
func peakDot() peakLoop {
	if !hasDot() {
		return peakLoop{}
	}
	return peakLoop{peakSDOTNEON, 24 * 32}
}

func peakReadAll(p unsafe.Pointer, lines int) { peakReadNEON(p, lines) }

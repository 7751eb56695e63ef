//go:build !noasm

package cpu

import "unsafe"

var peakLoops = map[isa]struct{ f32, bf16, q8 peakLoop }{
	avx2:       {f32: peakLoop{peakFMA256, 12 * 16}},
	avx512:     {f32: peakLoop{peakFMA512, 12 * 32}},
	avx512vnni: {f32: peakLoop{peakFMA512, 12 * 32}, q8: peakLoop{peakVNNI, 12 * 128}},
	amx: {f32: peakLoop{peakFMA512, 12 * 32}, bf16: peakLoop{peakTilesBF16, 4 * 16384},
		q8: peakLoop{peakVNNI, 12 * 128}},
	avx512bf16: {f32: peakLoop{peakFMA512, 12 * 32}, bf16: peakLoop{peakBF16, 12 * 64},
		q8: peakLoop{peakVNNI, 12 * 128}},
}

func peakReadAll(p unsafe.Pointer, lines int) { peakRead(p, lines) }

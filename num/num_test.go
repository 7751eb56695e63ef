package num

import (
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/x448/float16"
	"github.com/zerosearch-go/zerosearch/internal/goldens"
	"pgregory.net/rapid"
)

// columns reads a table of three hexadecimal columns; "nan" becomes -1.
func columns(t *testing.T, path string) [][3]int64 {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var rows [][3]int64
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		require.Len(t, f, 3, "%s: %q", path, line)
		var row [3]int64
		for i, s := range f {
			if row[i] = -1; s != "nan" {
				row[i], err = strconv.ParseInt(s, 16, 64)
				require.NoError(t, err)
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// golden calls f with the committed copy of a golden table and with the original where that lies beside the checkout.
func golden(t *testing.T, name string, least int, f func(t *testing.T, rows [][3]int64)) {
	for where, path := range map[string]func(*testing.T) string{
		"testdata": func(*testing.T) string { return filepath.Join("testdata", name) },
		"whole":    func(t *testing.T) string { return goldens.Path(t, "rounding/"+name) },
	} {
		t.Run(where, func(t *testing.T) {
			rows := columns(t, path(t))
			require.GreaterOrEqual(t, len(rows), least, "rows in %s", name)
			f(t, rows)
		})
	}
}

func isNaN(x float32) bool { return x != x }

func TestNarrowGolden(t *testing.T) {
	golden(t, "round.txt", 3000, func(t *testing.T, rows [][3]int64) {
		for _, r := range rows {
			x := math.Float32frombits(uint32(r[0]))
			if r[1] < 0 {
				require.True(t, isNaN(x) && isNaN(RoundBF16(x)) && isNaN(RoundF16(x)), "%08x", r[0])
				continue
			}
			require.Equal(t, uint16(r[1]), BF16FromF32(x), "bf16 of %08x", r[0])
			require.Equal(t, uint16(r[2]), F16FromF32(x), "f16 of %08x", r[0])
		}
	})
}

// same compares float32 bits; any NaN equals any other.
func same(t *testing.T, want int64, got float32, format string, bits int64) {
	t.Helper()
	w := math.Float32frombits(uint32(want))
	if want < 0 || isNaN(w) {
		require.True(t, isNaN(got), "%s %04x is %v, not NaN", format, bits, got)
		return
	}
	require.Equal(t, uint32(want), math.Float32bits(got), "%s %04x", format, bits)
}

func TestWidenGolden(t *testing.T) {
	golden(t, "widen.txt", 2000, func(t *testing.T, rows [][3]int64) {
		for _, r := range rows {
			same(t, r[1], F32FromBF16(uint16(r[0])), "bf16", r[0])
			same(t, r[2], F32FromF16(uint16(r[0])), "f16", r[0])
		}
	})
	golden(t, "f8.txt", 256, func(t *testing.T, rows [][3]int64) {
		for _, r := range rows {
			same(t, r[1], F32FromE4M3(uint8(r[0])), "e4m3", r[0])
			same(t, r[2], F32FromE5M2(uint8(r[0])), "e5m2", r[0])
		}
	})
}

// Every 16-bit pattern survives a round trip; NaN stays NaN, turns quiet and keeps its sign.
func TestRoundTripAll16(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		if x := F32FromBF16(h); isNaN(x) {
			require.Equal(t, h|0x40, BF16FromF32(x), "bf16 %04x", h)
		} else {
			require.Equal(t, h, BF16FromF32(x), "bf16 %04x", h)
		}
		if x := F32FromF16(h); isNaN(x) {
			require.Equal(t, h|0x200, F16FromF32(x), "f16 %04x", h)
		} else {
			require.Equal(t, h, F16FromF32(x), "f16 %04x", h)
			require.Equal(t, float16.Frombits(h).Float32(), x, "f16 %04x against x448/float16", h)
		}
	}
}

// nearest rounds x to the float with so many mantissa bits, smallest subnormal 2^minExp and infinity from 2^maxExp on,
// by exact float64 arithmetic and none of the tricks under test.
func nearest(x float32, mantissa, minExp, maxExp int) float32 {
	if x == 0 || math.IsInf(float64(x), 0) {
		return x
	}
	_, e := math.Frexp(math.Abs(float64(x)))
	ulp := math.Ldexp(1, max(e-1-mantissa, minExp))
	r := math.RoundToEven(float64(x)/ulp) * ulp // the division is exact: ulp is a power of two
	if math.Abs(r) >= math.Ldexp(1, maxExp) {
		r = math.Inf(int(math.Copysign(1, r)))
	}
	return float32(math.Copysign(r, float64(x)))
}

func TestNarrowNearestEven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.Uint32().Draw(t, "bits")
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 1: // a tie of bf16 or one beside it
			b = b&0xffff0000 | uint32(0x8000+rapid.IntRange(-1, 1).Draw(t, "off"))
		case 2: // a tie of f16, exponents where f16 is finite or just not
			b = b&0x807fe000 | uint32(rapid.IntRange(127-27, 127+17).Draw(t, "exp"))<<23 | uint32(
				0x1000+rapid.IntRange(-1, 1).Draw(t, "off"))
		case 3: // subnormal f16
			b = b&0x807fffff | uint32(rapid.IntRange(127-26, 127-13).Draw(t, "exp"))<<23
		}
		x := math.Float32frombits(b)
		if isNaN(x) {
			return
		}
		require.Equal(t, math.Float32bits(nearest(x, 7, -133, 128)), math.Float32bits(RoundBF16(x)), "bf16 of %08x", b)
		require.Equal(t, math.Float32bits(nearest(x, 10, -24, 16)), math.Float32bits(RoundF16(x)), "f16 of %08x", b)
	})
}

func TestQuietNaN(t *testing.T) {
	for _, b := range []uint32{0x7f800001, 0xff800001, 0x7fc00000, 0xffffffff, 0x7f80ffff, 0x7f801fff} {
		x := math.Float32frombits(b)
		sign := uint16(b>>16) & 0x8000
		require.Equal(t, sign|0x7fc0, BF16FromF32(x)&0xffc0, "%08x", b)
		require.Equal(t, sign|0x7e00, F16FromF32(x)&0xfe00, "%08x", b)
	}
}

func TestE8M0(t *testing.T) {
	for i := range 255 {
		require.Equal(t, math.Ldexp(1, i-127), float64(F32FromE8M0(uint8(i))))
	}
	require.True(t, isNaN(F32FromE8M0(0xff)))
}

// The FNUZ formats hold half the values of their relatives, and those that these spend on infinities and NaN.
func TestFNUZ(t *testing.T) {
	for i := range 256 {
		b := uint8(i)
		if b == 0x80 {
			require.True(t, isNaN(F32FromE4M3FNUZ(b)) && isNaN(F32FromE5M2FNUZ(b)))
			continue
		}
		if b&0x7f < 0x7f {
			require.Equal(t, F32FromE4M3(b)/2, F32FromE4M3FNUZ(b), "%02x", b)
		}
		if b&0x7f < 0x7c {
			require.Equal(t, F32FromE5M2(b)/2, F32FromE5M2FNUZ(b), "%02x", b)
		}
	}
	require.Equal(t, []float32{240, -240}, []float32{F32FromE4M3FNUZ(0x7f), F32FromE4M3FNUZ(0xff)})
	require.Equal(t, []float32{32768, 40960, 49152, 57344}, []float32{F32FromE5M2FNUZ(0x7c), F32FromE5M2FNUZ(0x7d),
		F32FromE5M2FNUZ(0x7e), F32FromE5M2FNUZ(0x7f)})
}

func TestSlices(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.SliceOfN(rapid.Float32(), 0, 70).Draw(t, "x")
		n := len(x)
		bf, f16, y := make([]uint16, n), make([]uint16, n), make([]float32, n)
		BF16Slice(bf, x)
		F16Slice(f16, x)
		for i, v := range x {
			require.Equal(t, BF16FromF32(v), bf[i])
			require.Equal(t, F16FromF32(v), f16[i])
		}
		b8 := make([]uint8, n)
		for i := range b8 {
			b8[i] = uint8(bf[i] >> 3)
		}
		each := func(name string, want func(i int) float32) {
			for i := range y {
				require.Equal(t, math.Float32bits(want(i)), math.Float32bits(y[i]), "%s[%d]", name, i)
			}
		}
		WidenBF16(y, bf)
		each("bf16", func(i int) float32 { return F32FromBF16(bf[i]) })
		WidenF16(y, f16)
		each("f16", func(i int) float32 { return F32FromF16(f16[i]) })
		WidenE4M3(y, b8)
		each("e4m3", func(i int) float32 { return F32FromE4M3(b8[i]) })
		WidenE5M2(y, b8)
		each("e5m2", func(i int) float32 { return F32FromE5M2(b8[i]) })
		WidenE8M0(y, b8)
		each("e8m0", func(i int) float32 { return F32FromE8M0(b8[i]) })
		WidenE4M3FNUZ(y, b8)
		each("e4m3fnuz", func(i int) float32 { return F32FromE4M3FNUZ(b8[i]) })
		WidenE5M2FNUZ(y, b8)
		each("e5m2fnuz", func(i int) float32 { return F32FromE5M2FNUZ(b8[i]) })
		RoundBF16Slice(y, x)
		each("round", func(i int) float32 { return RoundBF16(x[i]) })
	})
}

func TestSlicesPanic(t *testing.T) {
	f, h, b := make([]float32, 3), make([]uint16, 2), make([]uint8, 2)
	for name, call := range map[string]func(){
		"BF16Slice": func() { BF16Slice(h, f) }, "WidenBF16": func() { WidenBF16(f, h) },
		"F16Slice": func() { F16Slice(h, f) },
		"WidenF16": func() { WidenF16(f, h) }, "WidenE4M3": func() { WidenE4M3(f, b) },
		"WidenE5M2": func() { WidenE5M2(f, b) },
		"WidenE8M0": func() { WidenE8M0(f, b) }, "WidenE4M3FNUZ": func() { WidenE4M3FNUZ(f, b) },
		"WidenE5M2FNUZ": func() { WidenE5M2FNUZ(f, b) }, "RoundBF16Slice": func() { RoundBF16Slice(f, f[:2]) },
	} {
		require.PanicsWithValue(t, panicText(name), call, name)
	}
}

func panicText(name string) string {
	dst, src := "3", "2"
	if strings.HasSuffix(name, "16Slice") && name != "RoundBF16Slice" {
		dst, src = src, dst
	}
	return "num: " + name + ": dst has " + dst + " elements, src has " + src
}

func BenchmarkSlices(b *testing.B) {
	const n = 1 << 14
	f, h, q := make([]float32, n), make([]uint16, n), make([]uint8, n)
	for i := range f {
		f[i] = float32(i-n/2) / 1000
		q[i] = uint8(i)
	}
	for name, call := range map[string]func(){
		"BF16Slice": func() { BF16Slice(h, f) }, "WidenBF16": func() { WidenBF16(f, h) },
		"F16Slice": func() { F16Slice(h, f) },
		"WidenF16": func() { WidenF16(f, h) }, "WidenE4M3": func() { WidenE4M3(f, q) },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(4 * n)
			for b.Loop() {
				call()
			}
		})
	}
}

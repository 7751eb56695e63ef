// Products with Q8 weights: both operands in 8 bits, a scale for every group of 32 along k.
//
// Sums within a group are exact, one mma.sync of 32 products; y is the chain over groups, ascending:
// y = fma(sum * scale of x, scale of w, y). So all tiles give the same bits, those of the reference. Bound for a few
// rows by reading the weights once, 1.06 bytes each.
#include "gemm.h"

extern __shared__ __attribute__((aligned(128))) char dyn8[];

// Rows of ld bytes, a multiple of 64, and a scale for each 32 of them: F32 of activations, F16 of weights.
struct Groups {
	const i8 *p;
	const void *scales;
	i64 ld;
	int rows;
};

// d[16,8] = a[16,32] b[32,8] of signed bytes.
FN void mma8(int *d, const u32 *a, const u32 *b) {
	asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
	             "{%10, %10, %10, %10};"
	             : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
	             : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(0));
}

// Starts a copy of N bytes, zeros unless in, if there is one at all. Without a branch: behind one lanes would part.
template <int N> FN void copyIf(u32 dst, const void *src, bool in, bool any) {
	u32 n = in ? N : 0;
	if (N == 16)
		asm volatile("{\n\t.reg .pred any;\n\tsetp.ne.u32 any, %3, 0;\n\t"
		             "@any cp.async.cg.shared.global [%0], [%1], 16, %2;\n\t}" ::"r"(dst), "l"((u64)src), "r"(n),
		             "r"((u32)any)
		             : "memory");
	else
		asm volatile("{\n\t.reg .pred any;\n\tsetp.ne.u32 any, %4, 0;\n\t"
		             "@any cp.async.ca.shared.global [%0], [%1], %2, %3;\n\t}" ::"r"(dst), "l"((u64)src), "n"(N), "r"(n),
		             "r"((u32)any)
		             : "memory");
}

// The address of unit c (16 bytes) of row r in a tile of 64 bytes a row: eight rows meet no bank twice.
FN u32 unit(u32 tile, int r, int c) { return tile + r * 64 + ((c ^ (r >> 1 & 3)) << 4); }

// Starts the copy of rows r0.. and bytes k0 to k0+63 of m, and of their two scales of SCALE bytes each, to shared
// memory; zeros after the last row.
template <int R, int SCALE, int THREADS> FN void fetch(u32 to, u32 scales, const Groups &m, int r0, int k0) {
	UNROLL for (int i = 0; i < (R * 4 + THREADS - 1) / THREADS; i++) {
		int e = i * THREADS + tid(), r = e / 4, c = e % 4;
		bool in = r0 + r < m.rows;
		copyIf<16>(unit(to, r, c), m.p + ((in ? r0 + r : 0) * m.ld + k0 + 16 * c), in, R * 4 % THREADS == 0 || r < R);
	}
	UNROLL for (int i = 0; i < (R + THREADS - 1) / THREADS; i++) {
		int r = i * THREADS + tid();
		bool in = r0 + r < m.rows;
		i64 at = (in ? r0 + r : 0) * (m.ld >> 5) + k0 / 32;
		copyIf<2 * SCALE>(scales + r * 2 * SCALE, (const char *)m.scales + at * SCALE, in, R % THREADS == 0 || r < R);
	}
}

template <int BM, int BN, int WM, int WN, int STAGES> FN void gemm8(Groups a, Groups b, Output o) {
	constexpr int MI = WM / 16, NI = WN / 8, THREADS = BM / WM * (BN / WN) * 32;
	constexpr int TILE_B = BM * 64, SCALES_A = TILE_B + BN * 64, SCALES_B = SCALES_A + BM * 8;
	constexpr int STAGE = (SCALES_B + BN * 4 + 127) / 128 * 128;
	int m0, n0, warp = tid() >> 5, wm = warp / (BN / WN) * WM, wn = warp % (BN / WN) * WN;
	int l = tid() & 31, g = l >> 2, q = l & 3; // of sums [16, 8] a lane holds rows g and g+8, columns 2q and 2q+1
	place<BM, BN>(o.rows, o.cols, &m0, &n0);
	int steps = (int)(a.ld / 64);
	u32 base = shared(dyn8);
	float sum[MI][NI][4] = {};
	auto load = [&](int step) {
		u32 s = base + step % STAGES * STAGE;
		fetch<BM, 4, THREADS>(s, s + SCALES_A, a, m0, step * 64);
		fetch<BN, 2, THREADS>(s + TILE_B, s + SCALES_B, b, n0, step * 64);
	};
	_Pragma("nounroll") for (int s = 0; s < STAGES - 1; s++) {
		if (s < steps) load(s);
		commit();
	}
	for (int step = 0; step < steps; step++) {
		arrived<STAGES - 2>();
		sync();
		if (step + STAGES - 1 < steps) load(step + STAGES - 1);
		commit();
		const char *stage = dyn8 + step % STAGES * STAGE;
		u32 ta = base + step % STAGES * STAGE, tb = ta + TILE_B;
		const float *sx = (const float *)(stage + SCALES_A) + wm * 2;
		const u16 *sw = (const u16 *)(stage + SCALES_B) + wn * 2;
		UNROLL for (int k = 0; k < 2; k++) {
			u32 fa[MI][4], fb[NI][2];
			UNROLL for (int i = 0; i < MI; i++) load4(fa[i], unit(ta, wm + i * 16 + (l & 15), k * 2 + (l >> 4)));
			UNROLL for (int j = 0; j < NI; j += 2) {
				u32 r[4];
				load4(r, unit(tb, wn + j * 8 + (l & 7) + ((l >> 4) << 3), k * 2 + (l >> 3 & 1)));
				fb[j][0] = r[0], fb[j][1] = r[1], fb[j + 1][0] = r[2], fb[j + 1][1] = r[3];
			}
			UNROLL for (int j = 0; j < NI; j++) {
				int c = j * 8 + q * 2;
				float w0 = half(sw[c * 2 + k]), w1 = half(sw[c * 2 + 2 + k]);
				UNROLL for (int i = 0; i < MI; i++) {
					int d[4], r = i * 16 + g;
					mma8(d, fa[i], fb[j]);
					float x0 = sx[r * 2 + k], x1 = sx[r * 2 + 16 + k];
					sum[i][j][0] = fma((float)d[0] * x0, w0, sum[i][j][0]);
					sum[i][j][1] = fma((float)d[1] * x0, w1, sum[i][j][1]);
					sum[i][j][2] = fma((float)d[2] * x1, w0, sum[i][j][2]);
					sum[i][j][3] = fma((float)d[3] * x1, w1, sum[i][j][3]);
				}
			}
		}
	}
	sync();
	float *tile = (float *)dyn8, *at = tile + (wm + g) * PITCH<BN> + wn + q * 2;
	UNROLL for (int i = 0; i < MI; i++) UNROLL for (int h = 0; h < 2; h++) UNROLL for (int j = 0; j < NI; j++)
		*(f32x2 *)(at + (i * 16 + h * 8) * PITCH<BN> + j * 8) = {sum[i][j][2 * h], sum[i][j][2 * h + 1]};
	sync();
	finish<BM, BN, THREADS>(tile, m0, n0, o);
}

// Grid: one block a tile, in a line. Block: 32 threads a part [WM, WN]. Dynamic shared memory: STAGES times
// BM*72 + BN*68 bytes, rounded up to 128.
#define GEMM8(name, BM, BN, WM, WN, STAGES) \
	KERNEL(BM / WM * (BN / WN) * 32) name(Groups a, Groups b, Output o) { gemm8<BM, BN, WM, WN, STAGES>(a, b, o); }

GEMM8(gemm8_64x64, 64, 64, 32, 32, 5)
GEMM8(gemm8_64x32, 64, 32, 32, 16, 8)
GEMM8(gemm8_16x64, 16, 64, 16, 16, 12)
GEMM8(gemm8_16x32, 16, 32, 16, 16, 16)
GEMM8(gemm8_16x16, 16, 16, 16, 16, 16)

// Activations as gemm8 takes them: to[rows, ld] = from[rows, cols] in 8 bits, with a scale a group [rows, ld/32]. With
// a the largest magnitude of a group, and of the sums of its pairs of neighbours: scale = a/127, q = nearest even of x * (127/a); zeros where a < 2^-100; scale NaN
// and q = 0 where a is infinite or NaN. A warp a group; grid: a line of blocks of 256 over rows*ld.
KERNEL(256) quantise(i8 *to, float *scales, const float *from, int rows, int cols, i64 stride, int ld) {
	i64 i = (i64)blockX() * 256 + tid(), r = i / ld;
	int c = (int)(i % ld);
	if (r >= rows) return; // the whole warp: ld is a multiple of 32
	float x = c < cols ? from[r * stride + c] : 0, pair = x + lanes(x, 1), scale = 0;
	float a = warpMax(larger(real(bits(x) & 0x7fffffffu), real(bits(pair) & 0x7fffffffu)));
	int q = 0;
	if (!(a < 0x1p-100f)) {
		bool finite = a < __builtin_inff();
		scale = finite ? a / 127 : __builtin_nanf("");
		float y = x * (127 / a);
		if (finite) asm("cvt.rni.s32.f32 %0, %1;" : "=r"(q) : "f"(y));
	}
	to[r * ld + c] = (i8)q;
	if (c % 32 == 0) scales[(r * ld + c) / 32] = scale;
}

// A Q8 weight in BF16: n elements, 8 a thread; grid: a line of blocks of 256 over n/8. Bound by memory.
KERNEL(256) widen_q8(u16 *to, const i8 *from, const u16 *scales, i64 n) {
	i64 i = ((i64)blockX() * 256 + tid()) * 8;
	if (i >= n) return;
	float scale = half(scales[i / 32]);
	u64 q = *(const u64 *)(from + i);
	u32 h[4];
	UNROLL for (int j = 0; j < 4; j++)
		h[j] = narrow2((float)(i8)(q >> (16 * j)) * scale, (float)(i8)(q >> (16 * j + 8)) * scale);
	*(u32x4 *)(to + i) = {h[0], h[1], h[2], h[3]};
}

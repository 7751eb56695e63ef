// Products of BF16 matrices on tensor cores, summed in F32.
//
// Every element is one chain of mma.sync steps of 16 products, ascending, all aligned to multiples of 16: its bits
// depend on its row of one matrix and its column of the other, not on the tile, nor on how many rows there are. The
// sum is never split.
//
//	            rows  columns  sum over   A              B
//	gemm_*      T     N        K          x [T, K]       w [N, K]
//	gemm_dx_*   T     K        N          dy [T, N]      w [N, K], transposed by ldmatrix
//	gemm_dw_*   N     K        T          dy [T, N], T   x [T, K], both transposed by ldmatrix; the chain starts from dw
//
// A block makes a tile [BM, BN], a warp a part [WM, WN] of it. Steps of 64 of the sum pass through STAGES buffers in
// shared memory, filled by cp.async; units of 16 bytes are swizzled so that ldmatrix meets no bank twice. Large tiles
// are bound by tensor cores (128x128: 64 FLOP a byte of L2), those of 16 rows by reading the weights once.
#include "gemm.h"

extern __shared__ __attribute__((aligned(128))) char dyn[];

// Element (r, c) is p[r*ld + c]. p is aligned to 16 bytes, ld and cols are multiples of 8.
struct Matrix {
	const u16 *p;
	i64 ld;
	int rows, cols;
};

// The address of unit c of row r in a tile of C columns.
template <int C> FN u32 unit(u32 tile, int r, int c) { return tile + r * C * 2 + ((c ^ (r & 7)) << 4); }

// A thread's share of copying tiles [SIZE, 64] of a matrix, [64, SIZE] if TRANS, one after the other along the sum.
struct Source {
	const u16 *at;  // its unit in the first row
	i64 apart;      // to its unit in the next row that is its own
	int high, left; // rows from there on; steps from there on
};

template <int SIZE, int THREADS, bool TRANS> FN Source source(const Matrix &m, int i0) {
	constexpr int units = (TRANS ? SIZE : 64) / 8;
	int r = tid() / units, c = tid() % units * 8, row = TRANS ? 0 : i0, col = TRANS ? i0 : 0;
	i64 apart = THREADS / units * m.ld;
	const u16 *at = m.p + ((row + r) * m.ld + col + c);
	if (TRANS) return {at, apart, 0, col + c < m.cols ? m.rows - r : 0};
	return {at, apart, m.rows - row - r, m.cols - c};
}

// Starts the copy of the tile that comes next; what lies outside of the matrix becomes zero and is not read.
template <int SIZE, int THREADS, bool TRANS> FN void fetch(u32 to, Source &s) {
	constexpr int R = TRANS ? 64 : SIZE, C = TRANS ? SIZE : 64, units = C / 8, apart = THREADS / units;
	int r = tid() / units, c = tid() % units;
	const u16 *at = s.at;
	UNROLL for (int i = 0; i < R; i += apart, at += s.apart) {
		bool in = TRANS ? i < s.left : i < s.high && s.left > 0;
		copy16(unit<C>(to, r + i, c), at, in ? 16 : 0);
	}
	s.at = TRANS ? at : s.at + 64; // of 64 rows at is the one after the last
	s.left -= 64;
}

// Operand A of mma, [16, 16] at row m and step k (in 16) of a tile: of [BM, 64], or of [64, BM] if transposed.
template <int BM, bool TRANS> FN void operandA(u32 *a, u32 tile, int m, int k) {
	int l = tid() & 31;
	if (TRANS) load4T(a, unit<BM>(tile, k * 16 + (l & 7) + ((l >> 4) << 3), m / 8 + (l >> 3 & 1)));
	else load4(a, unit<64>(tile, m + (l & 15), k * 2 + (l >> 4)));
}

// Operands B of two mma, [16, 8] each, at column n and step k of a tile: of [BN, 64], or of [64, BN] if transposed.
template <int BN, bool TRANS> FN void operandB(u32 (*b)[2], u32 tile, int n, int k) {
	int l = tid() & 31;
	u32 r[4];
	if (TRANS) load4T(r, unit<BN>(tile, k * 16 + (l & 15), n / 8 + (l >> 4)));
	else load4(r, unit<64>(tile, n + (l & 7) + ((l >> 4) << 3), k * 2 + (l >> 3 & 1)));
	b[0][0] = r[0], b[0][1] = r[1], b[1][0] = r[2], b[1][1] = r[3];
}

template <int BM, int BN, int WM, int WN, int STAGES, bool TA, bool TB, bool CHAIN>
FN void gemm(Matrix a, Matrix b, Output o) {
	constexpr int MI = WM / 16, NI = WN / 8, THREADS = BM / WM * (BN / WN) * 32, BYTES_A = BM * 128, BYTES_B = BN * 128;
	int m0, n0, warp = tid() >> 5, wm = warp / (BN / WN) * WM, wn = warp % (BN / WN) * WN;
	int g = (tid() & 31) >> 2, q = tid() & 3; // of sums [16, 8] a lane holds rows g and g+8, columns 2q and 2q+1
	place<BM, BN>(o.rows, o.cols, &m0, &n0);
	u32 tilesA = shared(dyn), tilesB = tilesA + STAGES * BYTES_A;
	int steps = ((TA ? a.rows : a.cols) + 63) / 64;
	float sum[MI][NI][4], *tile = (float *)dyn;
	if (CHAIN) {
		begin<BM, BN, THREADS>(tile, m0, n0, o);
		sync();
	}
	auto each = [&](auto f) { // of the sums and their places in the tile
		float *at = tile + (wm + g) * PITCH<BN> + wn + q * 2;
		UNROLL for (int i = 0; i < MI; i++) UNROLL for (int h = 0; h < 2; h++) UNROLL for (int j = 0; j < NI; j++)
			f(sum[i][j] + 2 * h, (f32x2 *)(at + (i * 16 + h * 8) * PITCH<BN> + j * 8));
	};
	each([&](float *s, f32x2 *at) {
		f32x2 v = {0, 0};
		if (CHAIN) v = *at;
		s[0] = v.x, s[1] = v.y;
	});
	if (CHAIN) sync();
	Source sa = source<BM, THREADS, TA>(a, m0), sb = source<BN, THREADS, TB>(b, n0);
	auto load = [&](int slot) {
		fetch<BM, THREADS, TA>(tilesA + slot * BYTES_A, sa);
		fetch<BN, THREADS, TB>(tilesB + slot * BYTES_B, sb);
	};
	_Pragma("nounroll") for (int s = 0; s < STAGES - 1; s++) {
		if (s < steps) load(s);
		commit();
	}
	for (int step = 0, slot = 0; step < steps; step++) {
		arrived<STAGES - 2>();
		sync();
		if (step + STAGES - 1 < steps) load(slot ? slot - 1 : STAGES - 1);
		commit();
		u32 ta = tilesA + slot * BYTES_A, tb = tilesB + slot * BYTES_B;
		slot = slot + 1 < STAGES ? slot + 1 : 0;
		UNROLL for (int k = 0; k < 4; k++) {
			u32 fa[MI][4], fb[NI][2];
			UNROLL for (int i = 0; i < MI; i++) operandA<BM, TA>(fa[i], ta, wm + i * 16, k);
			UNROLL for (int j = 0; j < NI; j += 2) operandB<BN, TB>(fb + j, tb, wn + j * 8, k);
			UNROLL for (int i = 0; i < MI; i++) UNROLL for (int j = 0; j < NI; j++) mma(sum[i][j], fa[i], fb[j]);
		}
	}
	sync();
	each([&](float *s, f32x2 *at) { *at = {s[0], s[1]}; });
	sync();
	finish<BM, BN, THREADS>(tile, m0, n0, o);
}

// Grid: one block a tile, in a line. Block: 32 threads a part [WM, WN]; BLOCKS of them are to fit into a
// multiprocessor's registers. Dynamic shared memory: STAGES * (BM+BN) * 128 bytes.
#define GEMM(name, BM, BN, WM, WN, STAGES, BLOCKS, TA, TB, CHAIN) \
	KERNEL(BM / WM * (BN / WN) * 32, BLOCKS) name(Matrix a, Matrix b, Output o) { \
		gemm<BM, BN, WM, WN, STAGES, TA, TB, CHAIN>(a, b, o); \
	}

GEMM(gemm_128x128, 128, 128, 64, 32, 3, 2, false, false, false)
GEMM(gemm_64x64, 64, 64, 32, 32, 4, 3, false, false, false)
GEMM(gemm_64x32, 64, 32, 32, 16, 6, 3, false, false, false)
GEMM(gemm_16x64, 16, 64, 16, 16, 8, 2, false, false, false)
GEMM(gemm_16x32, 16, 32, 16, 16, 12, 2, false, false, false)
GEMM(gemm_16x16, 16, 16, 16, 16, 12, 3, false, false, false)
GEMM(gemm_dx_128x128, 128, 128, 64, 32, 3, 2, false, true, false)
GEMM(gemm_dx_64x64, 64, 64, 32, 32, 4, 3, false, true, false)
GEMM(gemm_dx_16x64, 16, 64, 16, 16, 8, 2, false, true, false)
GEMM(gemm_dw_128x128, 128, 128, 64, 32, 3, 2, true, true, true)
GEMM(gemm_dw_64x64, 64, 64, 32, 32, 4, 3, true, true, true)

// Eight elements from column c on of a row of n; zeros after its end.
FN void put8(u16 *to, const float *from, int c, int n) {
	float v[8];
	if (c + 8 <= n && ((u64)(from + c) & 15) == 0) {
		*(f32x4 *)v = *(const f32x4 *)(from + c), *(f32x4 *)(v + 4) = *(const f32x4 *)(from + c + 4);
	} else {
		UNROLL for (int i = 0; i < 8; i++) v[i] = c + i < n ? from[c + i] : 0;
	}
	*(u32x4 *)to = {narrow2(v[0], v[1]), narrow2(v[2], v[3]), narrow2(v[4], v[5]), narrow2(v[6], v[7])};
}
FN void put8(u16 *to, const u16 *from, int c, int n) {
	u32 v[8];
	UNROLL for (int i = 0; i < 8; i++) v[i] = c + i < n ? from[c + i] : 0;
	*(u32x4 *)to = {v[0] | v[1] << 16, v[2] | v[3] << 16, v[4] | v[5] << 16, v[6] | v[7] << 16};
}

// Operands as gemm takes them: to[rows, ld] = from[rows, cols] rounded to BF16, zeros from cols to ld. Eight elements a
// thread; grid: a line of blocks of 256 over rows*ld/8. Bound by memory.
template <class E> FN void operand(u16 *to, const E *from, int rows, int cols, i64 stride, int ld) {
	i64 i = (i64)blockX() * 256 + tid(), r = i / (ld / 8), c = i % (ld / 8) * 8;
	if (r < rows) put8(to + r * ld + c, from + r * stride, (int)c, cols);
}
KERNEL(256) operand_f32(u16 *to, const float *from, int rows, int cols, i64 stride, int ld) {
	operand(to, from, rows, cols, stride, ld);
}
KERNEL(256) operand_bf16(u16 *to, const u16 *from, int rows, int cols, i64 stride, int ld) {
	operand(to, from, rows, cols, stride, ld);
}

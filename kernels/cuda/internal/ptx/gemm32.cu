// Products of F32 matrices: every element is one chain of fused multiply-adds, ascending, from zero or its old value.
//
//	              rows  columns  sum over   A               B
//	gemm32_*      T     N        K          x [T, K]        w [N, K]
//	gemm32_dx_*   T     K        N          dy [T, N]       w [N, K], transposed
//	gemm32_dw     N     K        T          dy [T, N], T    x [T, K], transposed; the chain starts from dw
//
// A block makes a tile [BM, BN], a thread 4xTN of it. 16 steps of the sum lie in shared memory, the next 16 come to
// registers meanwhile. Bound by the FMA units; for a few rows by reading the weights.
#include "gemm.h"

extern __shared__ __attribute__((aligned(128))) float dyn32[];

// Element (r, c) is p[r*ld + c].
struct Matrix32 {
	const float *p;
	i64 ld;
	int rows, cols;
};

constexpr int STEPS = 16;

// A part of an operand: R of its rows (columns if TRANS) by STEPS of the sum, N elements a thread.
template <int R, int THREADS, bool TRANS> struct Part {
	static constexpr int ROWS = R, BLOCK = THREADS, N = R * STEPS / THREADS;
	static constexpr bool TRANSPOSED = TRANS;
	const float *at[N]; // where element i is in step 0
	float v[N];         // of the steps that come next
};

// The row of element i of this thread, and its step.
template <class PART> FN int rowOf(const PART &, int i) {
	int e = i * PART::BLOCK + tid();
	return PART::TRANSPOSED ? e % PART::ROWS : e / STEPS;
}
template <class PART> FN int stepOf(const PART &, int i) {
	return PART::TRANSPOSED ? (i * PART::BLOCK + tid()) / PART::ROWS : tid() % STEPS;
}

// Begins at row r0. Rows that m does not have are those of its last one: what comes of them is not stored.
template <int R, int THREADS, bool TRANS> FN void open(Part<R, THREADS, TRANS> &p, const Matrix32 &m, int r0) {
	int last = (TRANS ? m.cols : m.rows) - 1;
	UNROLL for (int i = 0; i < p.N; i++) {
		int r = r0 + rowOf(p, i);
		r = r < last ? r : last;
		p.at[i] = m.p + (TRANS ? r : r * m.ld);
	}
}

// Takes steps s0.. of sums in all to registers; zeros after the last.
template <int R, int THREADS, bool TRANS>
FN void load(Part<R, THREADS, TRANS> &p, const Matrix32 &m, int s0, int sums) {
	i64 by = TRANS ? m.ld : 1;
	if (s0 + STEPS <= sums) {
		UNROLL for (int i = 0; i < p.N; i++) p.v[i] = p.at[i][(s0 + stepOf(p, i)) * by];
		return;
	}
	UNROLL for (int i = 0; i < p.N; i++) {
		bool in = s0 + stepOf(p, i) < sums;
		float x = p.at[i][in ? (s0 + stepOf(p, i)) * by : 0]; // no branch
		p.v[i] = in ? x : 0;
	}
}

// To shared memory, as [STEPS][R+4].
template <int R, int THREADS, bool TRANS> FN void store(float *to, const Part<R, THREADS, TRANS> &p) {
	UNROLL for (int i = 0; i < p.N; i++) to[stepOf(p, i) * (R + 4) + rowOf(p, i)] = p.v[i];
}

template <int N> FN void copy(float *to, const float *from) {
	if (N == 4) *(f32x4 *)to = *(const f32x4 *)from;
	else *(f32x2 *)to = *(const f32x2 *)from;
}

template <int BM, int BN, int TN, bool TA, bool TB, bool CHAIN> FN void gemm32(Matrix32 a, Matrix32 b, Output o) {
	constexpr int THREADS = BM * BN / 4 / TN, SIZE_A = STEPS * (BM + 4), SIZE_B = STEPS * (BN + 4);
	int m0, n0, row = tid() / (BN / TN) * 4, col = tid() % (BN / TN) * TN, sums = TA ? a.rows : a.cols;
	place<BM, BN>(o.rows, o.cols, &m0, &n0);
	float sum[4][TN] = {};
	if (CHAIN) {
		begin<BM, BN, THREADS>(dyn32, m0, n0, o);
		sync();
		UNROLL for (int i = 0; i < 4; i++) copy<TN>(sum[i], dyn32 + (row + i) * PITCH<BN> + col);
		sync();
	}
	Part<BM, THREADS, TA> pa;
	Part<BN, THREADS, TB> pb;
	open(pa, a, m0);
	open(pb, b, n0);
	load(pa, a, 0, sums);
	load(pb, b, 0, sums);
	for (int s = 0, odd = 0; s < sums; s += STEPS, odd ^= 1) {
		float *ta = dyn32 + odd * (SIZE_A + SIZE_B), *tb = ta + SIZE_A;
		store(ta, pa);
		store(tb, pb);
		sync();
		if (s + STEPS < sums) {
			load(pa, a, s + STEPS, sums);
			load(pb, b, s + STEPS, sums);
		}
		UNROLL for (int k = 0; k < STEPS; k++) {
			float x[4], y[TN];
			copy<4>(x, ta + k * (BM + 4) + row);
			copy<TN>(y, tb + k * (BN + 4) + col);
			UNROLL for (int i = 0; i < 4; i++) UNROLL for (int j = 0; j < TN; j++) sum[i][j] = fma(x[i], y[j], sum[i][j]);
		}
	}
	sync();
	UNROLL for (int i = 0; i < 4; i++) copy<TN>(dyn32 + (row + i) * PITCH<BN> + col, sum[i]);
	sync();
	finish<BM, BN, THREADS>(dyn32, m0, n0, o);
}

// Grid: one block a tile, in a line. Block: 4*TN elements a thread. Dynamic shared memory: the larger of
// 2*16*(BM+4 + BN+4) and BM*(BN+8) floats.
#define GEMM32(name, BM, BN, TN, TA, TB, CHAIN) \
	KERNEL(BM * BN / 4 / TN) name(Matrix32 a, Matrix32 b, Output o) { gemm32<BM, BN, TN, TA, TB, CHAIN>(a, b, o); }

GEMM32(gemm32_64x64, 64, 64, 4, false, false, false)
GEMM32(gemm32_16x64, 16, 64, 4, false, false, false)
GEMM32(gemm32_16x16, 16, 16, 2, false, false, false)
GEMM32(gemm32_dx_64x64, 64, 64, 4, false, true, false)
GEMM32(gemm32_dx_16x64, 16, 64, 4, false, true, false)
GEMM32(gemm32_dx_16x16, 16, 16, 2, false, true, false)
GEMM32(gemm32_dw_64x64, 64, 64, 4, true, true, true)
GEMM32(gemm32_dw_16x64, 16, 64, 4, true, true, true)
GEMM32(gemm32_dw_16x16, 16, 16, 2, true, true, true)

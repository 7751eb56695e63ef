// Attention over pages of 32 keys, causal. Keys are taken in partitions of 256 at absolute positions; each begins afresh with a maximum m, a
// sum l and an output o, and partitions are merged in ascending order, so that it does not matter which block computes which of them.
#include "attention.h"

// Adds a partition (m, l, o) to those before it.
template <int N> FN void merge(float &M, float &L, float (&O)[N], float m, float l, const float (&o)[N]) {
	float most = larger(M, m), before = exp2(M - base(most)), now = exp2(m - base(most));
	M = most;
	L = fma(L, before, l * now);
	UNROLL for (int i = 0; i < N; i++) O[i] = fma(O[i], before, o[i] * now);
}

// Any cache and any D, one row after another: what small odd shapes and F32 caches use. A warp a (row, query head, 128 columns of the output),
// four warps a block, rows and heads in X (head fastest), columns in Y. 32 keys at once: a lane sums the score of one key over d ascending;
// then a lane sums four columns of the output over the keys ascending. It reads the cache H/G times: slow, and simple.
template <typename T>
FN void plain(float *y, i64 ldy, float *lse, i64 ldl, const float *q, i64 ldq, const T *keys, const T *values, const int *segOf,
              const Segment *segs, const int *pageTable, int rows, int H, int G, int D, float scale) {
	const int columns = 4;
	int lane = tid() & 31, h, row, d0 = blockY() * 32 * columns + lane;
	i64 warp = (i64)blockX() * 4 + (tid() >> 5);
	if (warp >= (i64)rows * H) return;
	row = warp / H, h = warp % H;
	Segment s = segs[segOf[row]];
	const int *pages = pageTable + s.page0;
	int last = s.start + row - s.row, g = h * G / H;
	q += row * ldq + h * D;

	float M = -infinity(), L = 0, O[columns] = {}, k2 = scale * LOG2E;
	for (int from = 0; from <= last; from += PARTITION) {
		float m = -infinity(), l = 0, o[columns] = {};
		int to = lesser(from + PARTITION - 1, last);
		for (int key = from; key <= to; key += 32) {
			const T *v = values + place(pages, key, G, g, D); // 32 keys lie in one page
			float x = -infinity();
			if (key + lane <= to) x = score(q, keys + place(pages, key + lane, G, g, D), D, k2);
			float most = larger(m, warpMax(x)), f = exp2(m - base(most)), p = exp2(x - base(most));
			m = most;
			l = fma(l, f, warpSum(p));
			p = rounded(p, keys);
			UNROLL for (int c = 0; c < columns; c++) o[c] *= f;
			for (int j = 0; j < 32 && key + j <= to; j++) {
				float pj = laneOf(p, j);
				UNROLL for (int c = 0; c < columns; c++)
					if (d0 + 32 * c < D) o[c] = fma(pj, load(v + j * D + d0 + 32 * c), o[c]);
			}
		}
		merge(M, L, O, m, l, o);
	}
	y += row * ldy + h * D;
	UNROLL for (int c = 0; c < columns; c++)
		if (d0 + 32 * c < D) y[d0 + 32 * c] = O[c] / L;
	if (lse && lane == 0 && blockY() == 0) lse[row * ldl + h] = logSum(M, L);
}

#define PLAIN(name, T)                                                                                                                      \
	KERNEL(128) name(float *y, i64 ldy, float *lse, i64 ldl, const float *q, i64 ldq, const T *keys, const T *values, const int *segOf,      \
	                 const Segment *segs, const int *pages, int rows, int H, int G, int D, float scale) {                                    \
		plain(y, ldy, lse, ldl, q, ldq, keys, values, segOf, segs, pages, rows, H, G, D, scale);                                            \
	}
PLAIN(attention_f32, float)
PLAIN(attention_bf16, u16)

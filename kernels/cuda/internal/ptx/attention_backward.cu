// Gradients of attention. With p = exp(score - lse) and delta = sum_d dy*y, for each row and each key that is not behind it:
//
//	dv += p*dy,  ds = scale * p*(dy.v - delta),  dq = sum over keys of ds*k,  dk += ds*q
//
// dq is a sum over keys for each row, dk and dv are sums over rows for each key: kernels of their own, so that nothing is added by two blocks.
#include "attention.h"

extern __shared__ __attribute__((aligned(16))) float dynamic[];

// What the kernels read. Rows of dy, y and q begin every ldDy, ldY and ldQ elements; delta is [rows, H].
struct Rows {
	const float *dy, *q, *lse, *delta;
	i64 ldDy, ldQ, ldL;
	int H, G, D;
	float scale;
};

// delta[T, H] = sum_d dy*y: a warp a (row, head), d in 32 chains that are then added as a tree.
KERNEL(128) attention_delta(float *delta, const float *dy, i64 ldDy, const float *y, i64 ldY, int rows, int H, int D) {
	int lane = tid() & 31;
	i64 warp = (i64)blockX() * 4 + (tid() >> 5), row = warp / H;
	int h = warp % H;
	if (row >= rows) return;
	dy += row * ldDy + h * D, y += row * ldY + h * D;
	float sum = 0;
	for (int d = lane; d < D; d += 32) sum = fma(dy[d], y[d], sum);
	sum = warpSum(sum);
	if (lane == 0) delta[warp] = sum;
}

// dq[T, H*D] of any cache and any D: the grid of the plain forward. 32 keys at once, a lane computes ds of one, then four columns over all.
template <typename T>
FN void plainQ(float *dq, i64 ldDq, Rows a, const T *keys, const T *values, const int *segOf, const Segment *segs, const int *pageTable, int rows) {
	const int columns = 4;
	int lane = tid() & 31, d0 = blockY() * 32 * columns + lane, D = a.D, H = a.H;
	i64 warp = (i64)blockX() * 4 + (tid() >> 5), row = warp / H;
	int h = warp % H, g = h * a.G / H;
	if (row >= rows) return;
	Segment s = segs[segOf[row]];
	const int *pages = pageTable + s.page0;
	int last = s.start + (int)row - s.row;
	const float *q = a.q + row * a.ldQ + h * D, *dy = a.dy + row * a.ldDy + h * D;
	float lse = a.lse[row * a.ldL + h] * LOG2E, delta = a.delta[warp], sum[columns] = {};
	for (int key = 0; key <= last; key += PAGE) {
		i64 at = place(pages, key, a.G, g, D);
		float ds = 0;
		if (key + lane <= last) {
			float p = exp2(score(q, keys + at + lane * D, D, a.scale * LOG2E) - lse), dp = 0;
			const T *v = values + at + lane * D;
			for (int d = 0; d < D; d++) dp = fma(dy[d], load(v + d), dp);
			ds = a.scale * p * (dp - delta);
		}
		for (int j = 0; j < PAGE && key + j <= last; j++) {
			float x = laneOf(ds, j);
			UNROLL for (int c = 0; c < columns; c++)
				if (d0 + 32 * c < D) sum[c] = fma(x, load(keys + at + j * D + d0 + 32 * c), sum[c]);
		}
	}
	dq += row * ldDq + h * D;
	UNROLL for (int c = 0; c < columns; c++)
		if (d0 + 32 * c < D) dq[d0 + 32 * c] = sum[c];
}

// dk and dv [S, G*D] of any cache and any D, += : a block a (page, kv head, 128 columns), of 8 warps. For each use of the page by a segment, in
// order, query heads and rows ascending, 8 rows at once: a warp computes p and ds of one row, a lane those of a key; then 8 threads a key add
// them up in registers. uses of page i are entries first[i] to first[i+1]: {segment, number of the page in it}.
template <typename T>
FN void plainKV(float *dk, i64 ldDk, float *dv, i64 ldDv, Rows a, const T *keys, const T *values, const Segment *segs, const int *list, const int *uses) {
	const int rows = 8, columns = 16;
	int t = tid(), lane = t & 31, w = t >> 5, g = blockY(), D = a.D, ld = D | 1, group = a.H / a.G;
	int page = list[2 * blockX()], first = list[2 * blockX() + 1], end = list[2 * blockX() + 3];
	int key = t >> 3, d0 = blockZ() * 8 * columns + (t & 7), touched = 0;
	float *k = dynamic, *v = k + PAGE * ld, *q = v + PAGE * ld, *dy = q + rows * D, *p = dy + rows * D, *ds = p + rows * PAGE;
	float sumK[columns] = {}, sumV[columns] = {};
	i64 from = ((i64)page * a.G + g) * PAGE * D;
	for (int i = t; i < PAGE * D; i += 256) {
		k[i / D * ld + i % D] = load(keys + from + i);
		v[i / D * ld + i % D] = load(values + from + i);
	}
	for (int u = first; u < end; u++) {
		Segment s = segs[uses[2 * u]];
		int key0 = uses[2 * u + 1] * PAGE, start = key0 > s.start ? key0 - s.start : 0; // the first row that has the page
		for (int h = g * group; h < (g + 1) * group; h++) {
			for (int i0 = start; i0 < s.len; i0 += rows) {
				int n = lesser(rows, s.len - i0);
				sync();
				for (int i = t; i < n * D; i += 256) {
					i64 row = s.row + i0 + i / D;
					int d = h * D + i % D;
					q[i] = rounded(a.q[row * a.ldQ + d], keys);
					dy[i] = a.dy[row * a.ldDy + d];
				}
				sync();
				float x = 0, dx = 0;
				if (w < n && key0 + lane <= s.start + i0 + w) {
					i64 row = s.row + i0 + w;
					float z = 0, dp = 0;
					for (int d = 0; d < D; d++) {
						z = fma(q[w * D + d], k[lane * ld + d], z);
						dp = fma(dy[w * D + d], v[lane * ld + d], dp);
					}
					x = exp2(z * (a.scale * LOG2E) - a.lse[row * a.ldL + h] * LOG2E);
					dx = a.scale * x * (dp - a.delta[row * a.H + h]);
				}
				p[w * PAGE + lane] = x, ds[w * PAGE + lane] = dx;
				sync();
				for (int r = 0; r < n; r++) {
					bool sees = key0 + key <= s.start + i0 + r; // else nothing is added, not even 0 times NaN
					u32 mask = sees ? ~0u : 0;
					touched |= sees;
					float x = p[r * PAGE + key], dx = ds[r * PAGE + key];
					UNROLL for (int c = 0; c < columns; c++) {
						if (blockZ() * 8 * columns + 8 * c >= D) break;
						int d = r * D + lesser(d0 + 8 * c, D - 1); // columns beyond D are not written
						sumK[c] = fma(dx, real(bits(q[d]) & mask), sumK[c]);
						sumV[c] = fma(x, real(bits(dy[d]) & mask), sumV[c]);
					}
				}
			}
		}
	}
	if (!touched) return;
	dk += ((i64)page * PAGE + key) * ldDk + g * D, dv += ((i64)page * PAGE + key) * ldDv + g * D;
	UNROLL for (int c = 0; c < columns; c++) {
		if (d0 + 8 * c >= D) continue;
		dk[d0 + 8 * c] += sumK[c];
		dv[d0 + 8 * c] += sumV[c];
	}
}

#define ROWS                                                                                                                                \
	const float *dy, i64 ldDy, const float *q, i64 ldQ, const float *lse, i64 ldL, const float *delta, int H, int G, int D, float scale
#define PLAIN(suffix, T)                                                                                                                    \
	KERNEL(128) attention_dq_##suffix(float *dq, i64 ldDq, ROWS, const T *keys, const T *values, const int *segOf, const Segment *segs,      \
	                                  const int *pages, int rows) {                                                                         \
		plainQ(dq, ldDq, {dy, q, lse, delta, ldDy, ldQ, ldL, H, G, D, scale}, keys, values, segOf, segs, pages, rows);                      \
	}                                                                                                                                       \
	KERNEL(256) attention_dkv_##suffix(float *dk, i64 ldDk, float *dv, i64 ldDv, ROWS, const T *keys, const T *values, const Segment *segs,  \
	                                   const int *list, const int *uses) {                                                                  \
		plainKV(dk, ldDk, dv, ldDv, {dy, q, lse, delta, ldDy, ldQ, ldL, H, G, D, scale}, keys, values, segs, list, uses);                   \
	}
PLAIN(f32, float)
PLAIN(bf16, u16)

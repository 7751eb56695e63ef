// Gradients of attention over BF16 caches on tensor cores: the formulas of attention_backward.cu, with q, dy, probabilities and gradients of
// scores rounded to BF16 before they meet keys, values or each other.
#include "attention_tiles.h"

// delta[T, H] = sum_d dy*y, and q and dy in BF16 [T, H*D]: a warp a (row, head), four a block; d in 32 chains that are then added as a tree.
KERNEL(128) attention_operands(float *delta, u16 *qTo, u16 *dyTo, const float *q, i64 ldQ, const float *dy, i64 ldDy, const float *y, i64 ldY,
                               int rows, int H, int D) {
	int lane = tid() & 31;
	i64 warp = (i64)blockX() * 4 + (tid() >> 5), row = warp / H;
	int h = warp % H;
	if (row >= rows) return;
	q += row * ldQ + h * D, dy += row * ldDy + h * D, y += row * ldY + h * D, qTo += warp * D, dyTo += warp * D;
	float sum = 0;
	for (int d = lane; d < D; d += 32) {
		sum = fma(dy[d], y[d], sum);
		qTo[d] = narrow(q[d]);
		dyTo[d] = narrow(dy[d]);
	}
	sum = warpSum(sum);
	if (lane == 0) delta[warp] = sum;
}

// Queues the copy of 128 threads of rows r < n of ROWS to shared memory, `columns` elements each, zeros behind them.
template <int D, int ROWS> FN void fetchRows(char *to, const u16 *from, i64 ld, int n, int columns) {
	const int chunks = D / 8, rows = 128 / chunks;
	int r0 = tid() / chunks, d = tid() % chunks * 8;
	_Pragma("unroll 4") for (int i = 0; i < (ROWS + rows - 1) / rows; i++) {
		int r = i * rows + r0;
		if (r0 >= rows || r >= ROWS) continue;
		bool there = r < n && d < columns;
		copy16(shared(to) + r * rowBytes<D>() + 2 * d, from + (there ? r * ld + d : 0), there ? 16 : 0);
	}
}

// What a block reads: q and dy as attention_operands left them, lse with rows ldL apart, delta, one layer of the cache.
struct Operands {
	const u16 *q, *dy;
	const float *lse, *delta;
	i64 ldL;
	const u16 *keys, *values;
	int H, G, D;
	float scale;
};

// Of a query and a key with score s (a product, not scaled) and dp = dy.v: the probability, and the gradient of the score.
FN void gradient(float &s, float &dp, bool sees, float lse2, float delta, float scale) {
	float p = exp2(s * (scale * LOG2E) - lse2), ds = scale * p * (dp - delta);
	s = sees ? p : 0;
	dp = sees ? ds : 0;
}

// dq of a tile: a block of 4 warps a (tile of up to 64 rows of one segment, query head), in X, head fastest; the tiles of longer segments, then
// the segments of one row. Sums over keys ascending. Bound by tensor cores: 6*D operations a (row, key).
template <int D>
FN void queries(float *dq, i64 ldDq, Operands a, const int *tiles, int nTiles, const int *decodes, const int *segOf, const Segment *segs, const int *pages) {
	const int bytes = TILE * rowBytes<D>();
	int lane = tid() & 31, w = tid() >> 5, i = blockX() / a.H, h = blockX() % a.H, row = i < nTiles ? tiles[i] : decodes[2 * (i - nTiles)];
	Segment s = segs[segOf[row]];
	int n = lesser(TILE, s.row + s.len - row), first = s.start + row - s.row, last = first + n - 1;
	Cache c = {a.keys, a.values, pages + s.page0, a.G, h * a.G / a.H, a.D, last};
	char *sq = dynamic, *sdy = sq + bytes, *sk = sdy + bytes, *sv = sk + bytes;
	i64 ld = (i64)a.H * a.D, at = row * ld + h * a.D;
	fetchRows<D, TILE>(sq, a.q + at, ld, n, a.D);
	fetchRows<D, TILE>(sdy, a.dy + at, ld, n, a.D);
	float lse2[2], delta[2], sum[D / 8][4] = {};
	UNROLL for (int k = 0; k < 2; k++) {
		i64 r = row + lesser(w * 16 + (lane >> 2) + k * 8, n - 1);
		lse2[k] = a.lse[r * a.ldL + h] * LOG2E;
		delta[k] = a.delta[r * a.H + h];
	}
	for (int key = 0; key <= last; key += TILE) {
		fetch<D, 128>(shared(sk), a.keys, c, key, 0);
		fetch<D, 128>(shared(sv), a.values, c, key, 0);
		commit();
		arrived<0>();
		sync();
		int limit = first + w * 16 - key;
		if (limit > -16) { // else nobody in this warp sees any of them
			float p[8][4], ds[8][4];
			products<D>(p, shared(sq) + w * 16 * rowBytes<D>(), shared(sk));
			products<D>(ds, shared(sdy) + w * 16 * rowBytes<D>(), shared(sv));
			UNROLL for (int j = 0; j < 8; j++)
				UNROLL for (int e = 0; e < 4; e++)
					gradient(p[j][e], ds[j][e], j * 8 + (lane & 3) * 2 + (e & 1) <= limit + (lane >> 2) + (e >> 1) * 8, lse2[e >> 1],
					         delta[e >> 1], a.scale);
			u32 x[4][4];
			narrowAll(x, ds);
			addProducts<D>(sum, x, shared(sk));
		}
		sync();
	}
	UNROLL for (int k = 0; k < 2; k++) {
		int r = w * 16 + (lane >> 2) + k * 8;
		if (r >= n) continue;
		float *to = dq + (row + r) * ldDq + h * a.D;
		UNROLL for (int j = 0; j < D / 8; j++) {
			int d = j * 8 + (lane & 3) * 2;
			if (d < a.D) to[d] = sum[j][2 * k], to[d + 1] = sum[j][2 * k + 1];
		}
	}
}

// Adds what warps 2 and 3 summed to what 0 and 1 did, and that to rows of a gradient: key r of 16 at to + r*ld.
template <int D> FN void addUp(float *to, i64 ld, float (&sum)[D / 8][4], int most, int columns) {
	int lane = tid() & 31, w = tid() >> 5;
	float *other = (float *)dynamic + (w & 1) * 16 * D + lane;
	sync();
	if (w >= 2) {
		UNROLL for (int j = 0; j < D / 8; j++)
			UNROLL for (int e = 0; e < 4; e++) other[(j * 4 + e) * 32] = sum[j][e];
	}
	sync();
	if (w >= 2) return;
	UNROLL for (int j = 0; j < D / 8; j++) {
		UNROLL for (int e = 0; e < 4; e++) {
			int d = j * 8 + (lane & 3) * 2 + (e & 1), r = (lane >> 2) + (e >> 1) * 8;
			if (d < columns && r <= most) to[r * ld + d] += sum[j][e] + other[(j * 4 + e) * 32];
		}
	}
}

// dk and dv of a page, += : a block of 4 warps a (page, kv head), in X and Y. For each use of the page by a segment, in order, query heads and
// rows ascending, 64 rows at once: a warp takes 16 of the keys and every other 32 of the rows; the two sums of a key are added at the end.
// Bound by tensor cores: 8*D operations a (row, key); it reads each row of q and dy once for 32 keys.
template <int D>
FN void keys(float *dk, i64 ldDk, float *dv, i64 ldDv, Operands a, const Segment *segs, const int *list, const int *uses) {
	const int row = rowBytes<D>();
	int t = tid(), lane = t & 31, w = t >> 5, m = (w & 1) * 16, half = (w >> 1) * 32, g = blockY(), group = a.H / a.G;
	int page = list[2 * blockX()], first = list[2 * blockX() + 1], end = list[2 * blockX() + 3], most = -1; // the last key that anyone sees
	char *sq = dynamic, *sdy = sq + TILE * row, *sk = sdy + TILE * row, *sv = sk + PAGE * row;
	float *lse2 = (float *)(sv + PAGE * row), *delta = lse2 + TILE, sumK[D / 8][4] = {}, sumV[D / 8][4] = {};
	i64 from = ((i64)page * a.G + g) * PAGE * a.D, ld = (i64)a.H * a.D;
	fetchRows<D, PAGE>(sk, a.keys + from, a.D, PAGE, a.D);
	fetchRows<D, PAGE>(sv, a.values + from, a.D, PAGE, a.D);
	for (int u = first; u < end; u++) {
		Segment s = segs[uses[2 * u]];
		int key0 = uses[2 * u + 1] * PAGE, last = s.start + s.len - 1 - key0;
		most = most > last ? most : last;
		for (int h = g * group; h < (g + 1) * group; h++) {
			for (int i = key0 > s.start ? key0 - s.start : 0; i < s.len; i += TILE) { // from the first row that sees the page
				int n = lesser(TILE, s.len - i);
				i64 at = (s.row + i) * ld + h * a.D;
				sync();
				fetchRows<D, TILE>(sq, a.q + at, ld, n, a.D);
				fetchRows<D, TILE>(sdy, a.dy + at, ld, n, a.D);
				commit();
				if (t < TILE) {
					i64 r = s.row + i + lesser(t, n - 1);
					lse2[t] = a.lse[r * a.ldL + h] * LOG2E;
					delta[t] = a.delta[r * a.H + h];
				}
				arrived<0>();
				sync();
				float p[4][4], ds[4][4];
				products<D>(p, shared(sk) + m * row, shared(sq) + half * row);
				products<D>(ds, shared(sv) + m * row, shared(sdy) + half * row);
				UNROLL for (int j = 0; j < 4; j++) {
					UNROLL for (int e = 0; e < 4; e++) {
						int r = half + j * 8 + (lane & 3) * 2 + (e & 1), key = key0 + m + (lane >> 2) + (e >> 1) * 8;
						gradient(p[j][e], ds[j][e], r < n && key <= s.start + i + r, lse2[r], delta[r], a.scale);
					}
				}
				u32 x[2][4];
				narrowAll(x, p);
				addProducts<D>(sumV, x, shared(sdy) + half * row);
				narrowAll(x, ds);
				addProducts<D>(sumK, x, shared(sq) + half * row);
			}
		}
	}
	i64 slot = (i64)page * PAGE + m;
	addUp<D>(dk + slot * ldDk + g * a.D, ldDk, sumK, most - m, a.D);
	addUp<D>(dv + slot * ldDv + g * a.D, ldDv, sumV, most - m, a.D);
}

#define OPERANDS                                                                                                                            \
	const u16 *q, const u16 *dy, const float *lse, i64 ldL, const float *delta, const u16 *k, const u16 *v, int H, int G, int D, float scale
#define TILES(N)                                                                                                                            \
	KERNEL(128) attention_dq_##N(float *dq, i64 ldDq, OPERANDS, const int *tiles, int nTiles, const int *decodes, const int *segOf,          \
	                             const Segment *segs, const int *pages) {                                                                   \
		queries<N>(dq, ldDq, {q, dy, lse, delta, ldL, k, v, H, G, D, scale}, tiles, nTiles, decodes, segOf, segs, pages);                   \
	}                                                                                                                                       \
	KERNEL(128) attention_dkv_##N(float *dk, i64 ldDk, float *dv, i64 ldDv, OPERANDS, const Segment *segs, const int *list, const int *uses) \
	{                                                                                                                                       \
		keys<N>(dk, ldDk, dv, ldDv, {q, dy, lse, delta, ldL, k, v, H, G, D, scale}, segs, list, uses);                                      \
	}
TILES(16)
TILES(64)
TILES(96)
TILES(128)

// Attention of BF16 caches on tensor cores. Partitions are those of attention.cu. A tile is 16 queries a warp and 64 keys at once; prefill (a
// query a row) and decode (a query head a row) take it by the same function, so that the bits of a row are the same in both.
#include "attention_tiles.h"

template <int D> FN constexpr int stages() { return D > 128 ? 1 : 2; } // tiles of keys that shared memory has room for

// A tile's queries: maximum, sum and output of 16 rows. A lane has rows lane/4 and lane/4 + 8, and of each 8 columns the pair lane%4.
template <int V> struct Sums { float m[2], l[2], o[V / 8][4]; };
template <int V> FN void clear(Sums<V> &x) {
	UNROLL for (int i = 0; i < 2; i++) x.m[i] = -infinity(), x.l[i] = 0;
	UNROLL for (int i = 0; i < V / 8; i++) x.o[i][0] = x.o[i][1] = x.o[i][2] = x.o[i][3] = 0;
}

// Adds a later partition y to x.
template <int V> FN void merge(Sums<V> &x, const Sums<V> &y) {
	UNROLL for (int i = 0; i < 2; i++) {
		float most = larger(x.m[i], y.m[i]), before = exp2(x.m[i] - base(most)), now = exp2(y.m[i] - base(most));
		x.m[i] = most;
		x.l[i] = fma(x.l[i], before, y.l[i] * now);
		UNROLL for (int j = 0; j < V / 8; j++)
			UNROLL for (int e = 2 * i; e < 2 * i + 2; e++) x.o[j][e] = fma(x.o[j][e], before, y.o[j][e] * now);
	}
}

// Adds 64 keys, in shared memory, to the sums of a warp's 16 queries, at `queries`. Row r of them sees the keys up to limit + r*step: step is 1
// where rows are positions, and 0 where they are heads of one position.
template <int D, int V> FN void addKeys(Sums<V> &x, u32 queries, u32 keys, u32 values, int limit, int step, float k2) {
	int lane = tid() & 31;
	float s[8][4];
	products<D>(s, queries, keys);
	UNROLL for (int j = 0; j < 8; j++)
		UNROLL for (int e = 0; e < 4; e++) s[j][e] *= k2;
	if (limit < TILE - 1) { // the first row does not see all
		UNROLL for (int j = 0; j < 8; j++)
			UNROLL for (int e = 0; e < 4; e++)
				if (j * 8 + (lane & 3) * 2 + (e & 1) > limit + ((lane >> 2) + (e >> 1) * 8) * step) s[j][e] = -infinity();
	}
	UNROLL for (int i = 0; i < 2; i++) {
		float most = x.m[i];
		UNROLL for (int j = 0; j < 8; j++) most = larger(most, larger(s[j][2 * i], s[j][2 * i + 1]));
		most = larger(most, lanes(most, 1));
		most = larger(most, lanes(most, 2));
		float before = exp2(x.m[i] - base(most)), sum = 0;
		UNROLL for (int j = 0; j < 8; j++) {
			s[j][2 * i] = exp2(s[j][2 * i] - base(most));
			s[j][2 * i + 1] = exp2(s[j][2 * i + 1] - base(most));
			sum += s[j][2 * i];
			sum += s[j][2 * i + 1];
		}
		sum += lanes(sum, 1);
		sum += lanes(sum, 2);
		x.m[i] = most;
		x.l[i] = fma(x.l[i], before, sum);
		UNROLL for (int j = 0; j < V / 8; j++) x.o[j][2 * i] *= before, x.o[j][2 * i + 1] *= before;
	}
	u32 p[4][4];
	narrowAll(p, s);
	addProducts<V>(x.o, p, values);
}

// Writes rows of q, rounded to BF16, to shared memory: row r < n begins at q + r*ld, the others are zeros.
template <int D, int ROWS, int THREADS> FN void putQueries(char *to, const float *q, i64 ld, int n, int columns) {
	UNROLL for (int i = 0; i < ROWS * (D / 2) / THREADS; i++) {
		int e = i * THREADS + tid(), r = e / (D / 2), d = e % (D / 2) * 2;
		const float *x = q + r * ld + d;
		*(u32 *)(to + r * rowBytes<D>() + 2 * d) = r < n && d < columns ? narrow2(x[0], x[1]) : 0;
	}
}

FN bool finite(float x) { return x - x == 0; }

// Makes values in shared memory that are infinite or NaN zeros, for rows that do not see them: 0*NaN would be NaN. Whether there were any.
// For 4 warps, found is theirs; there is a barrier in it.
template <int V> FN bool takeOut(char *values, int *found) {
	int odd = 0;
	UNROLL for (int i = 0; i < TILE * (V / 2) / 128; i++) {
		int e = i * 128 + tid();
		u32 *x = (u32 *)(values + e / (V / 2) * rowBytes<V>()) + e % (V / 2), old = *x, y = old;
		if (!finite(real(old << 16))) y &= 0xffff0000u;
		if (!finite(real(old & 0xffff0000u))) y &= 0xffff;
		if (y != old) *x = y, odd = 1;
	}
	odd = __nvvm_vote_any_sync(0xffffffff, odd);
	if ((tid() & 31) == 0) found[tid() >> 5] = odd;
	sync();
	return found[0] | found[1] | found[2] | found[3];
}

// Adds what was taken out of 64 values from position key on, to the rows of a warp that see it: row r sees limit + r of them. No probability is 0.
template <int V> FN void addOdd(Sums<V> &x, const Cache &c, int key, int limit, int c0) {
	int lane = tid() & 31;
	_Pragma("unroll 1") for (int i = 0; i < TILE && key + i <= c.last; i++) {
		const u16 *v = c.values + place(c.pages, key + i, c.G, c.g, c.D);
		UNROLL for (int j = 0; j < V / 8; j++) {
			UNROLL for (int e = 0; e < 4; e++) {
				int d = c0 + j * 8 + (lane & 3) * 2 + (e & 1);
				float z = d < c.D && i <= limit + (lane >> 2) + (e >> 1) * 8 ? wide(v[d]) : 0;
				if (!finite(z)) x.o[j][e] += z;
			}
		}
	}
}

// y and lse of the rows of a tile. A block of 4 warps a (tile of 64 rows of one segment, query head, V columns of the output): tiles and heads in
// X, head fastest, so that heads that share keys run side by side; columns in Z. Bound by tensor cores: 4*D operations a (row, key).
template <int D, int V>
FN void prefill(float *y, i64 ldy, float *lse, i64 ldl, const float *q, i64 ldq, const u16 *keys, const u16 *values, const int *tiles,
                const int *segOf, const Segment *segs, const int *pages, int H, int G, int columns, float scale) {
	const int kBytes = TILE * rowBytes<D>(), vBytes = TILE * rowBytes<V>(), S = stages<D>();
	int lane = tid() & 31, w = tid() >> 5, row = tiles[blockX() / H], h = blockX() % H, c0 = blockZ() * V;
	Segment s = segs[segOf[row]];
	int n = lesser(64, s.row + s.len - row), first = s.start + row - s.row, last = first + n - 1, blocks = last / TILE + 1;
	Cache c = {keys, values, pages + s.page0, G, h * G / H, columns, last};
	char *sk = dynamic + kBytes, *sv = sk + S * kBytes;
	auto load = [&](int b) INLINE {
		fetch<D, 128>(shared(sk + b % S * kBytes), keys, c, b * TILE, 0);
		fetch<V, 128>(shared(sv + b % S * vBytes), values, c, b * TILE, c0);
		commit();
	};
	load(0);
	putQueries<D, 64, 128>(dynamic, q + row * ldq + h * columns, ldq, n, columns);

	Sums<V> all, part;
	clear(all);
	clear(part);
	for (int b = 0; b < blocks; b++) {
		if (S > 1 && b + 1 < blocks) {
			load(b + 1);
			arrived<1>();
		} else {
			arrived<0>();
		}
		sync();
		int limit = first + w * 16 - b * TILE;
		bool odd = first - b * TILE < TILE - 1 && takeOut<V>(sv + b % S * vBytes, (int *)(sv + S * vBytes));
		if (limit > -16) { // else nobody in this warp sees any of them
			addKeys<D, V>(part, shared(dynamic) + w * 16 * rowBytes<D>(), shared(sk + b % S * kBytes), shared(sv + b % S * vBytes), limit, 1,
			              scale * LOG2E);
			if (odd) addOdd<V>(part, c, b * TILE, limit, c0);
		}
		if ((b + 1) % (PARTITION / TILE) == 0 || b + 1 == blocks) {
			merge(all, part);
			clear(part);
		}
		sync();
		if (S == 1 && b + 1 < blocks) load(b + 1);
	}
	UNROLL for (int i = 0; i < 2; i++) {
		int r = w * 16 + (lane >> 2) + i * 8;
		if (r >= n) continue;
		float inverse = 1 / all.l[i], *to = y + (row + r) * ldy + h * columns;
		UNROLL for (int j = 0; j < V / 8; j++) {
			int d = c0 + j * 8 + (lane & 3) * 2;
			if (d < columns) to[d] = all.o[j][2 * i] * inverse, to[d + 1] = all.o[j][2 * i + 1] * inverse;
		}
		if (lse && (lane & 3) == 0 && blockZ() == 0) lse[(row + r) * ldl + h] = logSum(all.m[i], all.l[i]);
	}
}

// A partition of a segment of one row: part[i, H, D+2] has the output, maximum and sum of each query head. parts is {number of parts, 0} and then
// the parts. A warp a (part, kv head and 16 of its query heads, V columns): X, Y, Z. A recorded grid has blocks for more parts than there
// may be; those have nothing to do. Bound by memory: a block reads the partition once for up to 16 query heads.
template <int D, int V>
FN void decode(float *part, const float *q, i64 ldq, const u16 *keys, const u16 *values, const int *parts, const int *decodes, const int *segOf,
               const Segment *segs, const int *pages, int H, int G, int columns, float scale) {
	const int kBytes = TILE * rowBytes<D>(), vBytes = TILE * rowBytes<V>(), S = stages<D>();
	if (blockX() >= parts[0]) return;
	parts += 2 * (blockX() + 1);
	int lane = tid(), group = H / G, perGroup = (group + 15) / 16, g = blockY() / perGroup, h0 = blockY() % perGroup * 16, c0 = blockZ() * V;
	int row = decodes[2 * parts[0]], from = parts[1] * PARTITION, n = lesser(16, group - h0);
	Segment s = segs[segOf[row]];
	int last = s.start, blocks = lesser(PARTITION / TILE, (last - from) / TILE + 1);
	h0 += g * group;
	Cache c = {keys, values, pages + s.page0, G, g, columns, last};
	char *sk = dynamic + 16 * rowBytes<D>(), *sv = sk + S * kBytes;
	auto load = [&](int b) INLINE {
		fetch<D, 32>(shared(sk + b % S * kBytes), keys, c, from + b * TILE, 0);
		fetch<V, 32>(shared(sv + b % S * vBytes), values, c, from + b * TILE, c0);
		commit();
	};
	load(0);
	putQueries<D, 16, 32>(dynamic, q + row * ldq + (i64)h0 * columns, columns, n, columns);
	Sums<V> x;
	clear(x);
	for (int b = 0; b < blocks; b++) {
		if (S > 1 && b + 1 < blocks) {
			load(b + 1);
			arrived<1>();
		} else {
			arrived<0>();
		}
		sync();
		addKeys<D, V>(x, shared(dynamic), shared(sk + b % S * kBytes), shared(sv + b % S * vBytes), last - from - b * TILE, 0, scale * LOG2E);
		sync();
		if (S == 1 && b + 1 < blocks) load(b + 1);
	}
	UNROLL for (int i = 0; i < 2; i++) {
		int r = (lane >> 2) + i * 8;
		if (r >= n) continue;
		float *to = part + ((i64)blockX() * H + h0 + r) * (columns + 2);
		UNROLL for (int j = 0; j < V / 8; j++) {
			int d = c0 + j * 8 + (lane & 3) * 2;
			if (d < columns) to[d] = x.o[j][2 * i], to[d + 1] = x.o[j][2 * i + 1];
		}
		if ((lane & 3) == 0 && blockZ() == 0) to[columns] = x.m[i], to[columns + 1] = x.l[i];
	}
}

// y and lse of the segments of one row, from their partitions in ascending order: a block a (segment, query head), in X, head fastest.
KERNEL(128) attention_merge(float *y, i64 ldy, float *lse, i64 ldl, const float *part, const int *decodes, const int *segOf, const Segment *segs,
                            int H, int D) {
	int i = blockX() / H, h = blockX() % H, row = decodes[2 * i];
	int n = segs[segOf[row]].start / PARTITION + 1;
	for (int d = tid(); d < D; d += 128) {
		float M = -infinity(), L = 0, O = 0;
		for (int p = 0; p < n; p++) {
			const float *x = part + ((i64)(decodes[2 * i + 1] + p) * H + h) * (D + 2);
			float most = larger(M, x[D]), before = exp2(M - base(most)), now = exp2(x[D] - base(most));
			M = most;
			L = fma(L, before, x[D + 1] * now);
			O = fma(O, before, x[d] * now);
		}
		float inverse = 1 / L;
		y[row * ldy + h * D + d] = O * inverse;
		if (lse && d == 0) lse[row * ldl + h] = logSum(M, L);
	}
}

#define TILES(D, V)                                                                                                                         \
	KERNEL(128) attention_prefill_##D(float *y, i64 ldy, float *lse, i64 ldl, const float *q, i64 ldq, const u16 *keys, const u16 *values,   \
	                                  const int *tiles, const int *segOf, const Segment *segs, const int *pages, int H, int G, int columns,  \
	                                  float scale) {                                                                                        \
		prefill<D, V>(y, ldy, lse, ldl, q, ldq, keys, values, tiles, segOf, segs, pages, H, G, columns, scale);                             \
	}                                                                                                                                       \
	KERNEL(32) attention_decode_##D(float *part, const float *q, i64 ldq, const u16 *keys, const u16 *values, const int *parts,             \
	                                const int *decodes, const int *segOf, const Segment *segs, const int *pages, int H, int G, int columns,  \
	                                float scale) {                                                                                          \
		decode<D, V>(part, q, ldq, keys, values, parts, decodes, segOf, segs, pages, H, G, columns, scale);                                 \
	}
TILES(16, 16)
TILES(64, 64)
TILES(96, 96)
TILES(128, 128)
TILES(256, 128)

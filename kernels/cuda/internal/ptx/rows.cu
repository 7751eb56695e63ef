// Kernels over the rows of a batch. All are bound by memory: they read and write each element once, or twice from the cache.
#include "gpu.h"

// ids[pairs[i].row] = from[pairs[i].at] for i < n: a thread each.
KERNEL(256) feed(int *ids, const int *from, const int *pairs, int n) {
	int i = blockX() * 256 + tid();
	if (i < n) ids[pairs[2 * i]] = from[pairs[2 * i + 1]];
}

// y[r] = src[idx[r]], [R, cols]. Grid: each.
KERNEL(256) gather(float *y, i64 ldy, const float *src, i64 lds, const int *idx, i64 cols) {
	each(cols, [&](i64 r, i64 c) { y[r * ldy + c] = src[idx[r] * lds + c]; });
}

// dst[idx[r]] += src[r], r ascending, [R, cols]. A block a row: the first row of an index adds all rows of the index.
KERNEL(256) scatter_add(float *dst, i64 ldd, const float *src, i64 lds, const int *idx, int rows, i64 cols) {
	__shared__ u32 found[8]; // a bit for each of 256 rows
	int first = blockX(), id = idx[first];
	float *to = dst + id * ldd;
	for (int from = 0; from < rows; from += 256) {
		int r = from + tid();
		u32 mine = __nvvm_vote_ballot_sync(0xffffffff, r < rows && idx[r] == id);
		if ((tid() & 31) == 0) found[tid() >> 5] = mine;
		sync();
		for (int w = 0; w < 8; w++) {
			for (u32 left = found[w]; left; left &= left - 1) {
				int at = from + 32 * w + __builtin_ctz(left);
				if (at < first) return; // an earlier row's block does it
				for (i64 c = tid(); c < cols; c += 256) to[c] += src[at * lds + c];
			}
		}
		sync();
	}
}

// y = x * rstd * w with rstd = 1/sqrt(mean(x^2) + eps), for heads norms of n elements in each row. A block of 32 to 256 threads a norm.
template <class Y> FN void rmsnorm(Y *y, i64 ldy, const float *x, i64 ldx, const float *w, float *rstd, i64 ldr, int heads, int n, float eps) {
	i64 row = blockX() / heads, head = blockX() % heads;
	x += row * ldx + head * n;
	y += row * ldy + head * n;
	float sum = 0;
	for (int i = tid(); i < n; i += threads()) sum = fma(x[i], x[i], sum);
	float r = 1 / __builtin_sqrtf(blockSum(sum) / n + eps);
	for (int i = tid(); i < n; i += threads()) store(&y[i], x[i] * r * w[i]);
	if (rstd && tid() == 0) rstd[row * ldr + head] = r;
}
KERNEL(256) rmsnorm_f32(float *y, i64 ldy, const float *x, i64 ldx, const float *w, float *rstd, i64 ldr, int heads, int n, float eps) {
	rmsnorm(y, ldy, x, ldx, w, rstd, ldr, heads, n, eps);
}
KERNEL(256) rmsnorm_bf16(u16 *y, i64 ldy, const float *x, i64 ldx, const float *w, float *rstd, i64 ldr, int heads, int n, float eps) {
	rmsnorm(y, ldy, x, ldx, w, rstd, ldr, heads, n, eps);
}

// dx = (dx +) rstd * (w*dy - x * rstd^2 * mean(w*dy*x)). A block a norm.
KERNEL(256)
rmsnorm_backward(float *dx, i64 lddx, const float *dy, i64 lddy, const float *x, i64 ldx, const float *w, const float *rstd, i64 ldr, int heads,
                 int n, int add) {
	i64 row = blockX() / heads, head = blockX() % heads;
	x += row * ldx + head * n;
	dy += row * lddy + head * n;
	dx += row * lddx + head * n;
	float r = rstd[row * ldr + head], sum = 0;
	for (int i = tid(); i < n; i += threads()) sum = fma(w[i] * dy[i], x[i], sum);
	float mean = blockSum(sum) / n, k = r * r * mean;
	for (int i = tid(); i < n; i += threads()) {
		float g = r * (w[i] * dy[i] - x[i] * k);
		dx[i] = add ? dx[i] + g : g;
	}
}

// part[b, n] = the sum over the 64 norms from 64 b on of dy * x * rstd, or without x of dy; ascending. Grid: ceil(norms/64) * ceil(n/256).
KERNEL(256)
column_sums(float *part, const float *dy, i64 lddy, const float *x, i64 ldx, const float *rstd, i64 ldr, int norms, int heads, int n) {
	int strips = (n + 255) / 256, b = blockX() / strips, c = blockX() % strips * 256 + tid();
	if (c >= n) return;
	float sum = 0;
	for (int i = 64 * b; i < norms && i < 64 * b + 64; i++) {
		i64 row = i / heads, head = i % heads;
		float d = dy[row * lddy + head * n + c];
		sum = x ? fma(d * x[row * ldx + head * n + c], rstd[row * ldr + head], sum) : sum + d;
	}
	part[(i64)b * n + c] = sum;
}

// y[n] += the sum over part[blocks, n], ascending. Grid: ceil(n/256).
KERNEL(256) add_columns(float *y, const float *part, int blocks, int n) {
	int c = blockX() * 256 + tid();
	if (c >= n) return;
	float sum = y[c];
	for (int b = 0; b < blocks; b++) sum += part[(i64)b * n + c];
	y[c] = sum;
}

// Rotates pairs (i, i + dim/2) of heads by the angle table[pos[row], i], or back. Grid: each, of heads*dim/2 columns.
KERNEL(256) rope(float *x, i64 ldx, const float *table, i64 ldt, const int *pos, int heads, int dim, int inverse) {
	int h = dim / 2;
	each((i64)heads * h, [&](i64 r, i64 c) {
		int head = (int)c / h, i = (int)c % h;
		float *v = x + r * ldx + head * dim + i;
		const float *angle = table + pos[r] * ldt + i;
		float re = v[0], im = v[h], cos = angle[0], sin = inverse ? -angle[h] : angle[h];
		v[0] = fma(re, cos, -(im * sin));
		v[h] = fma(im, cos, re * sin);
	});
}

// keys and values [pages, G, 32, D] at the slots of the rows = k and v [T, G*D]. Grid: each.
template <class E> FN void kv_write(E *keys, E *values, const float *k, i64 ldk, const float *v, i64 ldv, const int *slots, int heads, int dim) {
	each((i64)heads * dim, [&](i64 r, i64 c) {
		int slot = slots[r], head = (int)c / dim, e = (int)c % dim;
		i64 at = (((i64)(slot / 32) * heads + head) * 32 + slot % 32) * dim + e;
		store(&keys[at], k[r * ldk + c]);
		store(&values[at], v[r * ldv + c]);
	});
}
KERNEL(256)
kv_write_f32(float *keys, float *values, const float *k, i64 ldk, const float *v, i64 ldv, const int *slots, int heads, int dim) {
	kv_write(keys, values, k, ldk, v, ldv, slots, heads, dim);
}
KERNEL(256)
kv_write_bf16(u16 *keys, u16 *values, const float *k, i64 ldk, const float *v, i64 ldv, const int *slots, int heads, int dim) {
	kv_write(keys, values, k, ldk, v, ldv, slots, heads, dim);
}

// Copies page pairs[i].src to pairs[i].dst in each of layers (keys and values count as two), a page being n units of 16 bytes.
// Grid: pairs * layers.
KERNEL(256) kv_copy(u32x4 *cache, const int *pairs, int layers, i64 layerUnits, int n) {
	int i = blockX() / layers, layer = blockX() % layers;
	u32x4 *base = cache + layer * layerUnits;
	u32x4 *dst = base + (i64)pairs[2 * i] * n, *src = base + (i64)pairs[2 * i + 1] * n;
	for (int u = tid(); u < n; u += 256) dst[u] = src[u];
}

FN float sigmoid(float x) { return 1 / (1 + exp(-x)); }

// y = gate * sigmoid(gate) * up. Grid: each.
template <class Y> FN void swiglu(Y *y, i64 ldy, const float *gate, i64 ldg, const float *up, i64 ldu, i64 cols) {
	each(cols, [&](i64 r, i64 c) {
		float g = gate[r * ldg + c];
		store(&y[r * ldy + c], g * sigmoid(g) * up[r * ldu + c]);
	});
}
KERNEL(256) swiglu_f32(float *y, i64 ldy, const float *gate, i64 ldg, const float *up, i64 ldu, i64 cols) {
	swiglu(y, ldy, gate, ldg, up, ldu, cols);
}
KERNEL(256) swiglu_bf16(u16 *y, i64 ldy, const float *gate, i64 ldg, const float *up, i64 ldu, i64 cols) {
	swiglu(y, ldy, gate, ldg, up, ldu, cols);
}

// With s = sigmoid(gate): dgate = dy*up*s*(1 + gate*(1-s)), dup = dy*gate*s; in place too. Grid: each.
KERNEL(256)
swiglu_backward(float *dgate, i64 lddg, float *dup, i64 lddu, const float *dy, i64 lddy, const float *gate, i64 ldg, const float *up, i64 ldu,
                i64 cols) {
	each(cols, [&](i64 r, i64 c) {
		float g = gate[r * ldg + c], u = up[r * ldu + c], d = dy[r * lddy + c], s = sigmoid(g);
		dgate[r * lddg + c] = d * u * s * (1 + g * (1 - s));
		dup[r * lddu + c] = d * g * s;
	});
}

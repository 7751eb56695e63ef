// Kernels over whole tensors: conversions, weights in and out, the optimizer.
#include "gpu.h"

// y = x of the same shape. Grid: each.
template <class Y, class X> FN void copy(Y *y, i64 ldy, const X *x, i64 ldx, i64 cols) {
	each(cols, [&](i64 r, i64 c) { store(&y[r * ldy + c], load(&x[r * ldx + c])); });
}
KERNEL(256) copy_f32_f32(float *y, i64 ldy, const float *x, i64 ldx, i64 cols) { copy(y, ldy, x, ldx, cols); }
KERNEL(256) copy_f32_bf16(float *y, i64 ldy, const u16 *x, i64 ldx, i64 cols) { copy(y, ldy, x, ldx, cols); }
KERNEL(256) copy_bf16_f32(u16 *y, i64 ldy, const float *x, i64 ldx, i64 cols) { copy(y, ldy, x, ldx, cols); }
KERNEL(256) copy_bf16_bf16(u16 *y, i64 ldy, const u16 *x, i64 ldx, i64 cols) {
	each(cols, [&](i64 r, i64 c) { y[r * ldy + c] = x[r * ldx + c]; });
}
KERNEL(256) copy_f32_f16(float *y, i64 ldy, const u16 *x, i64 ldx, i64 cols) {
	each(cols, [&](i64 r, i64 c) { y[r * ldy + c] = half(x[r * ldx + c]); });
}

// y += a x, fused. Grid: each.
KERNEL(256) axpy(float *y, i64 ldy, float a, const float *x, i64 ldx, i64 cols) {
	each(cols, [&](i64 r, i64 c) { y[r * ldy + c] = fma(a, x[r * ldx + c], y[r * ldy + c]); });
}

// y[r] = row ids[r], or without ids row row0 + r, of a weight, widened. Grid: each.
template <class W> FN void rows_of(float *y, i64 ldy, const W *w, i64 ld, const int *ids, i64 row0, i64 cols) {
	each(cols, [&](i64 r, i64 c) { y[r * ldy + c] = load(&w[(ids ? ids[r] : row0 + r) * ld + c]); });
}
KERNEL(256) rows_of_f32(float *y, i64 ldy, const float *w, const u16 *, i64 ld, const int *ids, i64 row0, i64 cols) {
	rows_of(y, ldy, w, ld, ids, row0, cols);
}
KERNEL(256) rows_of_bf16(float *y, i64 ldy, const u16 *w, const u16 *, i64 ld, const int *ids, i64 row0, i64 cols) {
	rows_of(y, ldy, w, ld, ids, row0, cols);
}
KERNEL(256) rows_of_q8(float *y, i64 ldy, const i8 *w, const u16 *scales, i64 ld, const int *ids, i64 row0, i64 cols) {
	each(cols, [&](i64 r, i64 c) {
		i64 at = (ids ? ids[r] : row0 + r) * ld + c;
		y[r * ldy + c] = w[at] * half(scales[at / 32]);
	});
}

// Rows of a Q8 weight from F32: scale = f16(max|x| / 127), q = x/scale to nearest even, within 127, 0 where that is no number.
// A warp a group of 32. Grid: rows * ceil(groups / warps of a block).
KERNEL(256) pack_q8(i8 *w, u16 *scales, i64 ld, i64 row0, const float *x, i64 ldx, int k) {
	int warps = threads() / 32, groups = (k + 31) / 32, per = (groups + warps - 1) / warps;
	int row = blockX() / per, g = blockX() % per * warps + (tid() >> 5);
	if (g >= groups) return;
	int c = 32 * g + (tid() & 31);
	float v = c < k ? x[row * ldx + c] : 0;
	u32 most = bits(v) & 0x7fffffff; // NaN is the largest
	UNROLL for (int m = 16; m; m >>= 1) {
		u32 other = (u32)__nvvm_shfl_sync_bfly_i32(0xffffffff, (int)most, m, 31);
		most = most > other ? most : other;
	}
	u16 s = toHalf(real(most) / 127);
	float d = half(s), q = v / d;
	if (d == 0 || q != q) q = 0;
	q = q > 127 ? 127 : q < -127 ? -127 : q;
	int n;
	asm("cvt.rni.s32.f32 %0, %1;" : "=r"(n) : "f"(q));
	i64 to = row0 + row;
	if (c < k) w[to * ld + c] = (i8)n;
	if ((tid() & 31) == 0) scales[to * (ld / 32) + g] = s;
}

// Rows of a Q8 weight that were quantised before: k bytes and then the groups' scales in each row of x. Grid: rows.
KERNEL(256) pack_raw_q8(i8 *w, u16 *scales, i64 ld, i64 row0, const u8 *x, int k) {
	int groups = (k + 31) / 32;
	i64 to = row0 + blockX();
	x += (i64)blockX() * (k + 2 * groups);
	for (int c = tid(); c < k; c += 256) w[to * ld + c] = (i8)x[c];
	for (int g = tid(); g < groups; g += 256) scales[to * (ld / 32) + g] = (u16)(x[k + 2 * g] | x[k + 2 * g + 1] << 8);
}

// The sum over the block of 256 threads, in thread 0.
FN double sum256(double x) {
	__shared__ double part[8];
	UNROLL for (int m = 16; m; m >>= 1) x += lanesDouble(x, m);
	if ((tid() & 31) == 0) part[tid() >> 5] = x;
	sync();
	double sum = 0;
	if (tid() == 0) {
		for (int i = 0; i < 8; i++) sum += part[i];
	}
	return sum;
}

// part[b] = the sum of squares of elements [4096 b, 4096 b + 4096) of x, row by row, n in all.
KERNEL(256) sum_squares(double *part, const float *x, i64 ldx, i64 cols, i64 n) {
	double sum = 0;
	UNROLL for (int i = 0; i < 16; i++) {
		i64 e = (i64)blockX() * 4096 + 256 * i + tid();
		if (e >= n) continue;
		double v = x[ldx == cols ? e : e / cols * ldx + e % cols];
		sum += v * v;
	}
	sum = sum256(sum);
	if (tid() == 0) part[blockX()] = sum;
}

// dst = (dst +) the sum of part[blocks]: a thread sums neighbours, thread 0 the threads. One block.
KERNEL(256) sum_parts(double *dst, const double *part, int blocks, int add) {
	int per = (blocks + 255) / 256;
	double sum = 0;
	for (int i = tid() * per; i < blocks && i < tid() * per + per; i++) sum += part[i];
	sum = sum256(sum);
	if (tid() == 0) *dst = add ? *dst + sum : sum;
}

// AdamW, see kernels.AdamWStep: g' = scale*g; m = b1*m + b1c*g'; v = b2*v + b2c*g'^2; p = keep*p - rate*m/(sqrt(v)/root + eps). Grid: each.
KERNEL(256)
adamw(float *p, const float *g, float *m, float *v, i64 n, float scale, float keep, float b1, float b1c, float b2, float b2c, float rate,
      float root, float eps) {
	each(n, [&](i64, i64 i) {
		float d = scale * g[i];
		float mi = fma(b1, m[i], b1c * d), vi = fma(b2, v[i], b2c * d * d);
		m[i] = mi;
		v[i] = vi;
		p[i] = fma(keep, p[i], -(rate * mi / (__builtin_sqrtf(vi) / root + eps)));
	});
}

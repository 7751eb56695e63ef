// The softmax of a row of logits, z = x * invTemp, in chunks of the vocabulary: what LogProb and Sample share, so
// that both give the same bits.
#pragma once
#include "gpu.h"

// A row is reduced in chunks of so many ids from id 0 on, and the chunks are merged: a fixed order, which depends on
// the vocabulary only.
const int chunkIDs = 4096;

// Of one chunk: m = max z, sum = sum e^(z-m), dot = sum (z-m) e^(z-m). Shifted by m, the entropy ln(sum) - dot/sum
// loses nothing. A chunk of -Inf has no weight; NaN and +Inf make NaN.
struct __attribute__((aligned(16))) Part { float m, sum, dot, pad; };

FN float inf() { return real(0x7f800000); }
FN int lane() { return tid() & 31; }
FN int warp() { return tid() >> 5; }
FN int least(int a, int b) { return a < b ? a : b; }

// ln x of x >= 1, to the last bits of F64: x = 2^k f with f around 1, ln f = 2 atanh((f-1)/(f+1)) by its series.
FN double ln(double x) {
	if (!(x >= 1)) return real(0x7fffffff);
	u64 u = __builtin_bit_cast(u64, x);
	int k = (int)(u >> 52) - 1023;
	double f = __builtin_bit_cast(double, (u & 0xfffffffffffffull) | 0x3ff0000000000000ull);
	if (f > 1.4142135623730951) f *= 0.5, k++;
	double s = (f - 1) / (f + 1), q = s * s, sum = 0;
	UNROLL for (int i = 21; i >= 1; i -= 2) sum = sum * q + 1.0 / i;
	return k * 0.6931471805599453 + 2 * s * sum;
}

FN double warpSum(double x) {
	UNROLL for (int m = 16; m; m >>= 1) x += lanesDouble(x, m);
	return x;
}

// Thread t of a block has 16 of n <= 16*threads logits at p: those at place(i, j) = 4(t + threads*i) + j, i and j <
// 4, as far as some thread has any of them. What lies beyond n is -Inf.
FN int place(int i, int j) { return 4 * (tid() + threads() * i) + j; }
FN bool some(int i, int n) { return 4 * threads() * i < n; }
FN void load16(float *x, const float *p, int n) {
	bool vectors = ((u64)p & 15) == 0;
	UNROLL for (int i = 0; i < 4; i++) {
		if (!some(i, n)) break;
		int at = place(i, 0);
		if (vectors && at + 4 <= n) {
			f32x4 v = *(const f32x4 *)(p + at);
			x[4 * i] = v.x, x[4 * i + 1] = v.y, x[4 * i + 2] = v.z, x[4 * i + 3] = v.w;
		} else {
			UNROLL for (int j = 0; j < 4; j++) x[4 * i + j] = at + j < n ? p[at + j] : -inf();
		}
	}
}

// What a block needs to reduce 8 warps.
struct Reduce { float max[8], sum[8], dot[8]; };

// The part of the n logits x of load16. A thread sums its own ascending, then the lanes meet as a tree, then the
// warps ascending.
FN Part scan(const float *x, int n, float invTemp, Reduce &r) {
	float z[16], m = -inf();
	UNROLL for (int i = 0; i < 4; i++) {
		if (!some(i, n)) break;
		UNROLL for (int j = 4 * i; j < 4 * i + 4; j++) {
			z[j] = place(i, j & 3) < n ? x[j] * invTemp : -inf();
			m = larger(m, z[j]);
		}
	}
	m = warpMax(m);
	int warps = threads() >> 5;
	if (lane() == 0) r.max[warp()] = m;
	sync();
	for (int w = 0; w < warps; w++) m = larger(m, r.max[w]);
	if (m == -inf()) { // all threads agree
		sync();
		return {m, 0, 0, 0};
	}
	float sum = 0, dot = 0;
	UNROLL for (int i = 0; i < 4; i++) {
		if (!some(i, n)) break;
		UNROLL for (int j = 4 * i; j < 4 * i + 4; j++) {
			float d = larger(z[j] - m, -150), e = exp(d); // e is 0 down there, and d*e must not be NaN
			sum += e;
			dot += d * e;
		}
	}
	sum = warpSum(sum), dot = warpSum(dot);
	if (lane() == 0) r.sum[warp()] = sum, r.dot[warp()] = dot;
	sync();
	sum = r.sum[0], dot = r.dot[0];
	for (int w = 1; w < warps; w++) sum += r.sum[w], dot += r.dot[w];
	sync();
	return {m, sum, dot, 0};
}

// A whole row: its parts merged by one warp, chunks lane, lane+32 and so on ascending, then the lanes as a tree.
// Without weight it is NaN.
struct Softmax {
	float m;
	double sum, dot;
};
FN Softmax merge(const Part *p, int chunks) {
	Softmax s = {-inf(), 0, 0};
	for (int c = lane(); c < chunks; c += 32) s.m = larger(s.m, p[c].m);
	s.m = warpMax(s.m);
	for (int c = lane(); c < chunks; c += 32) {
		float d = larger(p[c].m - s.m, -150);
		double e = exp(d);
		s.sum += e * p[c].sum;
		s.dot += e * (p[c].dot + (double)d * p[c].sum);
	}
	s.sum = warpSum(s.sum), s.dot = warpSum(s.dot);
	if (s.m == -inf()) s.sum = real(0x7fffffff);
	return s;
}

// Writes the scores of a row whose id has z; a null pointer is none.
FN void score(const Softmax &s, float z, i64 row, float *logp, float *entropy, float *lse) {
	double l = ln(s.sum);
	if (logp) logp[row] = (float)((double)z - s.m - l);
	if (entropy) entropy[row] = (float)(l - s.dot / s.sum);
	if (lse) lse[row] = (float)(s.m + l);
}

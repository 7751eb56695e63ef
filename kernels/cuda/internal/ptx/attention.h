// What forward and backward of attention share: which rows and keys there are, and one by one arithmetic.
#pragma once
#include "gpu.h"

const int PAGE = 32;       // keys in a page
const int PARTITION = 256; // keys, at absolute positions, that are summed up before they are merged with those before
const float LOG2E = 1.44269504f, LN2 = 0.693147181f;

// A segment of a batch: rows [row, row+len) are positions [start, start+len) of a sequence whose pages begin at pages[page0].
struct Segment { int row, len, start, page0; };

FN float infinity() { return real(0x7f800000u); }
FN float nan() { return real(0x7fffffffu); }

// x rounded as an operand that meets elements of a cache.
FN float rounded(float x, const float *) { return x; }
FN float rounded(float x, const u16 *) { return wide(narrow(x)); }

// Where the vector [D] of position p begins, in elements: a cache's layer is [pages, G, 32, D].
FN i64 place(const int *pages, int p, int G, int g, int D) {
	return (((i64)pages[p / PAGE] * G + g) * PAGE + p % PAGE) * D;
}

// scale/ln 2 times the product of q, rounded, and a key: a chain over d.
template <typename T> FN float score(const float *q, const T *key, int D, float k2) {
	float s = 0;
	for (int d = 0; d < D; d++) s = fma(rounded(q[d], key), load(key + d), s);
	return s * k2;
}

// What exponents are taken relative to: the maximum, but 0 while there was none, so that nothing is NaN that should not be.
FN float base(float m) { return m == -infinity() ? 0 : m; }

// ln of the sum of exponentials, of the maximum and the sum in powers of two.
FN float logSum(float M, float L) { return L > 0 ? (M + log2(L)) * LN2 : nan(); }

// x of a lane; the smaller of two.
FN float laneOf(float x, int lane) { return real(__nvvm_shfl_sync_idx_i32(0xffffffff, bits(x), lane, 31)); }
FN int lesser(int a, int b) { return a < b ? a : b; }

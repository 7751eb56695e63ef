// Tiles in shared memory and their products on tensor cores.
#pragma once
#include "attention.h"

#define INLINE __attribute__((always_inline))
extern __shared__ __attribute__((aligned(128))) char dynamic[];

const int TILE = 64; // keys, or queries, of a tile

// Bytes of a row of N elements in shared memory; the gap keeps rows in different banks.
template <int N> FN constexpr int rowBytes() { return 2 * N + 16; }

// A warp's s[16, 8*N] = a[16, D] b[8*N, D]^T of rows in shared memory.
template <int D, int N> FN void products(float (&s)[N][4], u32 a, u32 b) {
	int lane = tid() & 31;
	UNROLL for (int j = 0; j < N; j++) s[j][0] = s[j][1] = s[j][2] = s[j][3] = 0;
	UNROLL for (int k = 0; k < D / 16; k++) {
		u32 x[4];
		load4(x, a + (lane & 15) * rowBytes<D>() + (k * 2 + (lane >> 4)) * 16);
		UNROLL for (int j = 0; j < N / 2; j++) {
			u32 y[4];
			load4(y, b + (j * 16 + (lane & 7) + ((lane >> 4) << 3)) * rowBytes<D>() + (k * 2 + ((lane >> 3) & 1)) * 16);
			mma(s[2 * j], x, y);
			mma(s[2 * j + 1], x, y + 2);
		}
	}
}

// s[16, 16*N], as products leave it, rounded to BF16 and laid out as the left operand of a product.
template <int N> FN void narrowAll(u32 (&p)[N][4], const float (&s)[2 * N][4]) {
	UNROLL for (int k = 0; k < N; k++)
		UNROLL for (int e = 0; e < 4; e++) p[k][e] = narrow2(s[2 * k + e / 2][e % 2 * 2], s[2 * k + e / 2][e % 2 * 2 + 1]);
}

// A warp's o[16, V] += p[16, 16*N] b[16*N, V], b in shared memory.
template <int V, int N> FN void addProducts(float (&o)[V / 8][4], const u32 (&p)[N][4], u32 b) {
	int lane = tid() & 31;
	UNROLL for (int k = 0; k < N; k++) {
		UNROLL for (int j = 0; j < V / 16; j++) {
			u32 y[4];
			load4T(y, b + (k * 16 + (lane & 15)) * rowBytes<V>() + (j * 2 + (lane >> 4)) * 16);
			mma(o[2 * j], p[k], y);
			mma(o[2 * j + 1], p[k], y + 2);
		}
	}
}

// The cache of one layer as a block sees it: head g of it, and the pages of a sequence, of whose keys the last is at position last.
struct Cache {
	const u16 *keys, *values;
	const int *pages;
	int G, g, D, last;
};

// Queues the copy of N columns from c0 of 64 keys or values, from position key on, two pages; what is not there becomes zeros.
template <int N, int THREADS> FN void fetch(u32 to, const u16 *from, const Cache &c, int key, int c0) {
	const u16 *one = from + place(c.pages, key, c.G, c.g, c.D), *two = key + PAGE <= c.last ? from + place(c.pages, key + PAGE, c.G, c.g, c.D) : one;
	const int chunks = N / 8, rows = THREADS / chunks; // a thread copies 8 of the same columns of every so many rows
	int r0 = tid() / chunks, d = tid() % chunks * 8;
	bool columns = c0 + d < c.D;
	_Pragma("unroll 4") for (int i = 0; i < (TILE + rows - 1) / rows; i++) {
		int r = i * rows + r0;
		if (r0 >= rows || r >= TILE) continue;
		bool there = key + r <= c.last && columns;
		copy16(to + r * rowBytes<N>() + 2 * d, (r < PAGE ? one : two) + (there ? r % PAGE * c.D + c0 + d : 0), there ? 16 : 0);
	}
}


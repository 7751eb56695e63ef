// What the products share: where their results go, and which block makes which of them.
#pragma once
#include "gpu.h"

// Columns [from, end) of a product: element (r, c) goes to y[r*ld + c-from]. bias is null or has end-from elements.
struct Piece {
	float *y;
	const float *bias;
	i64 ld;
	int from, end;
};

// A product [rows, cols] in up to four pieces; those that are not used end at cols. What becomes of a sum is
// y = scale*sum + bias (+ y if add), each step rounded.
struct Output {
	Piece piece[4];
	int rows, cols, add;
	float scale;
};

// The piece that column c belongs to.
FN Piece pieceOf(const Output &o, int c) {
	Piece p = o.piece[0];
	UNROLL for (int i = 1; i < 4; i++) if (c >= o.piece[i - 1].end) p = o.piece[i];
	return p;
}

// Where the sums of a tile pass through shared memory: rows of BN, padded so that no bank is met twice.
template <int BN> constexpr int PITCH = BN + 8;

// finish stores the tile [BM, BN] at (m0, n0) from shared memory. A thread stays in its column; eight rows are on their
// way at once.
template <int BM, int BN, int THREADS> FN void finish(const float *tile, int m0, int n0, const Output &o) {
	constexpr int apart = THREADS / BN, high = BM / apart < 8 ? BM / apart : 8;
	static_assert(THREADS % BN == 0 && BM % (apart * high) == 0, "threads divide the tile");
	int column = tid() % BN, c = n0 + column;
	if (c >= o.cols) return;
	Piece p = pieceOf(o, c);
	float bias = p.bias ? p.bias[c - p.from] : 0;
	for (int r0 = tid() / BN; r0 < BM && m0 + r0 < o.rows; r0 += apart * high) {
		float *y = p.y + ((m0 + r0) * p.ld + (c - p.from)), old[high];
		if (o.add) UNROLL for (int i = 0; i < high; i++) old[i] = y[m0 + r0 + i * apart < o.rows ? i * apart * p.ld : 0];
		UNROLL for (int i = 0; i < high; i++) {
			float z = tile[(r0 + i * apart) * PITCH<BN> + column] * o.scale;
			if (p.bias) z += bias;
			if (o.add) z += old[i];
			if (m0 + r0 + i * apart < o.rows) y[i * apart * p.ld] = z;
		}
	}
}

// begin is the opposite: the tile comes to shared memory from piece 0, zeros where there is nothing.
template <int BM, int BN, int THREADS> FN void begin(float *tile, int m0, int n0, const Output &o) {
	for (int e = tid(); e < BM * BN; e += THREADS) {
		int r = e / BN, c = e % BN;
		bool in = m0 + r < o.rows && n0 + c < o.cols;
		tile[r * PITCH<BN> + c] = in ? o.piece[0].y[(m0 + r) * o.piece[0].ld + n0 + c] : 0;
	}
}

// The first row and column of this block's tile. Blocks run over the rows of 8 tiles first, then over columns: those
// that run at the same time share operands in the L2 cache.
template <int BM, int BN> FN void place(int rows, int cols, int *m0, int *n0) {
	int mt = (rows + BM - 1) / BM, nt = (cols + BN - 1) / BN, id = blockX();
	int first = id / (8 * nt) * 8, high = mt - first < 8 ? mt - first : 8, in = id % (8 * nt);
	*m0 = (first + in % high) * BM;
	*n0 = in / high * BN;
}

// Log-probs of targets and their gradient, over logits that exist one block of columns at a time.
#include "scan.h"

// logits [rows, stride] are columns [from, from+n) of a vocabulary of v ids, from being a multiple of 4096: the parts
// of their chunks go to parts [rows, chunks] and, where a row's target is among them, its z to z [rows]. A block a
// (row, chunk), 256 threads, 32 of a vocabulary of at most 512. It reads each logit once: bound by memory.
KERNEL(256) scoreChunks(Part *parts, int chunks, float *z, const float *logits, i64 stride, const int *targets,
	int from, int n, int v, float invTemp) {
	__shared__ Reduce r;
	int of = (n + chunkIDs - 1) / chunkIDs, row = blockX() / of, c = blockX() % of, at = c * chunkIDs;
	const float *p = logits + row * stride + at;
	n = least(chunkIDs, n - at);
	float x[16];
	load16(x, p, n);
	Part part = scan(x, n, invTemp, r);
	if (tid()) return;
	parts[(i64)row * chunks + from / chunkIDs + c] = part;
	int t = targets[row];
	if ((u32)(t - from - at) < (u32)n) z[row] = p[t - from - at] * invTemp;
	else if ((u32)t >= (u32)v && from + at == 0) z[row] = real(0x7fffffff); // no such id
}

// logp, entropy and lse [rows] (0: none) of parts [rows, chunks] and z [rows]. A warp a row, 128 threads.
KERNEL(128) scoreRows(float *logp, float *entropy, float *lse, const Part *parts, int chunks, const float *z,
	int rows) {
	int row = blockX() * 4 + warp();
	if (row >= rows) return;
	Softmax s = merge(parts + (i64)row * chunks, chunks);
	if (lane() == 0) score(s, z[row], row, logp, entropy, lse);
}

// dz in place of logits [rows, n], columns [from, from+n) of the vocabulary:
//
//	dz_v = invTemp * (dlogp*([v=target] - p) - dentropy*p*(ln p + entropy)), p = e^(z - lse)
//
// dentropy 0: none. A block a (row, 4096 columns), 256 threads, four of them side by side to a thread: bound by memory.
KERNEL(256) logitGradient(float *logits, i64 stride, int from, int n, const int *targets, const float *lse,
	const float *entropy, const float *dlogp, const float *dentropy, float invTemp) {
	int of = (n + chunkIDs - 1) / chunkIDs, row = blockX() / of, at = blockX() % of * chunkIDs;
	float *p = logits + row * stride + at;
	n = least(chunkIDs, n - at);
	float ln = lse[row], d = dlogp[row], de = dentropy ? dentropy[row] : 0, h = dentropy ? entropy[row] : 0;
	int target = targets[row] - from - at;
	float x[16];
	load16(x, p, n);
	bool vectors = ((u64)p & 15) == 0;
	UNROLL for (int i = 0; i < 4; i++) {
		if (!some(i, n)) break;
		int c = place(i, 0);
		UNROLL for (int j = 0; j < 4; j++) {
			float l = larger(x[4 * i + j] * invTemp - ln, -150); // p is 0 down there, and must stay so when it is multiplied
			float q = exp(l), g = -(q * (d + de * (l + h)));
			if (c + j == target) g += d;
			x[4 * i + j] = invTemp * g;
		}
		if (vectors && c + 4 <= n) {
			*(f32x4 *)(p + c) = {x[4 * i], x[4 * i + 1], x[4 * i + 2], x[4 * i + 3]};
		} else {
			UNROLL for (int j = 0; j < 4; j++) if (c + j < n) p[c + j] = x[4 * i + j];
		}
	}
}

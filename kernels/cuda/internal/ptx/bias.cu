// What stands in the output of a product before a library adds the sums to it.
#include "gemm.h"

// y = bias (+ y if add), zeros where bias is null: a piece of a product's output. A thread for each element; grid: a line of
// rows * ceil(cols/256) blocks of 256. Bound by memory.
KERNEL(256) put_bias(float *y, const float *bias, i64 ld, int cols, int add) {
	int chunks = (cols + 255) / 256, row = blockX() / chunks, c = blockX() % chunks * 256 + tid();
	if (c >= cols) return;
	float *to = y + (row * ld + c), v = bias ? bias[c] : 0;
	if (add) v += *to;
	*to = v;
}

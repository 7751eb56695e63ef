// What all kernels share. No header of CUDA is needed: clang's builtins and inline PTX do.
#pragma once
#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __shared__ __attribute__((shared))
#define __launch_bounds__(...) __attribute__((launch_bounds(__VA_ARGS__)))
#define FN static __device__ inline __attribute__((always_inline))
#define KERNEL(...) extern "C" __global__ void __launch_bounds__(__VA_ARGS__)
#define UNROLL _Pragma("unroll")

typedef unsigned char u8;
typedef signed char i8;
typedef unsigned short u16; // of BF16 and F16 too: their bits
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;
struct __attribute__((aligned(16))) u32x4 { u32 x, y, z, w; };
struct __attribute__((aligned(8))) f32x2 { float x, y; };
struct __attribute__((aligned(16))) f32x4 { float x, y, z, w; };

// The thread in its block, the block in its grid, the grid.
FN int tid() { return __nvvm_read_ptx_sreg_tid_x(); }
FN int blockX() { return __nvvm_read_ptx_sreg_ctaid_x(); }
FN int blockY() { return __nvvm_read_ptx_sreg_ctaid_y(); }
FN int blockZ() { return __nvvm_read_ptx_sreg_ctaid_z(); }
FN int gridX() { return __nvvm_read_ptx_sreg_nctaid_x(); }
FN int threads() { return __nvvm_read_ptx_sreg_ntid_x(); }
FN void sync() { __syncthreads(); }

FN u32 bits(float x) { return __builtin_bit_cast(u32, x); }
FN float real(u32 x) { return __builtin_bit_cast(float, x); }

// BF16: widened, and rounded to nearest, ties to even; NaN stays NaN.
FN float wide(u16 x) { return real((u32)x << 16); }
FN u16 narrow(float x) {
	u32 u = bits(x);
	if ((u & 0x7fffffffu) > 0x7f800000u) return (u16)(u >> 16 | 64);
	return (u16)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
}

FN float load(const float *x) { return *x; }
FN float load(const u16 *x) { return wide(*x); }
FN void store(float *y, float x) { *y = x; }
FN void store(u16 *y, float x) { *y = narrow(x); }

// Two F32 as packed BF16, lo in the low half: one instruction.
FN u32 narrow2(float lo, float hi) {
	u32 r;
	asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
	return r;
}

// F16: widened, and rounded to nearest, ties to even.
FN float half(u16 x) {
	float r;
	asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(x));
	return r;
}
FN u16 toHalf(float x) {
	u16 r;
	asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r) : "f"(x));
	return r;
}

// a*b + c rounded once. The compiler fuses nothing by itself.
FN float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

// 2^x and ln x / ln 2, approximate: 2 ulp; 1/sqrt(x) and 1/x.
FN float exp2(float x) {
	float r;
	asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
	return r;
}
// e^x to 2 ulp: what rounding of x/ln 2 loses is put back.
FN float exp(float x) {
	const float perLn2 = 1.44269504f, rest = 1.92596299e-8f;
	float t = x * perLn2;
	float lost = __builtin_fmaf(x, perLn2, -t) + x * rest;
	float y = exp2(t);
	return t > -126 && t < 128 ? __builtin_fmaf(y, lost * 0.693147181f, y) : y;
}
FN float log2(float x) {
	float r;
	asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
	return r;
}
FN float rsqrt(float x) {
	float r;
	asm("rsqrt.approx.f32 %0, %1;" : "=f"(r) : "f"(x));
	return r;
}

// The larger one, NaN if any is.
FN float larger(float a, float b) {
	float r;
	asm("max.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
	return r;
}

// x of the lane whose number differs in mask.
FN float lanes(float x, int mask) {
	return __builtin_bit_cast(float, __nvvm_shfl_sync_bfly_i32(0xffffffff, __builtin_bit_cast(int, x), mask, 31));
}
FN float warpSum(float x) {
	UNROLL for (int m = 16; m; m >>= 1) x += lanes(x, m);
	return x;
}
FN float warpMax(float x) {
	UNROLL for (int m = 16; m; m >>= 1) x = larger(x, lanes(x, m));
	return x;
}

FN double lanesDouble(double x, int mask) {
	u64 b = __builtin_bit_cast(u64, x);
	u32 lo = __nvvm_shfl_sync_bfly_i32(0xffffffff, (int)(u32)b, mask, 31);
	u32 hi = __nvvm_shfl_sync_bfly_i32(0xffffffff, (int)(u32)(b >> 32), mask, 31);
	return __builtin_bit_cast(double, (u64)hi << 32 | lo);
}

// The sum over the block of at most 1024 threads, a multiple of 32, in every thread: warps by a tree, then warps ascending. May be called again.
FN float blockSum(float x) {
	static __shared__ float part[32];
	x = warpSum(x);
	if ((tid() & 31) == 0) part[tid() >> 5] = x;
	sync();
	float sum = 0;
	for (int i = 0; i < threads() / 32; i++) sum += part[i];
	sync();
	return sum;
}

// Calls f(row, column) for the elements of a matrix of cols columns, a block for as many neighbours in a row as 4 times its
// threads, a power of two of them. The grid has a block for each of these in every row. A dense matrix may be seen as one row.
template <class F> FN void each(i64 cols, F f) {
	int n = threads(), log = 33 - __builtin_clz(n); // of 4n
	int chunks = (int)((cols + 4 * n - 1) >> log), row = blockX() / chunks;
	i64 c = ((i64)(blockX() % chunks) << log) + tid();
	UNROLL for (int i = 0; i < 4; i++, c += n) {
		if (c < cols) f((i64)row, c);
	}
}

// A pointer's address in shared memory; copies of 16 bytes to there that run beside the block: n of them from global memory, zeros after.
FN u32 shared(const void *p) {
	u64 a;
	asm("cvta.to.shared.u64 %0, %1;" : "=l"(a) : "l"((u64)p));
	return (u32)a;
}
FN void copy16(u32 dst, const void *src, u32 n) {
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(dst), "l"((u64)src), "r"(n) : "memory");
}
FN void commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> FN void arrived() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }

// Four 8x8 matrices of 16-bit elements from shared memory to the registers of a warp, as they are or transposed.
FN void load4(u32 *r, u32 a) {
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(a) : "memory");
}
FN void load4T(u32 *r, u32 a) {
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(a) : "memory");
}

// d[16,8] += a[16,16] b[16,8] of BF16, summed in F32.
FN void mma(float *d, const u32 *a, const u32 *b) {
	asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
	             : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
	             : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Package ptxsim runs NVIDIA's PTX in Go, so that the kernels that are shipped can be tested where there is no GPU.
//
// It executes what clang wrote, instruction by instruction, for the part of PTX that our kernels use (sm_80, PTX ISA
// 7.1: https://docs.nvidia.com/cuda/parallel-thread-execution). A program that a GPU would run by luck is refused here:
//
//   - memory out of bounds or misaligned, global or shared, and shared memory that was never written;
//   - two threads that touch the same byte of shared memory, one of them writing, with no barrier in between;
//   - two blocks of one launch that touch the same byte of global memory, one of them writing;
//   - what cp.async copies, read before the copy was waited for and made visible by a barrier;
//   - a barrier or a warp-wide instruction that some lanes do not reach.
//
// Every such fault is an error that names kernel, line, instruction, block and thread. New memory holds NaN.
//
// What it does not show: the rounding of ex2, lg2, rsqrt and mma on hardware. Here they are computed in float64 and
// rounded, and mma adds its 16 products one by one in ascending k. So it proves structure, and values within a
// tolerance.
//
// A warp runs in lock step as far as its lanes agree; lanes that part are joined again where they meet, the ones that
// are behind go first. Blocks run one after the other.
package ptxsim

// Package bench measures: every operation of a device beside what the machine can do at most, whole models through the real engine, steps
// of training and of GRPO, and peers beside ours in one go.
//
// A number never stands alone. A [Row] carries the limit that was measured in the same run (the rate of fused multiply-adds of its
// type, the read bandwidth of the memory) and the share of it that was reached, the deviation over the repetitions, and how
// many cores somebody else kept busy meanwhile: numbers from a busy machine are marked, not hidden.
//
//	rows, err := bench.Kernels(ctx, bench.Options{Threads: []int{1, 2}, Op: "^matmul$"})
//	bench.Write(os.Stdout, "md", bench.NewReport(rows))
//
// The letters of shapes are those of package kernels.
package bench

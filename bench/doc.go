// Package bench measures performance: every operation of a device compared with the machine's limits, models in the
// engine, steps of training and of GRPO, and other programs (peers) in alternation with ours.
//
// A [Row] has the measured value, the limit measured in the same run (the rate of fused multiply-adds of its type, the
// read bandwidth of the memory), the fraction of the limit that was reached, the standard deviation over the
// repetitions, and the number of cores that other processes kept busy. Rows from a busy machine are marked.
//
//	report, err := bench.Kernels(ctx, bench.Options{Threads: []int{1, 2}, Op: "^matmul$"})
//	err = bench.Write(os.Stdout, "md", report)
//
// [github.com/zerosearch-go/zerosearch/bench/ops] lists the operations with their costs, and
// [github.com/zerosearch-go/zerosearch/bench/peers] runs the other programs.
//
// The letters of shapes are those of package kernels.
package bench

package bench

import (
	"fmt"
	"strings"

	"github.com/zerosearch-go/zerosearch/engine"
)

// Processor is the processor of a roofline.
type Processor struct {
	Name    string              `json:"name"`
	Memory  int64               `json:"memory_bytes"` // bytes that a program can allocate; 0: not known
	Limits  Limits              `json:"limits"`
	Source  string              `json:"limits_from"` // the source of Limits
	Sheet   Limits              `json:"data_sheet"`  // zero for a CPU
	Reached map[phaseKind]reach `json:"expected_shares"`
	threads int
}

// reach has the fractions of memory bandwidth and of arithmetic that good kernels are expected to reach.
type reach struct {
	Memory     float64 `json:"memory"`
	Arithmetic float64 `json:"arithmetic"`
}

// gpuReach is an assumption, not a measurement: kernels of a backward pass reach less than those of a forward pass.
var gpuReach = map[phaseKind]reach{prefilling: {0.75, 0.60}, decoding: {0.75, 0.60}, scoring: {0.75, 0.55},
	updating: {0.75, 0.45}}

// cpuReach is 1: the measured limits themselves.
var cpuReach = map[phaseKind]reach{prefilling: {1, 1}, decoding: {1, 1}, scoring: {1, 1}, updating: {1, 1}}

// in is l multiplied by the fractions.
func (r reach) in(l Limits) Limits {
	return Limits{F32: l.F32 * r.Arithmetic, BF16: l.BF16 * r.Arithmetic, Q8: l.Q8 * r.Arithmetic,
		Read: l.Read * r.Memory}
}

// gpu is a row of the table below.
type gpu struct {
	name, full string
	memory     float64 // GiB that PyTorch reports as total memory
	sheet      Limits
	measured   Limits // zero: not measured
}

// gpus are the SXM boards. The data sheets give rates of tensor cores with 2:4 sparsity from the H100 on; this table
// has the dense rate, half of it. Products with q8 weights convert them to BF16 in the tile, so their limit is that of
// BF16.
var gpus = []gpu{
	// NVIDIA A100 Tensor Core GPU data sheet (A100 80GB SXM): 2,039 GB/s, 312 TFLOPS BF16, 19.5 TFLOPS FP32, 80 GB.
	{"a100", "NVIDIA A100 80GB SXM", 79.1, Limits{F32: 19.5e12, BF16: 312e12, Q8: 312e12, Read: 2.039e12}, Limits{}},
	// NVIDIA H100 Tensor Core GPU data sheet (H100 SXM): 3.35 TB/s, 1,979 TFLOPS BF16 with sparsity, 67 TFLOPS FP32, 80
	// GB.
	{"h100", "NVIDIA H100 80GB SXM", 79.1, Limits{F32: 67e12, BF16: 989.5e12, Q8: 989.5e12, Read: 3.35e12}, Limits{}},
	// NVIDIA H200 Tensor Core GPU data sheet (H200 SXM): 4.8 TB/s, 1,979 TFLOPS BF16 with sparsity, 67 TFLOPS FP32, 141
	// GB. Measured on one (driver 580, CUDA 13.0): 4.3 TB/s by copies between buffers of its memory, 790 TFLOP/s by
	// cuBLAS products of BF16.
	{"h200", "NVIDIA H200 141GB SXM", 139, Limits{F32: 67e12, BF16: 989.5e12, Q8: 989.5e12, Read: 4.8e12},
		Limits{F32: 67e12, BF16: 790e12, Q8: 790e12, Read: 4.3e12}},
}

// gpuProcessor finds a GPU by its short name; with sheet the limits are the data sheet's, not the measured ones.
func gpuProcessor(name string, sheet bool) (Processor, error) {
	var names []string
	var was gpu // the GPU that was measured
	for _, g := range gpus {
		names = append(names, g.name)
		if g.measured.Read > 0 {
			was = g
		}
	}
	for _, g := range gpus {
		if !strings.EqualFold(g.name, name) {
			continue
		}
		p := Processor{Name: g.full, Memory: int64(g.memory * (1 << 30)), Limits: g.sheet,
			Source: "the data sheet, dense", Sheet: g.sheet, Reached: gpuReach}
		switch {
		case sheet:
		case g.measured.Read > 0:
			p.Limits, p.Source = g.measured, "measured with copies and with products of cuBLAS"
		default:
			p.Limits = reach{was.measured.Read / was.sheet.Read, was.measured.BF16 / was.sheet.BF16}.in(g.sheet)
			p.Limits.F32 = g.sheet.F32
			p.Source = fmt.Sprintf("the data sheet, lowered as measurements on an %s are below its own",
				strings.ToUpper(was.name))
		}
		return p, nil
	}
	return Processor{}, fmt.Errorf("no GPU is called %q: use one of %s", name, strings.Join(names, ", "))
}

// cpuProcessor measures this machine with the first number of threads.
func (o Options) cpuProcessor() (Processor, error) {
	d, n, path, err := o.open(o.Threads[0])
	if err != nil {
		return Processor{}, err
	}
	defer d.Close()
	p := Processor{Name: fmt.Sprintf("%s, %d threads, path %s", cpuName(), n, path), Source: "measured now",
		Reached: cpuReach, threads: n}
	if m := engine.MachineMemory(); m != nil {
		p.Memory = m.Available
	}
	if err := p.Limits.measure(d); err != nil {
		return p, err
	}
	if p.Limits.F32 == 0 || p.Limits.BF16 == 0 || p.Limits.Q8 == 0 || p.Limits.Read == 0 {
		return p,
			fmt.Errorf("measuring the limits of this processor: path %s has no measurement of them: use --gpu NAME",
				path)
	}
	return p, nil
}

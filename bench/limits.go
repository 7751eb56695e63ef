package bench

import (
	"github.com/zerosearch-go/zerosearch/bench/ops"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
)

// Limits are the machine's maximum rates with a number of threads: the best values measured during a run, because other
// load on the same host can only reduce them. Zero: not known (plain Go paths).
type Limits struct {
	F32  float64 `json:"f32_flops"`  // fused multiply-adds, two operations each, per second
	BF16 float64 `json:"bf16_flops"` // pairs of bf16
	Q8   float64 `json:"q8_ops"`     // 8-bit dot products
	Read float64 `json:"read_bytes"` // bytes per second from memory
}

// measureLimits measures the limits and keeps earlier values that were higher.
func (l *Limits) measure(d kernels.Device) error {
	c, ok := d.(*cpu.Device)
	if !ok {
		return nil
	}
	m, err := c.Measure()
	if err != nil {
		return err
	}
	l.F32, l.BF16, l.Q8, l.Read = max(l.F32, m.F32), max(l.BF16, m.BF16), max(l.Q8, m.Q8), max(l.Read, m.Read)
	return nil
}

// peak is the arithmetic limit of operands held as t.
func (l Limits) peak(t kernels.DType) float64 {
	switch t {
	case kernels.BF16:
		return l.BF16
	case kernels.Q8, kernels.Q4:
		return l.Q8
	}
	return l.F32
}

// binds reports whether the work is bound by arithmetic, not by memory (Williams, Waterman & Patterson, Roofline, CACM
// 52-4). Without limits it assumes a machine with 10 operations a byte.
func (l Limits) binds(c ops.Cost) bool {
	peak, read := l.peak(c.Type), l.Read
	if peak == 0 || read == 0 {
		peak, read = 10, 1
	}
	return c.FLOPs/peak >= c.Bytes/read
}

// seconds is the minimal time of the work; 0 if the limits are not known.
func (l Limits) seconds(c ops.Cost) float64 {
	if l.peak(c.Type) == 0 || l.Read == 0 {
		return 0
	}
	return max(c.FLOPs/l.peak(c.Type), c.Bytes/l.Read)
}

package bench

import (
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
	case kernels.Q8:
		return l.Q8
	}
	return l.F32
}

// cost is the minimal cost of some work: operations of a type, and bytes moved between memory and the processor.
type cost struct {
	flops float64
	typ   kernels.DType
	bytes float64
}

// bound reports whether the work is bound by arithmetic, not by memory (Williams, Waterman & Patterson, Roofline, CACM
// 52-4). Without limits it assumes a machine with 10 operations a byte.
func (c cost) bound(l Limits) bool {
	peak, read := l.peak(c.typ), l.Read
	if peak == 0 || read == 0 {
		peak, read = 10, 1
	}
	return c.flops/peak >= c.bytes/read
}

// seconds is the minimal time of the work; 0 if the limits are not known.
func (c cost) seconds(l Limits) float64 {
	if l.peak(c.typ) == 0 || l.Read == 0 {
		return 0
	}
	return max(c.flops/l.peak(c.typ), c.bytes/l.Read)
}

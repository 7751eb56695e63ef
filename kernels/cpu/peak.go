package cpu

import (
	"time"
	"unsafe"
)

// Limits are the measured peak rates of this machine with a device's path and threads. A multiplication and an addition
// count as two operations.
type Limits struct {
	// operations a second; BF16 and Q8 equal F32 on paths without BF16 or int8 products
	F32, BF16, Q8 float64
	Read          float64 // bytes a second from memory
}

// Measure takes about a third of a second.
func (d *Device) Measure() (Limits, error) {
	var l Limits
	if d.isa == generic {
		return l, nil
	}
	l.F32 = d.rate(peakLoops[d.isa].f32)
	l.BF16, l.Q8 = l.F32, l.F32
	if p := peakLoops[d.isa].bf16; p.run != nil {
		l.BF16 = d.rate(p)
	}
	if p := peakLoops[d.isa].q8; p.run != nil {
		l.Q8 = d.rate(p)
	}
	const size = 256 << 20
	b, err := newBuffer(size)
	if err != nil {
		return l, err
	}
	defer b.Free()
	part := size / d.pool.threads / 512 * 512
	for i := 0; i < size; i += 4096 {
		b.mem[i] = 1 // pages that were never written all map to one page of zeros
	}
	for range 5 {
		t := time.Now()
		d.pool.Run(d.pool.threads, func(i int) { peakReadAll(unsafe.Pointer(&b.mem[i*part]), part/64) })
		l.Read = max(l.Read, float64(part*d.pool.threads)/time.Since(t).Seconds())
	}
	return l, nil
}

// peakLoop runs n times ops operations.
type peakLoop struct {
	run func(n int)
	ops int
}

// rate is the best of several short runs on all threads at once.
func (d *Device) rate(l peakLoop) float64 {
	best := 0.0
	const n = 1 << 16
	for range 12 {
		t := time.Now()
		d.pool.Run(d.pool.threads, func(int) { l.run(n) })
		best = max(best, float64(d.pool.threads*n*l.ops)/time.Since(t).Seconds())
	}
	return best
}

package model

import (
	"fmt"
	"hash/fnv"
	"math"
	"strings"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
)

// initStd is the standard deviation of fresh weights; matrices that write to the residual stream get 1/sqrt(2L) of it,
// so that the stream does not grow with depth (GPT-2, Radford et al. 2019).
const initStd = 0.02

// New makes a model of shape c whose weights are all zero: to measure what surrounds the arithmetic, and its memory.
func New(dev kernels.Device, c *Config, o Options) (*Model, error) {
	m, err := newModel(dev, c, o)
	if err != nil {
		return nil, fmt.Errorf("making a model: %w", err)
	}
	return m, nil
}

// NewRandom makes a model of shape c with fresh weights: normal, norms one, biases zero. The same seed gives the same
// weights on every machine.
func NewRandom(dev kernels.Device, c *Config, o Options, seed uint64) (*Model, error) {
	m, err := New(dev, c, o)
	if err != nil {
		return nil, err
	}
	for _, p := range m.params {
		n, k := p.size()
		std := initStd
		if strings.HasSuffix(p.Name, projs[projO].name+".weight") ||
			strings.HasSuffix(p.Name, projs[projDown].name+".weight") {
			std /= math.Sqrt(float64(2 * c.Layers))
		}
		g := newDraw(seed, p.Name)
		m.fill(p, n, k, func(row []float32) {
			for i := range row {
				switch {
				case len(p.Shape) == 2:
					row[i] = float32(std * g.normal())
				case strings.HasSuffix(p.Name, ".weight"):
					row[i] = 1
				}
			}
		})
	}
	m.wide = nil
	return m, nil
}

// fill stores rows made by row, which gets zeros.
func (b *bank) fill(p *Param, n, k int, row func([]float32)) {
	step := min(n, chunkRows(k))
	host := make([]float32, step*k)
	for r := 0; r < n; r += step {
		rows := host[:min(step, n-r)*k]
		clear(rows)
		row(rows)
		b.store(p, r, bytesOf(rows), kernels.F32)
	}
}

// draw is a stream of random numbers that uses exact integer arithmetic only, so that it is the same everywhere.
type draw struct{ num.SplitMix }

// newDraw starts the stream of a seed and a parameter's name.
func newDraw(seed uint64, name string) *draw {
	h := fnv.New64a()
	h.Write([]byte(name))
	first := num.SplitMix(seed)
	return &draw{num.SplitMix(first.Next() ^ h.Sum64())}
}

// uniform is in [0, 1), a multiple of 2^-53.
func (d *draw) uniform() float64 { return float64(d.Next()>>11) / (1 << 53) }

// normal is the sum of twelve uniforms of 16 bits, less its mean: variance 1, a normal distribution cut at six
// deviations.
func (d *draw) normal() float64 {
	sum := int64(0)
	for range 3 {
		x := d.Next()
		sum += int64(x&0xffff + x>>16&0xffff + x>>32&0xffff + x>>48)
	}
	return (float64(sum) - 12*65535/2.0) / 65536
}

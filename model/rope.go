package model

import (
	"fmt"
	"math"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// ropeTable holds cosines and sines for positions 0..rows-1 and grows when a later position is asked for.
type ropeTable struct {
	inv  []float32      // [D/2]
	t    kernels.Tensor // F32 [rows, D]: cosines, then sines
	rows int

	moves int // how often t has moved
}

// invFreq is theta^(-2i/D), i < D/2, scaled as RopeScaling says. Checkpoints were trained with tables made in float32,
// so every step rounds as it does in transformers; the conversions also keep Go from fusing a multiplication and an
// addition.
func invFreq(c *Config) []float32 {
	inv := make([]float32, c.HeadDim/2)
	for i := range inv {
		e := float32(2*i) / float32(c.HeadDim)
		inv[i] = 1 / float32(math.Pow(float64(float32(c.RopeTheta)), float64(e)))
		if s := c.RopeScaling; s != nil {
			inv[i] = s.scaled(inv[i])
		}
	}
	return inv
}

// scaled is Llama 3.1's rule for one frequency.
func (s *RopeScaling) scaled(f float32) float32 {
	ctx := float64(s.OriginalMaxPos)
	wave := float32(2*math.Pi) / f
	switch low, high := float32(ctx/s.LowFreq), float32(ctx/s.HighFreq); {
	case wave > low:
		return f / float32(s.Factor)
	case wave < high:
		return f
	}
	smooth := float32(float32(float32(ctx)/wave)-float32(s.LowFreq)) / float32(s.HighFreq-s.LowFreq)
	return float32(float32(float32(1-smooth)*f)/float32(s.Factor)) + float32(smooth*f)
}

// grow makes the table serve positions below n.
func (r *ropeTable) grow(dev kernels.Device, n int) error {
	if n <= r.rows {
		return nil
	}
	n = max(n, 2*r.rows, 256)
	half := len(r.inv)
	t, err := kernels.NewTensor(dev, kernels.F32, n, 2*half)
	if err != nil {
		return fmt.Errorf("rotary table for %d positions: %w", n, err)
	}
	host := make([]float32, n*2*half)
	for p := range n {
		row := host[p*2*half:][:2*half]
		for i, f := range r.inv {
			sin, cos := math.Sincos(float64(float32(float32(p) * f)))
			row[i], row[half+i] = float32(cos), float32(sin)
		}
	}
	kernels.Upload(dev, t, host)
	r.free()
	r.t, r.rows, r.moves = t, n, r.moves+1
	return nil
}

func (r *ropeTable) free() {
	if !r.t.IsZero() {
		r.t.Buf.Free()
	}
	r.t, r.rows = kernels.Tensor{}, 0
}

package main

import (
	"fmt"

	"github.com/zerosearch-go/zerosearch/bench/ops"
	"github.com/zerosearch-go/zerosearch/kernels"
)

// bits compares row 0 of products of 1 to 8192 rows: rollouts, log-probs and training run the same tokens in batches of
// different sizes, and their log-probs are equal only if each row is.
func bits(j *job) error {
	d, err := j.open()
	if err != nil {
		return err
	}
	defer d.Close()
	rows := []int{1, 16, 64, 320, 1024, 8192}
	shapes := []string{"qwen2.5-1.5b", "qwen2.5-3b", "qwen2.5-7b"}
	if j.flags.Quick {
		rows, shapes = []int{1, 5, 16, 64, 130}, []string{"tiny"}
	}
	differing := 0
	for _, shape := range shapes {
		c, err := ops.LookupModel(shape)
		if err != nil {
			return err
		}
		hd, gd := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
		for _, w := range []struct {
			name string
			n, k int
		}{{"q", hd, c.Hidden}, {"k", gd, c.Hidden}, {"gate", c.Inter, c.Hidden}, {"down", c.Hidden, c.Inter},
			{"head", c.Vocab, c.Hidden}} {
			for _, t := range []kernels.DType{kernels.BF16, kernels.Q8} {
				if t == kernels.Q8 && shape == "qwen2.5-7b" {
					continue // the sizes of the others say enough
				}
				m := rows
				if w.name == "head" {
					m = m[:len(m)-2] // the output matrix is applied to few rows; more would fill the memory with logits
				}
				bad, err := rowBits(d, m, w.n, w.k, t)
				if err != nil {
					return fmt.Errorf("%s of %s in %v: %w", w.name, shape, t, err)
				}
				for _, b := range bad {
					j.say("%s of %s in %v, [%d, %d]: row 0 of %d rows differs from row 0 of %d rows in %d of %d values",
						w.name, shape, t,
						w.n, w.k, b.rows, rows[0], b.values, w.n)
				}
				differing += len(bad)
				if len(bad) == 0 {
					j.say("%s of %s in %v, [%d, %d]: the same bits at %v rows", w.name, shape, t, w.n, w.k, m)
				}
			}
		}
	}
	j.sayLibrary(d)
	if j.values["differences"] = float64(differing); differing > 0 {
		return fmt.Errorf("%d products have other bits in other batches: rollout/logprob_diff_max will not be 0",
			differing)
	}
	return nil
}

// rowDiff is a number of rows at which row 0 differs from that of the least number.
type rowDiff struct{ rows, values int }

// rowBits multiplies the first m rows of one x, for every m, with one weight [n, k].
func rowBits(d kernels.Device, m []int, n, k int, t kernels.DType) (bad []rowDiff, err error) {
	var r room
	defer r.free()
	most := m[len(m)-1]
	w := r.weight(d, n, k, t)
	x, y := r.tensor(d, kernels.F32, most, k), r.tensor(d, kernels.F32, most, n)
	if r.err != nil {
		return nil, r.err
	}
	kernels.Upload(d, x, noise(most*k, 1))
	var want []float32
	for _, rows := range m {
		d.Zero(y)
		d.MatMul(kernels.Mat(y.Buf, kernels.F32, 0, rows, n), kernels.Mat(x.Buf, kernels.F32, 0, rows, k), w,
			kernels.Epilogue{})
		got := make([]float32, n)
		if err := kernels.Download(d, got, kernels.Mat(y.Buf, kernels.F32, 0, 1, n)); err != nil {
			return nil, err
		}
		if want == nil {
			if want = got; zeros(got) > n/2 {
				return nil, fmt.Errorf("%d of %d results are 0", zeros(got), n)
			}
			continue
		}
		if n := different(want, got); n > 0 {
			bad = append(bad, rowDiff{rows, n})
		}
	}
	return bad, nil
}

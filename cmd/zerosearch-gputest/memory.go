package main

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/zerosearch-go/zerosearch/bench/ops"
	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// leaks uses the GPU in the same way several times: a model, an engine that generates, a trainer that takes a step.
// What the device itself keeps (scratch) has its size after the first time; from then on the memory that is available
// stays the same.
func leaks(j *job) error {
	shape, rounds := "qwen2.5-0.5b", 5
	if j.flags.Quick {
		shape, rounds = "tiny", 3
	}
	c, err := ops.LookupModel(shape)
	if err != nil {
		return err
	}
	d, err := j.open()
	if err != nil {
		return err
	}
	defer d.Close()
	return j.givesBack(d, rounds, func() error { return use(j.ctx, d, c) })
}

// givesBack fails if less memory is available after a later round of use than after the first.
func (j *job) givesBack(d kernels.Device, rounds int, use func() error) error {
	var before int64
	for round := range rounds {
		if err := use(); err != nil {
			return err
		}
		if err := d.Sync(); err != nil {
			return err
		}
		_, now, err := d.(kernels.OwnMemory).Memory()
		if err != nil {
			return err
		}
		j.say("after round %d: %d bytes are available", round+1, now)
		switch {
		case round == 0:
			before = now
		case now < before:
			j.values["lost_bytes"] = float64(before - now)
			return fmt.Errorf(
				"%d bytes are not given back in %d rounds: memory is lost, or another program took it meanwhile",
				before-now, round)
		}
	}
	return nil
}

// use is a model's life on d.
func use(ctx context.Context, d kernels.Device, c *model.Config) error {
	m, err := model.NewRandom(d, c, model.Options{DType: kernels.BF16, Trainable: true}, 5)
	if err != nil {
		return err
	}
	defer m.Close()
	e := engine.New(d, engine.Options{})
	err = e.AddModel("m", m, engine.ModelOptions{KVPages: 16, MaxContext: 128, MaxSequences: 4, MaxBatchTokens: 64})
	if err == nil {
		_, err = e.Generate(ctx, engine.Request{Model: "m", Prompt: ids(20, c.Vocab, 9), MaxTokens: 5, EOS: []int32{},
			Temperature: 1})
	}
	e.Close()
	if err != nil {
		return err
	}
	tr, err := train.New(d, m, nil, train.Options{MaxGradNorm: 1})
	if err != nil {
		return err
	}
	defer tr.Close()
	s := train.Sequence{IDs: ids(24, c.Vocab, 10), Mask: make([]bool, 24)}
	for i := range s.Mask {
		s.Mask[i] = true
	}
	_, err = tr.Step([]train.Sequence{s}, func(_ int, _, _, dlogp, _ []float32) error {
		for i := range dlogp {
			dlogp[i] = -1.0 / 23
		}
		return nil
	}, 1e-5)
	return err
}

// faults asks for more memory than there is, in the two ways in which that happens in a run. Nothing is taken from
// other programs.
func faults(j *job) error {
	d, err := j.open()
	if err != nil {
		return err
	}
	defer d.Close()
	before, err := product(d)
	if err != nil {
		return err
	}
	_, available, err := d.(kernels.OwnMemory).Memory()
	if err != nil {
		return err
	}
	refused := func(what string, err error) error {
		if err == nil {
			return fmt.Errorf("%s was given: %d bytes are available", what, available)
		}
		j.say("%s: %v", what, err)
		if strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "use ") {
			return fmt.Errorf("%s: the error is not one line with a remedy: %w", what, err)
		}
		after, err := product(d)
		if err != nil {
			return fmt.Errorf("after %s was refused: %w", what, err)
		}
		if n := different(before, after); n > 0 {
			return fmt.Errorf("after %s was refused a product has other bits: %d of %d values", what, n, len(after))
		}
		return nil
	}
	b, err := d.Alloc(available + 1<<30)
	if err == nil {
		b.Free()
	}
	if err := refused("a buffer of all that is available and 1 GiB more", err); err != nil {
		return err
	}
	c, err := ops.LookupModel("tiny")
	if err != nil {
		return err
	}
	m, err := model.NewRandom(d, c, model.Options{DType: kernels.BF16}, 5)
	if err != nil {
		return err
	}
	defer m.Close()
	e := engine.New(d, engine.Options{})
	pages := (available+1<<30)/(m.Config.KVBytes(kernels.BF16)*kernels.PageSize) + 1
	err = e.AddModel("m", m, engine.ModelOptions{KVPages: int(min(pages, math.MaxInt32))})
	e.Close()
	return refused("a cache of keys and values of that size", err)
}

// product is a small product, to see whether the GPU still works.
func product(d kernels.Device) ([]float32, error) {
	const m, n, k = 33, 96, 64
	var r room
	defer r.free()
	w, x, y := r.weight(d, n, k, kernels.BF16), r.tensor(d, kernels.F32, m, k), r.tensor(d, kernels.F32, m, n)
	if r.err != nil {
		return nil, r.err
	}
	kernels.Upload(d, x, noise(m*k, 3))
	d.MatMul(y, x, w, kernels.Epilogue{})
	out := make([]float32, m*n)
	return out, kernels.Download(d, out, y)
}

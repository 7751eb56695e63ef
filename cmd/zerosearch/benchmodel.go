package main

import (
	"github.com/zerosearch-go/zerosearch/bench"
	"github.com/zerosearch-go/zerosearch/kernels"
)

// benchModel names what to run.
type benchModel struct {
	Model   string `name:"model" help:"Hugging Face folder." placeholder:"DIR"`
	Shape   string `name:"shape" help:"Random weights of a named shape instead of --model, such as smollm2-135m, qwen2.5-3b, llama3.2-1b." placeholder:"NAME"`
	DType   string `name:"dtype" help:"How weights are held: f32, bf16, q8 or q4." default:"bf16" enum:"f32,bf16,q8,q4"`
	KVDType string `name:"kv-dtype" help:"Type of keys and values: f32 or bf16 (default: as --dtype)." default:"" enum:",f32,bf16"`
	Seed    uint64 `name:"seed" help:"Seed of weights and tokens." default:"1"`
}

func (m benchModel) into(o bench.Options) (bench.Options, error) {
	var err error
	o.Model, o.Shape, o.Seed = m.Model, m.Shape, m.Seed
	if o.DType, err = kernels.ParseDType(m.DType); err != nil {
		return o, usageError{err}
	}
	if m.KVDType != "" {
		if o.KVType, err = kernels.ParseDType(m.KVDType); err != nil {
			return o, usageError{err}
		}
	}
	if (m.Model == "") == (m.Shape == "") {
		return o, usagef("give --model DIR, or --shape NAME for random weights")
	}
	return o, nil
}

type benchModelCmd struct {
	benchFlags
	benchModel
	Prompt []int `name:"prompt" short:"p" help:"Tokens of prompts: pp512." default:"512" placeholder:"N"`
	Gen    []int `name:"gen" short:"n" help:"New tokens: tg128." default:"128" placeholder:"N"`
	Batch  []int `name:"batch" short:"b" help:"Sequences that generate at once: tg128@b8." default:"1" placeholder:"N"`
	Depth  int   `name:"depth" short:"d" help:"Tokens that are in the context before generation begins." default:"0"`
	UBatch int   `name:"ubatch" help:"Most tokens of one pass." default:"512"`

	Requests int `name:"requests" help:"Requests of mixed lengths, half of -n to one and a half, through the places of the largest -b: mixed128@b64." default:"0"`
}

func (c *benchModelCmd) Run(w *world) error {
	o, err := c.into(c.options(w))
	if err != nil {
		return err
	}
	t := bench.ModelTests{Prompt: c.Prompt, Gen: c.Gen, Batch: c.Batch, Depth: c.Depth, UBatch: c.UBatch,
		Requests: c.Requests}
	r, err := c.profile(func() (*bench.Report, error) { return bench.Model(w.ctx, o, t) })
	return c.print(w, r, err)
}

type benchTrainCmd struct {
	benchFlags
	benchModel
	Shapes     []string `name:"shapes" help:"Batches, SEQUENCESxTOKENS." default:"4x512" placeholder:"4x512,8x256"`
	LoRAR      int      `name:"lora-r" help:"Rank of an adapter on all linear layers; 0: train all weights." default:"0"`
	Recompute  bool     `name:"recompute" help:"Keep only the inputs of layers for the backward pass, and compute the rest again."`
	MicroBatch int      `name:"micro-batch-tokens" help:"Tokens forwarded together; 0: the whole batch." default:"0"`
}

func (c *benchTrainCmd) Run(w *world) error {
	o, err := c.into(c.options(w))
	if err != nil {
		return err
	}
	t := bench.TrainTests{LoRAR: c.LoRAR, Recompute: c.Recompute, MicroBatchTokens: c.MicroBatch}
	if t.Shapes, err = bench.ParseTrainShapes(c.Shapes); err != nil {
		return usagef("--shapes: %w", err)
	}
	r, err := c.profile(func() (*bench.Report, error) { return bench.Train(w.ctx, o, t) })
	return c.print(w, r, err)
}

package sft

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"

	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/rl/config"
)

// Config is everything that a fine-tuning run is made of. Defaults has the values of the command line.
type Config struct {
	Model        string  `name:"model" help:"Hugging Face folder to start from, GGUF file, org/name in the Hugging Face cache (see pull), or a run directory (its last checkpoint)." placeholder:"DIR"`
	Adapter      string  `name:"adapter" help:"Folder of a LoRA adapter to continue from, as peft writes it." placeholder:"DIR"`
	LoRAR        int     `name:"lora-r" help:"Rank of the LoRA adapter to train; 0 trains all weights." default:"0"`
	LoRAAlpha    float64 `name:"lora-alpha" help:"LoRA scale is alpha/r; 0 means 2r." default:"0"`
	LoRATargets  string  `name:"lora-targets" help:"Comma-separated projections, or all-linear." default:"all-linear"`
	DType        string  `name:"dtype" help:"Type of weights and matmul operands: f32 or bf16; with LoRA the frozen base may be q8 or q4." default:"bf16" enum:"f32,bf16,q8,q4"`
	KVDType      string  `name:"kv-dtype" help:"Type of keys and values: f32 or bf16 (default: as --dtype)." default:""`
	ChatTemplate string  `name:"chat-template" help:"Jinja file that overrides the model's chat template." placeholder:"FILE"`
	Thinking     *bool   `name:"enable-thinking" negatable:"" help:"The chat template's enable_thinking: =false switches the thinking of Qwen3 and others off (default: the template's)."`

	Data      string `name:"data" help:"Rows {messages}, {prompt, completion} or {ids, mask}: .jsonl, .jsonl.gz or .parquet." placeholder:"FILE"`
	NoShuffle bool   `name:"no-shuffle" help:"Take the rows in file order."`
	Steps     int    `name:"steps" resume:"free" help:"Number of optimizer steps; 0: --epochs decides." default:"0"`
	Epochs    int    `name:"epochs" resume:"free" help:"Number of epochs (passes over the data)." default:"1"`
	BatchSize int    `name:"batch-size" help:"Number of examples in an optimizer step." default:"8"`
	SaveEvery int    `name:"save-every" resume:"free" help:"Checkpoint every N steps, and at the end; 0: only at the end." default:"0"`

	LR               float64   `name:"lr" help:"Learning rate. Where it is not given, an adapter (--lora-r, --adapter) has ten times the default." default:"1e-5"`
	Betas            []float64 `name:"betas" help:"AdamW's decay rates." default:"0.9,0.999"`
	Eps              float64   `name:"eps" help:"AdamW's epsilon." default:"1e-8"`
	WeightDecay      float64   `name:"weight-decay" help:"Decoupled weight decay, on every parameter." default:"0.01"`
	MaxGradNorm      float64   `name:"max-grad-norm" help:"Global gradient norm; 0: no clipping." default:"1"`
	LRSchedule       string    `name:"lr-schedule" help:"constant, linear or cosine, after the warm-up." default:"constant" enum:"constant,linear,cosine"`
	WarmupRatio      float64   `name:"warmup-ratio" help:"Share of the steps with a rising learning rate." default:"0"`
	MicroBatchTokens int       `name:"micro-batch-tokens" help:"Tokens of a micro-batch: memory and speed, not the gradient." default:"4096"`
	Recompute        bool      `name:"recompute" help:"Keep one activation per layer and recompute the rest: less memory, more time."`

	Out       string `name:"out" resume:"free" help:"Run directory." placeholder:"DIR"`
	SaveDType string `name:"save-dtype" resume:"free" help:"Type of saved weights: f32 or bf16 (default: as --dtype)." default:""`
	Resume    string `name:"resume" resume:"free" help:"Go on from the last checkpoint of --out (auto), or from a checkpoint folder." placeholder:"auto|DIR"`
	Force     bool   `name:"force" resume:"free" help:"Resume although data or settings differ from the checkpoint's."`
	Seed      uint64 `name:"seed" help:"Seed of the order of the rows and of a new adapter." default:"1"`

	// Zeros says that a learning rate of 0 is meant, as on a command line: it measures the loss without learning.
	Zeros bool `kong:"-"`
}

// Defaults is a Config in which nothing was chosen: the values that the command line has. A program sets at least Model
// and Data in it.
func Defaults() (c Config) {
	config.SetDefaults(&c)
	return c
}

// names are those of Config.
var names = config.NamesOf(reflect.TypeFor[Config]())

// InFlags names options in a text as the command line does: --lr for Config.LR.
func InFlags(text string) string { return names.InFlags(text) }

// types are what a Config says about number types.
type types struct{ weights, kv, saved kernels.DType }

// Check refuses values that cannot work, alone or together, and zeros that a program may have forgotten to set. Its
// errors name fields; InFlags names the flags of them.
func (c *Config) Check() error {
	_, err := c.check()
	return names.Error(err)
}

func (c *Config) check() (t types, err error) {
	if err := config.Finite(c); err != nil {
		return t, err
	}
	lora := c.LoRAR > 0 || c.Adapter != ""
	for _, p := range []struct {
		bad bool
		say string
	}{
		{c.Model == "", "--model is missing: give the folder of the model to fine-tune"},
		{c.Data == "", "--data is missing: give a file of rows"},
		{c.LoRAR < 0, "--lora-r must not be negative"},
		{c.LoRAR > 0 &&
			c.Adapter != "", "--adapter and --lora-r contradict each other: --adapter goes on with an adapter, " +
			"--lora-r begins a new one"},
		{!lora &&
			(c.DType == "q8" || c.DType == "q4"), "--dtype " + c.DType + ": " + c.DType + " weights cannot be trained: " +
			"use bf16 or f32, or train an adapter with --lora-r"},
		{c.Steps < 0 || c.Epochs < 0, "--steps and --epochs must not be negative"},
		{c.Steps == 0 && c.Epochs == 0, "give --steps or --epochs"},
		{c.BatchSize < 1, "--batch-size must be at least 1"},
		{c.SaveEvery < 0, "--save-every must not be negative"},
		{!(c.LR >= 0), "--lr must not be negative"},
		{c.LR == 0 && !c.Zeros, "--lr must be above 0: with 0 nothing is learned"},
		{len(c.Betas) != 2 || !unit(c.Betas[0]) || !unit(c.Betas[1]),
			"--betas takes two values from 0 up to, but not, 1, as in 0.9,0.95"},
		{!(c.Eps > 0), "--eps must be above 0"},
		{!(c.WeightDecay >= 0), "--weight-decay must not be negative"},
		{!(c.MaxGradNorm >= 0), "--max-grad-norm must not be negative"},
		{c.MicroBatchTokens < 1, "--micro-batch-tokens must be at least 1"},
	} {
		if p.bad {
			return t, errors.New(p.say)
		}
	}
	if t.weights, err = config.WeightType("--dtype", c.DType); err != nil {
		return t, err
	}
	t.weights = cmp.Or(t.weights, kernels.BF16)
	if _, err = train.NewSchedule(c.LRSchedule, c.WarmupRatio, 1); err != nil {
		return t, fmt.Errorf("--warmup-ratio: %w", err)
	}
	if t.kv, err = config.KVType(c.KVDType, t.weights); err != nil {
		return t, err
	}
	t.saved, err = config.SaveType(c.SaveDType, t.weights)
	return t, err
}

func unit(x float64) bool { return x >= 0 && x < 1 }

// steps is the number of optimizer steps of a run over n examples.
func (c *Config) steps(n int) int {
	if c.Steps > 0 {
		return c.Steps
	}
	return (n*c.Epochs + c.BatchSize - 1) / c.BatchSize
}

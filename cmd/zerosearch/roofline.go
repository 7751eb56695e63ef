package main

import (
	"github.com/zerosearch-go/zerosearch/bench"
	"github.com/zerosearch-go/zerosearch/kernels"
)

type benchRooflineCmd struct {
	Config  string `name:"config" help:"YAML file with values for any flag, by flag name." placeholder:"FILE"`
	Model   string `name:"model" help:"The policy: a Hugging Face folder, of which only config.json is read." placeholder:"DIR"`
	Shape   string `name:"shape" help:"A named shape instead of --model, such as qwen2.5-1.5b, qwen2.5-3b, qwen2.5-7b, qwen2.5-14b, llama-3.2-3b, smollm2-135m." placeholder:"NAME"`
	DType   string `name:"dtype" help:"How the policy's weights are held: f32, bf16, q8 or q4." default:"bf16" enum:"f32,bf16,q8,q4"`
	KVDType string `name:"kv-dtype" help:"Type of keys and values: f32 or bf16 (default: as --dtype)." default:"" enum:",f32,bf16"`

	SimModel string `name:"simulation-llm" help:"The simulator: a folder (default: the policy's starting weights)." placeholder:"DIR"`
	SimShape string `name:"sim-shape" help:"A named shape instead of --simulation-llm." placeholder:"NAME"`
	SimDType string `name:"sim-dtype" help:"How the simulator is held: f32, bf16, q8 or q4 (default: as --dtype)." default:"" enum:",f32,bf16,q8,q4"`

	GPU     string `name:"gpu" help:"a100 (80 GB), h100 or h200, the SXM boards." default:"h200" enum:"a100,h100,h200"`
	Sheet   bool   `name:"data-sheet" help:"The GPU's limits are those of its data sheet, not measured ones."`
	CPU     bool   `name:"cpu" help:"Take this processor instead of a GPU, and measure its limits."`
	Threads int    `name:"threads" short:"t" help:"Threads of --cpu; 0: all usable cores." default:"0"`

	Context   int   `name:"context" short:"c" help:"Tokens in the context of a sequence." default:"1500"`
	Sequences []int `name:"sequences" short:"b" help:"Sequences that are decoded at once." default:"1,64,256,320" placeholder:"N"`

	Questions   int  `name:"questions" help:"Questions in a step." default:"64"`
	N           int  `name:"n" help:"Rollouts of each." default:"5"`
	Turns       int  `name:"turns" help:"Turns; between two there is a search." default:"4"`
	MaxResponse int  `name:"max-response-length" help:"Tokens of a turn." default:"150"`
	Prompt      int  `name:"prompt-length" help:"Tokens of a prompt, the policy's and the simulator's." default:"250"`
	Observation int  `name:"observation-length" help:"Tokens of the documents that a search finds." default:"750"`
	Given       bool `name:"given-results" help:"A search engine finds the documents: no simulator writes them."`
	MiniBatch   int  `name:"ppo-mini-batch-size" help:"Trajectories in an optimizer step; 0: all." default:"0"`
	LoRAR       int  `name:"lora-r" help:"Rank of an adapter on all linear layers; 0: train all weights." default:"0"`
	NoReference bool `name:"no-reference" help:"No KL term."`
	Recompute   bool `name:"recompute" help:"Keep the layers' inputs only; --no-recompute keeps all activations." default:"true" negatable:""`
	MicroBatch  int  `name:"micro-batch-tokens" help:"Tokens of a pass in prefill, log-probs and training." default:"8192"`

	Output string `name:"output" short:"o" help:"md or json." default:"md" enum:"md,json"`
	JSON   bool   `name:"json" help:"The same as -o json."`
}

func (c *benchRooflineCmd) Run(w *world) error {
	if (c.Model == "") == (c.Shape == "") {
		return usagef("give --model DIR or --shape NAME, one of the two")
	}
	m := benchModel{Model: c.Model, Shape: c.Shape, DType: c.DType, KVDType: c.KVDType}
	base, err := m.into(bench.Options{Threads: []int{c.Threads}})
	if err != nil {
		return err
	}
	if c.SimModel != "" && c.SimShape != "" {
		return usagef("--simulation-llm and --sim-shape are both given: choose one")
	}
	o := bench.RooflineOptions{Options: base, GPU: c.GPU, Sheet: c.Sheet, SimModel: c.SimModel, SimShape: c.SimShape,
		Context:   c.Context,
		Sequences: c.Sequences, Step: bench.GRPOTest{Questions: c.Questions, N: c.N, Turns: c.Turns,
			Response: c.MaxResponse, Prompt: c.Prompt,
			Observation: c.Observation, Given: c.Given, MiniBatch: c.MiniBatch, LoRAR: c.LoRAR,
			NoReference: c.NoReference,
			Recompute:   c.Recompute, MicroBatch: c.MicroBatch}}
	if c.SimDType != "" {
		if o.Step.SimDType, err = kernels.ParseDType(c.SimDType); err != nil {
			return usageError{err}
		}
	}
	if c.CPU {
		o.GPU = ""
	}
	r, err := bench.MakeRoofline(o)
	if err != nil {
		return err
	}
	format := c.Output
	if c.JSON {
		format = "json"
	}
	return bench.WriteRoofline(w.out, format, r)
}

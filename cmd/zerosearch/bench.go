package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
	"strings"

	"github.com/zerosearch-go/zerosearch/bench"
	"github.com/zerosearch-go/zerosearch/kernels"
)

type benchCmd struct {
	Kernels benchKernelsCmd `cmd:"" help:"Every operation on shapes of real models, beside the limits of this machine."`
	Model   benchModelCmd   `cmd:"" help:"Prompt processing and generation, as llama-bench does."`
	Train   benchTrainCmd   `cmd:"" help:"Whole steps of training."`
	GRPO    benchGRPOCmd    `cmd:"" name:"grpo" help:"Whole steps of GRPO, every response at its full length."`
	Peers   benchPeersCmd   `cmd:"" help:"PyTorch (oneDNN) and llama.cpp beside ours, in turns."`

	Roofline benchRooflineCmd `cmd:"" help:"Computed, not measured: each kernel's bytes, FLOPs and least time on a GPU, and a step's seconds and memory."`
}

// benchFlags are those of all benchmarks.
type benchFlags struct {
	Config  string `name:"config" help:"YAML file with values for any flag, by flag name." placeholder:"FILE"`
	Device  string `name:"device" type:"device" help:"auto, cpu, cuda, cuda:N or ref." default:"cpu"`
	Threads []int  `name:"threads" short:"t" help:"Numbers of threads, measured one after the other; none: all usable cores." placeholder:"1,2"`
	Reps    int    `name:"repetitions" short:"r" help:"Timed repetitions." default:"5"`
	Output  string `name:"output" short:"o" help:"md, json, csv or bench (for benchstat)." default:"md" enum:"md,json,csv,bench"`
	JSON    bool   `name:"json" help:"The same as -o json."`
	Profile string `name:"cpuprofile" help:"Write a profile of this program for go tool pprof." placeholder:"FILE"`
}

// profile runs a benchmark under the profiler if one was asked for; loading is seen too.
func (f benchFlags) profile(run func() (*bench.Report, error)) (*bench.Report, error) {
	if f.Profile == "" {
		return run()
	}
	out, err := os.Create(f.Profile)
	if err != nil {
		return nil, fmt.Errorf("writing --cpuprofile: %w", err)
	}
	defer out.Close()
	if err := pprof.StartCPUProfile(out); err != nil {
		return nil, fmt.Errorf("writing --cpuprofile: %w", err)
	}
	defer pprof.StopCPUProfile()
	return run()
}

func (f benchFlags) options(w *world) bench.Options {
	return bench.Options{Device: f.Device, Threads: f.Threads, Reps: f.Reps, Say: w.log.status}
}

// print writes the rows.
func (f benchFlags) print(w *world, r *bench.Report, err error) error {
	w.log.done()
	if r == nil {
		return err
	}
	r.Command = "zerosearch " + strings.Join(os.Args[1:], " ")
	format := f.Output
	if f.JSON {
		format = "json"
	}
	return errors.Join(bench.Write(w.out, format, r), err)
}

type benchKernelsCmd struct {
	benchFlags
	Op    string   `name:"op" help:"Regular expression for the operations to measure." placeholder:"REGEXP"`
	Shape []string `name:"shape" help:"Names of models whose shapes are taken, or products MxKxN." placeholder:"NAME"`
	DType []string `name:"dtype" help:"f32, bf16, q8; none: all." placeholder:"T"`
}

func (c *benchKernelsCmd) Run(w *world) error {
	o := c.options(w)
	o.Op, o.Shapes, o.DTypes = c.Op, c.Shape, c.DType
	r, err := c.profile(func() (*bench.Report, error) { return bench.Kernels(w.ctx, o) })
	return c.print(w, r, err)
}

// benchModel names what to run.
type benchModel struct {
	Model   string `name:"model" help:"Hugging Face folder." placeholder:"DIR"`
	Shape   string `name:"shape" help:"Random weights of a named shape instead of --model, such as smollm2-135m, qwen2.5-3b, llama3.2-1b." placeholder:"NAME"`
	DType   string `name:"dtype" help:"How weights are held: f32, bf16 or q8." default:"bf16" enum:"f32,bf16,q8"`
	KVDType string `name:"kv-dtype" help:"Keys and values: f32 or bf16 (default: as --dtype)." default:"" enum:",f32,bf16"`
	Seed    uint64 `name:"seed" help:"Seed of weights and ids." default:"1"`
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
	t := bench.ModelTests{Prompt: some(c.Prompt), Gen: some(c.Gen), Batch: c.Batch, Depth: c.Depth, UBatch: c.UBatch,
		Requests: c.Requests}
	r, err := c.profile(func() (*bench.Report, error) { return bench.Model(w.ctx, o, t) })
	return c.print(w, r, err)
}

// some drops zeros: -p 0 and -n 0 switch a test off, as in llama-bench.
func some(x []int) (out []int) {
	for _, n := range x {
		if n != 0 {
			out = append(out, n)
		}
	}
	return out
}

type benchTrainCmd struct {
	benchFlags
	benchModel
	Shapes     []string `name:"shapes" help:"Batches, SEQUENCESxTOKENS." default:"4x512" placeholder:"4x512,8x256"`
	LoRAR      int      `name:"lora-r" help:"Rank of an adapter on all linear layers; 0: train all weights." default:"0"`
	Recompute  bool     `name:"recompute" help:"Keep the layers' inputs only."`
	MicroBatch int      `name:"micro-batch-tokens" help:"Tokens forwarded together; 0: the whole batch." default:"0"`
}

func (c *benchTrainCmd) Run(w *world) error {
	o, err := c.into(c.options(w))
	if err != nil {
		return err
	}
	t := bench.TrainTests{LoRAR: c.LoRAR, Recompute: c.Recompute, MicroBatchTokens: c.MicroBatch}
	for _, s := range c.Shapes {
		shape, err := bench.ParseTrainShape(s)
		if err != nil {
			return usagef("--shapes: %w", err)
		}
		t.Shapes = append(t.Shapes, shape)
	}
	r, err := c.profile(func() (*bench.Report, error) { return bench.Train(w.ctx, o, t) })
	return c.print(w, r, err)
}

type benchGRPOCmd struct {
	benchFlags
	benchModel
	Questions   int  `name:"questions" help:"Questions in a step." default:"8"`
	N           int  `name:"n" help:"Rollouts of each." default:"5"`
	MaxResponse int  `name:"max-response-length" help:"New tokens in every turn." default:"128"`
	Turns       int  `name:"turns" help:"Turns; between two the simulator writes a result." default:"1"`
	Prompt      int  `name:"prompt-length" help:"Tokens of a prompt." default:"140"`
	Observation int  `name:"observation-length" help:"Tokens of a result." default:"300"`
	Given       bool `name:"given-results" help:"The results are there already, as a search engine's: nobody writes them."`
	MiniBatch   int  `name:"ppo-mini-batch-size" help:"Trajectories in an optimizer step; 0: all." default:"0"`
	LoRAR       int  `name:"lora-r" help:"Rank of an adapter on all linear layers; 0: train all weights." default:"0"`
	NoReference bool `name:"no-reference" help:"No KL term."`
	Recompute   bool `name:"recompute" help:"Keep the layers' inputs only."`
	MicroBatch  int  `name:"micro-batch-tokens" help:"Tokens forwarded together in training." default:"4096"`

	SimDType string   `name:"sim-dtype" help:"How the simulator, the starting weights, is held: f32, bf16 or q8 (default: as --dtype)." default:"" enum:",f32,bf16,q8"`
	Peer     []string `name:"peer" sep:"none" help:"Another program for these steps, measured in turns with ours: it prints a JSON object a line with step_s, the seconds of a step." placeholder:"NAME=COMMAND"`
	Pairs    int      `name:"pairs" help:"Alternating pairs with each --peer." default:"1"`
	NoWarmup bool     `name:"no-warmup" help:"The first step counts too: for models whose steps take minutes."`
}

func (c *benchGRPOCmd) Run(w *world) error {
	o, err := c.into(c.options(w))
	if err != nil {
		return err
	}
	var sim kernels.DType
	if c.SimDType != "" {
		if sim, err = kernels.ParseDType(c.SimDType); err != nil {
			return usageError{err}
		}
	}
	t := bench.GRPOTest{Questions: c.Questions, N: c.N, Response: c.MaxResponse, Turns: c.Turns, Prompt: c.Prompt,
		Observation: c.Observation, Given: c.Given, MiniBatch: c.MiniBatch, LoRAR: c.LoRAR, NoReference: c.NoReference,
		Recompute: c.Recompute, MicroBatch: c.MicroBatch,
		SimDType: sim, NoWarmup: c.NoWarmup, Pairs: c.Pairs}
	if t.Peers, err = bench.ParsePeers(c.Peer); err != nil {
		return usagef("--peer: %w", err)
	}
	r, err := c.profile(func() (*bench.Report, error) { return bench.GRPO(w.ctx, o, t) })
	return c.print(w, r, err)
}

type benchPeersCmd struct {
	benchFlags
	benchModel
	Python string   `name:"python" help:"Interpreter with torch (and transformers, for training)." placeholder:"FILE"`
	Llama  string   `name:"llama" help:"Folder of a llama.cpp build that has bin/llama-bench and model-bf16.gguf, model-q8_0.gguf." placeholder:"DIR"`
	Only   string   `name:"only" help:"Regular expression for the tests to run." placeholder:"REGEXP"`
	Pairs  int      `name:"pairs" help:"Alternating pairs of each test." default:"11"`
	Shapes []string `name:"shapes" help:"Batches of training." default:"4x512,8x256"`
}

func (c *benchPeersCmd) Run(w *world) error {
	o, err := c.into(c.options(w))
	if err != nil {
		return err
	}
	p := bench.PeerOptions{Options: o, Python: c.Python, Llama: c.Llama, Only: c.Only, Pairs: c.Pairs}
	for _, s := range c.Shapes {
		shape, err := bench.ParseTrainShape(s)
		if err != nil {
			return usagef("--shapes: %w", err)
		}
		p.Shapes = append(p.Shapes, shape)
	}
	rows, err := bench.Peers(w.ctx, p)
	w.log.done()
	if len(rows) > 0 || err == nil {
		format := c.Output
		if c.JSON {
			format = "json"
		}
		if werr := bench.WritePeers(w.out, format, rows); err == nil {
			err = werr
		}
	}
	if err != nil {
		return fmt.Errorf("comparing with peers: %w", err)
	}
	return nil
}

package bench

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/zerosearch-go/zerosearch/bench/ops"
	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/rl/roles"
)

// RooflineOptions are the inputs of a roofline. From Options it uses the model, its types, and the threads of a CPU.
type RooflineOptions struct {
	Options
	GPU   string // a100, h100 or h200; "": this CPU, whose limits are measured
	Sheet bool   // use the limits of the GPU's data sheet instead of measured ones

	SimModel, SimShape string // the simulator; both empty: the policy's starting weights
	Context            int    // in decode, tokens in the cache of a sequence; in other passes, the length of a sequence
	Sequences          []int  // numbers of sequences that are decoded at once
	Step               GRPOTest
}

// Roofline is the computed maximum speed of a model's passes and training steps on a processor (Williams, Waterman &
// Patterson, CACM 52-4). It does not include time during which a GPU waits for the host.
type Roofline struct {
	Policy    RooflineModel  `json:"policy"`
	Simulator *RooflineModel `json:"simulator,omitempty"` // nil: no simulator
	On        Processor      `json:"processor"`
	Passes    []RooflinePass `json:"passes"`
	Step      RooflineStep   `json:"step"`
	Memory    engine.Memory  `json:"memory"` // planned memory of a run, on the processor
	Fits      bool           `json:"fits"`
	Why       string         `json:"why,omitempty"` // why the run does not fit into memory
}

// RooflineModel has the sizes of a model.
type RooflineModel struct {
	Name       string `json:"name"`
	DType      string `json:"dtype"`
	Parameters int64  `json:"parameters"`
	Weights    int64  `json:"weight_bytes"`
	KV         int64  `json:"kv_bytes_per_token"`
}

// RooflineTime is some work and its time.
type RooflineTime struct {
	Bytes float64 `json:"bytes"`
	FLOPs float64 `json:"flops"`
	// Least is the time at the processor's limits, Seconds the time at the fraction of them that good kernels are
	// expected to reach.
	Least   float64 `json:"least_seconds"`
	Seconds float64 `json:"seconds"`
	// Overlapped is Seconds for an ideal overlap of memory and arithmetic, without activations: only reading weights,
	// keys and values, and the products count. Sequential kernels cannot reach it.
	Overlapped float64 `json:"overlapped_seconds"`
}

func (t RooflineTime) add(u RooflineTime) RooflineTime {
	return RooflineTime{t.Bytes + u.Bytes, t.FLOPs + u.FLOPs, t.Least + u.Least, t.Seconds + u.Seconds,
		t.Overlapped + u.Overlapped}
}

// RooflinePass is a pass of a model, kernel by kernel.
type RooflinePass struct {
	Name      string           `json:"name"`
	Model     string           `json:"model"`
	Sequences int              `json:"sequences"`
	Tokens    int              `json:"tokens"` // tokens of each sequence in this pass; the others are in the cache
	Context   int              `json:"context"`
	Kernels   []RooflineKernel `json:"kernels"`
	RooflineTime
	Rate float64 `json:"tokens_per_second"` // at Seconds
}

// RooflineKernel has the totals of all calls of one kernel in a pass.
type RooflineKernel struct {
	Kernel    string  `json:"kernel"`
	Calls     float64 `json:"calls"`
	Intensity float64 `json:"flops_per_byte"`
	Bound     string  `json:"bound_by"` // memory or arithmetic
	RooflineTime
}

// RooflineStep is a step of training with searches.
type RooflineStep struct {
	Questions   int             `json:"questions"`
	N           int             `json:"rollouts"`
	Turns       int             `json:"turns"`
	Response    int             `json:"response_tokens"`
	Observation int             `json:"observation_tokens"`
	Tokens      int             `json:"tokens"` // tokens of the update's sequences, including documents
	Phases      []RooflinePhase `json:"phases"`
	RooflineTime
	// Old is the time to compute the log-probs of sampled tokens again, which programs need whose sampler and trainer
	// do not agree.
	Old float64 `json:"old_logprobs_seconds"`
}

// RooflinePhase is a part of a step.
type RooflinePhase struct {
	Name string `json:"name"`
	RooflineTime
}

// MakeRoofline computes a roofline.
func MakeRoofline(o RooflineOptions) (*Roofline, error) {
	r, err := newRoofline(o)
	if err == nil {
		err = r.findProcessor()
	}
	if err != nil {
		return nil, err
	}
	r.passes()
	r.step()
	return &r.Roofline, r.memory()
}

// newRoofline checks the options and reads the models.
func newRoofline(o RooflineOptions) (*roofline, error) {
	o.Options = o.withDefaults()
	t := &o.Step
	t.MicroBatch = cmp.Or(t.MicroBatch, 8192)
	if err := positive("questions, rollouts, turns, tokens or sequences", o.Sequences,
		[]int{o.Context, t.Questions, t.N, t.Turns, t.Response, t.Prompt, t.Observation, t.MicroBatch}); err != nil {
		return nil, err
	}
	if t.Questions*t.N > 1<<20 || t.MiniBatch < 0 || t.LoRAR < 0 {
		return nil, fmt.Errorf("a step of %d episodes in mini-batches of %d, an adapter of rank %d: use fewer "+
			"episodes, and nothing below 0",
			t.Questions*t.N, t.MiniBatch, t.LoRAR)
	}
	if o.DType.Quantised() && t.LoRAR == 0 {
		return nil, fmt.Errorf("weights in %[1]v are not trained: give the rank of an adapter, or hold only the simulator "+
			"in %[1]v", o.DType)
	}
	r := &roofline{o: o}
	var err error
	var name, simName string
	if r.policy, name, err = shapeOf(o.Model, o.Shape); err != nil {
		return nil, err
	}
	if r.sim, simName = r.policy, name; o.SimModel+o.SimShape != "" {
		if r.sim, simName, err = shapeOf(o.SimModel, o.SimShape); err != nil {
			return nil, fmt.Errorf("the simulator: %w", err)
		}
	}
	r.policy.t, r.policy.kv, r.policy.rank = o.DType, o.kvType(), t.LoRAR
	r.sim.t, r.sim.kv = cmp.Or(t.SimDType, o.DType), o.kvType()
	if r.Policy = r.policy.sizes(name); t.simulates() {
		s := r.sim.sizes(simName)
		r.Simulator = &s
	}
	if n := max(o.Context, t.longest()); n > r.policy.c.MaxPos {
		return nil, fmt.Errorf("sequences have up to %d tokens, the model at most %d: use a smaller context, shorter "+
			"responses or fewer turns",
			n, r.policy.c.MaxPos)
	}
	return r, nil
}

// findProcessor finds the processor's limits.
func (r *roofline) findProcessor() (err error) {
	if r.o.GPU == "" {
		r.On, err = r.o.cpuProcessor()
	} else {
		r.On, err = gpuProcessor(r.o.GPU, r.o.Sheet)
	}
	return err
}

type roofline struct {
	Roofline
	o           RooflineOptions
	policy, sim forwardShape
}

// shapeOf reads a model's configuration, not its weights.
func shapeOf(dir, shape string) (f forwardShape, name string, err error) {
	switch {
	case (dir == "") == (shape == ""):
		return f, "", errors.New("give a model folder or the name of a shape, one of the two")
	case dir != "":
		if f.c, dir, err = roles.ReadShape(dir); err == nil {
			name = filepath.Base(filepath.Clean(dir))
		}
		return f, name, err
	}
	s, err := ops.FindModel(shape)
	return forwardShape{c: &s.Config}, s.Name, err
}

// time computes the time of the work of a phase.
func (r *roofline) time(k phaseKind, t kernels.DType, all []work) (sum RooflineTime) {
	for _, w := range all {
		sum = sum.add(r.kernel(k, w).RooflineTime)
	}
	sum.Overlapped = r.On.Reached[k].in(r.On.Limits).seconds(least(t, all))
	return sum
}

func (r *roofline) kernel(k phaseKind, w work) RooflineKernel {
	l := r.On.Reached[k].in(r.On.Limits)
	out := RooflineKernel{Kernel: w.kernel, Calls: w.calls, Intensity: w.FLOPs / max(w.Bytes, 1), Bound: "memory"}
	out.RooflineTime = RooflineTime{Bytes: w.Bytes, FLOPs: w.FLOPs, Least: r.On.Limits.seconds(w.Cost),
		Seconds: l.seconds(w.Cost)}
	if l.binds(w.Cost) {
		out.Bound = "arithmetic"
	}
	return out
}

// sizes computes the model's sizes.
func (f forwardShape) sizes(name string) RooflineModel {
	return RooflineModel{name, f.t.String(), f.c.Parameters(), f.c.WeightBytes(f.t), f.c.KVBytes(f.kv)}
}

// same reports whether the simulator has the policy's starting weights.
func (r *roofline) same() bool { return r.sim.c == r.policy.c && r.sim.t == r.policy.t }

// passes are decode passes for each number of sequences, and prefill, log-probs and training of a micro-batch.
func (r *roofline) passes() {
	add := func(name, of string, k phaseKind, f forwardShape, s ops.Span, all []work) {
		p := RooflinePass{Name: name, Model: of, Sequences: s.Batch, Tokens: s.N, Context: s.Start + s.N,
			RooflineTime: r.time(k, f.t, all)}
		for _, w := range all {
			p.Kernels = append(p.Kernels, r.kernel(k, w))
		}
		p.Rate = s.Rows() / p.Seconds
		r.Passes = append(r.Passes, p)
	}
	decode := func(f forwardShape, of string) {
		for _, n := range r.o.Sequences {
			s := ops.Span{Batch: n, Start: r.o.Context - 1, N: 1, Logits: 1}
			add("decode", of, decoding, f, s, f.forward(s))
		}
	}
	decode(r.policy, r.Policy.Name)
	if r.o.Step.simulates() && !r.same() {
		decode(r.sim, r.Simulator.Name)
	}
	f, n := r.policy, r.o.Context
	s := ops.Span{Batch: max(1, r.o.Step.MicroBatch/n), N: n, Logits: 1}
	add("prefill", r.Policy.Name, prefilling, f, s, f.forward(s))
	s.Logits = n
	f.score = true
	add("log-probs", r.Policy.Name, scoring, f, s, f.forward(s))
	add("training", r.Policy.Name, updating, f, s, f.train(s, r.o.Step.Recompute))
}

// step adds up the phases of a step by name.
func (r *roofline) step() {
	t := &r.o.Step
	r.Step = RooflineStep{Questions: t.Questions, N: t.N, Turns: t.Turns, Response: t.Response,
		Observation: t.Observation,
		Tokens:      t.Questions*t.Prompt + t.Questions*t.N*(t.longest()-t.Prompt)}
	add := r.add
	for _, p := range t.phases() {
		f := r.policy
		if p.sim {
			f = r.sim
		}
		if p.kind != decoding {
			f.tokens = t.MicroBatch
		}
		switch p.kind {
		case scoring:
			f.rank = 0 // the reference is the policy without its adapter
			add(p.name, r.time(p.kind, f.t, f.scores(p.spans)))
		case updating:
			var all []work
			for _, s := range p.spans {
				all = append(all, f.train(s, t.Recompute)...)
			}
			add(p.name, r.time(p.kind, f.t, merge(all)))
			steps := 1.0
			if n := t.Questions * t.N; t.MiniBatch > 0 {
				steps = float64((n + t.MiniBatch - 1) / t.MiniBatch)
			}
			var w []work
			for _, x := range f.optimizer() {
				w = append(w, x.times(steps))
			}
			x := r.time(p.kind, f.t, w)
			x.Overlapped = x.Seconds
			add("optimizer step", x)
			r.Step.Old = r.time(scoring, f.t, f.scores(p.spans)).Seconds
		default:
			var all []work
			for _, s := range p.spans {
				all = append(all, f.forward(s)...)
			}
			add(p.name, r.time(p.kind, f.t, merge(all)))
		}
	}
}

// add adds time to a phase of the step.
func (r *roofline) add(name string, x RooflineTime) {
	r.Step.RooflineTime = r.Step.RooflineTime.add(x)
	for i := range r.Step.Phases {
		if p := &r.Step.Phases[i]; p.Name == name {
			p.RooflineTime = p.RooflineTime.add(x)
			return
		}
	}
	r.Step.Phases = append(r.Step.Phases, RooflinePhase{name, x})
}

// scores are the kernels that score spans.
func (f forwardShape) scores(spans []ops.Span) []work {
	f.score = true
	var all []work
	for _, s := range spans {
		all = append(all, f.forward(s)...)
	}
	return merge(all)
}

// memory plans the memory on the processor, without the program's heap.
func (r *roofline) memory() error {
	t, kv := &r.o.Step, r.o.kvType()
	room := func(length int) *engine.PlanEngine {
		o := t.room(kv, length)
		o.MaxBatchTokens = max(o.MaxBatchTokens, t.MicroBatch)
		return &engine.PlanEngine{ModelOptions: o}
	}
	n := max(t.MicroBatch, t.longest())
	pass := &engine.PlanPass{Tokens: n, Sequences: n / t.longest(), Longest: t.longest(), KVType: kv,
		Recompute: t.Recompute}
	policy := engine.PlanModel{Name: "policy", Config: r.policy.c, DType: r.policy.t, Engine: room(t.longest()),
		Train: pass}
	if t.LoRAR > 0 {
		policy.LoRA = &engine.PlanLoRA{R: t.LoRAR, Trained: true}
	} else {
		policy.Full = true
	}
	plan := engine.Plan{Models: []engine.PlanModel{policy}, Threads: r.On.threads}
	if r.o.GPU != "" {
		plan.Device = "cuda:0"
	}
	if !t.NoReference {
		plan.Models = append(plan.Models, engine.PlanModel{Name: "reference", Config: r.policy.c, DType: r.policy.t,
			Shared: t.LoRAR > 0, Score: pass})
	}
	if t.simulates() {
		plan.Models = append(plan.Models, engine.PlanModel{Name: "simulator", Config: r.sim.c, DType: r.sim.t,
			Shared: r.same() && (t.LoRAR > 0 || !t.NoReference), Engine: room(t.Prompt + t.Observation)})
	}
	all, err := plan.Memory()
	if err != nil {
		return err
	}
	for _, l := range all.Lines {
		if l.Model == "device" && r.o.GPU != "" {
			l.Detail = ""
		}
		if l.Model != "program" && (r.o.GPU == "" || l.Device != "") {
			l.Device = ""
			r.Memory.Lines = append(r.Memory.Lines, l)
		}
	}
	r.Memory.Total = r.Memory.Of("", "")
	r.Fits = true
	if r.On.Memory > 0 {
		if err := r.Memory.Fits(r.On.Memory); err != nil {
			r.Fits, r.Why = false, err.Error()
		}
	}
	return nil
}

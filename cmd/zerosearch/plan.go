package main

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"text/tabwriter"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/devices"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/plan"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/rl/rollout"
)

// planCmd takes the flags of the verb it plans for.
type planCmd struct {
	common
	simFlags
	Options config.Config `embed:""`
	For     string        `name:"for" help:"What is planned: train, sft, generate (ask, eval and score too) or serve." default:"train" enum:"train,sft,generate,serve"`
	Memory  string        `name:"memory" help:"Memory it may take, as in 24GiB (default: what is available here)." placeholder:"SIZE"`
}

// trainPlan is what is printed.
type trainPlan struct {
	Model      string              `json:"model"`
	Arch       string              `json:"architecture"`
	Parameters int64               `json:"parameters"`
	Trained    int64               `json:"trained_parameters"`
	Run        *runPlan            `json:"run,omitempty"`
	Memory     []engine.MemoryLine `json:"memory"`
	Total      int64               `json:"memory_total"`
	Limit      int64               `json:"memory_limit,omitempty"`         // 0: not known
	Limits     map[string]int64    `json:"device_memory_limits,omitempty"` // of GPUs that are here
	Fits       bool                `json:"fits"`
	Advice     []string            `json:"advice,omitempty"` // flags that would make it fit, one of them is enough
	Machine    *engine.Machine     `json:"machine_memory,omitempty"`
}

// runPlan counts the work of a training run.
type runPlan struct {
	Questions int `json:"questions"`
	Steps     int `json:"steps"`
	Episodes  int `json:"episodes"`        // of the whole run
	PolicyIDs int `json:"policy_ids_most"` // sampled in a step, if every turn runs to its end
	Optimizer int `json:"optimiser_steps"` // of the whole run
}

func (c *planCmd) Run(w *world) error {
	if c.Options.Policy.Model == "" {
		return usagef("--model is missing: give a model folder; only its config.json is read")
	}
	limit, err := engine.ParseSize(c.Memory)
	if err != nil {
		return usagef("--memory: %w", err)
	}
	if c.For == "train" && c.Options.Data.Data != "" {
		if err := c.Options.CheckGiven(); err != nil {
			return usageError{err}
		}
	}
	if c.For == "train" {
		if err := c.simFlags.check(&c.Options.Search); err != nil {
			return err
		}
	}
	return showPlan(w, c.common, c.simFlags, plan.Planner{Verb: c.For, Active: linesAhead}, c.Options, limit)
}

// plan is --dry-run: what a run will do and take, from config.json and the flags alone.
func (c *trainCmd) plan(w *world) error {
	return showPlan(w, c.common, c.simFlags, plan.Planner{Verb: "train"}, c.Options, 0)
}

func threadsOf(flag int) int {
	if flag > 0 {
		return flag
	}
	return runtime.GOMAXPROCS(0)
}

// showPlan prints the plan; one that does not fit is an error, which says what would.
//
// What is planned for a device that is not here has no limit on it.
func showPlan(w *world, c common, sim simFlags, pl plan.Planner, o config.Config, limit int64) error {
	pl.Threads, pl.Limits = threadsOf(c.Threads), map[string]int64{}
	place := func(name string) string {
		device, available := devices.Place(name)
		if available >= 0 {
			pl.Limits[device] = available
		}
		return device
	}
	pl.Device = place(c.Device)
	pl.SimDevice = pl.Device
	if sim.SimDevice != "" {
		pl.SimDevice = place(sim.SimDevice)
	}
	cfg, dir, err := roles.ReadShape(o.Policy.Model)
	if err != nil {
		return err
	}
	w.notes(cfg.Notes)
	if err := checkTypes(o); err != nil {
		return usageError{err}
	}
	p := &trainPlan{Model: dir, Arch: cfg.Arch, Parameters: cfg.Parameters(), Limit: limit, Limits: pl.Limits,
		Machine: engine.MachineMemory()}
	if p.Run, err = countRun(pl, o); err != nil {
		return err
	}
	mem, err := pl.Memory(o)
	if err != nil {
		return err
	}
	p.Memory, p.Total, p.Trained = mem.Lines, mem.Total, mem.Of("policy", "masters")/4
	if limit == 0 && p.Machine != nil {
		p.Limit = p.Machine.Available
	}
	var refused error
	p.Advice, refused = pl.Refuse(o, cmp.Or(p.Limit, math.MaxInt64))
	p.Fits = refused == nil
	if c.JSON {
		err = writeJSON(w, p)
	} else {
		err = p.print(w)
	}
	if err != nil {
		return err
	}
	return refused
}

// checkTypes refuses types of weights that there are not.
func checkTypes(o config.Config) error {
	for _, f := range [][2]string{{"--dtype", o.Policy.DType}, {"--ref-dtype", o.Policy.RefDType},
		{"--sim-dtype", o.Search.SimDType}} {
		if _, err := config.WeightType(f[0], f[1]); err != nil {
			return err
		}
	}
	if _, err := config.KVType(o.Policy.KVDType, kernels.BF16); err != nil {
		return err
	}
	if _, err := engine.ParseSize(o.Rollout.KVMemory); err != nil {
		return fmt.Errorf("--kv-memory: %w", err)
	}
	return nil
}

// countRun reads the questions; nil without any.
func countRun(pl plan.Planner, o config.Config) (*runPlan, error) {
	if pl.Verb != "train" || o.Data.Data == "" {
		return nil, nil
	}
	questions, err := rollout.LoadQuestions(o.Data)
	if err != nil {
		return nil, err
	}
	r := &o.Rollout
	perStep := r.BatchSize * r.N
	minis := 1
	if m := o.Algo.MiniBatch; m > 0 {
		minis = (perStep + m - 1) / m
	}
	return &runPlan{len(questions.Train.Questions), o.Schedule.TotalSteps, o.Schedule.TotalSteps * perStep,
		perStep * (r.MaxTurns + 1) * r.MaxResponse, o.Schedule.TotalSteps * minis}, nil
}

func (p *trainPlan) print(w *world) error {
	fmt.Fprintf(w.out, "%s: %s, %.1f M parameters\n", p.Model, p.Arch, float64(p.Parameters)/1e6)
	if r := p.Run; r != nil {
		fmt.Fprintf(w.out, "%d questions; %d steps, %d episodes, %d optimizer steps; at most %d sampled ids a step\n",
			r.Questions, r.Steps, r.Episodes, r.Optimizer, r.PolicyIDs)
	}
	if err := p.table(w); err != nil {
		return fmt.Errorf("writing the plan: %w", err)
	}
	if m := p.Machine; m != nil {
		fmt.Fprintf(w.out, "this machine has %.2f GiB, %.2f GiB of them available\n", float64(m.Total)/(1<<30),
			float64(m.Available)/(1<<30))
	}
	for _, device := range slices.Sorted(maps.Keys(p.Limits)) {
		fmt.Fprintf(w.out, "%s has %.2f GiB available\n", device, float64(p.Limits[device])/(1<<30))
	}
	return nil
}

// table prints the lines: the host's memory in one column, and that of each device with memory of its own in another.
func (p *trainPlan) table(w *world) error {
	mem := engine.Memory{Lines: p.Memory}
	places := []string{""}
	for _, l := range p.Memory {
		if !slices.Contains(places, l.Device) {
			places = append(places, l.Device)
		}
	}
	tw := tabwriter.NewWriter(w.out, 0, 0, 2, ' ', 0)
	row := func(name, what, detail string, bytes func(place string) int64) {
		fmt.Fprintf(tw, "  %s\t%s\t", name, what)
		for _, place := range places {
			text := ""
			if n := bytes(place); n > 0 || len(places) == 1 {
				text = fmt.Sprintf("%9.1f MiB", float64(n)/(1<<20))
			}
			fmt.Fprintf(tw, "%13s\t", text)
		}
		fmt.Fprintln(tw, detail)
	}
	if len(places) > 1 {
		fmt.Fprintf(tw, "  \t\t%13s\t", "host")
		for _, place := range places[1:] {
			fmt.Fprintf(tw, "%13s\t", place)
		}
		fmt.Fprintln(tw)
	}
	last := ""
	for _, l := range p.Memory {
		name := l.Model
		if name == last {
			name = ""
		}
		last = l.Model
		row(name, l.What, l.Detail, func(place string) int64 {
			if place != l.Device {
				return 0
			}
			return l.Bytes
		})
	}
	row("together", "", "", mem.On)
	return tw.Flush()
}

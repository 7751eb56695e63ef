package plan

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"text/tabwriter"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/devices"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/roles"
)

// Summary is a plan for people and programs.
type Summary struct {
	Model      string              `json:"model"`
	Arch       string              `json:"architecture"`
	Parameters int64               `json:"parameters"`
	Trained    int64               `json:"trained_parameters"`
	Run        *Work               `json:"run,omitempty"`
	Memory     []engine.MemoryLine `json:"memory"`
	Total      int64               `json:"memory_total"`
	Limit      int64               `json:"memory_limit,omitempty"`         // 0: not known
	Limits     map[string]int64    `json:"device_memory_limits,omitempty"` // of GPUs that are here
	Fits       bool                `json:"fits"`
	Advice     []string            `json:"advice,omitempty"` // flags that would make it fit, one of them is enough
	Machine    *engine.Machine     `json:"machine_memory,omitempty"`
	Ranks      *Ranks              `json:"ranks,omitempty"` // several: Memory is that of one
	Notes      []string            `json:"-"`               // what the user should know about the model's configuration
}

// Work counts the work of a training run.
type Work struct {
	Questions int `json:"questions"`
	Steps     int `json:"steps"`
	Episodes  int `json:"episodes"`        // of the whole run
	PolicyIDs int `json:"policy_ids_most"` // sampled in a step, if every turn runs to its end
	Optimizer int `json:"optimiser_steps"` // of the whole run
}

// Place plans for the devices of these names, as devices.Open takes them; simDevice may be "": the policy's. What is
// planned for a device that is not here has no limit on it.
func (pl *Planner) Place(device, simDevice string) {
	pl.Limits = map[string]int64{}
	place := func(name string) string {
		device, available := devices.Place(name)
		if available >= 0 {
			pl.Limits[device] = available
		}
		return device
	}
	pl.Device = place(device)
	pl.SimDevice = pl.Device
	if simDevice != "" {
		pl.SimDevice = place(simDevice)
	}
}

// Summarize plans o: what the model is and what memory it takes. limit is the host's memory in bytes; 0: what is
// available here. A plan that does not fit comes with the error of Refuse, which says what would.
func (pl Planner) Summarize(o config.Config, limit int64) (*Summary, error) {
	cfg, dir, err := roles.ReadShape(o.Policy.Model)
	if err != nil {
		return nil, config.Error(err)
	}
	all, err := pl.plan(o)
	if err != nil {
		return nil, config.Error(err)
	}
	mem, err := all.Memory()
	if err != nil {
		return nil, config.Error(err)
	}
	s := &Summary{Model: dir, Arch: cfg.Arch, Parameters: cfg.Parameters(), Limit: limit, Limits: pl.Limits,
		Machine: engine.MachineMemory(), Notes: cfg.Notes, Memory: mem.Lines, Total: mem.Total,
		Trained: mem.Of("policy", "gradients") / 4}
	if s.Ranks, err = pl.ranks(&o, all); err != nil {
		return nil, config.Error(err)
	}
	if limit == 0 && s.Machine != nil {
		s.Limit = s.Machine.Available
	}
	s.Advice, err = pl.Refuse(o, cmp.Or(s.Limit, math.MaxInt64))
	s.Fits = err == nil
	return s, err
}

// CheckTypes refuses types of weights that do not exist, and sizes that are not sizes.
func CheckTypes(o *config.Config) error { return config.Error(checkTypes(o)) }

func checkTypes(o *config.Config) error {
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

// Count is the work of a training run on so many questions.
func Count(o *config.Config, questions int) *Work {
	r := &o.Rollout
	perStep := r.BatchSize * r.N
	return &Work{questions, o.Schedule.TotalSteps, o.Schedule.TotalSteps * perStep,
		perStep * (r.MaxTurns + 1) * r.MaxResponse, o.Schedule.TotalSteps * optimizerSteps(o)}
}

// Print prints the plan.
func (s *Summary) Print(w io.Writer) error {
	fmt.Fprintf(w, "%s: %s, %.1f M parameters\n", s.Model, s.Arch, float64(s.Parameters)/1e6)
	if r := s.Run; r != nil {
		fmt.Fprintf(w, "%d questions; %d steps, %d episodes, %d optimizer steps; at most %d sampled ids a step\n",
			r.Questions, r.Steps, r.Episodes, r.Optimizer, r.PolicyIDs)
	}
	if err := s.table(w); err != nil {
		return fmt.Errorf("writing the plan: %w", err)
	}
	s.Ranks.print(w)
	if m := s.Machine; m != nil {
		fmt.Fprintf(w, "this machine has %.2f GiB, %.2f GiB of them available\n", float64(m.Total)/(1<<30),
			float64(m.Available)/(1<<30))
	}
	for _, device := range slices.Sorted(maps.Keys(s.Limits)) {
		fmt.Fprintf(w, "%s has %.2f GiB available\n", device, float64(s.Limits[device])/(1<<30))
	}
	return nil
}

// table prints the lines: the host's memory in one column, and that of each device with memory of its own in another.
func (s *Summary) table(w io.Writer) error {
	mem := engine.Memory{Lines: s.Memory}
	places := []string{""}
	for _, l := range s.Memory {
		if !slices.Contains(places, l.Device) {
			places = append(places, l.Device)
		}
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
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
	for _, l := range s.Memory {
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

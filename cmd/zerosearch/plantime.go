package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/zerosearch-go/zerosearch/bench"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/devices"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/roles"
)

// planTimes is how long a step of training takes on this machine, from a measurement of a few seconds.
type planTimes struct {
	// Usual is a step of episodes that search once and write usualTokens a turn, Most one in which every turn runs to
	// its end, as far as the context allows.
	Usual, Most bench.RooflineStep
}

// measureSteps measures this machine. Tests replace it by a computation, which takes no time.
var measureSteps = bench.StepTimes

// Tokens of the episodes that a step's time is told for.
const (
	usualTokens      = 100 // that the policy writes in a turn
	usualObservation = 250 // of a search result
	usualPrompt      = 300 // ZeroSearch's, with a question
)

// stepTimes measures the machine. It is for runs on the CPU alone.
func (w *world) stepTimes(c common, o config.Config) (t planTimes, err error) {
	dtype, err := config.WeightType("--dtype", o.Policy.DType)
	if err != nil {
		return t, err
	}
	cfg, _, err := roles.ReadShape(o.Policy.Model)
	if err != nil {
		return t, err
	}
	context := min(o.Rollout.MaxContext, cfg.MaxPos)
	r := bench.RooflineOptions{Options: bench.Options{Model: o.Policy.Model, DType: dtype, Threads: []int{c.Threads}},
		Context: 1, Sequences: []int{1}}
	simulated := strings.Contains(o.Search.Label(), "simulated") && o.Search.RemoteURL == ""
	if dir := o.Search.SimulationLLM; simulated && dir != "same" && dir != "policy" {
		r.SimModel = dir
	}
	if o.Search.SimDType != "" {
		if r.Step.SimDType, err = kernels.ParseDType(o.Search.SimDType); err != nil {
			return t, err
		}
	}
	step := func(turns, response, observation int) (s bench.GRPOTest) {
		s.SimDType = r.Step.SimDType
		s.Questions, s.N, s.Turns = o.Rollout.BatchSize, o.Rollout.N, turns
		s.Prompt = min(usualPrompt, o.Rollout.MaxStart, context/2)
		s.Observation = max(1, min(observation, o.Rollout.MaxObs, (context-s.Prompt)/(2*turns)))
		room := (context - s.Prompt - (turns-1)*s.Observation) / turns
		s.Response = max(1, min(response, o.Rollout.MaxResponse, room))
		s.Given, s.MiniBatch, s.LoRAR = !simulated, o.Algo.MiniBatch, o.Policy.LoRAR
		s.NoReference, s.Recompute = o.Algo.KLCoef == 0, o.Optim.Recompute
		s.MicroBatch = o.Optim.MicroBatchTokens
		return s
	}
	observation := usualObservation
	if simulated {
		observation = o.Search.SimMaxTokens
	}
	steps, err := measureSteps(w.ctx, r, step(min(2, o.Rollout.MaxTurns+1), usualTokens, usualObservation),
		step(o.Rollout.MaxTurns+1, o.Rollout.MaxResponse, observation))
	if err != nil {
		return t, err
	}
	return planTimes{steps[0], steps[1]}, nil
}

// plannedTime is the time of a step as plan --json gives it; Unknown says why there is none.
type plannedTime struct {
	Seconds  float64 `json:"seconds,omitempty"` // a usual step: Searches in an episode, Response in a turn
	Most     float64 `json:"seconds_at_most,omitempty"`
	All      float64 `json:"seconds_all_steps,omitempty"` // of usual steps
	Searches int     `json:"searches"`
	Response int     `json:"tokens_a_turn,omitempty"`
	Phases   []phase `json:"phases,omitempty"`
	Unknown  string  `json:"unknown,omitempty"`
}

type phase struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}

// planTime says how long a step takes. That it is not known is no error of the plan.
func (w *world) planTime(c common, sim simFlags, o config.Config) plannedTime {
	on, _ := devices.Place(c.Device)
	if simOn, _ := devices.Place(sim.SimDevice); on != devices.CPU || sim.SimDevice != "" && simOn != devices.CPU {
		return plannedTime{Unknown: "see zerosearch bench roofline --gpu, the time on a GPU is computed there"}
	}
	t, err := w.stepTimes(c, o)
	if err != nil {
		return plannedTime{Unknown: fmt.Sprintf("not known (%s)", errorLine(err))}
	}
	p := plannedTime{Seconds: t.Usual.Seconds, Most: max(t.Usual.Seconds, t.Most.Seconds),
		All: t.Usual.Seconds * float64(o.Schedule.TotalSteps), Searches: t.Usual.Turns - 1, Response: t.Usual.Response}
	for _, x := range t.Usual.Phases {
		p.Phases = append(p.Phases, phase{x.Name, x.Seconds})
	}
	return p
}

// print writes it as a line.
func (p plannedTime) print(out io.Writer) {
	if p.Unknown != "" {
		fmt.Fprintf(out, "a step takes: %s\n", p.Unknown)
		return
	}
	about := func(seconds float64) string {
		d := time.Duration(seconds * float64(time.Second))
		if d >= time.Second {
			return d.Round(time.Second).String()
		}
		return d.Round(time.Millisecond).String()
	}
	var parts []string
	for _, x := range p.Phases {
		if 20*x.Seconds > p.Seconds { // less than a twentieth of the step is not mentioned
			parts = append(parts, fmt.Sprintf("%s %s", x.Name, about(x.Seconds)))
		}
	}
	fmt.Fprintf(out, "a step takes about %s where an episode searches %s and writes %d tokens a turn (%s), %s where "+
		"every turn runs to its end; all steps %s: measured now on %s\n", about(p.Seconds),
		map[bool]string{true: "once", false: "never"}[p.Searches > 0], p.Response, strings.Join(parts, ", "),
		about(p.Most), about(p.All), "random weights of its shape")
}

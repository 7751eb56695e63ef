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
	Usual, Most *bench.RooflineStep
}

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
	step := func(turns, response, observation int) (*bench.RooflineStep, error) {
		s := &r.Step
		s.Questions, s.N, s.Turns = o.Rollout.BatchSize, o.Rollout.N, turns
		s.Prompt = min(usualPrompt, o.Rollout.MaxStart, context/2)
		s.Observation = max(1, min(observation, o.Rollout.MaxObs, (context-s.Prompt)/(2*turns)))
		room := (context - s.Prompt - (turns-1)*s.Observation) / turns
		s.Response = max(1, min(response, o.Rollout.MaxResponse, room))
		s.Given, s.MiniBatch, s.LoRAR = !simulated, o.Algo.MiniBatch, o.Policy.LoRAR
		s.NoReference, s.Recompute = o.Algo.KLCoef == 0, o.Optim.Recompute
		s.MicroBatch = o.Optim.MicroBatchTokens
		return bench.StepTime(w.ctx, r)
	}
	if t.Usual, err = step(min(2, o.Rollout.MaxTurns+1), usualTokens, usualObservation); err != nil {
		return t, err
	}
	observation := usualObservation
	if simulated {
		observation = o.Search.SimMaxTokens
	}
	t.Most, err = step(o.Rollout.MaxTurns+1, o.Rollout.MaxResponse, observation)
	return t, err
}

// showStepTimes prints how long a step takes. That it is not known is no error of the plan.
func (w *world) showStepTimes(c common, sim simFlags, o config.Config, out io.Writer) {
	on, _ := devices.Place(c.Device)
	if simOn, _ := devices.Place(sim.SimDevice); on != devices.CPU || sim.SimDevice != "" && simOn != devices.CPU {
		fmt.Fprintln(out, "a step takes: see zerosearch bench roofline --gpu, the time on a GPU is computed there")
		return
	}
	t, err := w.stepTimes(c, o)
	if err != nil {
		fmt.Fprintf(out, "a step takes: not known (%s)\n", errorLine(err))
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
	for _, p := range t.Usual.Phases {
		if 20*p.Seconds > t.Usual.Seconds { // what is less is not worth a word
			parts = append(parts, fmt.Sprintf("%s %s", p.Name, about(p.Seconds)))
		}
	}
	fmt.Fprintf(out, "a step takes about %s where an episode searches %s and writes %d tokens a turn (%s), %s where "+
		"every turn runs to its end; all steps %s: measured now on %s\n", about(t.Usual.Seconds),
		map[bool]string{true: "once", false: "never"}[t.Usual.Turns > 1], t.Usual.Response, strings.Join(parts, ", "),
		about(t.Most.Seconds), about(t.Usual.Seconds*float64(o.Schedule.TotalSteps)),
		"random weights of its shape")
}

package main

import (
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// check refuses flags that contradict each other, before anything is loaded.
func (c *trainCmd) check(w *world) error {
	o := &c.Options
	switch {
	case o.Data.Data == "":
		return usagef("--data is missing: give a file of questions")
	case o.Schedule.Out == "" && !c.DryRun:
		return usagef("--out is missing: give a folder for the run")
	case o.Data.EvalEvery > 0 && o.Data.EvalData == "" && o.Data.EvalSplit == 0:
		return usagef("--eval-every needs --eval-data FILE or --eval-split N")
	case o.Policy.Adapter != "" && o.Policy.LoRAR > 0:
		return usagef(
			"--adapter and --lora-r contradict each other: --adapter goes on with an adapter, --lora-r begins a new one")
	case o.Search.NoiseRate != nil && (w.given("start-threshold") || w.given("end-threshold")):
		return usagef("--noise-rate and the curriculum's --start-threshold and --end-threshold contradict each " +
			"other: give one or the other")
	case o.Search.NoiseRate != nil && w.given("curriculum"):
		return usagef("--noise-rate and --curriculum contradict each other: give one or the other")
	case o.Search.Curriculum == string(search.Constant) && w.given("end-threshold"):
		return usagef("--curriculum constant stays at --start-threshold: leave --end-threshold out")
	case o.Search.Curriculum != string(search.Adaptive) && w.given("curriculum-goal"):
		return usagef("--curriculum-goal is of no use without --curriculum adaptive")
	case o.Policy.LoRAR == 0 && (w.given("lora-alpha") || w.given("lora-targets")):
		return usagef("--lora-alpha and --lora-targets need --lora-r")
	case o.Policy.RefModel != "" && o.Algo.KLCoef == 0:
		return usagef("--ref-model is of no use with --kl-coef 0: raise --kl-coef or leave --ref-model out")
	}
	if err := o.CheckGiven(); err != nil {
		return usageError{err}
	}
	if err := o.Unused(w.given); err != nil {
		return usageError{err}
	}
	if err := c.simFlags.check(&o.Search); err != nil {
		return err
	}
	c.loraRate(w)
	if (c.IP != "" || c.Port != "") && o.Search.RemoteURL == "" {
		w.log.line("note: IP and PORT are not needed: the simulator (--simulation-llm) runs in this process")
	}
	if c.NumGPUs != "" {
		w.log.line(
			"note: NUM_GPUS_PER_NODE is not used: --device and --sim-device name the GPUs of policy and simulator")
	}
	return nil
}

// loraRate chooses the learning rate of an adapter where the user did not.
func (c *trainCmd) loraRate(w *world) {
	p := &c.Options.Policy
	if note := config.LoRARate(&c.Options.Optim.LR, p.LoRAR > 0 || p.Adapter != "", w.chosen("lr")); note != "" {
		w.log.line("note: %s", note)
	}
}

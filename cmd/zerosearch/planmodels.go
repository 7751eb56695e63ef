package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/rl"
	"github.com/zerosearch-go/zerosearch/rl/track"
)

// planner makes the engine's plan of a verb from its flags.
type planner struct {
	verb    string
	threads int
}

// memory adds up what the verb takes with o.
func (pl planner) memory(o rl.Config) (engine.Memory, error) {
	p, err := pl.plan(o)
	if err != nil {
		return engine.Memory{}, err
	}
	return p.Memory()
}

func (pl planner) plan(o rl.Config) (engine.Plan, error) {
	p := engine.Plan{Threads: pl.threads}
	policy, err := pl.policy(&o)
	if err != nil {
		return p, err
	}
	kv, err := rl.KVType(o.Policy.KVDType, policy.DType)
	if err != nil {
		return p, usageError{err}
	}
	switch pl.verb {
	case "sft":
		policy.Saved = true
		policy.Train = pl.pass(&o, policy.Config, kv)
	case "train":
		policy.Saved = true
		policy.Engine, policy.Train = rolling(&o, policy.Config, kv), pl.pass(&o, policy.Config, kv)
	default:
		memory, err := engine.ParseSize(o.Rollout.KVMemory)
		if err != nil {
			return p, usagef("--kv-memory: %w", err)
		}
		policy.Full, policy.Engine = false, &engine.PlanEngine{ModelOptions: engine.ModelOptions{KVType: kv, KVBytes: memory, MaxContext: o.Rollout.MaxContext}}
		if pl.verb == "generate" {
			policy.Engine.Active = linesAhead
		}
		if policy.LoRA != nil {
			policy.LoRA.Trained = false
		}
	}
	p.Models = append(p.Models, policy)
	if pl.verb == "train" {
		err = (&roles{pl, &p, &o, policy, kv, map[kernels.DType]int{}}).add()
	}
	return p, err
}

// policy is the model that the flags name, trained as they say.
func (pl planner) policy(o *rl.Config) (engine.PlanModel, error) {
	m := engine.PlanModel{Name: "policy"}
	cfg, _, err := readShape(o.Policy.Model)
	if err != nil {
		return m, err
	}
	m.Config = cfg
	if m.DType, err = heldAs("--dtype", o.Policy.DType, cfg, 0); err != nil {
		return m, err
	}
	if used := pl.verb == "generate" || pl.verb == "serve"; cfg.Q8 && used {
		m.DType = kernels.Q8 // these verbs have no other default
	} else if cfg.Q8 && m.DType != kernels.Q8 {
		return m, fmt.Errorf("planning the memory of %s: its weights are q8: add --dtype q8 and --lora-r, or train the checkpoint that they were made from", o.Policy.Model)
	}
	adapter := o.Policy.Adapter
	if dir, err := track.ModelDir(o.Policy.Model); err == nil && adapter == "" {
		if _, ok := isAdapter(dir); ok {
			adapter = dir
		}
	}
	switch {
	case adapter != "":
		a, err := model.ReadAdapterConfig(adapter)
		if err != nil {
			return m, err
		}
		m.LoRA = &engine.PlanLoRA{R: a.R, Targets: a.Targets, Trained: true}
	case o.Policy.LoRAR > 0:
		m.LoRA = &engine.PlanLoRA{R: o.Policy.LoRAR, Targets: strings.Split(o.Policy.LoRATargets, ","), Trained: true}
	default:
		m.Full = true
	}
	return m, nil
}

// rolling is a model's place in the engine of a training run.
func rolling(o *rl.Config, cfg *model.Config, kv kernels.DType) *engine.PlanEngine {
	r := &o.Rollout
	return &engine.PlanEngine{ModelOptions: engine.ModelOptions{KVType: kv, KVBytes: o.KVBytes(cfg, kv), MaxContext: min(r.MaxContext, cfg.MaxPos),
		MaxSequences: max(1, min(r.Concurrency, r.BatchSize*r.N))}}
}

// pass is the largest micro-batch: sequences are not known before they are read, so that a page for every 128 ids is not full.
func (pl planner) pass(o *rl.Config, cfg *model.Config, kv kernels.DType) *engine.PlanPass {
	t := o.Optim.MicroBatchTokens
	if pl.verb == "train" {
		t = max(t, min(o.Rollout.MaxContext, cfg.MaxPos))
	}
	return &engine.PlanPass{Tokens: t, Sequences: max(1, t/128), KVType: kv, Recompute: o.Optim.Recompute}
}

// readShape reads a model's sizes; an adapter's are its base's.
func readShape(name string) (*model.Config, string, error) {
	dir, err := track.ModelDir(name)
	if err != nil {
		return nil, "", err
	}
	if a, ok := isAdapter(dir); ok {
		dir = a.Base()
	}
	cfg, err := model.ReadConfig(dir)
	return cfg, dir, err
}

// saving is a flag that takes less memory, the mildest first.
type saving struct {
	flag  string
	apply func(o *rl.Config)
}

func (pl planner) savings() []saving {
	tokens := func(n int) saving {
		return saving{fmt.Sprintf("--micro-batch-tokens %d", n), func(o *rl.Config) { o.Optim.MicroBatchTokens = min(o.Optim.MicroBatchTokens, n) }}
	}
	context := func(n int) saving {
		return saving{fmt.Sprintf("--max-context %d", n), func(o *rl.Config) { o.Rollout.MaxContext = min(cmp.Or(o.Rollout.MaxContext, n), n) }}
	}
	if pl.verb == "generate" || pl.verb == "serve" {
		return []saving{context(2048), context(512), {"--dtype q8", func(o *rl.Config) { o.Policy.DType = "q8" }}}
	}
	memory := func(s string) saving {
		return saving{"--kv-memory " + s, func(o *rl.Config) {
			n, _ := engine.ParseSize(s)
			if had, _ := engine.ParseSize(o.Rollout.KVMemory); had == 0 || had > n {
				o.Rollout.KVMemory = s
			}
		}}
	}
	list := []saving{tokens(2048), tokens(1024), tokens(512), {"--recompute", func(o *rl.Config) { o.Optim.Recompute = true }},
		{"--kv-dtype bf16", func(o *rl.Config) { o.Policy.KVDType = "bf16" }}}
	if pl.verb == "train" {
		list = append(list, memory("512MiB"), saving{"--concurrency 32", func(o *rl.Config) { o.Rollout.Concurrency = min(o.Rollout.Concurrency, 32) }},
			saving{"--concurrency 8", func(o *rl.Config) { o.Rollout.Concurrency = min(o.Rollout.Concurrency, 8) }}, context(2048), context(1024),
			saving{"--kl-coef 0", func(o *rl.Config) { o.Algo.KLCoef, o.Policy.RefModel = 0, "" }})
	}
	return append(list, saving{"--dtype bf16", func(o *rl.Config) { o.Policy.DType = "bf16" }},
		saving{"--lora-r 16", func(o *rl.Config) {
			if o.Policy.Adapter == "" && o.Policy.LoRAR == 0 {
				o.Policy.LoRAR = 16
			}
		}})
}

// advise lists what makes o fit: single flags, and if none does, the mildest together. Empty: nothing does.
func (pl planner) advise(o rl.Config, limit int64) (out []string) {
	fits := func(o rl.Config) bool {
		mem, err := pl.memory(o)
		return err == nil && mem.Total <= limit
	}
	all := pl.savings()
	seen := map[string]bool{} // one value of a flag is enough
	for _, s := range all {
		c := o
		if s.apply(&c); fits(c) && !seen[flagOf(s)] {
			seen[flagOf(s)] = true
			out = append(out, s.flag)
		}
	}
	if len(out) > 0 {
		return out
	}
	var used []saving
	c := o
	for _, s := range all {
		before, _ := pl.memory(c)
		s.apply(&c)
		if after, err := pl.memory(c); err != nil || after.Total >= before.Total {
			continue
		}
		if n := len(used); n > 0 && flagOf(used[n-1]) == flagOf(s) {
			used = used[:n-1]
		}
		if used = append(used, s); fits(c) {
			return []string{flagsOf(leastOf(used, o, fits))}
		}
	}
	return nil
}

// leastOf drops what is not needed, the harshest last.
func leastOf(used []saving, o rl.Config, fits func(rl.Config) bool) []saving {
	for i := 0; i < len(used); {
		c := o
		for j, s := range used {
			if j != i {
				s.apply(&c)
			}
		}
		if fits(c) {
			used = append(used[:i:i], used[i+1:]...)
		} else {
			i++
		}
	}
	return used
}

func flagOf(s saving) string { return strings.Fields(s.flag)[0] }

func flagsOf(list []saving) string {
	var out []string
	for _, s := range list {
		out = append(out, s.flag)
	}
	return strings.Join(out, " ")
}

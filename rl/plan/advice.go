package plan

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/rl/config"
)

// saving is a flag that takes less memory, the mildest first.
type saving struct {
	flag  string
	apply func(o *config.Config)
}

func (pl Planner) savings(c *config.Config) []saving {
	tokens := func(n int) saving {
		return saving{fmt.Sprintf("--micro-batch-tokens %d", n),
			func(o *config.Config) { o.Optim.MicroBatchTokens = min(o.Optim.MicroBatchTokens, n) }}
	}
	context := func(n int) saving {
		return saving{fmt.Sprintf("--max-context %d", n), func(o *config.Config) {
			o.Rollout.MaxContext = min(cmp.Or(o.Rollout.MaxContext, n), n)
		}}
	}
	if pl.Verb == "generate" || pl.Verb == "serve" {
		return []saving{context(2048), context(512), {"--dtype q8", func(o *config.Config) { toQ8(&o.Policy.DType) }}}
	}
	memory := func(s string) saving {
		return saving{"--kv-memory " + s, func(o *config.Config) {
			n, _ := engine.ParseSize(s)
			if had, _ := engine.ParseSize(o.Rollout.KVMemory); had == 0 || had > n {
				o.Rollout.KVMemory = s
			}
		}}
	}
	list := []saving{tokens(2048), tokens(1024), tokens(512),
		{"--recompute", func(o *config.Config) { o.Optim.Recompute = true }},
		{"--kv-dtype bf16", func(o *config.Config) { o.Policy.KVDType = "bf16" }}}
	if pl.Verb == "train" {
		list = append(list, memory("512MiB"), saving{"--concurrency 32",
			func(o *config.Config) { o.Rollout.Concurrency = min(o.Rollout.Concurrency, 32) }},
			saving{"--concurrency 8", func(o *config.Config) { o.Rollout.Concurrency = min(o.Rollout.Concurrency, 8) }},
			context(2048), context(1024))
		if c.Search.Simulates() {
			list = append(list, saving{"--sim-dtype q8", func(o *config.Config) { toQ8(&o.Search.SimDType) }})
		}
		list = append(list, saving{"--ref-dtype q8", func(o *config.Config) { toQ8(&o.Policy.RefDType) }},
			saving{"--kl-coef 0", func(o *config.Config) {
				o.Algo.KLCoef, o.Policy.RefModel, o.Policy.Reference = 0, "",
					""
			}})
		if c.Algo.UsesCritic() {
			list = append(list, saving{"--critic-train head",
				func(o *config.Config) { o.Critic.Train = config.CriticHead }})
		}
	}
	lora := func(o *config.Config) bool { return o.Policy.Adapter != "" || o.Policy.LoRAR > 0 }
	return append(list, saving{"--dtype bf16", func(o *config.Config) {
		if o.Policy.DType != "q8" && o.Policy.DType != "q4" {
			o.Policy.DType = "bf16"
		}
	}}, saving{"--lora-r 16", func(o *config.Config) {
		if !lora(o) {
			o.Policy.LoRAR = 16
		}
	}}, saving{"--dtype q8", func(o *config.Config) {
		if lora(o) { // only a base that stays as it is
			toQ8(&o.Policy.DType)
		}
	}})
}

// advise lists what makes o fit: single flags, and if none does, the mildest together. Empty: nothing does.
//
// now is what o takes. A saving that o does not go together with has no plan and is no advice.
func (pl Planner) advise(o config.Config, now engine.Memory, limit int64) (out []string) {
	fits := func(o config.Config) bool {
		mem, err := pl.Memory(o)
		return err == nil && pl.fits(mem, limit) == nil
	}
	all := pl.savings(&o)
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
		less := c
		s.apply(&less)
		after, err := pl.Memory(less)
		if err != nil || after.Total >= now.Total {
			continue
		}
		c, now = less, after
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
func leastOf(used []saving, o config.Config, fits func(config.Config) bool) []saving {
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

// toQ8 sets the value of a flag to q8, unless it is q4, which is smaller.
func toQ8(dtype *string) {
	if *dtype != "q4" {
		*dtype = "q8"
	}
}

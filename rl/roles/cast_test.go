package roles

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/rl/config"
)

const shape = `{"model_type": "llama", "vocab_size": 128, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
	"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 128, "rms_norm_eps": 1e-5,
	"rope_theta": 10000, "tie_word_embeddings": true}`

// Who plays which role on which weights, for a run that trains and for one that only runs its policy.
func TestResolve(t *testing.T) {
	dir := t.TempDir()
	folders(t, dir, map[string]string{"base": "one", "other": "two", "a": "over:" + filepath.Join(dir, "base"),
		"b": "over:" + filepath.Join(dir, "base"), "c": "over:" + filepath.Join(dir, "other")})
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"base", "other"} {
		require.NoError(t, os.WriteFile(filepath.Join(at(name), "config.json"), []byte(shape), 0o644))
	}
	start := func(device string, dtype kernels.DType) Weights {
		return Weights{Source: Start, Device: device, DType: dtype}
	}
	base := Weights{Source: OfPolicy, DType: kernels.BF16}
	own := func(role, dir string, dtype kernels.DType) Weights {
		return Weights{Source: Own, Role: role, Dir: at(dir), DType: dtype}
	}
	type want struct {
		reference, critic, simulator Weights
		adapter                      [3]string // folders over them; "new" is one of the policy's shape
	}
	none := Weights{Source: 99}
	for _, c := range []struct {
		name   string
		served bool
		change func(c *config.Config, r *Resolver)
		want
	}{
		{"all weights", false, func(*config.Config, *Resolver) {},
			want{reference: start("", kernels.BF16), critic: none, simulator: start("", kernels.BF16)}},
		{"an adapter that is new", false, func(c *config.Config, _ *Resolver) { c.Policy.LoRAR = 4 },
			want{reference: base, critic: none, simulator: base}},
		{"an adapter that goes on", false, func(c *config.Config, _ *Resolver) { c.Policy.Adapter = at("a") },
			want{base, none, base, [3]string{at("a")}}},
		{"the same, named as the model", false, func(c *config.Config, _ *Resolver) { c.Policy.Model = at("a") },
			want{base, none, base, [3]string{at("a")}}},
		{"its base as the reference", false, func(c *config.Config, _ *Resolver) {
			c.Policy.Adapter, c.Policy.Reference = at("a"), config.RefAdaptersOff
		}, want{reference: base, critic: none, simulator: base}},
		{"an average of all weights", false, func(c *config.Config, _ *Resolver) {
			c.Policy.Reference, c.Search.Mode = "ema:0.9", "none"
		}, want{reference: Weights{Source: Copy, Role: "reference", DType: kernels.BF16}, critic: none,
			simulator: none}},
		{"an average of an adapter", false, func(c *config.Config, _ *Resolver) {
			c.Policy.LoRAR, c.Policy.Reference = 4, "ema:0.9"
		}, want{base, none, base, [3]string{"new"}}},
		{"no KL", false, func(c *config.Config, _ *Resolver) { c.Algo.KLCoef = 0 },
			want{reference: none, critic: none, simulator: start("", kernels.BF16)}},
		{"another model as the reference", false, func(c *config.Config, _ *Resolver) {
			c.Policy.RefModel, c.Policy.RefDType = at("other"), "q8"
		}, want{reference: own("reference", "other", kernels.Q8), critic: none, simulator: start("", kernels.BF16)}},
		{"a simulator over the base", false, func(c *config.Config, _ *Resolver) {
			c.Policy.LoRAR, c.Search.SimulationLLM = 4, at("b")
		}, want{base, none, base, [3]string{2: at("b")}}},
		{"a simulator over a base that is trained", false, func(c *config.Config, _ *Resolver) {
			c.Search.SimulationLLM = at("b")
		}, want{reference: start("", kernels.BF16), critic: none, simulator: own("simulator", "b", kernels.BF16)}},
		{"a simulator over another base", false, func(c *config.Config, _ *Resolver) {
			c.Policy.LoRAR, c.Search.SimulationLLM = 4, at("c")
		}, want{reference: base, critic: none, simulator: own("simulator", "c", kernels.BF16)}},
		{"a simulator of fewer bits", false, func(c *config.Config, _ *Resolver) {
			c.Policy.LoRAR, c.Search.SimDType = 4, "q8"
		}, want{reference: base, critic: none, simulator: start("", kernels.Q8)}},
		{"a simulator on another device", false, func(c *config.Config, r *Resolver) {
			c.Policy.LoRAR, c.Search.SimulationLLM, r.SimDevice = 4, at("b"), "cuda:1"
		}, want{base, none, start("cuda:1", kernels.BF16), [3]string{2: at("b")}}},
		{"PPO", false, func(c *config.Config, _ *Resolver) { c.Algo.Algo = "ppo" },
			want{start("", kernels.BF16), Weights{Source: Copy, Role: "critic", DType: kernels.BF16},
				start("", kernels.BF16),
				[3]string{}}},
		{"a critic's head alone", false, func(c *config.Config, _ *Resolver) {
			c.Algo.Algo, c.Critic.Train = "ppo", "head"
		}, want{start("", kernels.BF16), start("", kernels.BF16), start("", kernels.BF16), [3]string{}}},
		{"a critic's adapter", false, func(c *config.Config, _ *Resolver) { c.Algo.Algo, c.Policy.LoRAR = "ppo", 4 },
			want{base, base, base, [3]string{1: "new"}}},
		{"a policy that is only run", true, func(c *config.Config, _ *Resolver) { c.Algo.Algo = "ppo" },
			want{reference: none, critic: none, simulator: base}},
		{"with a simulator over it", true, func(c *config.Config, _ *Resolver) { c.Search.SimulationLLM = at("b") },
			want{none, none, base, [3]string{2: at("b")}}},
		{"with one of fewer bits, from the folder", true, func(c *config.Config,
			_ *Resolver) {
			c.Search.SimDType = "q8"
		},
			want{reference: none, critic: none, simulator: own("simulator", "base", kernels.Q8)}},
	} {
		o := config.Defaults()
		o.Policy.Model = at("base")
		r := Resolver{Trains: !c.served, Device: "cuda:0", SimDevice: "cuda:0"}
		c.change(&o, &r)
		cast, err := r.Resolve(&o)
		require.NoError(t, err, c.name)
		for i, role := range []*Role{cast.Reference, cast.Critic, cast.Simulator} {
			want := []Weights{c.reference, c.critic, c.simulator}[i]
			if want == none {
				require.Nil(t, role, c.name)
				continue
			}
			require.NotNil(t, role, c.name)
			require.Equal(t, want, role.Weights, "%s: %s", c.name, role.Name)
			adapter := ""
			if a := role.Adapter; a != nil {
				if adapter = a.Dir; adapter == "" {
					adapter = "new"
				}
			}
			require.Equal(t, c.adapter[i], adapter, "%s: %s", c.name, role.Name)
		}
	}
}

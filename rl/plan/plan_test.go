package plan

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/internal/e2e"
)

// Every role counts, and who shares weights counts once.
func TestPlanOfRoles(t *testing.T) {
	g := e2e.Read(t)
	base := g.Settings(t)
	base.Policy.RefModel, base.Search.Mode = "", "none"
	memory := func(change func(c *config.Config)) engine.Memory {
		c := base
		change(&c)
		require.NoError(t, c.Check())
		m, err := Planner{Verb: "train", Threads: 1}.Memory(c)
		require.NoError(t, err)
		return m
	}
	ppo := func(c *config.Config) { c.Algo.Algo, c.Algo.KLIn = "ppo", "" }
	lora := func(c *config.Config) { c.Policy.LoRAR, c.Policy.LoRATargets = 4, "all-linear" }
	whole := memory(ppo)
	weights := whole.Of("policy", "weights")
	require.Equal(t, weights, whole.Of("reference", "weights"))
	require.Equal(t, weights, whole.Of("critic", "weights"))
	require.Equal(t, whole.Of("policy", "moments"), whole.Of("critic", "moments"))

	head := memory(func(c *config.Config) { ppo(c); c.Critic.Train = "head" })
	require.Equal(t, 2*weights, head.Of("", "weights"), "policy, and what reference and critic share")
	require.Zero(t, head.Of("critic", "moments"))
	require.NotZero(t, head.Of("critic", "scoring"))

	alone := memory(func(c *config.Config) { ppo(c); lora(c) })
	require.Equal(t, weights, alone.Of("", "weights"), "one base for all")
	require.Equal(t, alone.Of("policy", "moments"), alone.Of("critic", "moments"))

	average := memory(func(c *config.Config) { c.Policy.Reference = "ema:0.9" })
	require.NotZero(t, average.Of("reference", "average"))
	require.Equal(t, 2*weights, average.Of("", "weights"))
	small := memory(func(c *config.Config) { lora(c); c.Policy.Reference = "ema:0.9" })
	require.Less(t, small.Of("reference", "average"), average.Of("reference", "average"))
	require.Equal(t, weights, small.Of("", "weights"))

	simulated := func(tokens int) int64 {
		m := memory(func(c *config.Config) {
			c.Search.Mode, c.Search.SimulationLLM, c.Search.SimMaxTokens = "simulate_sft", "same", tokens
			c.Rollout.MaxContext, c.Rollout.Concurrency, c.Rollout.N, c.Rollout.MaxTurns = 1<<20, 64, 64, 1
		})
		return m.Of("simulator", "KV pages") + m.Of("starting weights", "KV pages")
	}
	require.NotZero(t, simulated(1))
	require.Equal(t, simulated(600), simulated(0), "the default")

	elsewhere := Planner{Verb: "train", Threads: 1, SimElsewhere: true}
	c := base
	c.Search.Mode, c.Search.SimulationLLM, c.Algo.KLCoef = "simulate_sft", c.Policy.Model, 0
	trains, err := elsewhere.Memory(c)
	require.NoError(t, err)
	require.Equal(t, weights, trains.Of("", "weights"), "the simulator is in other ranks")

	none := memory(func(c *config.Config) { c.Algo.KLCoef, c.Policy.Reference = 0, "none" })
	require.Equal(t, weights, none.Of("", "weights"))
}

// A simulator on another device has weights, keys and values of its own there, whatever it could share on the policy's.
func TestPlanOfDevices(t *testing.T) {
	g := e2e.Read(t)
	base := g.Settings(t)
	base.Policy.RefModel, base.Search.Mode, base.Search.SimulationLLM = "", "simulate_sft", "same"
	memory := func(pl Planner, lora int, kl float64) engine.Memory {
		c := base
		c.Policy.LoRAR, c.Policy.LoRATargets, c.Algo.KLCoef = lora, "all-linear", kl
		pl.Verb, pl.Threads = "train", 1
		m, err := pl.Memory(c)
		require.NoError(t, err)
		return m
	}
	gpu := Planner{Device: "cuda:0", SimDevice: "cuda:1"}
	weights := memory(Planner{}, 4, 0).Of("policy", "weights")
	for _, lora := range []int{0, 4} {
		one := memory(Planner{}, lora, 0.1)
		require.Equal(t, one, memory(Planner{Device: "cpu", SimDevice: "cpu"}, lora, 0.1))
		require.Equal(t, map[int]int64{0: 2 * weights, 4: weights}[lora], one.Of("", "weights"),
			"reference and simulator are one copy")
		two := memory(Planner{Device: "cpu", SimDevice: "ref"}, lora, 0.1)
		simulator := two.Of("simulator", "weights") // in the layout of another device
		require.NotZero(t, simulator)
		require.Equal(t, one.Of("", "weights")+simulator, two.Of("", "weights"))
		require.NotZero(t, two.Of("simulator", "KV pages"))
		require.Equal(t, two.Total, two.On(""))
		apart := memory(gpu, lora, 0.1)
		require.Equal(t, apart.Of("program", "")+apart.Of("", "saving"), apart.On(""),
			"the rest is on the GPUs, until it is saved")
		require.Equal(t, apart.Of("simulator", "")+apart.Of("device cuda:1", ""), apart.On("cuda:1"))
	}
	gpu.Verb, gpu.Threads, gpu.Limits = "train", 1, map[string]int64{"cuda:0": 1 << 40, "cuda:1": 1 << 40}
	_, err := gpu.Refuse(base, 1<<40)
	require.NoError(t, err)
	gpu.Limits["cuda:1"] = 1 << 10
	_, err = gpu.Refuse(base, 1<<40)
	require.ErrorContains(t, err, "of cuda:1's memory and there are")
}

// What is advised does fit, alone or as the flags that are named together; below what anything takes nothing is
// advised.
func TestAdviceFits(t *testing.T) {
	g := e2e.Read(t)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"model_type": "llama", "vocab_size": 128256, "hidden_size": 3072,
		"intermediate_size": 8192, "num_hidden_layers": 28, "num_attention_heads": 24, "num_key_value_heads": 8, "head_dim": 128,
		"max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 500000, "tie_word_embeddings": true}`), 0o666))
	for _, lora := range []int{0, 8} {
		c := g.Settings(t)
		c.Policy.Model, c.Policy.RefModel = dir, ""
		c.Policy.LoRAR, c.Policy.LoRATargets, c.Rollout.Concurrency, c.Rollout.N, c.Optim.MicroBatchTokens = lora,
			"all-linear", 512, 64, 4096
		pl := Planner{Verb: "train", Threads: 1}
		named := map[string]bool{}
		apply := func(flags string) int64 {
			o := c
			for _, s := range pl.savings(&c) {
				if strings.Contains(" "+flags+" ", " "+s.flag+" ") {
					s.apply(&o)
					named[s.flag] = true
				}
			}
			m, err := pl.Memory(o)
			require.NoError(t, err, flags)
			return m.Total
		}
		whole := apply("")
		for limit := whole - 1; limit > whole/100; limit -= limit / 8 {
			advice, err := pl.Refuse(c, limit)
			require.Error(t, err)
			for _, flags := range advice {
				require.LessOrEqual(t, apply(flags), limit, "%s", flags)
			}
		}
		require.True(t, named["--micro-batch-tokens 1024"], "%v", named)
		require.True(t, named["--dtype q8"], "%v", named)
		require.Equal(t, lora == 0, named["--lora-r 16"], "%v", named)
		advice, err := pl.Refuse(c, 1)
		require.Empty(t, advice)
		require.ErrorContains(t, err, "no flag makes it fit")
	}
}

// A run that cannot be planned does not begin: what planning says is said.
func TestPlanningErrorsAreSaid(t *testing.T) {
	machine := func() *engine.Machine { return &engine.Machine{Total: 1 << 40, Available: 1 << 40} }
	g := e2e.Read(t)
	write := func(c *config.Config, name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(c.Policy.Model, name), []byte(text), 0o644))
	}
	for want, spoil := range map[string]func(c *config.Config){
		"hidden_size is missing": func(c *config.Config) { // no model of ours
			write(c, "config.json", `{"model_type":"llama","vocab_size":0}`)
		},
		"adapter_config.json": func(c *config.Config) { // beside the weights, and damaged
			write(c, "adapter_config.json", `{"r":`)
		},
		"lora targets nothing match none": func(c *config.Config) {
			c.Policy.LoRAR, c.Policy.LoRATargets = 4,
				"nothing"
		},
		"Rollout.KVMemory": func(c *config.Config) { c.Rollout.KVMemory = "much" },
		"no/such/critic": func(c *config.Config) {
			c.Algo.Algo, c.Algo.KLCoef, c.Policy.RefModel, c.Critic.Model = "ppo", 0, "", "no/such/critic"
		},
	} {
		c := g.Settings(t)
		c.Search.Mode = "none"
		spoil(&c)
		err := Check(t.Context(), &c, ref.New(), 1, machine)
		require.ErrorContains(t, err, want)
	}
	c := g.Settings(t)
	c.Search.Mode = "none"
	require.NoError(t, Check(t.Context(), &c, ref.New(), 1, machine))
}

// A summary says what the model is and what it takes; one that does not fit is printed all the same.
func TestSummary(t *testing.T) {
	g := e2e.Read(t)
	c := g.Settings(t)
	c.Search.Mode = "none"
	pl := Planner{Verb: "train", Threads: 1}
	pl.Place("cpu", "")
	require.Empty(t, pl.Limits, "the host's memory")
	s, err := pl.Summarize(c, 1<<40)
	require.NoError(t, err)
	require.True(t, s.Fits)
	require.Equal(t, s.Parameters, s.Trained, "all weights")
	c.Rollout.BatchSize, c.Rollout.N, c.Rollout.MaxTurns, c.Rollout.MaxResponse = 4, 5, 2, 10
	c.Algo.MiniBatch, c.Schedule.TotalSteps = 8, 7
	s.Run = Count(&c, 3)
	require.Equal(t, &Work{3, 7, 140, 600, 21}, s.Run, "20 episodes a step: 3 mini-batches, 3 turns of 10 tokens")
	var text strings.Builder
	require.NoError(t, s.Print(&text))
	require.Contains(t, text.String(), "3 questions; 7 steps, 140 episodes")
	require.Regexp(t, `(?m)^  together +\d+\.\d MiB`, text.String())

	s, err = pl.Summarize(c, 1)
	require.ErrorContains(t, err, "no flag makes it fit")
	require.False(t, s.Fits)
	c.Policy.DType = "f8"
	require.EqualError(t, CheckTypes(&c), `Policy.DType must be f32, bf16, q8 or q4, not "f8"`)
	c.Policy.Model = "no/such"
	s, err = pl.Summarize(c, 1)
	require.ErrorContains(t, err, "no/such")
	require.Nil(t, s)
}

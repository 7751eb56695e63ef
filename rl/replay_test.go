package rl

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/internal/e2e"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/rl/update"
)

func TestReplayReproducesTheGolden(t *testing.T) {
	g := e2e.Read(t)
	v := g.Variants["grpo"]
	fast, err := cpu.New(cpu.Options{})
	require.NoError(t, err)
	defer fast.Close()
	for _, dev := range []kernels.Device{ref.New(), fast} {
		t.Run(dev.Name(), func(t *testing.T) {
			r, err := NewReplay(t.Context(), dev, g.Settings(t), g.Episodes(t),
				ReplayPlan{MiniBatches: g.Minis, LR: v.Settings.LR})
			require.NoError(t, err)
			defer r.Close()
			r.Out, err = rundir.Create(t.TempDir(), 0, false)
			require.NoError(t, err)
			defer r.Out.Close()
			last, err := r.Run(t.Context())
			require.NoError(t, err)
			require.Equal(t, 3, last)
			text, err := os.ReadFile(filepath.Join(r.Out.Dir, "metrics.jsonl"))
			require.NoError(t, err)
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")
			require.Len(t, lines, 3)
			for k, line := range lines {
				var m map[string]float64
				require.NoError(t, json.Unmarshal([]byte(line), &m))
				want := v.Steps[k]
				require.InDelta(t, want.PGLoss, m["actor/pg_loss"], 2e-5)
				require.InDelta(t, want.KLLoss, m["actor/kl_loss"], 2e-5)
				require.InDelta(t, want.Entropy, m["actor/entropy"], 2e-5)
				require.InEpsilon(t, want.GradNorm, m["actor/grad_norm"], 2e-5)
				require.Equal(t, v.Settings.LR[k], m["actor/lr"])
				requireDescribed(t, g, k, m)
			}
			e2e.RequireAfter3(t, dev, r.Policy.Model)
		})
	}
}

// requireDescribed compares what the trajectories of a mini-batch bring with the formulas: GRPO's advantage is (r -
// mean)/(std + 1e-6) over the group, std with n-1 (arXiv 2402.03300), the same for every trained id of a trajectory.
func requireDescribed(t *testing.T, g e2e.Golden, miniBatch int, m map[string]float64) {
	t.Helper()
	reward := func(i int) (sum float64) {
		for _, r := range g.Rewards[i] {
			sum += r
		}
		return sum
	}
	advantage := func(i int) float64 {
		var of []float64
		for k := range g.Prompts {
			if g.Index[k] == g.Index[i] {
				of = append(of, reward(k))
			}
		}
		mean, squares := 0.0, 0.0
		for _, r := range of {
			mean += r / float64(len(of))
		}
		for _, r := range of {
			squares += (r - mean) * (r - mean)
		}
		return (reward(i) - mean) / (math.Sqrt(squares/float64(len(of)-1)) + 1e-6)
	}
	var rewards, abs, sum, ids float64
	n := float64(len(g.Minis[miniBatch]))
	for _, i := range g.Minis[miniBatch] {
		rewards, abs = rewards+reward(i)/n, abs+math.Abs(advantage(i))/n
		for _, on := range g.Mask[i][:len(g.Completions[i])] {
			sum, ids = sum+advantage(i)*float64(on), ids+float64(on)
		}
	}
	require.Equal(t, g.Variants["grpo"].Settings.KLCoef, m["actor/kl_coef"])
	require.InDelta(t, rewards, m["critic/rewards/mean"], 1e-12)
	require.InDelta(t, abs, m["actor/mean_abs_advantage"], 1e-9)
	require.InDelta(t, sum/ids, m["critic/advantages/mean"], 1e-9)
}

// A plan cannot follow a reference or a KL weight that moves.
func TestPlanRefusesWhatMoves(t *testing.T) {
	g := e2e.Read(t)
	for _, change := range []func(*config.Config){
		func(c *config.Config) { c.Policy.RefModel, c.Policy.Reference = "", "ema:0.9" },
		func(c *config.Config) { c.Algo.KLTarget, c.Algo.KLHorizon = 0.1, 100 },
	} {
		c := g.Settings(t)
		change(&c)
		_, err := NewReplay(t.Context(), ref.New(), c, g.Episodes(t), ReplayPlan{MiniBatches: g.Minis})
		require.ErrorContains(t, err, "a plan of mini-batches measures the KL once")
	}
}

// The mean |advantage| is that of all trained ids, not of the first: with a critic, or a KL in the rewards, they
// differ.
func TestMeanAdvantage(t *testing.T) {
	for _, c := range []struct {
		adv  [][]float64
		want float64
	}{
		{[][]float64{{0, -6, 0}, {1, -3}, nil, {0.1, 0.1, 0.1}}, ((0+6+0)/3.0 + (1+3)/2.0 + 0 + 0.1) / 4},
		{[][]float64{{0, 0, 6}, {0}}, 1},
		{[][]float64{{0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1}}, 0.1},
	} {
		var st update.Stats
		var rows []update.Row
		for _, a := range c.adv {
			rows = append(rows, update.Row{Advantage: a})
		}
		(&update.Updater{}).Describe(&st, rows)
		require.Equal(t, c.want, st.MeanAdvantage)
	}
}

func TestReplayRefuses(t *testing.T) {
	g := e2e.Read(t)
	good := g.Episodes(t)
	write := func(change func(string) string) string {
		text, err := os.ReadFile(good)
		require.NoError(t, err)
		file := filepath.Join(t.TempDir(), "e.jsonl")
		require.NoError(t, os.WriteFile(file, []byte(change(string(text))), 0o644))
		return file
	}
	for _, c := range []struct {
		file string
		plan ReplayPlan
		want string
	}{
		{good, ReplayPlan{MiniBatches: [][]int{{0}, {}}}, "mini-batch 1 of the plan is empty"},
		{good, ReplayPlan{MiniBatches: [][]int{{8}}}, "names trajectory 8: the file has 0 to 7"},
		{good, ReplayPlan{MiniBatches: [][]int{{0}}, LR: []float64{1, 2}}, "2 learning rates for 1 mini-batches"},
		{good, ReplayPlan{MiniBatches: [][]int{{0}}, LR: []float64{math.Inf(1)}},
			"a learning rate of the plan is +Inf"},
		{good, ReplayPlan{MiniBatches: [][]int{{0}}, LR: []float64{math.NaN()}}, "a learning rate of the plan is NaN"},
		{good, ReplayPlan{MiniBatches: [][]int{{0}}, LR: []float64{-1}}, "a learning rate of the plan is -1"},
		{write(func(string) string { return "\n" }), ReplayPlan{}, "no episodes"},
		{write(func(s string) string { return s + "{" }), ReplayPlan{}, "line 9"},
		{write(func(s string) string { return strings.Replace(s, `"temperature":1`, `"temperature":0.5`, 1) }),
			ReplayPlan{}, "temperatures 0.5 and 1"},
		{write(func(s string) string { return strings.Replace(s, `"mask":[1,`, `"mask":[`, 1) }), ReplayPlan{},
			"the numbers must be equal"},
		{"absent.jsonl", ReplayPlan{}, "no such file"},
	} {
		_, err := NewReplay(t.Context(), ref.New(), g.Settings(t), c.file, c.plan)
		require.ErrorContains(t, err, c.want)
	}
	// Faults that show when the work begins.
	for _, c := range []struct {
		file, want string
	}{
		{write(func(s string) string { return strings.Replace(s, `"logprobs"`, `"unrecorded"`, 1) }),
			"trajectory 0 carries no logprobs"},
		{write(func(s string) string { return strings.Replace(s, `"prompt_ids":[4,`, `"prompt_ids":[64,`, 1) }),
			"outside the vocabulary"},
	} {
		r, err := NewReplay(t.Context(), ref.New(), g.Settings(t), c.file, ReplayPlan{})
		require.NoError(t, err)
		_, err = r.Run(t.Context())
		r.Close()
		require.ErrorContains(t, err, c.want)
	}
}

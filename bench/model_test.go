package bench

import (
	"context"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/bench/ops"
	"github.com/zerosearch-go/zerosearch/kernels"
)

func tinyOptions() Options {
	return Options{Shape: "tiny", Threads: []int{1}, Reps: 2, DType: kernels.BF16, Seed: 1}
}

func TestModelSmoke(t *testing.T) {
	rep, err := Model(context.Background(), tinyOptions(), ModelTests{Prompt: []int{40}, Gen: []int{3},
		Batch: []int{1, 4}, Depth: 20, Requests: 9})
	require.NoError(t, err)
	var names []string
	for _, r := range rep.Rows {
		names = append(names, r.Op)
		require.Equal(t, "t/s", r.Unit)
		require.Positive(t, r.Mean)
		require.Equal(t, 2, r.Reps)
		require.Equal(t, "tiny", r.Of)
	}
	require.Equal(t, []string{"pp40", "tg3@d32", "tg3@b4@d32", "mixed3@b4"}, names,
		"a depth is whole pages, many requests run in the largest batch")
	require.Equal(t, ops.Shape{"prompt": 0, "gen": 3, "batch": 4, "depth": 32}, rep.Rows[2].Shape)
}

func TestTrainSmoke(t *testing.T) {
	for _, rank := range []int{0, 4} {
		rep, err := Train(context.Background(), tinyOptions(), TrainTests{Shapes: []TrainShape{{2, 32}}, LoRAR: rank})
		require.NoError(t, err)
		r := rep.Rows[0]
		require.Equal(t, map[int]string{0: "train2x32", 4: "train2x32@r4"}[rank], r.Op)
		require.Positive(t, r.Mean)
		require.InDelta(t, r.Seconds, r.Split["forward+backward"]+r.Split["optimizer"], 0.2*r.Seconds+1e-3,
			"the parts make up the step")
	}
}

// Several ranks do the work of one, with the same log-probs, and are compared with it.
func TestGRPORanks(t *testing.T) {
	o := tinyOptions()
	o.Threads = []int{1}
	for _, lora := range []int{0, 2} {
		rep, err := GRPO(t.Context(), o, GRPOTest{Questions: 3, N: 2, Response: 5, Turns: 2, Prompt: 20, Observation: 6,
			LoRAR: lora, Ranks: 2})
		require.NoError(t, err)
		require.Len(t, rep.Rows, 2)
		one, two := rep.Rows[0], rep.Rows[1]
		require.Zero(t, one.Ranks)
		require.Equal(t, "grpo3x2@2ranks", two.Op)
		require.Zero(t, *two.LogprobDiff)
		require.InEpsilon(t, one.Seconds/two.Seconds/2, two.Efficiency, 1e-9)
	}
	_, err := GRPO(t.Context(), o, GRPOTest{Questions: 1, N: 2, Response: 5, Turns: 1, Prompt: 20, Observation: 6,
		Ranks: 2})
	require.ErrorContains(t, err, "2 ranks have no work with 1 questions")
}

func TestGRPOSmoke(t *testing.T) {
	for _, test := range []GRPOTest{
		{Questions: 2, N: 2, Response: 5, Turns: 2, Prompt: 20, Observation: 6},
		{Questions: 2, N: 3, Response: 5, Turns: 2, Prompt: 20, Observation: 6, LoRAR: 2},
		{Questions: 1, N: 2, Response: 5, Turns: 1, Prompt: 20, Observation: 6, NoReference: true},
		{Questions: 1, N: 2, Response: 5, Turns: 2, Prompt: 20, Observation: 6, LoRAR: 2, SimDType: kernels.Q8,
			NoWarmup: true},
		{Questions: 1, N: 2, Response: 5, Turns: 3, Prompt: 20, Observation: 40, Given: true},
	} {
		rep, err := GRPO(context.Background(), tinyOptions(), test)
		require.NoError(t, err)
		r := rep.Rows[0]
		require.Equal(t, "s", r.Unit)
		sum := 0.0
		for _, part := range []string{"rollouts", "search", "reward", "reference", "update"} {
			require.Contains(t, r.Split, part)
			sum += r.Split[part]
		}
		require.InDelta(t, r.Seconds, sum, 0.3*r.Seconds+1e-3, "the parts make up the step")
		require.NotNil(t, r.LogprobDiff)
		require.Zero(t, *r.LogprobDiff, "what was recorded while sampling is what training computes")
		require.Equal(t, test.Turns > 1, r.Split["search"] > 0)
		require.Positive(t, r.Split["update"], "something was learned")
		if runtime.GOOS == "linux" {
			require.Positive(t, r.PeakAnonymous)
		}
	}
}

func TestModelRefusals(t *testing.T) {
	ctx := context.Background()
	for want, f := range map[string]func() error{
		"choose one": func() error {
			o := tinyOptions()
			o.Model = "x"
			_, err := Model(ctx, o, ModelTests{Prompt: []int{1}})
			return err
		},
		"--shape NAME": func() error {
			o := tinyOptions()
			o.Shape = ""
			_, err := Model(ctx, o, ModelTests{Prompt: []int{1}})
			return err
		},
		"use one of tiny": func() error {
			o := tinyOptions()
			o.Shape = "big"
			_, err := Model(ctx, o, ModelTests{Prompt: []int{1}})
			return err
		},
		"give -p or -n": func() error { _, err := Model(ctx, tinyOptions(), ModelTests{}); return err },
		"the model at most": func() error {
			_, err := Model(ctx, tinyOptions(),
				ModelTests{Prompt: []int{9999}})
			return err
		},
		"not a number of": func() error {
			_, err := Model(ctx, tinyOptions(),
				ModelTests{Gen: []int{0, -1}})
			return err
		},
		"give --shapes": func() error { _, err := Train(ctx, tinyOptions(), TrainTests{}); return err },
		"longer than": func() error {
			_, err := Train(ctx, tinyOptions(), TrainTests{Shapes: []TrainShape{{1, 4000}}})
			return err
		},
		"--n 2 or more": func() error {
			_, err := GRPO(ctx, tinyOptions(), GRPOTest{Questions: 1, N: 1, Response: 1, Turns: 1, Prompt: 1,
				Observation: 1})
			return err
		},
		"an episode has": func() error {
			_, err := GRPO(ctx, tinyOptions(), GRPOTest{Questions: 1, N: 2, Response: 900, Turns: 1, Prompt: 1,
				Observation: 1})
			return err
		},
		`"tpu" is not a device`: func() error {
			o := tinyOptions()
			o.Device = "tpu"
			_, err := Model(ctx, o, ModelTests{Prompt: []int{1}})
			return err
		},
		"no operation":        func() error { _, err := Kernels(ctx, Options{Op: "nothing"}); return err },
		"reading --op":        func() error { _, err := Kernels(ctx, Options{Op: "("}); return err },
		"reading --shape: no": func() error { _, err := Kernels(ctx, Options{Shapes: []string{"1x2"}}); return err },
	} {
		require.ErrorContains(t, f(), want)
	}
}

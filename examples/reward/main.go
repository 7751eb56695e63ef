// Command reward trains a policy with a reward that is a function of this program: an answer is worth its F1, and a
// search costs a twentieth.
//
//	go run ./examples/reward --model DIR --data questions.jsonl --steps 20
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/rl"
	"github.com/zerosearch-go/zerosearch/rl/reward"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

func main() {
	c := rl.Defaults()
	flag.StringVar(&c.Policy.Model, "model", "", "model folder")
	flag.StringVar(&c.Data.Data, "data", "", "questions")
	flag.StringVar(&c.Schedule.Out, "out", "", "run directory; none: nothing is kept")
	flag.IntVar(&c.Schedule.TotalSteps, "steps", 20, "updates")
	flag.Parse()
	dev, err := cpu.New(cpu.Options{})
	if err == nil {
		err = train(context.Background(), dev, c, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// thrifty is F1 less a twentieth for every search.
func thrifty(a reward.Attempt) float64 {
	r := 0.0
	if a.Answer != nil {
		r = reward.F1(*a.Answer, a.GoldenAnswers)
	}
	for _, t := range a.Turns {
		if t.Action == "search" {
			r -= 0.05
		}
	}
	return r
}

// printer is a tracker.
type printer struct{ out io.Writer }

// Track prints a line a step.
func (p printer) Track(step int, m rundir.Metrics) error {
	_, err := fmt.Fprintf(p.out, "step %d: reward %.3f, searches %.2f\n", step, m["critic/score/mean"],
		m["search/per_question"])
	return err
}

func train(ctx context.Context, dev kernels.Device, c rl.Config, out io.Writer) error {
	t, err := rl.New(ctx, dev, c, rl.WithReward(reward.Func(thrifty)), rl.WithTracker(printer{out}))
	if err != nil {
		return err
	}
	defer t.Close()
	_, err = t.Run(ctx)
	return err
}

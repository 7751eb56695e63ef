package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/rl"
)

func main() {
	c := rl.Defaults()
	flag.StringVar(&c.Policy.Model, "model", "", "model folder")
	flag.StringVar(&c.Data.Data, "data", "", "questions with whole numbers as answers")
	flag.StringVar(&c.Schedule.Out, "out", "", "run directory; none: nothing is kept")
	flag.IntVar(&c.Schedule.TotalSteps, "steps", 20, "updates")
	flag.Parse()
	dev, err := cpu.New(cpu.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	ctx := context.Background()
	t, err := rl.New(ctx, dev, c, rl.WithEnvironment(calculator{}))
	if err == nil {
		defer t.Close()
		_, err = t.Run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

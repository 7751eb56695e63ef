package rl_test

import (
	"context"
	"fmt"

	"github.com/zerosearch-go/zerosearch/kernels/ref"
	"github.com/zerosearch-go/zerosearch/rl"
)

// What a program forgot to set is refused by the name of the field.
func ExampleNew() {
	c := rl.Defaults()
	c.Policy.Model, c.Optim.LR = "models/base", 0
	_, err := rl.New(context.Background(), ref.New(), c)
	fmt.Println(err)
	// Output:
	// Optim.LR must be above 0: with 0 nothing is learned
}

// The values of a run in which nothing was chosen, those of the command line.
func ExampleDefaults() {
	c := rl.Defaults()
	fmt.Println(c.Algo.Algo, c.Rollout.BatchSize, c.Rollout.N, c.Optim.LR, c.Search.Mode)
	// Output:
	// grpo 64 5 1e-06 simulate_prompt
}

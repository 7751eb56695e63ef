package main

import (
	"context"
	"os"

	"github.com/zerosearch-go/zerosearch/kernels/ref"
)

// The demo's policy answers at once with some name, by the likeliest tokens: it was made to be weak.
func Example() {
	if err := generate(context.Background(), ref.New(), "../../demo/models/policy", "Question: who made the bell?\n",
		os.Stdout); err != nil {
		os.Stdout.WriteString(err.Error())
	}
	// Output:
	// Question: who made the bell?
	// <think> I know. </think>
	// <answer> Selgosh </answer> </answer></answer></answer></search> found found found found found. </think>
}

package main

import (
	"context"
	"os"

	"github.com/zerosearch-go/zerosearch/kernels/ref"
)

// The demo's policy begins to look its question up, by the likeliest tokens; it was made to be weak.
func Example() {
	if err := generate(context.Background(), ref.New(), "../../demo/models/policy", "Question: who made the bell?\n",
		os.Stdout); err != nil {
		os.Stdout.WriteString(err.Error())
	}
	// Output:
	// Question: who made the bell?
	// <think> I need the owner of the bell the bell the bell the bell the bell the bell the bell the bell the bell
}

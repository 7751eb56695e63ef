package engine_test

import (
	"context"
	"fmt"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
	"github.com/zerosearch-go/zerosearch/model"
)

// Requests that are generated together give what each of them gives alone. The model has random weights.
func ExampleEngine_Generate() {
	dev := ref.New()
	m, err := model.NewRandom(dev, &model.Config{Arch: "llama", Vocab: 50, Hidden: 16, Inter: 24, Layers: 2, Heads: 2,
		KVHeads: 1,
		HeadDim: 8, Eps: 1e-5, RopeTheta: 10000, Tied: true, MaxPos: 128}, model.Options{DType: kernels.F32}, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	e := engine.New(dev, engine.Options{})
	defer e.Close()
	if err := e.AddModel("m", m, engine.ModelOptions{}); err != nil {
		fmt.Println(err)
		return
	}
	request := func(first int32) engine.Request {
		return engine.Request{Model: "m", Prompt: []int32{first, 2, 3}, MaxTokens: 5, EOS: []int32{}, Temperature: 1,
			Stream: engine.Stream(1, uint64(first))}
	}
	ctx := context.Background()
	alone, err := e.Generate(ctx, request(1))
	if err != nil {
		fmt.Println(err)
		return
	}
	together := make(chan engine.Result)
	for first := range int32(3) {
		go func() {
			r, _ := e.Generate(ctx, request(first))
			if first == 1 {
				together <- r
			}
		}()
	}
	r := <-together
	fmt.Println(len(r.IDs), "tokens,", r.Finish, "- the same:",
		fmt.Sprint(alone.IDs, alone.Logprobs) == fmt.Sprint(r.IDs, r.Logprobs))
	// Output:
	// 5 tokens, length - the same: true
}

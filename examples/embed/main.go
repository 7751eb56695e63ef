// Command embed loads a model and lets it continue a text: the smallest program around the engine.
//
//	go run ./examples/embed DIR "The capital of France is"
package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: embed DIR TEXT")
		os.Exit(2)
	}
	dev, err := cpu.New(cpu.Options{})
	if err == nil {
		err = generate(context.Background(), dev, os.Args[1], os.Args[2], os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func generate(ctx context.Context, dev kernels.Device, dir, text string, out io.Writer) error {
	m, err := roles.Open(ctx, dev, roles.OpenOptions{Model: dir})
	if err != nil {
		return err
	}
	defer m.Close()
	e := engine.New(dev, engine.Options{})
	defer e.Close()
	if err := e.AddModel("model", m.Model, engine.ModelOptions{}); err != nil {
		return err
	}
	ids := m.Tokenizer.Encode(text, tokenizer.EncodeOptions{AddSpecial: true})
	r, err := e.Generate(ctx, engine.Request{Model: "model", Adapter: m.Adapter, Prompt: ids, MaxTokens: 24,
		EOS: m.EOS()})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, text+m.Tokenizer.Decode(r.IDs, true))
	return err
}

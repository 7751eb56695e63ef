package main

import (
	"fmt"

	"github.com/zerosearch-go/zerosearch/bench"
)

type benchPeersCmd struct {
	benchFlags
	benchModel
	Python  string   `name:"python" help:"Interpreter with torch (and transformers, for training)." placeholder:"FILE"`
	Llama   string   `name:"llama" help:"Folder of a llama.cpp build that has bin/llama-bench and model-bf16.gguf, model-q8_0.gguf." placeholder:"DIR"`
	IKLlama string   `name:"ik-llama" help:"The same for ik_llama.cpp, run with -rtr 1 -fa 1; model files that it lacks are those of --llama." placeholder:"DIR"`
	Only    string   `name:"only" help:"Regular expression for the tests to run." placeholder:"REGEXP"`
	Pairs   int      `name:"pairs" help:"Alternating pairs of each test." default:"11"`
	Shapes  []string `name:"shapes" help:"Batches of training." default:"4x512,8x256"`
}

func (c *benchPeersCmd) Run(w *world) error {
	o, err := c.into(c.options(w))
	if err != nil {
		return err
	}
	p := bench.PeerOptions{Options: o, Python: c.Python, Llama: c.Llama, IKLlama: c.IKLlama,
		Only: c.Only, Pairs: c.Pairs}
	if p.Shapes, err = bench.ParseTrainShapes(c.Shapes); err != nil {
		return usagef("--shapes: %w", err)
	}
	rows, err := bench.Peers(w.ctx, p)
	w.log.done()
	if len(rows) > 0 || err == nil {
		format := c.Output
		if c.JSON {
			format = "json"
		}
		if werr := bench.WritePeers(w.out, format, rows); err == nil {
			err = werr
		}
	}
	if err != nil {
		return fmt.Errorf("comparing with peers: %w", err)
	}
	return nil
}

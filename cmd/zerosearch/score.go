package main

import (
	"context"
	"fmt"

	"github.com/zerosearch-go/zerosearch/engine"
)

type scoreCmd struct {
	common
	modelFlags
	Data string `name:"data" help:"Requests, a JSON object a line; - is stdin." default:"-" placeholder:"FILE"`
	Top  int    `name:"top" help:"Number of most likely tokens to list after the last one." default:"5"`
}

type scoreRequest struct {
	IDs  []int32 `json:"ids"`
	Text *string `json:"text"`
}

type scoreAnswer struct {
	IDs      []int32   `json:"ids"`
	Logprobs []float32 `json:"logprobs"`
	Entropy  []float32 `json:"entropy"`
	Top      [][2]any  `json:"top"`
}

func (c *scoreCmd) Run(w *world) error {
	if c.Top < 0 {
		return usagef("--top must not be negative")
	}
	s, err := c.serve(w, c.common)
	if err != nil {
		return err
	}
	defer s.Close()
	in, err := w.input(c.Data)
	if err != nil {
		return err
	}
	defer in.Close()
	return eachLine(w, in, func(_ int, r scoreRequest) func(context.Context) (scoreAnswer, error) {
		return func(ctx context.Context) (scoreAnswer, error) { return c.answer(ctx, s, r) }
	})
}

func (c *scoreCmd) answer(ctx context.Context, s *served, r scoreRequest) (scoreAnswer, error) {
	ids, err := s.encode(r.IDs, r.Text, &chat{})
	if err == nil && len(ids) == 0 {
		err = fmt.Errorf("the request has no ids: there must be one at least")
	}
	if err != nil {
		return scoreAnswer{}, err
	}
	sc, err := s.eng.Score(ctx, served0, s.model.Adapter, ids, engine.ScoreOptions{TopK: c.Top})
	if err != nil {
		return scoreAnswer{}, err
	}
	a := scoreAnswer{IDs: ids, Logprobs: orEmpty(sc.Logprobs), Entropy: orEmpty(sc.Entropy), Top: [][2]any{}}
	for _, t := range sc.Top {
		a.Top = append(a.Top, [2]any{t.ID, t.Logprob})
	}
	return a, nil
}

func orEmpty[E any](x []E) []E {
	if x == nil {
		return []E{}
	}
	return x
}

package engine

import (
	"context"
	"fmt"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// Hidden gives the hidden state of the last of ids after the final norm, [C], in one pass with whatever else is
// pending. Keys and values of a prefix come from the cache, as for Generate. Embedding models make their vector of it.
func (e *Engine) Hidden(ctx context.Context, model string, a *model.Adapter, ids []int32) ([]float32, error) {
	j, err := e.newJob(model, a, ids)
	if err == nil {
		j.from, j.invTemp, j.embeds, j.q.scores = len(ids), 1, true, true
		err = e.await(ctx, j)
	}
	if err != nil {
		return nil, fmt.Errorf("embedding with %s: %w", model, err)
	}
	for _, x := range j.hidden {
		if x-x != 0 { // NaN or infinite
			return nil, fmt.Errorf("embedding with %s: the model gave no number: its weights are damaged", model)
		}
	}
	return j.hidden, nil
}

// embed gives the jobs of b the hidden states that they want.
func (s *sampler) embed(b *batch) error {
	at := len(b.Rows) - len(b.embeds)
	for i, e := range b.embeds {
		e.job.hidden = make([]float32, s.hidden.Cols)
		if err := kernels.Download(s.dev, e.job.hidden, s.hidden.RowRange(at+i, 1)); err != nil {
			return err
		}
	}
	return nil
}

package plan

import (
	"fmt"
	"io"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/rl/config"
)

// Ranks is what several ranks send each other.
type Ranks struct {
	Size   int              `json:"size"`
	Models []engine.Traffic `json:"traffic"`
	// Optimizer is how many optimizer steps a training step has. Sent is what a rank sends to the others in a training
	// step, in bytes; it receives as many.
	Optimizer int   `json:"optimizer_steps_per_step"`
	Sent      int64 `json:"bytes_sent_per_step"`
}

// ranks is nil for one process.
func (pl Planner) ranks(o *config.Config, p engine.Plan) (*Ranks, error) {
	if pl.Ranks < 2 {
		return nil, nil
	}
	models, err := p.Traffic()
	if err != nil {
		return nil, err
	}
	r := &Ranks{Size: pl.Ranks, Models: models, Optimizer: optimizerSteps(o)}
	for _, m := range models {
		r.Sent += int64(r.Optimizer)*(m.Gradients+m.Weights) + m.Average
	}
	return r, nil
}

// optimizerSteps is how many optimizer steps a training step has, at most.
func optimizerSteps(o *config.Config) int {
	perStep, minis := o.Rollout.BatchSize*o.Rollout.N, 1
	if m := o.Algo.MiniBatch; m > 0 {
		minis = (perStep + m - 1) / m
	}
	return minis * max(1, o.Algo.Epochs)
}

func (r *Ranks) print(w io.Writer) {
	if r == nil {
		return
	}
	mib := func(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
	fmt.Fprintf(w, "this is one of %d ranks; a step sends %s from each to the others, and as many to each:\n", r.Size,
		mib(r.Sent))
	for _, m := range r.Models {
		if m.Gradients > 0 {
			fmt.Fprintf(w, "  %s, %.1f M trained parameters: %s of gradients and %s of weights, times %d for the "+
				"optimizer steps; a checkpoint: %s to rank 0\n", m.Model, float64(m.Parameters)/1e6, mib(m.Gradients), mib(m.Weights),
				r.Optimizer, mib(m.Saved))
		} else {
			fmt.Fprintf(w, "  %s, an average: %s once a step; a checkpoint: %s to rank 0\n", m.Model, mib(m.Average),
				mib(m.Saved))
		}
	}
}

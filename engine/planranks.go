package engine

import (
	"fmt"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// Traffic is what a model that several ranks train brings to the network: the bytes that one rank sends to the others,
// on average, and as many that it receives. Of R ranks each gets its part of all gradients, in F32, and sends the
// others its part of the new weights, in the type in which they are computed with:
//
//	Gradients = 4 (R-1)/R bytes a parameter
//	Weights   = 2 (R-1)/R in bf16, 4 (R-1)/R in other types, and for norms and biases
//
// Episodes and statistics are not in it.
type Traffic struct {
	Model      string `json:"model"`
	Parameters int64  `json:"trained_parameters"`
	Gradients  int64  `json:"gradient_bytes"`          // an optimizer step
	Weights    int64  `json:"weight_bytes"`            // an optimizer step
	Average    int64  `json:"average_bytes,omitempty"` // of an averaged reference, a training step
	// Saved is what a checkpoint sends, by one of the ranks to the first: masters and moments.
	Saved int64 `json:"checkpoint_bytes"`

	vectors int64 // of the parameters: norms and biases
}

// Traffic lists the models that are trained, or follow one that is; none without other ranks.
func (p Plan) Traffic() ([]Traffic, error) {
	var out []Traffic
	for i := range p.Models {
		t, err := p.Models[i].trained(p.ranks())
		if err != nil {
			return nil, fmt.Errorf("planning the traffic of %s: %w", p.Models[i].Name, err)
		}
		if p.ranks() > 1 && t.Parameters > 0 {
			out = append(out, t)
		}
	}
	return out, nil
}

func (p Plan) ranks() int64 { return int64(max(1, p.Ranks)) }

// trained is what the ranks send of the model; its Parameters are 0 if it does not change.
func (x *PlanModel) trained(ranks int64) (t Traffic, err error) {
	t.Model = x.Name
	dtype, learns := x.DType, x.Full
	switch a := x.LoRA; {
	case a != nil && (a.Trained || x.Averaged):
		learns, dtype = a.Trained, loraType(x.DType)
		t.Parameters, _, err = a.sizes(kernels.SizesOf("ref", 1), x.Config, x.DType)
	case x.Full || x.Averaged:
		t.Parameters = x.Config.Parameters()
		t.vectors = x.Config.Vectors()
	}
	others := func(bytes int64) int64 { return bytes * (ranks - 1) / ranks }
	size := int64(4)
	if dtype == kernels.BF16 {
		size = 2
	}
	weights := others(size*(t.Parameters-t.vectors) + 4*t.vectors)
	if learns {
		t.Gradients, t.Weights, t.Saved = others(4*t.Parameters), weights, others(12*t.Parameters)/max(1, ranks-1)
	} else {
		t.Average, t.Saved = weights, others(4*t.Parameters)/max(1, ranks-1)
	}
	return t, err
}

package kerneltest

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"math"
	"testing"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// adamw holds runs of torch's AdamW with clip_grad_norm_ in float64: a line a run, five steps of two parameters each.
//
//go:embed testdata/adamw.jsonl
var adamw []byte

// adamwRun is a line of adamw. A parameter is a matrix or a vector.
type adamwRun struct {
	Hyper struct {
		LR          float64    `json:"lr"`
		Betas       [2]float64 `json:"betas"`
		Eps         float64    `json:"eps"`
		WeightDecay float64    `json:"weight_decay"`
	} `json:"hyper"`
	Initial [2]json.RawMessage `json:"initial"`
	Steps   []struct {
		Grads    [2]json.RawMessage `json:"grads"`
		GradNorm float64            `json:"grad_norm"`
		ClipCoef float64            `json:"clip_coef"`
		Params   [2]json.RawMessage `json:"params"`
	} `json:"steps"`
}

// testAdamWGolden follows each run, including the norm that the gradients are clipped by.
func testAdamWGolden(t *testing.T, e *env) {
	lines := bufio.NewScanner(bytes.NewReader(adamw))
	lines.Buffer(nil, 1<<20)
	for i := 0; lines.Scan(); i++ {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			var run adamwRun
			if err := json.Unmarshal(lines.Bytes(), &run); err != nil {
				t.Fatal(err)
			}
			run.follow(t, e)
		})
	}
}

func (run adamwRun) follow(t *testing.T, e *env) {
	var p, m, v [2][]float32
	for i := range p {
		p[i] = flat(t, run.Initial[i])
		m[i], v[i] = make([]float32, len(p[i])), make([]float32, len(p[i]))
	}
	for n, step := range run.Steps {
		squares := []float64{0}
		for i := range p {
			g, size := flat(t, step.Grads[i]), len(p[i])
			outs := execute(t, e.d, layouts[1], func(s *side) {
				tp, tm, tv := s.vecOut("p", 1, size, p[i], bound{}), s.vecOut("m", 1, size, m[i], bound{}), s.vecOut("v", 1, size, v[i], bound{})
				sum, tg := s.put("sum", kernels.F64, 1, 1, s.packed(), raw(squares), true, bound{}), s.vec("g", 1, size, g)
				s.d.SumSquares(sum, tg, i > 0)
				s.d.AdamW(tp, tg, tm, tv, kernels.AdamWStep{LR: run.Hyper.LR, Beta1: run.Hyper.Betas[0], Beta2: run.Hyper.Betas[1], Eps: run.Hyper.Eps,
					WeightDecay: run.Hyper.WeightDecay, GradScale: float32(step.ClipCoef), Step: n + 1})
			})
			p[i], m[i], v[i], squares[0] = outs[0].f32(), outs[1].f32(), outs[2].f32(), outs[3].value(0)
			nearValues(t, "AdamW is torch's", fmt.Sprintf("parameter %d after step %d", i, n+1), 1, rel(2e-6), wide(flat(t, step.Params[i])), wide(p[i]))
		}
		if norm := math.Sqrt(squares[0]); math.Abs(norm-step.GradNorm) > 1e-6*(norm+1e-30) {
			t.Fatalf("gradient norm of step %d is %v, want %v\nrule: SumSquares adds the squares of all tensors in float64", n+1, norm, step.GradNorm)
		}
	}
}

// flat is the numbers of a matrix or a vector, in row-major order.
func flat(t *testing.T, text json.RawMessage) (x []float32) {
	t.Helper()
	var matrix [][]float64
	if json.Unmarshal(text, &matrix) != nil {
		matrix = make([][]float64, 1)
		if err := json.Unmarshal(text, &matrix[0]); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range matrix {
		for _, v := range row {
			x = append(x, float32(v))
		}
	}
	return x
}

package kerneltest

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"math"
	"slices"
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

// logprobs holds log-probs and entropies in float64, and the gradients of weighted sums of both: a line a batch of
// rows.
//
//go:embed testdata/logprob_entropy.jsonl
var logprobs []byte

// logprobRun is a line of logprobs. Logits are divided by Temperature; gradients are of the undivided ones.
type logprobRun struct {
	Temperature     float64
	Logits          [][]float64
	IDs             []int32
	Logp, Entropy   []float64
	WeightLogp      []float64   `json:"weight_logp"`
	WeightEntropy   []float64   `json:"weight_entropy"`
	GradientLogp    [][]float64 `json:"grad_logits_of_weighted_logp"`
	GradientEntropy [][]float64 `json:"grad_logits_of_weighted_entropy"`
}

// eachLine calls test with the decoded lines of a golden file.
func eachLine[R any](t *testing.T, text []byte, test func(t *testing.T, run R)) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for i := 0; lines.Scan(); i++ {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			var run R
			if err := json.Unmarshal(lines.Bytes(), &run); err != nil {
				t.Fatal(err)
			}
			test(t, run)
		})
	}
}

// testLogProbGolden makes the identity the output matrix: hidden states are logits then, and dh is their gradient.
func testLogProbGolden(t *testing.T, e *env) {
	eachLine(t, logprobs, func(t *testing.T, run logprobRun) {
		n, v := len(run.Logits), len(run.Logits[0])
		eye := make([]float32, v*v)
		for i := range v {
			eye[i*v+i] = 1
		}
		outs := execute(t, e.d, layouts[1], func(s *caseRun) {
			h, w, ids := s.in("h", n, v, narrow(run.Logits...)), s.weight(v, v, kernels.F32, eye),
				s.ints("ids", run.IDs)
			out := func(name string) kernels.Tensor { return s.vecOut(name, n, 1, nil, bound{}) }
			lp, invTemp := kernels.LogProbs{Logp: out("logp"), Entropy: out("entropy"), LSE: out("lse")},
				float32(1/run.Temperature)
			s.d.LogProb(lp, h, w, ids, invTemp)
			zero := s.vec("zero", n, 1, make([]float32, n))
			s.d.LogProbBackward(s.out("dlogp", n, v, bound{}), kernels.Tensor{}, h, w, ids, lp,
				s.vec("weight", n, 1, narrow(run.WeightLogp)), kernels.Tensor{}, invTemp)
			s.d.LogProbBackward(s.out("dentropy", n, v, bound{}), kernels.Tensor{}, h, w, ids, lp, zero,
				s.vec("weight", n, 1, narrow(run.WeightEntropy)), invTemp)
		})
		for i, want := range [][]float64{run.Logp, run.Entropy, nil, slices.Concat(run.GradientLogp...),
			slices.Concat(run.GradientEntropy...)} {
			if want != nil {
				nearValues(t, "log-probs, entropies and their gradients are torch's", outs[i].name, outs[i].cols,
					bound{abs: 2e-6, rel: 3e-6}, want, wide(outs[i].f32()))
			}
		}
	})
}

// narrow is rows of float64 in F32.
func narrow(rows ...[]float64) (x []float32) {
	for _, v := range slices.Concat(rows...) {
		x = append(x, float32(v))
	}
	return x
}

// testAdamWGolden follows each run, including the norm that the gradients are clipped by.
func testAdamWGolden(t *testing.T, e *env) {
	eachLine(t, adamw, func(t *testing.T, run adamwRun) { run.follow(t, e) })
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
			outs := execute(t, e.d, layouts[1], func(s *caseRun) {
				tp, tm, tv := s.vecOut("p", 1, size, p[i], bound{}), s.vecOut("m", 1, size, m[i], bound{}),
					s.vecOut("v", 1, size, v[i], bound{})
				sum, tg := s.put("sum", kernels.F64, 1, 1, s.packed(), raw(squares), true, bound{}),
					s.vec("g", 1, size, g)
				s.d.SumSquares(sum, tg, nil, i > 0)
				s.d.AdamW(tp, tg, tm, tv, kernels.AdamWStep{LR: run.Hyper.LR, Beta1: run.Hyper.Betas[0],
					Beta2: run.Hyper.Betas[1], Eps: run.Hyper.Eps,
					WeightDecay: run.Hyper.WeightDecay, GradScale: float32(step.ClipCoef), Step: n + 1})
			})
			p[i], m[i], v[i], squares[0] = outs[0].f32(), outs[1].f32(), outs[2].f32(), outs[3].value(0)
			nearValues(t, "AdamW is torch's", fmt.Sprintf("parameter %d after step %d", i, n+1), 1, rel(2e-6),
				wide(flat(t, step.Params[i])), wide(p[i]))
		}
		if norm := math.Sqrt(squares[0]); math.Abs(norm-step.GradNorm) > 1e-6*(norm+1e-30) {
			t.Fatalf(
				"gradient norm of step %d is %v, want %v\nrule: SumSquares adds the squares of all tensors in float64",
				n+1, norm, step.GradNorm)
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

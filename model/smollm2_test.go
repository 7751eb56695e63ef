package model

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/internal/goldens"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
)

// The real SmolLM2-135M-Instruct, whose folder $ZEROSEARCH_SMOLLM2 names, in float32 arithmetic on its bf16 weights:
// log-probs, residual norms, the last logits, greedy text. In bf16 arithmetic greedy text agrees up to where the margin
// is small.
func TestSmolLM2(t *testing.T) {
	dir := os.Getenv("ZEROSEARCH_SMOLLM2")
	if dir == "" {
		t.Skip("set ZEROSEARCH_SMOLLM2 to the folder of SmolLM2-135M-Instruct to compare with it")
	}
	text, err := os.ReadFile(filepath.Join(goldens.Path(t, "smollm2"), "golden.json"))
	require.NoError(t, err)
	var g smolGolden
	require.NoError(t, json.Unmarshal(text, &g))
	dev, err := cpu.New(cpu.Options{})
	require.NoError(t, err)
	defer dev.Close()
	for _, dtype := range []kernels.DType{kernels.F32, kernels.BF16} {
		t.Run(dtype.String(), func(t *testing.T) {
			m := load(t, dev, dir, Options{DType: dtype})
			r := newRig(t, m, 512, WorkspaceOptions{Keep: true})
			for _, c := range g.Chats {
				r.checkChat(c)
			}
			for _, p := range g.Passages {
				nll := 0.0
				lp := r.score(r.forward([][]int32{p.IDs}, nil), [][]int32{p.IDs}, 1).logp
				for _, x := range lp {
					nll -= float64(x) / float64(len(lp))
				}
				if dtype == kernels.F32 {
					near(t, "logp of a passage", lp, p.Logp, 3e-4)
					require.InDelta(t, p.MeanNLL, nll, 1e-4)
				}
				require.InDelta(t, p.MeanNLL, nll, 2e-2)
			}
		})
	}
}

type smolGolden struct {
	Chats    []smolChat
	Passages []struct {
		IDs     []int32
		Logp    []float32
		MeanNLL float64 `json:"mean_nll"`
	}
}

type smolChat struct {
	IDs       []int32
	Logp      []float32
	TopIDs    []int32   `json:"top5_ids"`
	TopLogits []float32 `json:"top5_logits"`
	Norms     []float64 `json:"residual_norms_last"`
	Greedy    []int32   `json:"greedy_ids"`
	Margins   []float64
}

func (r *rig) checkChat(c smolChat) {
	h := r.forward([][]int32{c.IDs}, nil)
	if r.m.DType != kernels.F32 {
		sure := slices.IndexFunc(append(c.Margins, 0), func(m float64) bool { return m < 0.2 })
		require.Equal(r.t, c.Greedy[:sure], r.greedy(c.IDs, len(c.Greedy))[:sure])
		return
	}
	near(r.t, "logp of a chat", r.score(h, [][]int32{c.IDs}, 1).logp, c.Logp, 3e-4)
	last := h.Rows - 1
	z := r.logits(h.RowRange(last, 1))
	for i, id := range c.TopIDs {
		require.InDelta(r.t, c.TopLogits[i], z[id], 3e-4)
	}
	norm := func(x kernels.Tensor) float64 {
		s := 0.0
		for _, v := range r.host(x.RowRange(last, 1)) {
			s += float64(v) * float64(v)
		}
		return math.Sqrt(s)
	}
	for l := range r.m.layers {
		require.InEpsilon(r.t, c.Norms[l], norm(r.ws.cut.acts[l].x), 1e-4, "residual stream entering layer %d", l)
	}
	require.InEpsilon(r.t, c.Norms[len(c.Norms)-1], norm(h), 1e-4)
	require.Equal(r.t, c.Greedy, r.greedy(c.IDs, len(c.Greedy)))
}

package cpu

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
	"pgregory.net/rapid"
)

// TestNth against sorting.
func TestNth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 60).Draw(t, "n")
		c := make([]candidate, n)
		for i := range c {
			c[i] = candidate{float32(rapid.IntRange(0, 9).Draw(t, "z")), float32(rapid.IntRange(1, 5).Draw(t, "e")),
				int32(i)}
		}
		total := mass(c)
		need := rapid.Float64Range(0, total+3).Draw(t, "need")
		sorted := slices.Clone(c)
		slices.SortFunc(sorted,
			func(a, b candidate) int { return cmp.Or(cmp.Compare(b.z, a.z), cmp.Compare(a.id, b.id)) })
		want, sum := n-1, 0.0
		for i, x := range sorted {
			if sum += float64(x.e); sum >= need {
				want = i
				break
			}
		}
		got := nth(c, need, func(x candidate) float64 { return float64(x.e) })
		require.Equal(t, want, got)
		require.Equal(t, sorted[want], c[got])
		require.ElementsMatch(t, sorted[:want], c[:got], "those before it lie before it")
	})
}

// keptOf is the truncated distribution by sorting, in float64.
func keptOf(logits []float32, s kernels.Sampling) []float64 {
	type word struct {
		id int
		p  float64
	}
	words := make([]word, len(logits))
	for v, z := range logits {
		words[v] = word{v, math.Exp(float64(z * s.InvTemp))}
	}
	slices.SortStableFunc(words, func(a, b word) int { return cmp.Compare(b.p, a.p) })
	sum := func() (m float64) {
		for _, w := range words {
			m += w.p
		}
		return m
	}
	if s.TopK > 0 {
		words = words[:min(s.TopK, len(words))]
	}
	if s.TopP > 0 && s.TopP < 1 {
		total, below, n := sum(), 0.0, 0
		for below < float64(s.TopP)*total && n < len(words) {
			below += words[n].p
			n++
		}
		words = words[:n]
	}
	if s.MinP > 0 {
		most := words[0].p
		words = slices.DeleteFunc(words, func(w word) bool { return w.p < float64(s.MinP)*most })
	}
	p, total := make([]float64, len(logits)), sum()
	for _, w := range words {
		p[w.id] = w.p / total
	}
	return p
}

// TestSampleChunks: truncated draws over vocabularies of several chunks, peaked and flat, against sorting.
func TestSampleChunks(t *testing.T) {
	d, err := New(Options{Threads: 2})
	require.NoError(t, err)
	defer func() { require.NoError(t, d.Close()) }()
	const v, draws = 5000, 40
	r := rand.New(rand.NewPCG(11, 12))
	logits, err := kernels.NewTensor(d, kernels.F32, draws, v)
	require.NoError(t, err)
	defer logits.Buf.Free()
	ids, err := kernels.NewTensor(d, kernels.I32, draws, 1)
	require.NoError(t, err)
	defer ids.Buf.Free()
	for _, spread := range []float64{0.05, 2, 12} {
		row := f32(logits)[:v]
		for i := range row {
			row[i] = float32(math.Round(r.NormFloat64()*spread*16) / 16) // ties
		}
		for i := 1; i < draws; i++ {
			copy(f32(logits)[i*v:], row)
		}
		for _, s := range []kernels.Sampling{
			{InvTemp: 1}, {InvTemp: 1, TopK: 1}, {InvTemp: 1, TopK: 3}, {InvTemp: 1, TopK: 50},
			{InvTemp: 0.7, TopK: 4999}, {InvTemp: 1, TopK: 9999}, {InvTemp: 1, TopP: 0.2},
			{InvTemp: 1, TopP: 0.95}, {InvTemp: 1, MinP: 0.05}, {InvTemp: 1, MinP: 1e-9},
			{InvTemp: 1.3, TopK: 700, TopP: 0.9}, {InvTemp: 1, TopK: 5, TopP: 0.9, MinP: 0.1},
		} {
			t.Run(fmt.Sprintf("%v/%+v", spread, s), func(t *testing.T) {
				p := keptOf(row, s)
				rows := make([]kernels.Sampling, draws)
				for i := range rows {
					rows[i] = s
					rows[i].Stream, rows[i].Pos = uint64(i), 7
				}
				b, err := kernels.BatchOf(d, kernels.Layout{Draws: rows}, nil)
				require.NoError(t, err)
				defer b.Free()
				d.Sample(ids, kernels.LogProbs{}, logits, b, 0)
				for i, id := range i32(ids) {
					before := 0.0
					for _, x := range p[:id] {
						before += x
					}
					require.NotZero(t, p[id], "id %d was cut off", id)
					u := num.Uniform(rows[i].Stream, 7)
					require.InDelta(t, u, before+p[id]/2, p[id]/2+1e-5, "id %d at u = %v", id, u)
				}
			})
		}
	}
}

// TestScanMerges: the sums of chunks, merged, are those of the whole in float64, with infinities among the logits.
func TestScanMerges(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	for _, n := range []int{1, 1023, 1024, 1025, 7000} {
		x := numbers(r, n, false)
		x[r.IntN(n)] += 40
		for i := range n / 3 {
			x[i] = negInf
		}
		x[n-1] = 300
		var s scan
		for lo := 0; lo < n; lo += lossChunk {
			s.merge(rowsPlain.scanChunk(x[lo:min(lo+lossChunk, n)], 0.5))
		}
		sum, dot := 0.0, 0.0
		for _, z := range x {
			if e := math.Exp(float64(z)*0.5 - 150); e > 0 {
				sum, dot = sum+e, dot+e*float64(z)*0.5
			}
		}
		require.InDelta(t, 150+math.Log(sum), float64(s.lse()), 1e-4)
		require.InDelta(t, 150+math.Log(sum)-dot/sum, float64(s.entropy()), 1e-4)
		require.InDelta(t, float64(x[n-1])*0.5-150-math.Log(sum), float64(s.logp(x[n-1]*0.5)), 1e-4)
	}
	all := scan{}
	all.merge(rowsPlain.scanChunk([]float32{negInf, negInf}, 1))
	all.end()
	require.True(t, math.IsNaN(float64(all.lse())), "nothing has weight")
}

// TestKeptLogits: logits that LogProb keeps change no bit of LogProbBackward, whether all of them fit or only some; and
// none are taken that are out of date.
func TestKeptLogits(t *testing.T) {
	const rows, v, k = 1030, 2100, 12 // 2 x 3 blocks
	r := rand.New(rand.NewPCG(15, 16))
	d, err := New(Options{Threads: 2})
	require.NoError(t, err)
	defer d.Close()
	w, err := d.NewWeight(v, k, kernels.BF16)
	require.NoError(t, err)
	defer w.Free()
	d.Pack(w, 0, tensor(t, d, v, k, fill(r, make([]float32, v*k))).Tensor)
	targets, err := kernels.NewTensor(d, kernels.I32, rows, 1)
	require.NoError(t, err)
	defer targets.Buf.Free()
	for i := range i32(targets) {
		i32(targets)[i] = int32(r.IntN(v))
	}
	vec := func() kernels.Tensor {
		y, err := kernels.NewTensor(d, kernels.F32, rows, 1)
		require.NoError(t, err)
		t.Cleanup(y.Buf.Free)
		return y
	}
	x, dl := fill(r, make([]float32, rows*k)), vec()
	fill(r, f32(dl))
	lp := kernels.LogProbs{Logp: vec(), Entropy: vec(), LSE: vec()}
	run := func(h kernels.Tensor, keep bool) (dh, dw []float32) {
		lp.Keep = keep
		a, b := tensor(t, d, rows, k, nil), tensor(t, d, v, k, nil)
		d.LogProb(lp, h, w, targets, 0.7)
		d.LogProbBackward(a.Tensor, b.Tensor, h, w, targets, lp, dl, dl, 0.7)
		return a.values(), b.values()
	}
	h := tensor(t, d, rows, k, x)
	wantDH, wantDW := run(h.Tensor, false)
	for _, words := range []int{0, 1 << 20, 4 << 20, 1 << 30} {
		d.gemm.bounds.logits = words
		lp.Keep = true
		clear(f32(h.RowRange(0, 1)))
		d.LogProb(lp, h.Tensor, w, targets, 0.7) // nobody asks for these logits
		copy(f32(h.RowRange(0, 1)), x)
		dh, dw := run(h.Tensor, true)
		same(t, wantDH, dh, "dh, %d words", words)
		same(t, wantDW, dw, "dw, %d words", words)
		require.Zero(t, d.kept.blocks)
	}
	d.gemm.bounds.logits = 4 << 20
	dh := tensor(t, d, rows, k, nil)
	d.LogProb(lp, h.Tensor, w, targets, 0.7)
	require.NotZero(t, d.kept.blocks)
	f32(h.RowRange(0, 1))[0]++ // against the rule: that this shows proves that the kept logits are used
	d.LogProbBackward(dh.Tensor, kernels.Tensor{}, h.Tensor, w, targets, lp, dl, dl, 0.7)
	same(t, wantDH, dh.values(), "dh of the kept logits")
}

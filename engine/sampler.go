package engine

import (
	"fmt"
	"math"
	"slices"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// InvTemp is 1/temperature as every part of the program rounds it, so that a trainer scores with what was sampled
// with. Temperature 0, greedy, is scored at temperature 1.
func InvTemp(temperature float64) float32 {
	if temperature == 0 {
		return 1
	}
	return float32(1 / temperature)
}

// drawn is a sampled token: its id and its log-probability after temperature, before truncation; and the most likely
// tokens at its position, if the request asks for them.
type drawn struct {
	id   int32
	logp float32
	top  []TokenLogprob
}

// sampler turns hidden states into tokens and scores. The output matrix is applied only to rows that are sampled or
// scored.
type sampler struct {
	dev   kernels.Device
	m     *model.Model
	bufs  []kernels.Buffer
	bytes int64

	hidden  kernels.Tensor // [T, C]: the rows that are sampled or scored
	targets kernels.Tensor // I32 [T, 1]
	logits  kernels.Tensor // [chunk, V]
	lse     kernels.Tensor // [T, 1]
	results kernels.Tensor // U8 [8*T, 1], what goes to the host: see queuedPass.host
	ids     kernels.Tensor // I32 [T, 1], a part of results: the sampled ids

	rows        kernels.Batch // of the current pass
	hostTargets []int32
	hostLogits  []float32
}

func newSampler(dev kernels.Device, m *model.Model, maxTokens, maxSeq int, logitsBytes int64) (s *sampler, err error) {
	s = &sampler{dev: dev, m: m}
	defer func() {
		if err != nil {
			s.close()
			err = fmt.Errorf("memory to sample from %d rows: %w", maxTokens, err)
		}
	}()
	chunk := int(min(max(logitsBytes/int64(4*m.Config.Vocab), 1), int64(maxSeq)))
	for _, t := range []struct {
		t          *kernels.Tensor
		typ        kernels.DType
		rows, cols int
	}{
		{&s.hidden, kernels.F32, maxTokens, m.Config.Hidden}, {&s.targets, kernels.I32, maxTokens, 1},
		{&s.logits, kernels.F32, chunk, m.Config.Vocab}, {&s.lse, kernels.F32, maxTokens, 1},
		{&s.results, kernels.U8, 8 * maxTokens, 1},
	} {
		if *t.t, err = kernels.NewTensor(dev, t.typ, t.rows, t.cols); err != nil {
			return s, err
		}
		s.bufs = append(s.bufs, t.t.Buf)
		s.bytes += t.t.Buf.Bytes()
	}
	s.ids = s.result(kernels.I32, 0, maxTokens, 0, maxTokens)
	s.hostTargets = make([]int32, maxTokens)
	return s, nil
}

func (s *sampler) close() {
	for _, b := range s.bufs {
		b.Free()
	}
	s.bufs = nil
}

// gather brings the wanted rows of h to hidden.
func (s *sampler) gather(h kernels.Tensor, b kernels.Batch) {
	s.rows = b
	if rows := b.Rows(); rows.Rows > 0 {
		s.dev.Gather(s.hidden.RowRange(0, rows.Rows), h, rows)
	}
}

// result is the first or the second word of rows [at, at+n) of a pass that wants rows of them.
func (s *sampler) result(t kernels.DType, word, rows, at, n int) kernels.Tensor {
	return kernels.Mat(s.results.Buf, t, word*rows+at, n, 1)
}

// draw samples the rows that b draws from, padding included: ids and log-probabilities become results.
func (s *sampler) draw(b *batch, out []drawn) error {
	n := len(b.Draws) - len(b.tops) - b.ranked
	for at := 0; at < n; at += s.logits.Rows {
		k := min(s.logits.Rows, n-at)
		logits := s.logits.RowRange(0, k)
		s.dev.MatMul(logits, s.hidden.RowRange(at, k), s.m.Head(), kernels.Epilogue{})
		ids, logp := s.result(kernels.I32, 0, len(b.Rows), at, k), s.result(kernels.F32, 1, len(b.Rows), at, k)
		s.dev.Sample(ids, kernels.LogProbs{Logp: logp, LSE: s.lse.RowRange(at, k)}, logits, s.rows, at)
		for i := at; i < min(at+k, len(b.draws)); i++ {
			d := b.draws[i]
			if d.top == 0 {
				continue
			}
			var err error
			row, lse := logits.RowRange(i-at, 1), s.lse.RowRange(i, 1)
			if out[d.at].top, err = s.likeliest(nil, row, lse, d.top, b.Draws[i].InvTemp); err != nil {
				return err
			}
		}
	}
	return nil
}

// score gives the jobs of b the most likely tokens that they want, and scores what b wants scored: log-probabilities
// and entropies become results.
func (s *sampler) score(b *batch) error {
	at := len(b.Draws) - len(b.tops) - b.ranked
	for _, t := range b.tops {
		if err := s.top(b, at, t); err != nil {
			return err
		}
		at++
	}
	if len(b.scores) == 0 {
		return nil
	}
	if err := s.alternatives(b, at); err != nil {
		return err
	}
	for i, r := range b.scores {
		s.hostTargets[i] = r.target
	}
	n := len(b.scores)
	kernels.Upload(s.dev, s.targets.RowRange(0, n), s.hostTargets[:n])
	for from := 0; from < n; { // rows of one temperature at a time
		to, invTemp := from+1, b.scores[from].job.invTemp
		for to < n && b.scores[to].job.invTemp == invTemp {
			to++
		}
		k, rows := to-from, len(b.Rows)
		logp, entropy := s.result(kernels.F32, 0, rows, at, k), s.result(kernels.F32, 1, rows, at, k)
		out := kernels.LogProbs{Logp: logp, Entropy: entropy}
		s.dev.LogProb(out, s.hidden.RowRange(at, k), s.m.Head(), s.targets.RowRange(from, k), invTemp)
		at, from = at+k, to
	}
	return nil
}

// top finds the most likely tokens after the wanted row at.
func (s *sampler) top(b *batch, at int, t top) (err error) {
	logits, lse := s.logits.RowRange(0, 1), s.lse.RowRange(0, 1)
	s.dev.MatMul(logits, s.hidden.RowRange(at, 1), s.m.Head(), kernels.Epilogue{})
	ids := s.result(kernels.I32, 0, len(b.Rows), at, 1)
	s.dev.Sample(ids, kernels.LogProbs{LSE: lse}, logits, s.rows, at)
	t.job.scores.Top, err = s.likeliest(t.job.scores.Top[:0], logits, lse, t.job.topK, t.job.invTemp)
	return err
}

// likeliest puts the k most likely tokens of a row into best, the lowest id first where they are equal. Ids without a
// token are none.
func (s *sampler) likeliest(best []TokenLogprob, logits, lse kernels.Tensor, k int, invTemp float32) ([]TokenLogprob,
	error) {
	norm, err := s.download(logits, lse)
	if err != nil {
		return nil, err
	}
	return s.sorted(best, k, invTemp, norm), nil
}

// download brings a row of logits to hostLogits, and returns its log-sum-exp.
func (s *sampler) download(logits, lse kernels.Tensor) (float32, error) {
	if s.hostLogits == nil {
		s.hostLogits = make([]float32, s.logits.Cols)
	}
	if err := kernels.Download(s.dev, s.hostLogits, logits); err != nil {
		return 0, err
	}
	var norm [1]float32
	err := kernels.Download(s.dev, norm[:], lse)
	return norm[0], err
}

// sorted is likeliest for the row in hostLogits, which it changes.
func (s *sampler) sorted(best []TokenLogprob, k int, invTemp, norm float32) []TokenLogprob {
	for _, id := range s.m.NoToken {
		s.hostLogits[id] = float32(math.Inf(-1))
	}
	k = min(k, len(s.hostLogits)-len(s.m.NoToken))
	for id, z := range s.hostLogits {
		if len(best) == k && z <= best[k-1].Logprob {
			continue
		}
		i, _ := slices.BinarySearchFunc(best, z, func(x TokenLogprob, z float32) int {
			if x.Logprob >= z {
				return -1
			}
			return 1
		})
		if best = slices.Insert(best, i, TokenLogprob{int32(id), z}); len(best) > k {
			best = best[:k]
		}
	}
	for i := range best {
		best[i].Logprob = best[i].Logprob*invTemp - norm
	}
	return best
}

package engine

import (
	"fmt"
	"math"
	"slices"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// InvTemp is 1/temperature as every part of the program rounds it, so that a trainer scores with what was sampled with. Temperature
// 0, greedy, is scored at temperature 1.
func InvTemp(temperature float64) float32 {
	if temperature == 0 {
		return 1
	}
	return float32(1 / temperature)
}

// drawn is a sampled token: its id and its log-probability after temperature, before truncation; and the most likely tokens in its
// place, if they are wanted.
type drawn struct {
	id   int32
	logp float32
	top  []TokenLogprob
}

// sampler turns hidden states into tokens and scores. Only rows that are wanted meet the output matrix.
type sampler struct {
	dev   kernels.Device
	m     *model.Model
	bufs  []kernels.Buffer
	bytes int64

	rows, ids      kernels.Tensor // I32 [T, 1]: rows of the pass; tokens
	hidden         kernels.Tensor // [T, C]
	logp, ent, lse kernels.Tensor // [T, 1]
	logits         kernels.Tensor // [chunk, V]

	hostRows, hostIDs []int32
	hostLogp, hostEnt []float32
	hostLogits        []float32
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
		{&s.rows, kernels.I32, maxTokens, 1}, {&s.ids, kernels.I32, maxTokens, 1}, {&s.hidden, kernels.F32, maxTokens, m.Config.Hidden},
		{&s.logp, kernels.F32, maxTokens, 1}, {&s.ent, kernels.F32, maxTokens, 1}, {&s.lse, kernels.F32, maxTokens, 1},
		{&s.logits, kernels.F32, chunk, m.Config.Vocab},
	} {
		if *t.t, err = kernels.NewTensor(dev, t.typ, t.rows, t.cols); err != nil {
			return s, err
		}
		s.bufs = append(s.bufs, t.t.Buf)
		s.bytes += t.t.Buf.Bytes()
	}
	s.hostRows, s.hostIDs = make([]int32, maxTokens), make([]int32, maxTokens)
	s.hostLogp, s.hostEnt = make([]float32, maxTokens), make([]float32, maxTokens)
	return s, nil
}

func (s *sampler) close() {
	for _, b := range s.bufs {
		b.Free()
	}
	s.bufs = nil
}

// gather brings hostRows[:n] of h to hidden[:n].
func (s *sampler) gather(h kernels.Tensor, n int) {
	rows := s.rows.RowRange(0, n)
	kernels.Upload(s.dev, rows, s.hostRows[:n])
	s.dev.Gather(s.hidden.RowRange(0, n), h, rows)
}

// draw samples the rows that b wants a token of.
func (s *sampler) draw(h kernels.Tensor, b *batch, out []drawn) error {
	n := len(b.draws)
	if n == 0 {
		return nil
	}
	for i, d := range b.draws {
		s.hostRows[i] = d.row
	}
	s.gather(h, n)
	for at := 0; at < n; at += s.logits.Rows {
		k := min(s.logits.Rows, n-at)
		logits := s.logits.RowRange(0, k)
		s.dev.MatMul(logits, s.hidden.RowRange(at, k), s.m.Head(), kernels.Epilogue{})
		s.dev.Sample(s.ids.RowRange(at, k), kernels.LogProbs{Logp: s.logp.RowRange(at, k), LSE: s.lse.RowRange(at, k)}, logits, b.rules[at:at+k])
		for i, d := range b.draws[at : at+k] {
			if d.top == 0 {
				continue
			}
			var err error
			if out[d.at].top, err = s.likeliest(nil, logits.RowRange(i, 1), s.lse.RowRange(at+i, 1), d.top, b.rules[at+i].InvTemp); err != nil {
				return err
			}
		}
	}
	if err := kernels.Download(s.dev, s.hostIDs[:n], s.ids.RowRange(0, n)); err != nil {
		return err
	}
	if err := kernels.Download(s.dev, s.hostLogp[:n], s.logp.RowRange(0, n)); err != nil {
		return err
	}
	for i, d := range b.draws {
		out[d.at].id, out[d.at].logp = s.hostIDs[i], s.hostLogp[i]
	}
	return nil
}

// score gives the jobs of b the log-probabilities that they want.
func (s *sampler) score(h kernels.Tensor, b *batch) error {
	for rest := b.scores; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].job.invTemp == rest[0].job.invTemp {
			n++
		}
		if err := s.scoreSame(h, rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	for _, t := range b.tops {
		if err := s.top(h, t); err != nil {
			return err
		}
	}
	return nil
}

// scoreSame scores rows of one temperature.
func (s *sampler) scoreSame(h kernels.Tensor, rows []scored) error {
	n := len(rows)
	for i, r := range rows {
		s.hostRows[i], s.hostIDs[i] = r.row, r.target
	}
	s.gather(h, n)
	targets, logp, ent := s.ids.RowRange(0, n), s.logp.RowRange(0, n), s.ent.RowRange(0, n)
	kernels.Upload(s.dev, targets, s.hostIDs[:n])
	s.dev.LogProb(kernels.LogProbs{Logp: logp, Entropy: ent}, s.hidden.RowRange(0, n), s.m.Head(), targets, rows[0].job.invTemp)
	if err := kernels.Download(s.dev, s.hostLogp[:n], logp); err != nil {
		return err
	}
	if err := kernels.Download(s.dev, s.hostEnt[:n], ent); err != nil {
		return err
	}
	for i, r := range rows {
		r.job.scores.Logprobs[r.at], r.job.scores.Entropy[r.at] = s.hostLogp[i], s.hostEnt[i]
	}
	return nil
}

// top finds the most likely tokens after a row.
func (s *sampler) top(h kernels.Tensor, t top) (err error) {
	s.hostRows[0] = t.row
	s.gather(h, 1)
	logits, lse := s.logits.RowRange(0, 1), s.lse.RowRange(0, 1)
	s.dev.MatMul(logits, s.hidden.RowRange(0, 1), s.m.Head(), kernels.Epilogue{})
	s.dev.Sample(s.ids.RowRange(0, 1), kernels.LogProbs{LSE: lse}, logits, []kernels.Sampling{{Greedy: true, InvTemp: t.job.invTemp}})
	t.job.scores.Top, err = s.likeliest(t.job.scores.Top[:0], logits, lse, t.job.topK, t.job.invTemp)
	return err
}

// likeliest puts the k most likely tokens of a row into best, the lowest id first where they are equal. Ids without a token are none.
func (s *sampler) likeliest(best []TokenLogprob, logits, lse kernels.Tensor, k int, invTemp float32) ([]TokenLogprob, error) {
	if s.hostLogits == nil {
		s.hostLogits = make([]float32, s.logits.Cols)
	}
	if err := kernels.Download(s.dev, s.hostLogits, logits); err != nil {
		return nil, err
	}
	var norm [1]float32
	if err := kernels.Download(s.dev, norm[:], lse); err != nil {
		return nil, err
	}
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
		best[i].Logprob = best[i].Logprob*invTemp - norm[0]
	}
	return best, nil
}

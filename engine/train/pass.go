package train

import (
	"fmt"
	"slices"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// passes runs packed micro-batches through a model: forward pass, log-probabilities, backward pass. It owns the
// workspace and the KV pages. They are allocated once where Options name the largest micro-batch; otherwise they grow
// to the largest one seen.
type passes struct {
	dev       kernels.Device
	m         *model.Model
	adapter   *model.Adapter
	kvType    kernels.DType
	keep      bool // keep activations for a backward pass
	recompute bool

	ws       *model.Workspace
	wsTokens int
	kv       kernels.KV
	out      outputs
}

// outputs are the device tensors of the trained rows: hidden states, targets and what LogProb fills.
type outputs struct {
	h, dh   kernels.Tensor // [T, C]
	dhAll   kernels.Tensor // [T, C], gradient of every row's final hidden state
	targets kernels.Tensor // I32 [T, 1]
	lse     kernels.Tensor // F32 [T, 1]
	// The log-probabilities (or a critic's values) of n rows, followed by their n entropies, so that one download
	// brings both. dy holds the gradients in the same order, for one upload.
	y, dy kernels.Tensor // F32 [2 T, 1]
}

// halves returns the first n rows of y or dy, and the n rows after them.
func halves(y kernels.Tensor, n int) (first, second kernels.Tensor) {
	return y.RowRange(0, n), y.RowRange(n, n)
}

func (x *passes) close() {
	if x.ws != nil {
		x.ws.Close()
	}
	if x.kv != nil {
		x.kv.Free()
	}
	x.out.free()
	x.ws, x.kv, x.wsTokens = nil, nil, 0
}

func (o *outputs) all() []*kernels.Tensor {
	return []*kernels.Tensor{&o.h, &o.dh, &o.dhAll, &o.targets, &o.lse, &o.y, &o.dy}
}

func (o *outputs) free() {
	for _, t := range o.all() {
		if !t.IsZero() {
			t.Buf.Free()
		}
	}
	*o = outputs{}
}

// size returns the size of a micro-batch: that of the batch, the positions in its sequences, and KV pages.
type size struct {
	batch            kernels.BatchSpec
	positions, pages int
}

func (p *packed) size() size {
	return size{p.batch.Layout.Spec(), int(slices.Max(p.batch.Pos)) + 1, p.pages}
}

// reserve makes room for micro-batches of a size.
func (x *passes) reserve(s size) (err error) {
	if s.batch.Tokens > x.wsTokens {
		if err := x.allocTokens(s.batch.Tokens); err != nil {
			return err
		}
	}
	if x.kv == nil || x.kv.Spec().Pages < s.pages {
		if x.kv != nil {
			x.kv.Free()
			x.kv = nil
		}
		if x.kv, err = x.dev.NewKV(x.m.KVSpec(s.pages, x.kvType)); err != nil {
			return fmt.Errorf("allocating %d KV pages: %w", s.pages, err)
		}
	}
	o := model.WorkspaceOptions{Positions: s.positions, Slots: x.kv.Spec().Pages * kernels.PageSize, Batch: s.batch}
	if x.adapter != nil {
		o.Rank = x.adapter.Rank()
	}
	if err := x.ws.Reserve(o); err != nil {
		return fmt.Errorf("allocating activations for %d tokens (fewer with --micro-batch-tokens): %w",
			s.batch.Tokens, err)
	}
	return nil
}

// allocTokens allocates workspace and outputs for a number of tokens, all of which may be trained on.
func (x *passes) allocTokens(tokens int) (err error) {
	if x.ws != nil {
		x.ws.Close()
		x.ws = nil
	}
	x.out.free()
	x.wsTokens = 0
	o := model.WorkspaceOptions{Keep: x.keep}
	if x.recompute {
		o.Recompute = func(int) bool { return true }
	}
	if x.ws, err = x.m.NewWorkspace(tokens, o); err != nil {
		return fmt.Errorf("allocating activations for %d tokens (fewer with --micro-batch-tokens): %w", tokens, err)
	}
	out, C := &x.out, x.m.Config.Hidden
	for _, t := range []struct {
		dst        *kernels.Tensor
		t          kernels.DType
		rows, cols int
		backward   bool
	}{
		{&out.h, kernels.F32, tokens, C, false}, {&out.dh, kernels.F32, tokens, C, true},
		{&out.dhAll, kernels.F32, tokens, C, true}, {&out.targets, kernels.I32, tokens, 1, false},
		{&out.lse, kernels.F32, tokens, 1, false},
		{&out.y, kernels.F32, 2 * tokens, 1, false}, {&out.dy, kernels.F32, 2 * tokens, 1, false},
	} {
		if t.backward && !x.keep {
			continue
		}
		if *t.dst, err = kernels.NewTensor(x.dev, t.t, t.rows, t.cols); err != nil {
			return fmt.Errorf("allocating the outputs of %d tokens: %w", tokens, err)
		}
	}
	x.wsTokens = tokens
	return nil
}

// hidden runs the forward pass over p and returns the final hidden states of the n rows that predict trained tokens,
// [n, C].
func (x *passes) hidden(p *packed) (h kernels.Tensor, n int, err error) {
	if err := x.reserve(p.size()); err != nil {
		return h, 0, err
	}
	if x.adapter != nil {
		p.batch.Adapters = make([]*model.Adapter, len(p.batch.Segs))
		for i := range p.batch.Adapters {
			p.batch.Adapters[i] = x.adapter
		}
	}
	all := x.m.Forward(x.ws, &p.batch, x.kv)
	if n = len(p.batch.Rows); n == 0 {
		return h, 0, nil
	}
	o := x.out
	h = o.h.RowRange(0, n)
	x.dev.Gather(h, all, x.ws.Batch().Rows())
	return h, n, nil
}

// forward runs the forward pass over p and returns the log-probabilities and entropies (nats) of its targets.
func (x *passes) forward(p *packed, invTemp float32) (logp, entropy []float32, err error) {
	h, n, err := x.hidden(p)
	if n == 0 || err != nil {
		return nil, nil, err
	}
	o := x.out
	kernels.Upload(x.dev, o.targets.RowRange(0, n), p.targets)
	x.dev.LogProb(x.logProbs(n), h, x.m.Head(), o.targets.RowRange(0, n), invTemp)
	both := make([]float32, 2*n)
	err = kernels.Download(x.dev, both, o.y.RowRange(0, 2*n))
	return both[:n:n], both[n:], err
}

func (x *passes) logProbs(n int) kernels.LogProbs {
	logp, entropy := halves(x.out.y, n)
	return kernels.LogProbs{Logp: logp, Entropy: entropy, LSE: x.out.lse.RowRange(0, n), Keep: x.keep}
}

// learn runs forward and backward passes over p and adds the gradient of loss to that of the parameters.
func (x *passes) learn(p *packed, loss LossFunc, invTemp float32) error {
	logp, entropy, err := x.forward(p, invTemp)
	if err != nil {
		return err
	}
	n := len(p.batch.Rows)
	both := make([]float32, 2*n)
	dlogp, dentropy := both[:n:n], both[n:]
	for _, s := range p.spans {
		if err := checkFinite("log-probability", s.seq, logp[s.from:s.to]); err != nil {
			return err
		}
		if err := loss(s.seq, logp[s.from:s.to], entropy[s.from:s.to], dlogp[s.from:s.to],
			dentropy[s.from:s.to]); err != nil {
			return err
		}
	}
	useEntropy := !allZero(dentropy)
	if !useEntropy && allZero(dlogp) {
		return nil // the gradient is zero, for example because all advantages are
	}
	if p.noGradient {
		return fmt.Errorf("a sequence that was marked NoGradient has a gradient")
	}
	o := x.out
	dy, dent := halves(o.dy, n)
	if useEntropy {
		kernels.Upload(x.dev, o.dy.RowRange(0, 2*n), both)
	} else {
		dent = kernels.Tensor{}
		kernels.Upload(x.dev, dy, dlogp)
	}
	x.dev.LogProbBackward(o.dh.RowRange(0, n), x.headGrad(), o.h.RowRange(0, n), x.m.Head(), o.targets.RowRange(0, n),
		x.logProbs(n), dy, dent, invTemp)
	x.back(p)
	return nil
}

// back runs the backward pass from the gradient of the predicting rows' hidden states, in out.dh. It does not wait for
// the device: the next download returns its error.
func (x *passes) back(p *packed) {
	o, T, n := x.out, len(p.batch.IDs), len(p.batch.Rows)
	x.dev.Zero(o.dhAll.RowRange(0, T))
	x.dev.ScatterAdd(o.dhAll.RowRange(0, T), o.dh.RowRange(0, n), x.ws.Batch().Rows())
	x.m.Backward(x.ws, &p.batch, x.kv, o.dhAll.RowRange(0, T))
}

func (x *passes) headGrad() kernels.Tensor {
	if x.adapter != nil {
		return kernels.Tensor{}
	}
	return x.m.HeadGrad()
}

// NonFiniteError says which value of which trained token of which sequence is NaN or infinite. If Token is negative, it
// is a value of the whole sequence.
type NonFiniteError struct {
	What       string // log-probability, value, loss
	Seq, Token int
	Value      float64
}

func (e *NonFiniteError) Error() string {
	of := fmt.Sprintf("trained token %d of sequence %d", e.Token, e.Seq)
	if e.Token < 0 {
		of = fmt.Sprintf("sequence %d", e.Seq)
	}
	return fmt.Sprintf(
		"the %s of %s is %v: weights or inputs have overflowed: lower the learning rate or use --dtype f32", e.What, of,
		e.Value)
}

func checkFinite(what string, seq int, x []float32) error {
	for i, v := range x {
		if !finite(float64(v)) {
			return &NonFiniteError{what, seq, i, float64(v)}
		}
	}
	return nil
}

func allZero(x []float32) bool {
	for _, v := range x {
		if v != 0 {
			return false
		}
	}
	return true
}

// Scorer computes log-probabilities of trained tokens with a frozen model: the reference of a KL term, or an
// evaluation.
type Scorer struct {
	pass passes
	o    Options
}

// NewScorer scores with m, or with m and adapter a; no activations are kept.
func NewScorer(dev kernels.Device, m *model.Model, a *model.Adapter, o Options) (*Scorer, error) {
	o = o.withDefaults()
	s := &Scorer{o: o, pass: passes{dev: dev, m: m, adapter: a, kvType: o.KVType}}
	if err := s.pass.start(o); err != nil {
		s.Close()
		return nil, fmt.Errorf("starting to score: %w", err)
	}
	return s, nil
}

// Score returns the log-probabilities and entropies (nats) of the trained tokens of each sequence, both
// [sequences][trained tokens of the sequence].
func (s *Scorer) Score(seqs []Sequence) (logps, entropies [][]float32, err error) {
	if err := check(seqs, s.pass.m.Config.Vocab, s.pass.m.Config.MaxPos); err != nil {
		return nil, nil, fmt.Errorf("scoring: %w", err)
	}
	logps, entropies = make([][]float32, len(seqs)), make([][]float32, len(seqs))
	for _, p := range packs(seqs, s.o.MicroBatchTokens) {
		logp, entropy, err := s.pass.forward(p, float32(1/s.o.Temperature))
		if err != nil {
			return nil, nil, fmt.Errorf("scoring: %w", err)
		}
		for _, sp := range p.spans {
			logps[sp.seq], entropies[sp.seq] = logp[sp.from:sp.to], entropy[sp.from:sp.to]
		}
	}
	return logps, entropies, nil
}

// Close frees workspace and pages.
func (s *Scorer) Close() { s.pass.close() }

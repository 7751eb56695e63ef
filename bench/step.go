package bench

import (
	"github.com/zerosearch-go/zerosearch/bench/ops"
	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/kernels"
)

// phase is a part of a GRPO step. Phases run one after the other.
type phase struct {
	name  string
	kind  phaseKind
	sim   bool // the simulator's work
	spans []ops.Span
}

// phaseKind is the kind of a phase.
type phaseKind string

const (
	prefilling phaseKind = "prefill"
	decoding   phaseKind = "decode"    // one span for each token
	scoring    phaseKind = "log-probs" // of the reference
	updating   phaseKind = "training"  // forward, backward and the optimizer step
)

// phases lists the phases of a step: the prompts, once a group; the turns; the search results between them; the
// reference; the update. Shared prompts count once. Only tokens of the policy are scored.
func (t *GRPOTest) phases() (out []phase) {
	q, all := t.Questions, t.Questions*t.N
	add := func(name string, kind phaseKind, sim bool, spans ...ops.Span) {
		out = append(out, phase{name, kind, sim, spans})
	}
	decode := func(name string, sim bool, start, n int) {
		spans := make([]ops.Span, n)
		for i := range spans {
			spans[i] = ops.Span{Batch: all, Start: start + i, N: 1, Logits: 1}
		}
		add(name, decoding, sim, spans...)
	}
	add("policy prefill", prefilling, false, ops.Span{Batch: q, N: t.Prompt, Logits: 1})
	length := t.Prompt
	for turn := range t.Turns {
		if turn > 0 {
			if t.simulates() {
				add("simulator prefill", prefilling, true, ops.Span{Batch: all, N: t.Prompt, Logits: 1})
				decode("simulator decode", true, t.Prompt, t.Observation)
			}
			add("policy prefill", prefilling, false, ops.Span{Batch: all, Start: length, N: t.Observation, Logits: 1})
			length += t.Observation
		}
		decode("policy decode", false, length, t.Response)
		length += t.Response
	}
	scored := []ops.Span{{Batch: q, N: t.Prompt}, {Batch: all, Start: t.Prompt, N: length - t.Prompt,
		Logits: t.Turns * t.Response}}
	if !t.NoReference {
		add("reference log-probs", scoring, false, scored...)
	}
	add("training", updating, false, scored...)
	return out
}

// simulates reports whether a simulator generates search results.
func (t *GRPOTest) simulates() bool { return t.Turns > 1 && !t.Given }

// longest is the length of an episode in tokens.
func (t *GRPOTest) longest() int { return t.Prompt + t.Turns*t.Response + (t.Turns-1)*t.Observation }

// room is the engine's for all episodes at once, length tokens each.
func (t *GRPOTest) room(kv kernels.DType, length int) engine.ModelOptions {
	n := t.Questions * t.N
	return engine.ModelOptions{KVType: kv, MaxContext: length, MaxSequences: n, MaxBatchTokens: max(512, n),
		KVPages: (length/kernels.PageSize + 2) * n}
}

// costs are the minimal costs of each phase.
func (t *GRPOTest) costs(policy, sim forwardShape) (out []ops.Cost) {
	for _, p := range t.phases() {
		f := policy
		if p.sim {
			f = sim
		}
		sum := ops.Cost{Type: f.t}
		for _, s := range p.spans {
			x := passCost(f.c, f.t, f.kv, s.Batch, s.Start, s.N, s.Logits)
			sum.FLOPs, sum.Bytes = sum.FLOPs+x.FLOPs, sum.Bytes+x.Bytes
		}
		if p.kind == updating {
			if t.LoRAR > 0 {
				sum.FLOPs, sum.Bytes = 2*sum.FLOPs, 2*sum.Bytes
			} else {
				sum.FLOPs, sum.Bytes = 3*sum.FLOPs, sum.Bytes+28*float64(f.c.Parameters())
			}
		}
		out = append(out, sum)
	}
	return out
}

// kvType is the type of the KV cache.
func (o Options) kvType() kernels.DType {
	switch {
	case o.KVType != 0:
		return o.KVType
	case o.DType == kernels.F32:
		return kernels.F32
	}
	return kernels.BF16
}

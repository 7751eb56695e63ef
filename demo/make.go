package demo

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/rl/sft"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// Shape is the demo's model: a Llama of about a million parameters.
func Shape(vocab int) *model.Config {
	return &model.Config{Arch: "llama", Vocab: vocab, Hidden: 128, Inter: 384, Layers: 4, Heads: 4, KVHeads: 4, HeadDim: 32, Eps: 1e-5,
		RopeTheta: 10000, Tied: true, MaxPos: 1024, EOS: []int32{0}}
}

// stage is a part of the recipe.
type stage struct {
	name   string
	tokens int // ids a step
	steps  int
	lr     float64
	draw   func(w *Writer, progress float64) Example
}

// lookUps makes copying form: lists said twice, then facts and questions, ever more of them at once.
func lookUps(steps int) stage {
	return stage{"look-ups", 2048, steps, 2e-3, func(w *Writer, progress float64) Example {
		switch {
		case progress < 0.15 && w.chance(0.8), progress < 0.4 && w.chance(0.4):
			return w.Repeat()
		case progress < 0.5:
			return w.LookUp(2 + w.rng.IntN(3))
		}
		return w.LookUp(3 + w.rng.IntN(5))
	}}
}

// weakPolicy is a mixture of good and poor behaviour, with look-ups so that copying stays.
func weakPolicy(steps int) stage {
	return stage{"policy", 4096, steps, 1e-3, func(w *Writer, _ float64) Example {
		if w.chance(0.3) {
			return w.LookUp(3 + w.rng.IntN(4))
		}
		return w.Trajectory(w.behaviour())
	}}
}

// playEngine is the simulator: ZeroSearch's prompt, and documents.
func playEngine(steps int) stage {
	return stage{"simulator", 4096, steps, 1e-3, func(w *Writer, _ float64) Example {
		prompt, output := w.Simulation()
		return Example{{prompt, false}, {output + tags[0], true}}
	}}
}

// Sizes of the recipe, in optimiser steps.
type Sizes struct{ LookUps, Policy, Simulator int }

// Recipe is what makes the embedded models: about 13 million tokens in all. That names tell facts apart is learned suddenly, after 1,000 and 1,200
// steps of look-ups in two makes, and not within 1,500 in a third (loss 0.06 instead of 0.001; its policy gains 0.2 on the real index instead of 0.5). The
// embedded ones had 1,500.
var Recipe = Sizes{LookUps: 2500, Policy: 800, Simulator: 1200}

// Make trains policy and simulator from nothing and writes them as Hugging Face folders dir/policy and dir/simulator. say reports
// each step.
func Make(ctx context.Context, dev kernels.Device, dir string, s Sizes, seed uint64, say func(stage string, step, steps int, m rundir.Metrics)) error {
	vocabulary, err := Vocabulary()
	if err != nil {
		return err
	}
	base := filepath.Join(dir, "base")
	if err := os.MkdirAll(base, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(base, "tokenizer.json"), vocabulary, 0o644); err != nil {
		return err
	}
	tok, err := tokenizer.Open(base)
	if err != nil {
		return err
	}
	m, err := model.NewRandom(dev, Shape(tok.VocabSize()), model.Options{DType: kernels.BF16, Trainable: true}, seed)
	if err != nil {
		return err
	}
	p := &roles.LoadedModel{Dir: base, Model: m, Tokenizer: tok}
	defer p.Close()
	if err := learnStage(ctx, dev, p, lookUps(s.LookUps), seed, say); err != nil {
		return err
	}
	save := func(name string) error {
		return p.Model.Save(filepath.Join(dir, name), model.SaveOptions{DType: kernels.F32, Tokenizer: base})
	}
	if err := save("base"); err != nil {
		return err
	}
	for _, st := range []stage{weakPolicy(s.Policy), playEngine(s.Simulator)} {
		q, err := roles.Open(ctx, dev, roles.OpenOptions{Model: base, DType: kernels.BF16, Trainable: true})
		if err != nil {
			return err
		}
		if err = learnStage(ctx, dev, q, st, seed, say); err == nil {
			err = q.Model.Save(filepath.Join(dir, st.name), model.SaveOptions{DType: kernels.BF16, Tokenizer: base})
		}
		q.Close()
		if err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "policy", "chat_template.jinja"), []byte(policyTemplate), 0o644); err != nil {
		return err
	}
	return os.RemoveAll(base)
}

// policyTemplate makes the demo's prompt of ZeroSearch's, which ends with the question: the policy is too small to read instructions.
const policyTemplate = "{% for m in messages %}{% if m['role'] == 'user' %}Question: {{ m['content'].split('Question: ')[-1] }}{% endif %}{% endfor %}"

// learnStage fine-tunes p on freshly drawn examples.
func learnStage(ctx context.Context, dev kernels.Device, p *roles.LoadedModel, st stage, seed uint64, say func(string, int, int, rundir.Metrics)) error {
	t, err := train.New(dev, p.Model, nil, train.Options{Beta2: 0.95, WeightDecay: 0.01, MaxGradNorm: 1, MicroBatchTokens: 8192})
	if err != nil {
		return err
	}
	defer t.Close()
	schedule, err := train.NewSchedule("cosine", 0.05, st.steps)
	if err != nil {
		return err
	}
	source := func(step int) (out []sft.Example) {
		w := NewWriter(seed<<32 ^ uint64(len(st.name))<<24 ^ uint64(step))
		for n := 0; n < st.tokens; {
			e := encode(p.Tokenizer, st.draw(w, float64(step)/float64(st.steps)))
			n += len(e.IDs)
			out = append(out, e)
		}
		return out
	}
	run := sft.Run{Model: p, Trainer: t, Source: source, Steps: st.steps, LR: st.lr, Schedule: schedule, Seed: seed,
		OnStep: func(step int, m rundir.Metrics) { say(st.name, step, st.steps, m) }}
	if _, err := run.Do(ctx); err != nil {
		return fmt.Errorf("making the demo's %s: %w", st.name, err)
	}
	return ctx.Err()
}

// encode turns an example into ids, a part at a time, as an episode does with what it reads and what it says.
func encode(tok *tokenizer.Tokenizer, e Example) (out sft.Example) {
	for i := 0; i < len(e); {
		text, learn := "", e[i].Learn
		for ; i < len(e) && e[i].Learn == learn; i++ {
			text += e[i].Text
		}
		ids := tok.Encode(text, tokenizer.EncodeOptions{ParseSpecial: true})
		out.IDs = append(out.IDs, ids...)
		for range ids {
			out.Mask = append(out.Mask, learn)
		}
	}
	return out
}

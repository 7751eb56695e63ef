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
	return &model.Config{Arch: "llama", Vocab: vocab, Hidden: 128, Inter: 384, Layers: 4, Heads: 4, KVHeads: 4,
		HeadDim: 32, Eps: 1e-5,
		RopeTheta: 10000, Tied: true, MaxPos: 1024, EOS: []int32{0}}
}

// stage is one fine-tuning stage of the recipe.
type stage struct {
	name   string
	tokens int // minimum tokens of a step
	steps  int // optimizer steps
	lr     float64
	draw   func(w *Writer, progress float64) Example // progress rises from 0 to 1
}

// lookUps teaches the model to copy: repeated lists first, then facts with questions, with a rising number of facts.
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

// weakPolicy teaches a mixture of good and bad behaviour, and look-ups so that the model does not forget how to copy.
func weakPolicy(steps int) stage {
	return stage{"policy", 4096, steps, 1e-3, func(w *Writer, _ float64) Example {
		if w.chance(0.3) {
			return w.LookUp(3 + w.rng.IntN(4))
		}
		return w.Trajectory(w.behaviour())
	}}
}

// simulatorStage teaches the simulator to answer ZeroSearch's prompt with documents.
func simulatorStage(steps int) stage {
	return stage{"simulator", 4096, steps, 1e-3, func(w *Writer, _ float64) Example {
		prompt, output := w.Simulation()
		return Example{{prompt, false}, {output + tags[0], true}}
	}}
}

// Sizes are the numbers of optimizer steps of the recipe's stages.
type Sizes struct{ LookUps, Policy, Simulator int }

// Recipe makes the embedded models, with about 13 million tokens in total. The model learns suddenly to tell facts
// apart by their names: after 1,000 and 1,200 steps of look-ups in two attempts, and not within 1,500 in a third (loss
// 0.06 instead of 0.001; its policy gains 0.2 on the real index instead of 0.5). The embedded models had 1,500 steps.
var Recipe = Sizes{LookUps: 2500, Policy: 800, Simulator: 1200}

// Make trains policy and simulator from random weights and writes them as Hugging Face folders dir/policy and
// dir/simulator. It calls say after each step.
func Make(ctx context.Context, dev kernels.Device, dir string, s Sizes, seed uint64,
	say func(stage string, step, steps int, m rundir.Metrics)) error {
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
	if err := trainStage(ctx, dev, p, lookUps(s.LookUps), seed, say); err != nil {
		return err
	}
	save := func(name string) error {
		return p.Model.Save(filepath.Join(dir, name), model.SaveOptions{DType: kernels.F32, Tokenizer: base})
	}
	if err := save("base"); err != nil {
		return err
	}
	for _, st := range []stage{weakPolicy(s.Policy), simulatorStage(s.Simulator)} {
		q, err := roles.Open(ctx, dev, roles.OpenOptions{Model: base, DType: kernels.BF16, Trainable: true})
		if err != nil {
			return err
		}
		if err = trainStage(ctx, dev, q, st, seed, say); err == nil {
			err = q.Model.Save(filepath.Join(dir, st.name), model.SaveOptions{DType: kernels.BF16, Tokenizer: base})
		}
		q.Close()
		if err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "policy", "chat_template.jinja"), []byte(policyTemplate),
		0o644); err != nil {
		return err
	}
	return os.RemoveAll(base)
}

// policyTemplate reduces ZeroSearch's prompt to the question at its end: the policy is too small to follow
// instructions.
const policyTemplate = "{% for m in messages %}{% if m['role'] == 'user' %}Question: {{ " +
	"m['content'].split('Question: ')[-1] }}{% endif %}{% endfor %}"

// trainStage fine-tunes p on freshly drawn examples.
func trainStage(ctx context.Context, dev kernels.Device, p *roles.LoadedModel, st stage, seed uint64,
	say func(string, int, int, rundir.Metrics)) error {
	t, err := train.New(dev, p.Model, nil, train.Options{Beta2: 0.95, WeightDecay: 0.01, MaxGradNorm: 1,
		MicroBatchTokens: 8192})
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

// encode turns an example into ids. Like an episode, it encodes trained and untrained text separately.
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

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
	name     string
	tokens   int    // minimum tokens of a step
	steps    int    // optimizer steps, at most
	schedule string // of the learning rate
	lr       float64
	// draw writes a text. progress rises from 0 to 1 in the stage.
	draw func(w *Writer, progress float64, level int) Text
	// enough has a loss for each level of a stage with levels. From level 0 on, the stage goes to the next level when
	// the mean loss of the last settled steps is below that of the level. It ends after the last level.
	enough []float64
}

// settled is the number of steps of a level whose mean loss tells whether the model has learned enough.
const settled = 30

// lookUps teaches the model to copy: repeated lists first, then facts with questions. Its learning rate is still high
// at its end.
func lookUps(steps int) stage {
	return stage{name: "look-ups", tokens: 2048, steps: steps, schedule: "constant", lr: 2e-3,
		draw: func(w *Writer, progress float64, _ int) Text {
			if progress < 0.3 && w.chance(0.8) || progress < 0.8 && w.chance(0.4) {
				return w.Repeat()
			}
			return w.LookUp(2+w.rng.IntN(3), 0.4, 3, 0)
		}}
}

// lookNames teaches to tell facts apart by the names in them alone: most lists are of one relation. Level by level, the
// words between subject and object come back: next to each other, a small model learns quickly to match names. (Without
// the words, some facts of the same subject cannot be told apart. So their loss stays above 0.015.)
func lookNames(steps int) stage {
	return stage{name: "names", tokens: 2048, steps: steps, schedule: "constant", lr: 1e-3,
		enough: []float64{0.03, 0.03, 0.03, 0.015},
		draw: func(w *Writer, _ float64, level int) Text {
			gap := level
			if w.chance(0.3) {
				gap = w.rng.IntN(level + 1)
			}
			return w.LookUp(2+w.rng.IntN(6), 0.9, gap, 0)
		}}
}

// read teaches to look up facts in the results of searches, too, by relations as well as by names. Without this stage
// the policy had a loss of 0.01 in lists, but of 1 in results in which several facts have the same subject.
func read(steps int) stage {
	return stage{name: "read", tokens: 4096, steps: steps, schedule: "cosine", lr: 1e-3,
		draw: func(w *Writer, _ float64, _ int) Text {
			if w.chance(0.3) {
				return w.LookUp(2+w.rng.IntN(6), 0.4, 3, 0.3)
			}
			return w.Reading()
		}}
}

// weakPolicy teaches episodes of weak habits. Few of them search, so others begin after a search. Look-ups and readings
// keep the model able to copy.
func weakPolicy(steps int) stage {
	return stage{name: "policy", tokens: 4096, steps: steps, schedule: "cosine", lr: 1e-3,
		draw: func(w *Writer, _ float64, _ int) Text {
			switch u := w.rng.Float64(); {
			case u < 0.1:
				return w.LookUp(3+w.rng.IntN(4), 0.4, 3, 0.3)
			case u < 0.4:
				return w.Reading()
			case u < 0.6:
				return w.Reaction(w.habits())
			}
			return w.Trajectory(w.habits())
		}}
}

// simulatorStage teaches the simulator to answer ZeroSearch's prompt with documents.
func simulatorStage(steps int) stage {
	return stage{name: "simulator", tokens: 4096, steps: steps, schedule: "cosine", lr: 1e-3,
		draw: func(w *Writer, _ float64, _ int) Text {
			prompt, output := w.Simulation()
			return Text{{prompt, false}, {output + tags[0], true}}
		}}
}

// Sizes are the numbers of optimizer steps of the recipe's stages.
type Sizes struct {
	LookUps, Names, Read int // Names: at most
	Policy, Simulator    int
}

// Recipe makes the embedded models with about ten million tokens: the names stage ends after 410 of its 4,000 steps.
var Recipe = Sizes{LookUps: 1000, Names: 4000, Read: 500, Policy: 800, Simulator: 1000}

// Make trains policy and simulator from random weights, with the vocabulary of the embedded models, and writes them as
// Hugging Face folders dir/policy and dir/simulator. It calls say after each step.
func Make(ctx context.Context, dev kernels.Device, dir string, s Sizes, seed uint64,
	say func(stage string, step, steps int, m rundir.Metrics)) error {
	tokens, err := vocabulary()
	if err != nil {
		return err
	}
	base := filepath.Join(dir, "base")
	if err := os.MkdirAll(base, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(base, "tokenizer.json"), tokens, 0o644); err != nil {
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
	if err := p.Model.Save(base, model.SaveOptions{DType: kernels.F32, Tokenizer: base}); err != nil {
		return err
	}
	for _, next := range []struct {
		stage
		to    string
		dtype kernels.DType
	}{
		{lookNames(s.Names), base, kernels.F32},
		{simulatorStage(s.Simulator), filepath.Join(dir, "simulator"), kernels.BF16},
		{read(s.Read), base, kernels.F32},
		{weakPolicy(s.Policy), filepath.Join(dir, "policy"), kernels.BF16},
	} {
		q, err := roles.Open(ctx, dev, roles.OpenOptions{Model: base, DType: kernels.BF16, Trainable: true})
		if err != nil {
			return err
		}
		if err = trainStage(ctx, dev, q, next.stage, seed, say); err == nil {
			err = q.Model.Save(next.to, model.SaveOptions{DType: next.dtype, Tokenizer: base})
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
	schedule, err := train.NewSchedule(st.schedule, 0.05, st.steps)
	if err != nil {
		return err
	}
	level, losses := 0, []float64{}
	source := func(step int) (out []sft.Example) {
		w := NewWriter(seed<<32 ^ uint64(len(st.name))<<24 ^ uint64(step))
		for n := 0; n < st.tokens; {
			e := encode(p.Tokenizer, st.draw(w, float64(step)/float64(st.steps), level))
			n += len(e.IDs)
			out = append(out, e)
		}
		return out
	}
	learned, end := context.WithCancel(ctx)
	defer end()
	run := sft.Run{Model: p, Trainer: t, Source: source, Steps: st.steps, LR: st.lr, Schedule: schedule, Seed: seed,
		OnStep: func(step int, m rundir.Metrics) {
			say(st.name, step, st.steps, m)
			losses = append(losses, m["train/loss"])
			if n := len(losses) - settled; n >= 0 && level < len(st.enough) && mean(losses[n:]) < st.enough[level] {
				level, losses = level+1, nil
				if level == len(st.enough) {
					end()
				}
			}
		}}
	if _, err := run.Do(learned); err != nil && (st.enough == nil || level < len(st.enough)) {
		return fmt.Errorf("making the demo's %s: %w", st.name, err)
	}
	return ctx.Err()
}

func mean(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

// encode turns an example into ids. Like an episode, it encodes trained and untrained text separately.
func encode(tok *tokenizer.Tokenizer, e Text) (out sft.Example) {
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

package rl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/rl/update"
)

// openCritic makes the critic: a value head over a model of its own, a copy of the policy's starting weights, or, where they stay frozen,
// those weights themselves.
func (t *Trainer) openCritic(ctx context.Context, dev kernels.Device, o train.Options) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("opening the critic: %w", err)
		}
	}()
	c := &t.Config.Critic
	what := c.Learns(t.Policy.Adapter != nil)
	if t.critic, err = t.criticBody(ctx, dev, what); err != nil {
		return err
	}
	o.Temperature = 0 // logits have one, values do not
	critic, err := train.NewCritic(dev, t.critic.Model, t.critic.Adapter, o)
	if err != nil {
		return err
	}
	t.closers = append(t.closers, critic.Close)
	if c.Model != "" {
		if err := critic.LoadHead(c.Model); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err // a plain model has no head yet
		}
	}
	t.Updater.Values = &update.Values{Critic: critic, Clip: c.ValueClip}
	t.criticRate, err = train.NewSchedule(t.Config.Optim.LRSchedule, c.WarmupRatio, t.Config.Schedule.TotalSteps)
	return err
}

// criticBody opens what is under the head, to learn as --critic-train says.
func (t *Trainer) criticBody(ctx context.Context, dev kernels.Device, what string) (b *roles.LoadedModel, err error) {
	name, dtype := t.Config.Critic.Model, t.Policy.Model.DType
	switch {
	case what == config.CriticAll && dtype == kernels.Q8:
		return nil, errors.New("q8 weights cannot be trained: use --critic-train lora or head")
	case what == config.CriticLoRA && t.Policy.Adapter == nil:
		return nil, errors.New("--critic-train lora makes an adapter like the policy's: add --lora-r, or train all or head")
	case name != "":
		if b, err = roles.Open(ctx, dev, roles.OpenOptions{Model: name, DType: dtype, Trainable: what != config.CriticHead, FrozenBase: what == config.CriticLoRA}); err != nil {
			return nil, err
		}
		t.closers = append(t.closers, b.Close)
		t.Notes = append(t.Notes, b.Notes...)
		if what == config.CriticAll && b.Adapter != nil {
			return nil, fmt.Errorf("%s is an adapter: use --critic-train lora or head", name)
		}
		if err := roles.SameTokenizer(b, t.Policy); err != nil {
			return nil, err
		}
	case what == config.CriticAll:
		b = &roles.LoadedModel{Dir: t.Policy.Dir}
		if b.Model, err = t.Policy.Model.Clone(model.Options{Trainable: true}); err != nil {
			return nil, err
		}
		t.closers = append(t.closers, b.Model.Close)
	default:
		start, err := t.starting(dev, 0)
		if err != nil {
			return nil, err
		}
		b = &roles.LoadedModel{Dir: start.Dir, Model: start.Model}
	}
	if what == config.CriticLoRA && b.Adapter == nil {
		b.Adapter, err = model.NewAdapter(b.Model, t.Policy.Adapter.Config, true, engine.Stream(t.Config.Schedule.Seed, config.PurposeCritic))
		if err == nil && name == "" {
			t.closers = append(t.closers, b.Adapter.Close)
		}
	}
	return b, err
}

// saveCritic writes the critic into the checkpoint dir: the folder critic holds what of it learns, and its optimiser.
func (t *Trainer) saveCritic(dir string) error {
	c := t.Updater.Values.Critic
	dir = filepath.Join(dir, criticDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	switch t.Config.Critic.Learns(t.Policy.Adapter != nil) {
	case config.CriticLoRA:
		if err := t.critic.Adapter.Save(dir); err != nil {
			return err
		}
	case config.CriticAll:
		if err := t.critic.Model.Save(dir, model.SaveOptions{DType: t.SaveDType, Tokenizer: t.critic.Dir}); err != nil {
			return err
		}
	}
	if err := c.SaveHead(dir); err != nil {
		return err
	}
	return c.SaveState(dir)
}

// criticDir is the critic's folder in a checkpoint.
const criticDir = "critic"

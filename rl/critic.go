package rl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/rl/update"
)

// openCritic makes the critic: a value head over the model that the cast has for it.
func (t *Trainer) openCritic(ctx context.Context, dev kernels.Device, o train.Options) (err error) {
	if t.critic, err = t.models.Open(ctx, t.cast.Critic); err != nil {
		return err
	}
	t.openedModels(1)
	defer func() {
		if err != nil {
			err = fmt.Errorf("opening the critic: %w", err)
		}
	}()
	c := &t.Config.Critic
	if t.cast.Critic.Trained && t.critic.Adapter != nil {
		return fmt.Errorf("%s is an adapter: use --critic-train lora or head", c.Model)
	}
	if err := roles.SameTokenizer(t.critic, t.Policy); err != nil {
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

// saveCritic writes the critic into the checkpoint dir: the folder critic holds what of it learns, and its optimizer.
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

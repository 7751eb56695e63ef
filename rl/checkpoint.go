package rl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// due reports whether a checkpoint of step is to be written, stop aside.
func (t *Trainer) due(step int) bool {
	s := &t.Config.Schedule
	return step == s.TotalSteps || s.SaveEvery > 0 && step%s.SaveEvery == 0 || t.Config.KeepsBest() &&
		t.state.BestStep == step
}

// save writes a checkpoint and clears older ones away.
func (t *Trainer) save(step int) error {
	if !t.saves() {
		return nil
	}
	t.progress(step, PhaseSaving, 0, 0)
	if t.Out == nil {
		return t.Engine.Do(context.Background(), func() error { return t.withMasters(t.giveShards) })
	}
	if err := t.Out.Sync(); err != nil {
		return t.unsaved(fmt.Errorf("saving the logs: %w", err))
	}
	err := t.Engine.Do(context.Background(), func() error {
		return t.withMasters(func() error { return t.saveAs(step) })
	})
	if err != nil {
		return t.unsaved(err)
	}
	t.forgetRollout(step)
	return t.tidy()
}

// giveShards gives rank 0 what it writes of this rank's, in the order of saveAs.
func (t *Trainer) giveShards() error {
	err := t.Updater.Trainer.SaveState("")
	if v := t.Updater.Values; err == nil && v != nil {
		err = v.Critic.SaveState("")
	}
	if a := t.Updater.Average; err == nil && a != nil {
		err = a.Save("")
	}
	return err
}

// withMasters calls do, which saves weights, while rank 0 has all masters, if those are what is written: of adapters,
// and of weights that are more exact than those of the forward pass.
func (t *Trainer) withMasters(do func() error) error {
	exact := func(m *model.Model, a *model.Adapter) bool {
		return a != nil || t.SaveDType == kernels.F32 && m.DType != kernels.F32
	}
	if v := t.Updater.Values; v != nil && exact(t.critic.Model, t.critic.Adapter) {
		save := do
		do = func() error { return v.Critic.WithMasters(save) }
	}
	if exact(t.Policy.Model, t.Policy.Adapter) {
		return t.Updater.Trainer.WithMasters(do)
	}
	return do()
}

// saveAs writes step's checkpoint; the device is the caller's.
func (t *Trainer) saveAs(step int) error {
	t.state.Seed, t.state.Total = t.Config.Schedule.Seed, t.Config.Schedule.TotalSteps
	t.state.Path, t.state.SimPath = roles.KernelPaths(&t.Config.Search, t.Policy.Model.Device)
	if t.state.Ranks = t.group().Size(); t.state.Ranks == 1 {
		t.state.Ranks = 0
	}
	u := &t.Updater
	if u.KLTarget > 0 {
		t.state.KLCoef = u.Policy.KLCoef
	}
	parts := []func(string) error{
		func(dir string) error { return t.Policy.Save(dir, t.SaveDType) }, u.Trainer.SaveState}
	if u.Values != nil {
		parts = append(parts, t.saveCritic)
	}
	if u.Average != nil {
		parts = append(parts, u.Average.Save)
	}
	return rundir.SaveCheckpoint(t.Out.Checkpoint(step), t.state, parts...)
}

// restore reads back what saveAs wrote beside the state.
func (t *Trainer) restore(ctx context.Context, dir string) error {
	return t.change(ctx, func() error { return t.load(ctx, dir) })
}

func (t *Trainer) load(ctx context.Context, dir string) error {
	u := &t.Updater
	if err := u.Trainer.LoadState(ctx, dir); err != nil {
		return err
	}
	if u.Values != nil {
		if err := u.Values.Critic.LoadState(ctx, filepath.Join(dir, criticDir)); err != nil {
			return fmt.Errorf("the critic: %w", err)
		}
	}
	if u.Average != nil {
		if err := u.Average.Load(ctx, dir); err != nil {
			return err
		}
	}
	if u.KLTarget > 0 && t.state.KLCoef > 0 {
		u.Policy.KLCoef = t.state.KLCoef
	}
	return nil
}

// tidy removes the checkpoints that --keep-last does not keep, and points checkpoints/best to the best.
func (t *Trainer) tidy() error {
	s := &t.Config.Schedule
	best := t.Out.Checkpoint(t.state.BestStep)
	if _, err := os.Stat(best); err == nil && t.Config.KeepsBest() {
		if err := disk.Link(filepath.Base(best), filepath.Join(t.Out.Dir, "checkpoints", "best")); err != nil {
			return fmt.Errorf("marking the best checkpoint: %w", err)
		}
	}
	if s.KeepLast == 0 {
		return nil
	}
	steps := rundir.Steps(t.Out.Dir)
	for _, old := range steps[:max(0, len(steps)-s.KeepLast)] {
		if t.Config.KeepsBest() && old == t.state.BestStep {
			continue
		}
		if err := disk.RemoveDir(t.Out.Checkpoint(old)); err != nil {
			return fmt.Errorf("removing an old checkpoint: %w", err)
		}
	}
	return nil
}

// unsaved adds to the error of a write what remains and how to go on.
func (t *Trainer) unsaved(err error) error {
	path, _, ok := rundir.Last(t.Out.Dir)
	remedy := ""
	if system := syscall.Errno(0); errors.As(err, &system) { // and not the device that the weights are on
		remedy = "make room and "
	}
	switch diverged := errors.Is(err, train.ErrDiverged); {
	case diverged && ok:
		return fmt.Errorf("%w: go on from %s with a lower --lr, --resume auto --force", err, path)
	case diverged:
		return fmt.Errorf("%w: begin again with a lower --lr", err)
	case ok:
		return fmt.Errorf("%w: %s is whole: %sgo on from it with --resume auto", err, path, remedy)
	}
	return fmt.Errorf("%w: nothing was saved yet: %sbegin again", err, remedy)
}

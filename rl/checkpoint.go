package rl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/track"
)

// State is trainer_state.json: what a run must know to go on, besides weights and moments. Everything random is keyed by seed
// and step, and questions are drawn by step, so little has to be remembered.
type State struct {
	Step     int     `json:"step"`                  // steps done, skipped updates included
	Total    int     `json:"total_steps,omitempty"` // steps that the run was to have; 0: not known
	Skipped  int     `json:"skipped"`               // updates skipped because a loss or gradient was not finite
	Seed     uint64  `json:"seed"`
	Best     float64 `json:"best"`                // best held-out F1 yet
	BestStep int     `json:"best_step,omitempty"` // the step that had it; 0: none was measured
	HeldOut  string  `json:"held_out,omitempty"`  // digest of the questions that Best was measured on
	KLCoef   float64 `json:"kl_coef,omitempty"`   // weight of the divergence, where it is adapted
	Success  float64 `json:"success,omitempty"`   // smoothed success rate, where the curriculum follows it
	// Path is the kernel path that computed the step: others give other bits.
	Path string `json:"kernel_path,omitempty"`
	// SimPath is the simulator's, where it has a device of its own.
	SimPath string `json:"sim_kernel_path,omitempty"`
	// Drawn is how many questions were drawn, where dynamic sampling draws more than a batch a step.
	Drawn int `json:"drawn,omitempty"`
	// Run is what the run came from: settings and contents.
	Run fingerprint.Parts `json:"run,omitempty"`
}

const stateName = "trainer_state.json"

// SaveCheckpoint writes the folder dir: the model (or adapter) as others load it, the optimiser with the F32 masters, the state, and what
// more adds. It is there whole or not at all.
func SaveCheckpoint(dir string, p *Opened, t *train.Trainer, st State, dtype kernels.DType, more ...func(dir string) error) error {
	err := disk.ReplaceDir(dir, func(tmp string) error {
		if p.Adapter != nil {
			if err := p.Adapter.Save(tmp); err != nil {
				return err
			}
		} else if err := p.Model.Save(tmp, model.SaveOptions{DType: dtype, Tokenizer: p.Dir}); err != nil {
			return err
		}
		if err := t.SaveState(tmp); err != nil {
			return err
		}
		for _, add := range more {
			if err := add(tmp); err != nil {
				return err
			}
		}
		b, err := json.MarshalIndent(st, "", "  ")
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(tmp, stateName), append(b, '\n'), 0o644)
	})
	if err != nil {
		return fmt.Errorf("saving %s: %w", dir, err)
	}
	return nil
}

// ReadState reads what SaveCheckpoint wrote.
func ReadState(dir string) (State, error) {
	var st State
	b, err := os.ReadFile(filepath.Join(dir, stateName))
	if err != nil {
		return st, fmt.Errorf("resuming: %w: the folder is no checkpoint of a training run", err)
	}
	if err := json.Unmarshal(b, &st); err != nil || st.Step < 0 {
		return st, fmt.Errorf("resuming: %s in %s is damaged: resume from an earlier checkpoint", stateName, dir)
	}
	return st, nil
}

// due reports whether a checkpoint of step is to be written, stop aside.
func (t *Trainer) due(step int) bool {
	s := &t.Config.Schedule
	return step == s.TotalSteps || s.SaveEvery > 0 && step%s.SaveEvery == 0 || s.KeepBest && t.state.BestStep == step
}

// save writes a checkpoint and clears older ones away.
func (t *Trainer) save(step int) error {
	if t.Out == nil {
		return nil
	}
	if err := t.Out.Sync(); err != nil {
		return t.unsaved(fmt.Errorf("saving the logs: %w", err))
	}
	err := t.Engine.Do(context.Background(), func() error { return t.saveAs(step) })
	if err != nil {
		return t.unsaved(err)
	}
	return t.tidy()
}

// saveAs writes step's checkpoint; the device is the caller's.
func (t *Trainer) saveAs(step int) error {
	t.state.Seed, t.state.Total = t.Config.Schedule.Seed, t.Config.Schedule.TotalSteps
	t.state.Path, t.state.SimPath = kernelPaths(&t.Config.Search, t.Policy.Model.Device)
	u := &t.Updater
	if u.KLTarget > 0 {
		t.state.KLCoef = u.Policy.KLCoef
	}
	var more []func(string) error
	if u.Values != nil {
		more = append(more, t.saveCritic)
	}
	if u.Average != nil {
		more = append(more, u.Average.Save)
	}
	return SaveCheckpoint(t.Out.Checkpoint(step), t.Policy, u.Trainer, t.state, t.SaveDType, more...)
}

// pathOf names the implementation that a device runs.
func pathOf(dev kernels.Device) string {
	if d, ok := dev.(interface{ Path() string }); ok {
		return d.Path()
	}
	return dev.Name()
}

// kernelPaths are those of the policy on dev, and of the simulator where that has a device of its own, or else "".
func kernelPaths(c *config.Search, dev kernels.Device) (policy, simulator string) {
	if c.Device != nil && c.Simulates() {
		simulator = pathOf(c.Device)
	}
	return pathOf(dev), simulator
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
	if _, err := os.Stat(best); err == nil && s.KeepBest {
		if err := disk.Link(filepath.Base(best), filepath.Join(t.Out.Dir, "checkpoints", "best")); err != nil {
			return fmt.Errorf("marking the best checkpoint: %w", err)
		}
	}
	if s.KeepLast == 0 {
		return nil
	}
	steps := track.Steps(t.Out.Dir)
	for _, old := range steps[:max(0, len(steps)-s.KeepLast)] {
		if s.KeepBest && old == t.state.BestStep {
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
	path, _, ok := track.Last(t.Out.Dir)
	switch diverged := errors.Is(err, train.ErrDiverged); {
	case diverged && ok:
		return fmt.Errorf("%w: go on from %s with a lower --lr, --resume auto --force", err, path)
	case diverged:
		return fmt.Errorf("%w: begin again with a lower --lr", err)
	case ok:
		return fmt.Errorf("%w: %s is whole: make room and go on from it with --resume auto", err, path)
	}
	return fmt.Errorf("%w: nothing was saved yet: make room and begin again", err)
}

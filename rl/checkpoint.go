package rl

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// State is trainer_state.json: what a run must know to go on, besides weights and moments. Everything random is keyed by seed
// and step, and questions are drawn by step, so a step number is all there is to remember.
type State struct {
	Step    int     `json:"step"`    // steps done, skipped updates included
	Skipped int     `json:"skipped"` // updates skipped because a gradient was not finite
	Seed    uint64  `json:"seed"`
	Best    float64 `json:"best"` // best score seen, for reports
}

const stateName = "trainer_state.json"

// SaveCheckpoint writes the folder dir: the model (or adapter) as others load it, the optimiser with the F32 masters, and the state. It
// is there whole or not at all.
func SaveCheckpoint(dir string, p *Opened, t *train.Trainer, st State, dtype kernels.DType) error {
	return train.SaveDir(dir, func(tmp string) error {
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
		b, err := json.MarshalIndent(st, "", "  ")
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(tmp, stateName), append(b, '\n'), 0o644)
	})
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

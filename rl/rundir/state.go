package rundir

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/rl/config"
)

// State is trainer_state.json: what a run must know to go on, besides weights and moments. Everything random is keyed
// by seed and step, and questions are drawn by step, so little has to be remembered.
type State struct {
	Step     int     `json:"step"`                  // steps done, skipped updates included
	Total    int     `json:"total_steps,omitempty"` // steps that the run was to have; 0: not known
	Skipped  int     `json:"skipped"`               // updates skipped because a loss or gradient was not finite
	Seed     uint64  `json:"seed"`
	Best     float64 `json:"best"`                // best held-out F1 yet
	BestStep int     `json:"best_step,omitempty"` // the step that had it; 0: none was measured
	HeldOut  string  `json:"held_out,omitempty"`  // digest of the questions that Best was measured on
	KLCoef   float64 `json:"kl_coef,omitempty"`   // weight of the KL, where it is adapted
	Success  float64 `json:"success,omitempty"`   // smoothed success rate, where the curriculum follows it
	// Path is the kernel path that computed the step: others give other bits.
	Path string `json:"kernel_path,omitempty"`
	// SimPath is the simulator's, where it has a device of its own.
	SimPath string `json:"sim_kernel_path,omitempty"`
	// Ranks is how many processes computed the step, if several: other numbers give other bits.
	Ranks int `json:"ranks,omitempty"`
	// Drawn is how many questions were drawn, where dynamic sampling draws more than a batch a step.
	Drawn int `json:"drawn,omitempty"`
	// Run is what the run came from: settings and contents.
	Run fingerprint.Parts `json:"run,omitempty"`
}

// StateName is the file of a checkpoint that holds its State.
const StateName = "trainer_state.json"

// SaveCheckpoint writes the folder dir: what parts write into it (model or adapter, optimizer, critic), then the state.
// It is there whole or not at all.
func SaveCheckpoint(dir string, st State, parts ...func(dir string) error) error {
	err := disk.ReplaceDir(dir, func(tmp string) error {
		for _, write := range parts {
			if err := write(tmp); err != nil {
				return err
			}
		}
		b, err := json.MarshalIndent(st, "", "  ")
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(tmp, StateName), append(b, '\n'), 0o644)
	})
	if err != nil {
		return fmt.Errorf("saving %s: %w", dir, err)
	}
	return nil
}

// ReadState reads what SaveCheckpoint wrote.
func ReadState(dir string) (State, error) {
	var st State
	b, err := os.ReadFile(filepath.Join(dir, StateName))
	if err != nil {
		return st, fmt.Errorf("resuming: %w: the folder is no checkpoint of a training run", err)
	}
	if err := json.Unmarshal(b, &st); err != nil || st.Step < 0 {
		return st, fmt.Errorf("resuming: %s in %s is damaged: resume from an earlier checkpoint", StateName, dir)
	}
	return st, nil
}

// partVerb names the verb that a checkpoint is of; train does not name itself.
const partVerb = "verb"

// MadeBy is the verb that made the checkpoint dir, train or sft; "" if the folder is no checkpoint.
func MadeBy(dir string) string {
	st, err := ReadState(dir)
	if err != nil {
		return ""
	}
	return cmp.Or(st.Run[partVerb], "train")
}

// Compare refuses to go on from the checkpoint dir of a run that came from something else than now; with force it only
// notes what. The state is then that of the run as it goes on.
func (st *State) Compare(dir string, now fingerprint.Parts, force bool) (notes []string, err error) {
	was := st.Run
	st.Run = now
	if was == nil || was[partVerb] != now[partVerb] {
		by := "does not say what it was made with, as one of an earlier version"
		if verb := was[partVerb]; was != nil {
			by = "was made by " + cmp.Or(verb, "train")
		}
		if !force {
			return nil,
				fmt.Errorf("resuming %s: it %s: begin with its weights, --model %s, or add --force to go on with its "+
					"optimizer too", dir, by, dir)
		}
		return []string{"resuming with --force: the checkpoint " + by}, nil
	}
	changed, unknown := Changes(was, now)
	if unknown {
		notes = append(notes, "the checkpoint was written by an earlier version, which did not record the content of "+
			"models: they are not compared")
	}
	if len(changed) == 0 {
		return notes, nil
	}
	if !force {
		return nil,
			fmt.Errorf("resuming %s: the inputs have changed: %s: undo the change, or add --force to resume anyway",
				dir,
				fingerprint.Sentence(changed))
	}
	return append(notes, fmt.Sprintf("resuming with --force: %s", fingerprint.Sentence(changed))), nil
}

// OnlyLast refuses to go on in the run directory out from dir, the checkpoint of step, where that would mix two runs:
// where out has later checkpoints, or where dir is none of out's and out holds a run.
func OnlyLast(out, dir string, step int) error {
	if !disk.Same(dir, Checkpoint(out, step)) {
		if out != "" && Holds(out) {
			return fmt.Errorf("resuming %s: %s holds another run: choose another --out", dir, out)
		}
		return nil
	}
	if _, last, _ := Last(out); last > step {
		return fmt.Errorf(
			"resuming %s: %s has later checkpoints, up to step %d: go on from the last with --resume auto, or "+
				"choose another --out", dir, out, last)
	}
	return nil
}

// Changes lists the inputs that have changed, in order. unknown says that an earlier version of the program did not
// record some of them in a form that can be compared.
func Changes(was, now fingerprint.Parts) (changed []fingerprint.Difference, unknown bool) {
	if _, same := now["data"]; !same { // a replay has no questions
		was = maps.Clone(was)
		delete(was, "data")
	}
	for _, v := range was {
		if strings.HasPrefix(v, fingerprint.Mark) {
			return fingerprint.Compare(was, now), false
		}
	}
	// It kept sizes and both ends of a model's files, a digest of the questions and one of the corpus.
	bare := func(p, beside fingerprint.Parts) fingerprint.Parts {
		out := fingerprint.Parts{}
		for k, v := range p {
			if _, both := beside[k]; !both && (config.NamesContent(k) || strings.Contains(k, ".")) {
				continue
			}
			content, is := strings.CutPrefix(v, "content:")
			if is || k == "data" {
				v = fingerprint.Mark + strings.TrimPrefix(content, fingerprint.Mark)
			}
			out[k] = v
		}
		return out
	}
	return fingerprint.Compare(bare(was, now), bare(now, was)), true
}

package rl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// fingerprint is all that a result of the run depends on: every setting by flag name, and contents. Flags that change
// no result of a step, or that a run may outgrow (--total-steps), carry the tag resume:"free".
func (t *Trainer) fingerprint() (fingerprint.Parts, error) {
	out := config.Settings(&t.Config)
	out.Merge(t.from)
	c := &t.Config
	for _, m := range []struct{ flag, dir string }{{"model", c.Policy.Model}, {"ref-model", c.Policy.RefModel},
		{"critic-model", c.Critic.Model}} {
		if m.dir == "" {
			continue
		}
		if err := roles.ModelParts(out, m.flag, m.dir); err != nil {
			return nil, err
		}
	}
	if head := filepath.Join(c.Critic.Model, "value_head.safetensors"); c.Critic.Model != "" {
		if err := out.File("critic-model.value head", head); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	if c.Policy.Adapter != "" {
		if err := roles.AdapterParts(out, c.Policy.Adapter); err != nil {
			return nil, err
		}
	}
	if c.Policy.ChatTemplate != "" {
		if err := out.File("chat-template", c.Policy.ChatTemplate); err != nil {
			return nil, err
		}
	}
	if t.Data != nil {
		out["data"] = fingerprint.Mark + t.Data.Train.Digest()
	}
	if t.environment != nil {
		out["environment"] = "of a program"
	}
	if t.scorer != nil {
		out["reward"] = "of a program"
		return out, nil
	}
	return out, rewardParts(out, c.Algo.Reward)
}

// rewardParts adds the name of a reward without the folders of the files that it names, which may lie elsewhere, and
// what those files hold.
func rewardParts(p fingerprint.Parts, name string) error {
	before, command, is := strings.Cut(name, "exec:")
	if !is {
		return nil
	}
	words := strings.Fields(command)
	for i, w := range words {
		st, err := os.Stat(w)
		if err != nil || !st.Mode().IsRegular() {
			continue
		}
		words[i] = filepath.Base(w)
		if err := p.File("reward."+words[i], w); err != nil {
			return err
		}
	}
	p["reward"] = before + "exec:" + strings.Join(words, " ")
	return nil
}

// heldOut tells the questions that the policy is measured on apart from others.
func (t *Trainer) heldOut() string {
	if t.Data == nil || len(t.Data.Eval) == 0 {
		return ""
	}
	return (&data.Set{Questions: t.Data.Eval}).Digest()
}

// compareBest forgets the best score if it was measured on other questions: scores on different questions cannot be
// compared.
func (t *Trainer) compareBest(st *rundir.State) {
	if now := t.heldOut(); now != "" && st.HeldOut != "" && st.HeldOut != now {
		t.Notes = append(t.Notes,
			fmt.Sprintf("the held-out questions have changed since step %d: --keep-best starts anew",
				st.BestStep))
		st.Best, st.BestStep, st.HeldOut = 0, 0, ""
	}
}

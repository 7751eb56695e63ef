package rl

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/track"
)

// ModelParts adds to p what the model of a flag holds: the folder dir (a run directory stands for its last
// checkpoint) or, where that is an adapter, the adapter and the base that it names.
func ModelParts(p fingerprint.Parts, flag, dir string) error {
	dir, err := track.ModelDir(dir)
	if err != nil {
		return err
	}
	if _, err := model.ReadAdapterConfig(dir); err == nil {
		if err := p.Adapter(flag+"."+fingerprint.Adapter, dir); err != nil {
			return err
		}
		base, _, err := AdapterBase(dir)
		if err != nil || base == "" {
			return nil // what has no base at hand, and was opened all the same, lies over the policy's: a part of its own
		}
		dir = base
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return p.Model(flag, dir)
}

// AdapterParts adds to p what the adapter of the flag --adapter holds.
func AdapterParts(p fingerprint.Parts, dir string) error {
	dir, err := track.ModelDir(dir)
	if err != nil {
		return err
	}
	return p.Adapter("adapter", dir)
}

// SearchParts is what the searches of an open engine come from, the settings apart: simulator, corpus, recorded
// episodes, the name of a remote model.
func SearchParts(c *config.Search, e *Engines) (fingerprint.Parts, error) {
	p := fingerprint.Parts{}
	p.Merge(e.Parts)
	switch {
	case c.SimulationLLM == "same" || c.SimulationLLM == "":
		p["simulation-llm"] = "same"
	case c.Simulates():
		if err := ModelParts(p, "simulation-llm", c.SimulationLLM); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// contentFlags are flags whose value is a path. What the path holds is compared by parts of their own, wherever it
// lies.
var contentFlags = map[string]bool{"model": true, "adapter": true, "ref-model": true, "critic-model": true,
	"simulation-llm": true, "corpus": true,
	"search-episodes": true, "remote-model": true, "chat-template": true, "data": true}

// Free reports whether the value of a flag is no setting to be compared: contents are compared instead, and secrets
// are kept nowhere.
func Free(flag, resume string) bool {
	return resume == "free" || contentFlags[flag] || strings.Contains(flag, "api-key")
}

// fingerprint is all that a result of the run depends on: every setting by flag name, and contents. Flags that change
// no result of a step, or that a run may outgrow (--total-steps), carry the tag resume:"free".
func (t *Trainer) fingerprint() (fingerprint.Parts, error) {
	out := settings(&t.Config)
	out.Merge(t.from)
	c := &t.Config
	for _, m := range []struct{ flag, dir string }{{"model", c.Policy.Model}, {"ref-model", c.Policy.RefModel},
		{"critic-model", c.Critic.Model}} {
		if m.dir == "" {
			continue
		}
		if err := ModelParts(out, m.flag, m.dir); err != nil {
			return nil, err
		}
	}
	if head := filepath.Join(c.Critic.Model, "value_head.safetensors"); c.Critic.Model != "" {
		if err := out.File("critic-model.value head", head); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	if c.Policy.Adapter != "" {
		if err := AdapterParts(out, c.Policy.Adapter); err != nil {
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
	return out, rewardParts(out, c.Algo.Reward)
}

// settings are the flags of c that are no contents, by name, those that are given.
func settings(c *config.Config) fingerprint.Parts {
	out := fingerprint.Parts{}
	all := reflect.ValueOf(c).Elem()
	for i := range all.NumField() {
		group := all.Field(i)
		for k := range group.NumField() {
			f := group.Type().Field(k)
			name := f.Tag.Get("name")
			if name == "" || Free(name, f.Tag.Get("resume")) {
				continue
			}
			v := group.Field(k)
			if v.Kind() == reflect.Pointer {
				if v.IsNil() {
					continue
				}
				out[name] = fmt.Sprint(v.Elem().Interface()) // given, if only as 0 or false
			} else if !v.IsZero() {
				out[name] = fmt.Sprint(v.Interface())
			}
		}
	}
	return out
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
func (t *Trainer) compareBest(st *State) {
	if now := t.heldOut(); now != "" && st.HeldOut != "" && st.HeldOut != now {
		t.Notes = append(t.Notes,
			fmt.Sprintf("the held-out questions are others than those of step %d: --keep-best begins to compare anew",
				st.BestStep))
		st.Best, st.BestStep, st.HeldOut = 0, 0, ""
	}
}

// changes lists what is not as it was, in order; unknown names parts that an earlier version of the program did not
// keep so that they could be compared.
func changes(was, now fingerprint.Parts) (changed []fingerprint.Difference, unknown bool) {
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
			if _, both := beside[k]; !both && (contentFlags[k] || strings.Contains(k, ".")) {
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

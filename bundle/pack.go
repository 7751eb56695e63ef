package bundle

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// InBundle begins a path of a recipe that is in the bundle.
const InBundle = "bundle:"

// Packer collects the files that a recipe names.
type Packer struct {
	WithModel bool              // take the model folders, too
	Sources   []Source          // what was found
	Places    map[string]string // by flag: its value with places in the bundle
	Missing   []string          // what the recipe names and is not taken
	folders   map[string]string // of models: where they are in the bundle
}

// Collect goes through the flags that name files.
func (p *Packer) Collect(c config.Config) error {
	p.folders, p.Places = map[string]string{}, map[string]string{}
	for _, f := range []struct {
		flag, value string
		pack        func(value string) (string, error)
	}{
		{"data", c.Data.Data, p.data},
		{"eval-data", c.Data.EvalData, p.data},
		{"corpus", c.Search.Corpus, p.corpus},
		{"search-episodes", c.Search.SearchEpisodes, func(v string) (string, error) { return p.file("episodes", v) }},
		{"chat-template", c.Policy.ChatTemplate, func(v string) (string, error) { return p.file("templates", v) }},
		{"reward", c.Algo.Reward, p.reward},
		{"adapter", c.Policy.Adapter, func(v string) (string, error) { return p.model("adapter", v) }},
		{"model", c.Policy.Model, func(v string) (string, error) { return p.policy(c, v) }},
		{"ref-model", c.Policy.RefModel, func(v string) (string, error) { return p.whole("ref-model", v) }},
		{"critic-model", c.Critic.Model, func(v string) (string, error) { return p.whole("critic-model", v) }},
		{"simulation-llm", c.Search.SimulationLLM, func(v string) (string, error) { return p.simulator(c, v) }},
	} {
		if f.value == "" {
			continue
		}
		place, err := f.pack(f.value)
		if err != nil {
			return fmt.Errorf("--%s: %w", f.flag, err)
		}
		p.Places[f.flag] = place
	}
	return nil
}

// place finds a name in folder that is not taken.
func (p *Packer) place(folder, name string) string {
	taken := func(at string) bool {
		return slices.ContainsFunc(p.Sources, func(s Source) bool { return s.Name == at || strings.HasPrefix(s.Name, at+"/") })
	}
	at := path.Join(folder, name)
	for n := 2; taken(at); n++ {
		at = path.Join(folder, fmt.Sprint(n), name)
	}
	return at
}

// file takes one file; its name stays, because rows without a data source are called after it.
func (p *Packer) file(folder, name string) (string, error) {
	st, err := os.Stat(name)
	if err != nil {
		return "", err
	}
	if !st.Mode().IsRegular() {
		return "", fmt.Errorf("%s is no file", name)
	}
	for _, s := range p.Sources { // twice the same
		if s.Path == name {
			return InBundle + s.Name, nil
		}
	}
	at := p.place(folder, filepath.Base(name))
	p.Sources = append(p.Sources, Source{Name: at, Path: name})
	return InBundle + at, nil
}

func (p *Packer) data(list string) (string, error) {
	return data.Rename(list, func(file string) (string, error) { return p.file("data", file) })
}

// corpus takes files, and folders with all that is not hidden.
func (p *Packer) corpus(list string) (string, error) {
	var out []string
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		if st, err := os.Stat(name); err != nil || !st.IsDir() {
			at, err := p.file("corpus", name)
			if err != nil {
				return "", err
			}
			out = append(out, at)
			continue
		}
		at := p.place("corpus", filepath.Base(filepath.Clean(name)))
		err := data.Walk(name, func(file string, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(name, file)
			p.Sources = append(p.Sources, Source{Name: path.Join(at, filepath.ToSlash(rel)), Path: file})
			return err
		})
		if err != nil {
			return "", err
		}
		out = append(out, InBundle+at)
	}
	return strings.Join(out, ","), nil
}

// reward takes what exec:PROGRAM ARGUMENTS names and is a file here. What the system finds elsewhere, such as an
// interpreter, must be found there too.
func (p *Packer) reward(name string) (string, error) {
	before, command, is := strings.Cut(name, "exec:")
	words := strings.Fields(command)
	if !is || len(words) == 0 {
		return name, nil
	}
	for i, word := range words {
		st, err := os.Stat(word)
		switch local := !filepath.IsAbs(word) && (i > 0 || strings.ContainsAny(word, `/\`)); {
		case i == 0 && !local:
			p.Missing = append(p.Missing, "the reward program "+word)
		case i == 0 || local && err == nil && st.Mode().IsRegular():
			if words[i], err = p.file("programs", word); err != nil {
				return "", err
			}
		}
	}
	return before + "exec:" + strings.Join(words, " "), nil
}

// policy takes the policy; an adapter becomes its base and --adapter.
func (p *Packer) policy(c config.Config, name string) (string, error) {
	base, err := baseOf(name)
	if err != nil || base == "" || !p.WithModel {
		return p.model("model", name)
	}
	if c.Policy.Adapter != "" {
		return "", fmt.Errorf("%s is an adapter itself, and --adapter is given", name)
	}
	at, err := p.model("adapter", name)
	if err != nil {
		return "", err
	}
	p.Places["adapter"] = at
	return p.model("model", base)
}

// simulator takes the simulator; an adapter must be one over the policy's base.
func (p *Packer) simulator(c config.Config, name string) (string, error) {
	if name == "same" || !c.Search.Simulates() {
		return name, nil
	}
	shares := c.Policy.LoRAR > 0 || p.Places["adapter"] != ""
	if shares && p.WithModel && (c.Search.SimDType == "" || c.Search.SimDType == c.Policy.DType) {
		_, base, err := roles.ReadShape(c.Policy.Model)
		if err != nil {
			return "", err
		}
		made, _, err := roles.MadeFor(name, base)
		if err != nil {
			return "", err
		}
		if made {
			return p.model("simulation-llm", name)
		}
	}
	return p.whole("simulation-llm", name)
}

// whole takes a folder that is no adapter.
func (p *Packer) whole(flag, name string) (string, error) {
	if base, err := baseOf(name); err == nil && base != "" && p.WithModel {
		return "", fmt.Errorf("%s is an adapter over %s, and a bundle takes adapters of the policy only: give a whole model, or leave the models out with --without-model", name, base)
	}
	return p.model(flag, name)
}

// baseOf is the folder of the base of an adapter's folder, or of that of a run; "" for other folders.
func baseOf(name string) (string, error) {
	dir, err := rundir.ModelDir(name)
	if err != nil {
		return "", err
	}
	base, _, err := roles.AdapterBase(dir)
	return base, err
}

// model takes what opens a model from its folder: weights, configurations, tokenizer and template, and its licence; no
// optimiser.
func (p *Packer) model(flag, name string) (string, error) {
	if !p.WithModel {
		p.Missing = append(p.Missing, "--"+flag+" "+name)
		return name, nil
	}
	dir, err := rundir.ModelDir(name)
	if err != nil {
		return "", fmt.Errorf("%w: or leave the models out with --without-model", err)
	}
	if at, ok := p.folders[dir]; ok {
		return at, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	const templates = "additional_chat_templates"
	if more, err := os.ReadDir(filepath.Join(dir, templates)); err == nil {
		for _, e := range more {
			names = append(names, path.Join(templates, e.Name()))
		}
	}
	at := p.place("models", filepath.Base(abs))
	for _, name := range names {
		if file := filepath.Join(dir, filepath.FromSlash(name)); ofModel(path.Base(name)) {
			if st, err := os.Stat(file); err == nil && st.Mode().IsRegular() {
				p.Sources = append(p.Sources, Source{Name: path.Join(at, name), Path: file})
			}
		}
	}
	p.folders[dir] = InBundle + at
	return InBundle + at, nil
}

func ofModel(name string) bool {
	switch {
	case name == "optimizer.safetensors", name == "trainer_state.json", strings.HasPrefix(name, "."):
		return false
	case strings.HasPrefix(name, "LICENSE"), strings.HasPrefix(name, "NOTICE"):
		return true
	}
	return slices.Contains([]string{".safetensors", ".json", ".jinja"}, filepath.Ext(name))
}

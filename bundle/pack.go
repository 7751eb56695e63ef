package bundle

import (
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/zerosearch-go/zerosearch/internal/gguf"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// InBundle is the prefix of paths in a recipe that refer to files of the bundle.
const InBundle = "bundle:"

// Packer collects the files that a recipe names.
type Packer struct {
	WithModel bool              // include the model folders
	Sources   []Source          // the collected files
	Places    map[string]string // flag -> its value with paths in the bundle
	Missing   []string          // what the recipe needs but the bundle does not contain
	folders   map[string]string // model folder -> its path in the bundle
}

// Collect collects the files of all flags that name files.
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
		{"ref-model", c.Policy.RefModel, func(v string) (string, error) { return p.fullModel("ref-model", v) }},
		{"critic-model", c.Critic.Model, func(v string) (string, error) { return p.fullModel("critic-model", v) }},
		{"embedding-model", c.Search.Embedding, func(v string) (string,
			error) {
			return p.fullModel("embedding-model", v)
		}},
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

// place returns an unused path in the bundle's folder.
func (p *Packer) place(folder, name string) string {
	taken := func(at string) bool {
		return slices.ContainsFunc(p.Sources, func(s Source) bool {
			return s.Name == at ||
				strings.HasPrefix(s.Name, at+"/")
		})
	}
	at := path.Join(folder, name)
	for n := 2; taken(at); n++ {
		at = path.Join(folder, fmt.Sprint(n), name)
	}
	return at
}

// file adds one file. It keeps its name, because rows without a data source get the file's name as their source.
func (p *Packer) file(folder, name string) (string, error) {
	name, err := data.File(name)
	if err != nil {
		return "", err
	}
	st, err := os.Stat(name)
	if err != nil {
		return "", err
	}
	if !st.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a regular file", name)
	}
	for _, s := range p.Sources { // added already
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

// corpus adds files, and all files in folders that are not hidden.
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

// reward adds the program and arguments of exec:PROGRAM ARGUMENTS that are files with a relative path. A program in
// PATH, such as an interpreter, is not added: the other machine must have it.
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

// policy adds the policy. If it is an adapter, its base becomes --model and the adapter --adapter.
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

// simulator adds the simulator. If it is an adapter, its base must be the policy's.
func (p *Packer) simulator(c config.Config, name string) (string, error) {
	if c.Search.OwnSimulator() || !c.Search.Simulates() {
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
	return p.fullModel("simulation-llm", name)
}

// fullModel adds a model folder that is not an adapter.
func (p *Packer) fullModel(flag, name string) (string, error) {
	if base, err := baseOf(name); err == nil && base != "" && p.WithModel {
		return "", fmt.Errorf("%s is an adapter over %s, but a bundle can contain adapters of the policy only: give "+
			"a full model, or leave the models out with --without-model", name, base)
	}
	return p.model(flag, name)
}

// baseOf is the folder of an adapter's base model; name is an adapter folder, or a run whose checkpoint is an adapter.
// "" for others.
func baseOf(name string) (string, error) {
	dir, err := rundir.ModelDir(name)
	if err != nil {
		return "", err
	}
	base, _, err := roles.AdapterBase(dir)
	return base, err
}

// model adds the files of a model folder that are needed to load it: weights, configuration, tokenizer, chat template
// and licence, but not the optimizer state.
func (p *Packer) model(flag, name string) (string, error) {
	if !p.WithModel {
		p.Missing = append(p.Missing, "--"+flag+" "+name)
		return name, nil
	}
	dir, err := rundir.ModelDir(name)
	if err != nil {
		return "", fmt.Errorf("%w: or leave the models out with --without-model", err)
	}
	if gguf.Is(dir) {
		return p.file("models", dir)
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

// ofModel reports whether a file of this name belongs to a model.
func ofModel(name string) bool {
	switch {
	case name == "optimizer.safetensors", name == "trainer_state.json", strings.HasPrefix(name, "."):
		return false
	case strings.HasPrefix(name, "LICENSE"), strings.HasPrefix(name, "NOTICE"):
		return true
	}
	return slices.Contains([]string{".safetensors", ".json", ".jinja"}, filepath.Ext(name))
}

// Recipe is the configuration in the YAML text settings with the places in the bundle for those of files, and without
// the keys of left.
func (p *Packer) Recipe(settings []byte, left ...string) ([]byte, error) {
	var all, kept yaml.MapSlice
	if err := yaml.UnmarshalWithOptions(settings, &all, yaml.UseOrderedMap()); err != nil {
		return nil, fmt.Errorf("making the bundle's recipe: %w", err)
	}
	seen := map[string]bool{}
	for _, item := range all {
		name := fmt.Sprint(item.Key)
		if slices.Contains(left, name) {
			continue
		}
		if place, ok := p.Places[name]; ok {
			item.Value, seen[name] = place, true
		}
		kept = append(kept, item)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Places)) { // flags that had no value
		if !seen[name] {
			kept = append(kept, yaml.MapItem{Key: name, Value: p.Places[name]})
		}
	}
	text, err := yaml.Marshal(kept)
	if err != nil {
		return nil, fmt.Errorf("making the bundle's recipe: %w", err)
	}
	return text, nil
}

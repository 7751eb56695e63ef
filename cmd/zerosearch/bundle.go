package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/bundle"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/rollout"
)

// bundleCmd takes the flags of train: together with --config they are the recipe.
type bundleCmd struct {
	common
	simFlags
	Options   config.Config `embed:""`
	Output    string        `name:"output" short:"o" help:"The executable to make." placeholder:"FILE"`
	WithModel bool          `name:"with-model" negatable:"without-model" default:"true" help:"Include the model folders that the recipe names; without them they must be present where the bundle trains."`
	Program   string        `name:"program" help:"The zerosearch executable that carries the bundle, such as one built for another system (default: this one)." placeholder:"FILE"`
}

// bundleFlags are the verb's own: no part of the recipe.
var bundleFlags = []string{"output", "with-model", "program"}

// recipeName is the recipe in a bundle: a config.yaml in which paths begin with bundle.InBundle.
const recipeName = "recipe.yaml"

func (c *bundleCmd) Run(w *world) error {
	w.keepsGoing()
	if err := c.check(w); err != nil {
		return err
	}
	program, m, err := c.program()
	if err != nil {
		return err
	}
	p := &bundle.Packer{WithModel: c.WithModel}
	if err := p.Collect(c.Options); err != nil {
		return fmt.Errorf("making the bundle: %w", err)
	}
	settings, err := w.resolved()
	if err != nil {
		return err
	}
	recipe, err := p.Recipe(settings, bundleFlags...)
	if err != nil {
		return err
	}
	p.Sources = append([]bundle.Source{{Name: recipeName, Data: recipe}}, p.Sources...)
	done, err := bundle.Write(w.ctx, c.Output, program, m, p.Sources)
	if err != nil {
		return fmt.Errorf("making the bundle %s: %w", c.Output, err)
	}
	st, err := os.Stat(c.Output)
	if err != nil {
		return fmt.Errorf("making the bundle: %w", err)
	}
	r := bundleResult{File: c.Output, Bytes: st.Size(), Manifest: *done, Missing: p.Missing}
	b, err := bundle.Open(c.Output)
	if err != nil {
		return fmt.Errorf("making the bundle %s: %w", c.Output, err)
	}
	defer b.Close()
	r.Program = b.Program()
	if c.JSON {
		return writeJSON(w, r)
	}
	return r.print(w)
}

// check refuses, before anything is copied, what would not train where the bundle is used.
func (c *bundleCmd) check(w *world) error {
	var part map[string]any
	if err := section(c.Config, "replay", &part); err != nil {
		return usageError{err}
	}
	switch {
	case c.Output == "":
		return usagef("--output is missing: name the executable to make, as in -o mytrain")
	case part != nil:
		return usagef("--config %s has a replay, and a bundle trains by rolling out: leave it out", c.Config)
	case slices.Contains([]string{c.Options.Data.Data, c.Options.Data.EvalData}, "-"):
		return usagef("standard input cannot be put into a bundle: save it to a file first")
	}
	if err := (&trainCmd{common: c.common, simFlags: c.simFlags, Options: c.Options}).check(w); err != nil {
		return err
	}
	if _, err := os.Lstat(c.Output); err == nil {
		return fmt.Errorf("making the bundle: %s exists: remove it, or choose another --output", c.Output)
	}
	if _, err := os.Stat(filepath.Dir(c.Output)); err != nil {
		return fmt.Errorf("making the bundle %s: %w", c.Output, err)
	}
	_, err := rollout.LoadQuestions(c.Options.Data)
	return err
}

// program is the executable to begin with, and what the manifest says of it.
func (c *bundleCmd) program() (string, bundle.Manifest, error) {
	if c.Program != "" {
		info, err := bundle.Program(c.Program)
		if err != nil {
			return "", bundle.Manifest{}, fmt.Errorf("making the bundle: --program: %w", err)
		}
		return c.Program, bundle.Manifest{Version: versionOf(strings.TrimPrefix(info.Main.Version, "v"), info),
			Platform: bundle.Platform(info)}, nil
	}
	exe, err := os.Executable()
	if err != nil {
		err = fmt.Errorf("making the bundle: finding this program: %w: name it with --program", err)
	}
	return exe, bundle.Manifest{Version: version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}, err
}

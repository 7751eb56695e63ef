package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"

	"github.com/zerosearch-go/zerosearch/bundle"
	"github.com/zerosearch-go/zerosearch/internal/commandline"
)

// A program that carries a bundle trains when no verb is given; with one it is zerosearch as always.

// carried is the bundle in this executable; nil if there is none, or a verb is given.
func carried(args []string) (*bundle.Bundle, error) {
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") || slices.Contains(args, "--version") {
		return nil, nil
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, nil
	}
	b, err := bundle.Open(exe)
	switch {
	case err == nil:
		return b, nil
	case !errors.Is(err, bundle.ErrNone):
	case asksHelp(args) || !bundle.CutOff(exe):
		return nil, nil
	default:
		err = bundle.ErrDamaged
	}
	return nil, fmt.Errorf("opening the bundle %s: %w", exe, err)
}

// bundled is a bundle that runs.
type bundled struct {
	*bundle.Bundle
	recipe         map[string]any
	args           []string
	stdout, stderr io.Writer
}

// runBundle trains as the recipe says, where args do not say otherwise, or goes on with it.
func runBundle(b *bundle.Bundle, args []string, stdin io.Reader, stdout, stderr io.Writer, log *progress) int {
	defer b.Close()
	w, stop := newWorld(stdin, stdout, log)
	defer stop()
	r := &bundled{Bundle: b, args: args, stdout: stdout, stderr: stderr}
	w.again = r.command(args...)
	return w.report(r.run(w))
}

// command is how this program is called.
func (b *bundled) command(args ...string) string {
	words := []string{shellWord(os.Args[0])}
	for _, a := range args {
		words = append(words, shellWord(a))
	}
	return strings.Join(words, " ")
}

func (b *bundled) run(w *world) error {
	text, err := b.Read(recipeName)
	if err == nil {
		err = yaml.Unmarshal(text, &b.recipe)
	}
	if err != nil {
		return fmt.Errorf("reading the bundle's recipe: %w", err)
	}
	if asksHelp(b.args) {
		return b.help()
	}
	if slices.ContainsFunc(b.args, func(a string) bool {
		return a == "--config" ||
			strings.HasPrefix(a, "--config=")
	}) {
		return usagef("this bundle has its recipe: leave --config out and give flags, or use %s",
			b.command("train", "--config", "FILE"))
	}
	flags, err := b.parse("") // to know --out, and before any work that the flags are right
	if err != nil {
		return err
	}
	dir := b.folder(flags)
	if !exists(dir) {
		w.log.line("unpacking %s to %s", bytesText(b.Size()), dir)
	}
	if err := b.Unpack(w.ctx, dir); err != nil {
		return fmt.Errorf("unpacking the bundle: %w", err)
	}
	if w.flags, err = b.parse(dir); err != nil {
		return err
	}
	return w.flags.Run(w)
}

// folder is where the files go: beside the run, so that other runs of the same bundle share them.
func (b *bundled) folder(flags *kong.Context) string {
	out := "run"
	for _, group := range flags.Selected().AllFlags(true) {
		for _, f := range group {
			if f.Name == "out" {
				out = fmt.Sprint(flags.FlagValue(f))
			}
		}
	}
	return filepath.Join(filepath.Dir(filepath.Clean(out)), "bundle-"+b.ID)
}

// parse reads the arguments as those of train with the recipe below them; dir is where the recipe's files are.
func (b *bundled) parse(dir string) (*kong.Context, error) {
	parser, err := newParser(b.stdout, b.stderr)
	if err != nil {
		return nil, err
	}
	values := map[string]any{}
	for k, v := range b.recipe {
		if s, ok := v.(string); ok && dir != "" {
			v = strings.ReplaceAll(s, bundle.InBundle, filepath.ToSlash(dir)+"/")
		}
		values[k] = v
	}
	if err := kong.Resolvers(&commandline.Values{Path: "of the bundle", Values: values, Sections: sections}).Apply(parser); err != nil {
		return nil, err
	}
	flags, err := parser.Parse(append([]string{"train", "--resume=auto"}, b.args...))
	if err != nil {
		err = usagef("%s: see %s", errorLine(err), b.command("--help"))
	}
	return flags, err
}

package main

import (
	"fmt"
	"os"
	"reflect"
	"slices"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"

	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/roles"
)

// notInConfig are flags that say how a command is run, not what it does: they are not part of a run's config.yaml.
var notInConfig = map[string]bool{"help": true, "version": true, "config": true, "json": true, "verbose": true,
	"dry-run": true, "resume": true, "replay": true, "ui": true}

// given says whether a flag of this name was set on the command line itself, not in the environment or --config.
func (w *world) given(name string) bool {
	for _, p := range w.flags.Path {
		if p.Flag != nil && !p.Resolved && p.Flag.Name == name {
			return true
		}
	}
	return false
}

// chosen says whether a flag of this name has a value from the user: on the command line, in the environment or in
// --config.
func (w *world) chosen(name string) bool {
	for _, p := range w.flags.Path {
		if p.Flag != nil && p.Flag.Name == name {
			return true
		}
	}
	for _, group := range w.flags.Selected().AllFlags(true) {
		for _, f := range group {
			if f.Name == name && slices.ContainsFunc(f.Envs, func(env string) bool { return os.Getenv(env) != "" }) {
				return true
			}
		}
	}
	return false
}

// resolved is a run's config.yaml: every flag of the verb with the value in use, in the order of the help, so that
// --config FILE gives the same run again. extra entries follow.
func (w *world) resolved(extra ...yaml.MapItem) ([]byte, error) {
	var all yaml.MapSlice
	for _, group := range w.flags.Selected().AllFlags(true) {
		for _, f := range group {
			if v, ok := plain(w.flags, f); ok {
				all = append(all, yaml.MapItem{Key: f.Name, Value: v})
			}
		}
	}
	text, err := yaml.Marshal(append(all, extra...))
	if err != nil {
		return nil, fmt.Errorf("writing config.yaml: %w", err)
	}
	return append([]byte("# zerosearch "+w.flags.Selected().Name+", "+version()+"\n"), text...), nil
}

// plain is a flag's value without pointers; false for flags that have none or do not belong into a configuration.
func plain(c *kong.Context, f *kong.Flag) (any, bool) {
	if notInConfig[f.Name] || f.Hidden {
		return nil, false
	}
	v := reflect.ValueOf(c.FlagValue(f))
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil, false
		}
		v = v.Elem()
	}
	if !v.IsValid() || v.Kind() == reflect.String && v.Len() == 0 || v.Kind() == reflect.Slice && v.Len() == 0 {
		return nil, false
	}
	return v.Interface(), true
}

// settings are the verb's flags that are no contents, by name, but for those in free and those with the tag
// resume:"free".
func (w *world) settings(free ...string) fingerprint.Parts {
	out := fingerprint.Parts{}
	for _, group := range w.flags.Selected().AllFlags(true) {
		for _, flag := range group {
			v, ok := plain(w.flags, flag)
			if ok && !slices.Contains(free, flag.Name) && !config.Free(flag.Name, flag.Tag.Get("resume")) {
				out[flag.Name] = fmt.Sprint(v)
			}
		}
	}
	return out
}

// modelContents adds what the folders and the file of --model, --adapter and --chat-template hold.
func modelContents(p fingerprint.Parts, model, adapter, template string) error {
	err := roles.ModelParts(p, "model", model)
	if err == nil && adapter != "" {
		err = roles.AdapterParts(p, adapter)
	}
	if err == nil && template != "" {
		err = p.File("chat-template", template)
	}
	return err
}

// section reads the mapping that belongs to the verb itself out of --config. Unknown keys are refused.
func section(path, name string, into any) error {
	if path == "" {
		return nil
	}
	source, err := data.ReadText(path)
	if err != nil {
		return fmt.Errorf("reading --config: %w", err)
	}
	values := map[string]any{}
	if err := yaml.Unmarshal(source, &values); err != nil {
		return fmt.Errorf("reading --config %s: %w", path, err)
	}
	part, ok := values[name].(map[string]any)
	if !ok {
		return nil
	}
	text, err := yaml.Marshal(part)
	if err == nil {
		err = yaml.UnmarshalWithOptions(text, into, yaml.Strict())
	}
	if err != nil {
		return fmt.Errorf("reading %q of --config %s: %s", name, path, oneLine(yaml.FormatError(err, false, false)))
	}
	return nil
}

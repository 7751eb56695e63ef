package commandline

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/zerosearch-go/zerosearch/internal/disk"
)

// Values gives a parser the values of a YAML file, below those of the environment and of the command line. Keys are
// flag names, with - or _.
type Values struct {
	Path   string // for errors
	Values map[string]any
	// Sections are the keys that belong to a verb itself, which reads the mapping behind them.
	Sections []string
	// Note is for the user: about a value that was not taken as it stands.
	Note string
}

// own is the folder that the file lies in, if it is the config.yaml of a run or an evaluation there; else "".
func (y *Values) own() string {
	dir, name := filepath.Split(y.Path)
	run, evaluation := filepath.Join(dir, "metrics.jsonl"), filepath.Join(dir, "settings.json")
	if name != "config.yaml" {
		return ""
	}
	for _, file := range []string{run, evaluation} {
		if _, err := os.Stat(file); err == nil {
			return filepath.Clean(dir)
		}
	}
	return ""
}

// Validate refuses keys that no verb has.
func (y *Values) Validate(app *kong.Application) error {
	known := map[string]bool{}
	for _, name := range y.Sections {
		known[name] = true
	}
	for _, leaf := range app.Leaves(false) {
		for _, group := range leaf.AllFlags(false) {
			for _, f := range group {
				known[f.Name] = true
			}
		}
	}
	var bad []string
	for k := range y.Values {
		dashed := strings.ReplaceAll(k, "_", "-")
		if _, twice := y.Values[dashed]; twice && dashed != k {
			return fmt.Errorf("reading --config %s: %s and %s are the same key: give one of them", y.Path, dashed, k)
		}
		if !known[dashed] {
			bad = append(bad, k)
		}
	}
	if len(bad) > 0 {
		sort.Strings(bad)
		return fmt.Errorf("reading --config %s: unknown key %s: keys are flag names", y.Path, strings.Join(bad, ", "))
	}
	return nil
}

// Resolve gives the value of one flag, unless the environment has one.
func (y *Values) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, env := range flag.Envs {
		if _, ok := os.LookupEnv(env); ok {
			return nil, nil
		}
	}
	for _, name := range []string{flag.Name, strings.ReplaceAll(flag.Name, "-", "_")} {
		v, ok := y.Values[name]
		if !ok {
			continue
		}
		if section, is := v.(map[string]any); is && slices.Contains(y.Sections, flag.Name) {
			v = section["file"] // the verb reads the mapping; it may name its file
		} else if is && !flag.IsMap() {
			return nil, fmt.Errorf("reading --config %s: %s holds a mapping where one value is expected", y.Path, name)
		}
		// A folder that was renamed, or is named from another working directory, goes on where it is, not where it was.
		if own, out := y.own(), fmt.Sprint(v); flag.Name == "out" && own != "" && !disk.Same(own, out) {
			y.Note = fmt.Sprintf(
				"going on in %s, where %s lies, not in %s as it says there: --out names another folder",
				own, y.Path, out)
			return own, nil
		}
		return Scalar(v), nil
	}
	return nil, nil
}

// Scalar is a value of YAML as the parser of flags reads it: lists and mappings as text with commas, numbers as text.
func Scalar(v any) any {
	switch v := v.(type) {
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = fmt.Sprint(e)
		}
		return strings.Join(parts, ",")
	case bool:
		return v
	case nil:
		return nil
	case map[string]any:
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, fmt.Sprintf("%s=%v", k, v[k]))
		}
		return strings.Join(parts, ",")
	}
	return fmt.Sprint(v)
}

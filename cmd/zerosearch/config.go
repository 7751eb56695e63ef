package main

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"

	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/kernels/devices"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/data"
)

// common are the flags of every verb that computes.
type common struct {
	Config  string `name:"config" help:"YAML file with values for any flag, by flag name." placeholder:"FILE"`
	JSON    bool   `name:"json" help:"Print the result as JSON on stdout, and nothing else."`
	Device  string `name:"device" type:"device" help:"auto (a GPU where one can be used, else the cpu), cpu, cuda, cuda:N or ref." default:"auto"`
	Threads int    `name:"threads" help:"Threads to compute with; 0: all usable cores." default:"0"`
	Verbose bool   `name:"verbose" short:"v" help:"Say more."`
}

// simFlags choose where the simulator runs.
type simFlags struct {
	SimDevice string `name:"sim-device" type:"device" help:"Device of the simulator (default: that of --device)." placeholder:"DEVICE"`
}

// check refuses a device of nobody.
func (f simFlags) check(s *config.Search) error {
	if f.SimDevice != "" && !s.Simulates() {
		return usagef("--sim-device is of no use with --search-mode %s: no model in this process writes the results",
			s.Mode)
	}
	return nil
}

// checkSearch refuses what cannot be searched, before anything is opened.
func (f simFlags) checkSearch(s *config.Search) error {
	if err := s.Check(); err != nil {
		return usageError{err}
	}
	if err := f.check(s); err != nil {
		return err
	}
	if _, err := config.WeightType("--sim-dtype", s.SimDType); err != nil {
		return usageError{err}
	}
	return nil
}

// open makes the device of the simulator in s, beside the one of c; it stays nil where they are the same. The caller
// closes it by what is returned.
func (f simFlags) open(w *world, c common, s *config.Search) (closer func(), err error) {
	if err := f.check(s); err != nil {
		return nil, err
	}
	if f.SimDevice == "" || devices.Same(f.SimDevice, c.Device) {
		return func() {}, nil
	}
	c.Device = f.SimDevice
	dev, err := c.open(w)
	if err != nil {
		return nil, fmt.Errorf("--sim-device: %w", err)
	}
	s.Device = dev
	return func() { dev.Close() }, nil
}

// readConfig finds --config in args and makes the parser take values from that file: below the environment and the
// flags.
func readConfig(parser *kong.Kong, args []string) (*yamlFlags, error) {
	path := os.Getenv("ZEROSEARCH_CONFIG")
	for i, a := range args {
		if v, ok := strings.CutPrefix(a, "--config="); ok {
			path = v
		} else if a == "--config" && i+1 < len(args) {
			path = args[i+1]
		}
	}
	if path == "" {
		return &yamlFlags{}, nil
	}
	values := map[string]any{}
	text, err := data.ReadText(path)
	if err != nil {
		return nil, fmt.Errorf("reading --config: %w", err)
	}
	if err := yaml.Unmarshal(text, &values); err != nil {
		return nil, fmt.Errorf("reading --config %s: not valid YAML: %s", path,
			strings.ReplaceAll(yaml.FormatError(err, false, false), "\n", " "))
	}
	file := &yamlFlags{path: path, values: values}
	return file, kong.Resolvers(file).Apply(parser)
}

// finite reads the value of a number's flag. NaN and infinities, which strconv takes, are values of none.
func finite(ctx *kong.DecodeContext, target reflect.Value) error {
	t, err := ctx.Scan.PopValue("number")
	if err != nil {
		return err
	}
	x, err := strconv.ParseFloat(fmt.Sprint(t.Value), 64)
	if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
		return fmt.Errorf("expected a finite number but got %q", fmt.Sprint(t.Value))
	}
	target.SetFloat(x)
	return nil
}

// device reads the name of a device.
func device(ctx *kong.DecodeContext, target reflect.Value) error {
	t, err := ctx.Scan.PopValue("device")
	if err != nil {
		return err
	}
	name := fmt.Sprint(t.Value)
	if err := devices.Check(name); err != nil {
		return err
	}
	target.SetString(name)
	return nil
}

// whole reads the value of a whole number's flag.
func whole(ctx *kong.DecodeContext, target reflect.Value) error {
	t, err := ctx.Scan.PopValue("whole number")
	if err != nil {
		return err
	}
	text, bits := fmt.Sprint(t.Value), target.Type().Bits()
	if target.CanUint() {
		n, err := strconv.ParseUint(text, 0, bits)
		if err != nil {
			most := uint64(math.MaxUint64) >> (64 - bits)
			return fmt.Errorf("expected a whole number from 0 to %d but got %q", most, text)
		}
		target.SetUint(n)
		return nil
	}
	n, err := strconv.ParseInt(text, 0, bits)
	if err != nil {
		return fmt.Errorf("expected a whole number but got %q", text)
	}
	target.SetInt(n)
	return nil
}

// yamlFlags gives kong the values of a YAML file. Keys are flag names, with - or _. Keys with a mapping as value belong
// to the verb itself (see replay) and are no flags.
type yamlFlags struct {
	path   string
	values map[string]any
	note   string // for the user, about a value that was not taken as it stands
}

// own is the folder that the file lies in, if it is the config.yaml of a run or an evaluation there; else "".
func (y *yamlFlags) own() string {
	dir, name := filepath.Split(y.path)
	run, evaluation := filepath.Join(dir, "metrics.jsonl"), filepath.Join(dir, "settings.json")
	if name != "config.yaml" || !exists(run) && !exists(evaluation) {
		return ""
	}
	return filepath.Clean(dir)
}

// Validate refuses keys that no verb has.
func (y *yamlFlags) Validate(app *kong.Application) error {
	known := map[string]bool{"replay": true}
	for _, leaf := range app.Leaves(false) {
		for _, group := range leaf.AllFlags(false) {
			for _, f := range group {
				known[f.Name] = true
			}
		}
	}
	var bad []string
	for k := range y.values {
		dashed := strings.ReplaceAll(k, "_", "-")
		if _, twice := y.values[dashed]; twice && dashed != k {
			return fmt.Errorf("reading --config %s: %s and %s are the same key: give one of them", y.path, dashed, k)
		}
		if !known[dashed] {
			bad = append(bad, k)
		}
	}
	if len(bad) > 0 {
		sort.Strings(bad)
		return fmt.Errorf("reading --config %s: unknown key %s: keys are flag names", y.path, strings.Join(bad, ", "))
	}
	return nil
}

// Resolve gives the value of one flag, unless the environment has one.
func (y *yamlFlags) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, env := range flag.Envs {
		if _, ok := os.LookupEnv(env); ok {
			return nil, nil
		}
	}
	for _, name := range []string{flag.Name, strings.ReplaceAll(flag.Name, "-", "_")} {
		v, ok := y.values[name]
		if !ok {
			continue
		}
		if section, is := v.(map[string]any); is && flag.Name == "replay" {
			v = section["file"] // the mapping belongs to the verb itself; it may name its file
		} else if is && !flag.IsMap() {
			return nil, fmt.Errorf("reading --config %s: %s holds a mapping where one value is expected", y.path, name)
		}
		// A folder that was renamed, or is named from another working directory, goes on where it is, not where it was.
		if own, out := y.own(), fmt.Sprint(v); flag.Name == "out" && own != "" && !disk.Same(own, out) {
			y.note = fmt.Sprintf(
				"going on in %s, where %s lies, not in %s as it says there: --out names another folder",
				own, y.path, out)
			return own, nil
		}
		return scalar(v), nil
	}
	return nil, nil
}

// scalar is v as kong's mappers like it: lists and mappings as comma-separated text, numbers as text.
func scalar(v any) any {
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

// scriptNames turns the NAME VALUE pairs of ZeroSearch's shell scripts, after the verb train, into flags.
func scriptNames(args []string) []string {
	if len(args) == 0 || args[0] != "train" {
		return args
	}
	flags := map[string]string{"MODEL_PATH": "--model", "DATA_PATH": "--data", "TOTAL_STEPS": "--total-steps",
		"SEARCH_MODE":    "--search-mode",
		"SIMULATION_LLM": "--simulation-llm", "START_THRESHOLD": "--start-threshold",
		"END_THRESHOLD": "--end-threshold",
		"SEARCH_ENGINE": "--search-engine", "MAX_TURNS": "--max-turns", "TOPK": "--topk", "IP": "--ip",
		"PORT":              "--port",
		"NUM_GPUS_PER_NODE": "--num-gpus-per-node"}
	out := []string{"train"}
	given := map[string]string{}
	for i := 1; i < len(args); i++ {
		if f, ok := flags[args[i]]; ok && i+1 < len(args) {
			out = append(out, f+"="+args[i+1])
			given[args[i]] = args[i+1]
			i++
			continue
		}
		out = append(out, args[i])
	}
	if given["IP"] != "" &&
		slices.ContainsFunc(out, func(a string) bool {
			return a == "remote" ||
				strings.HasPrefix(a, "--search-mode=remote")
		}) {
		var urls []string
		for host := range strings.SplitSeq(given["IP"], ",") {
			urls = append(urls, "http://"+strings.TrimSpace(host)+":"+cmp.Or(given["PORT"], "6001"))
		}
		out = append(out, "--remote-url="+strings.Join(urls, ","))
	}
	return out
}

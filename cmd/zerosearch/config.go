package main

import (
	"cmp"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"

	"github.com/zerosearch-go/zerosearch/internal/commandline"
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

// sections are the keys of --config that a verb reads itself.
var sections = []string{"replay"}

// readConfig finds --config in args and makes the parser take values from that file: below the environment and the
// flags.
func readConfig(parser *kong.Kong, args []string) (*commandline.Values, error) {
	path := os.Getenv("ZEROSEARCH_CONFIG")
	for i, a := range args {
		if v, ok := strings.CutPrefix(a, "--config="); ok {
			path = v
		} else if a == "--config" && i+1 < len(args) {
			path = args[i+1]
		}
	}
	if path == "" {
		return &commandline.Values{}, nil
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
	file := &commandline.Values{Path: path, Values: values, Sections: sections}
	return file, kong.Resolvers(file).Apply(parser)
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

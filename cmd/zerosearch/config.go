package main

import (
	"fmt"
	"os"
	"reflect"
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
	Verbose bool   `name:"verbose" short:"v" help:"Print more details."`
}

// simFlags choose where the simulator runs.
type simFlags struct {
	SimDevice string `name:"sim-device" type:"device" help:"Device of the simulator (default: that of --device)." placeholder:"DEVICE"`
}

// check refuses --sim-device where no model of this process writes documents.
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

// open opens the simulator's device into s.Device, which stays nil where it is the device of c. The caller calls closer
// at the end.
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

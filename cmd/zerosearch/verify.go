package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"

	"github.com/zerosearch-go/zerosearch/internal/commandline"
	"github.com/zerosearch-go/zerosearch/rl"
	"github.com/zerosearch-go/zerosearch/rl/config"
)

type verifyCmd struct {
	Folder string `arg:"" name:"run" help:"Run directory of train."`
	Step   int    `name:"step" help:"The step to repeat; 0: the last one saved right after a saved one." default:"0"`
	JSON   bool   `name:"json" help:"Print the result as JSON on stdout, and nothing else."`
	Device string `name:"device" type:"device" help:"auto (a GPU where one can be used, else the cpu), cpu, cuda, cuda:N or ref." default:"auto"`
	simFlags
	Threads int `name:"threads" help:"Threads to compute with; 0: all usable cores." default:"0"`
}

func (c *verifyCmd) Run(w *world) error {
	if c.Step < 0 {
		return usagef("--step must not be negative")
	}
	options, err := recordedConfig(c.Folder)
	if err != nil {
		return fmt.Errorf("verifying %s: %w", c.Folder, err)
	}
	on := common{Device: c.Device, Threads: c.Threads}
	dev, err := on.open(w)
	if err != nil {
		return err
	}
	defer dev.Close()
	end, err := c.simFlags.open(w, on, &options.Search)
	if err != nil {
		return err
	}
	defer end()
	v, err := rl.Verify(w.ctx, dev, options, c.Folder, c.Step)
	if err != nil {
		return err
	}
	if c.JSON {
		err = writeJSON(w, v)
	} else {
		_, err = io.WriteString(w.out, v.String())
	}
	if err == nil && v.Difference != nil {
		if made := madeBy(c.Folder); made != version() {
			w.log.line("note: the run was made by %s, this is %s", made, version())
		}
		err = fmt.Errorf("%s is not what its settings and seed give: %s", c.Folder, v.Difference)
	}
	return err
}

// trainHeader begins the config.yaml of a run; the version of the program that made it follows.
const trainHeader = "# zerosearch train, "

// madeBy is the version of the program that began a run, or went on with it last.
func madeBy(run string) string {
	text, _ := os.ReadFile(filepath.Join(run, "config.yaml")) // it was read before
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimPrefix(line, trainHeader)
}

// recordedConfig is the configuration of a run as its config.yaml has it. The environment, which may have
// changed since, is not read.
func recordedConfig(run string) (config.Config, error) {
	path := filepath.Join(run, "config.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		return config.Config{}, fmt.Errorf("%w: give the --out of a train run", err)
	}
	if !bytes.HasPrefix(text, []byte(trainHeader)) {
		return config.Config{},
			errors.New("its config.yaml is not of train: only rollouts and updates of train can be repeated")
	}
	values := map[string]any{}
	if err := yaml.Unmarshal(text, &values); err != nil {
		return config.Config{}, fmt.Errorf("config.yaml is damaged: %s", oneLine(yaml.FormatError(err, false, false)))
	}
	if values["replay"] != nil {
		return config.Config{}, errors.New("it is a replay: it rolled nothing out")
	}
	parser, err := parserWith(io.Discard, io.Discard)
	if err == nil {
		err = kong.Resolvers(&commandline.Values{Path: path, Values: values, Sections: sections}).Apply(parser)
	}
	var flags *kong.Context
	if err == nil {
		flags, err = parser.Parse([]string{"train"})
	}
	if err != nil {
		return config.Config{}, fmt.Errorf("config.yaml: %w", err)
	}
	return flags.Selected().Target.Addr().Interface().(*trainCmd).Options, nil
}

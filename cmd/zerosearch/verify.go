package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"

	"github.com/zerosearch-go/zerosearch/internal/commandline"
	"github.com/zerosearch-go/zerosearch/rl"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/verify"
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
		_, err = io.WriteString(w.out, verified(v))
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

// recordedConfig is the configuration of a run as its config.yaml has it. The environment, which may be another one
// today, has no say.
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

// verified says what was repeated and compared.
func verified(v *verify.Verification) string {
	var b strings.Builder
	from := "the start"
	if v.From > 0 {
		from = fmt.Sprintf("checkpoints/step-%d", v.From)
	}
	fmt.Fprintf(&b, "repeated   step %d", v.Step)
	if v.From+1 < v.Step {
		fmt.Fprintf(&b, " and %d steps before it", v.Step-v.From-1)
	}
	fmt.Fprintf(&b, ", from %s\n", from)
	how := "every bit is compared"
	switch {
	case v.RecordedPath == "":
		how += ", though the run does not say on what it was computed"
	case !v.Exact:
		how = fmt.Sprintf("the run was made on %s: recorded ids are scored, not sampled again, within tolerances",
			pathsOf(v.RecordedPath, v.RecordedSimPath))
	}
	fmt.Fprintf(&b, "computed   on %s: %s\n", pathsOf(v.Path, v.SimPath), how)
	if v.Searches == "recorded" {
		b.WriteString("searches   not repeated: the recorded documents were given again\n")
	}
	fmt.Fprintf(&b, "equal      %d episodes, %d turns, %d log-probs, %d metrics\n", v.Episodes, v.Turns, v.Logprobs,
		v.Metrics)
	if len(v.Checkpoints) > 0 {
		fmt.Fprintf(&b, "           %d tensors of %s\n", v.Tensors,
			"checkpoints/step-"+strings.Trim(strings.ReplaceAll(fmt.Sprint(v.Checkpoints), " ", ", step-"), "[]"))
	}
	if v.Difference == nil && !slices.Contains(v.Checkpoints, v.Step) {
		fmt.Fprintf(&b, "           the weights of step %d were not saved: they are not compared\n", v.Step)
	}
	return b.String()
}

// pathsOf names the kernel paths of policy and simulator.
func pathsOf(policy, simulator string) string {
	if simulator == "" {
		return policy
	}
	return policy + ", the simulator on " + simulator
}

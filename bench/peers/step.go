package peers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Step is another program that runs the steps of GRPO that we measure. It warms up, runs any number of steps and prints
// one line with a JSON object for each: step_s are the seconds, new_tokens (optional) shows that it did the same work.
// Other lines are ignored. The last step is used.
type Step struct{ Name, Command string }

// Run runs the program and returns the seconds of its last step, which must have that many sampled tokens.
func (p Step) Run(ctx context.Context, tokens float64) (float64, error) {
	cmd := exec.CommandContext(ctx, "sh", "-c", p.Command)
	cmd.Env = torchEnv()
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		lines := bytes.Split(bytes.TrimSpace(said.Bytes()), []byte("\n"))
		return 0, fmt.Errorf("running %q: %w: %s", p.Command, err, lines[len(lines)-1])
	}
	var last struct {
		Seconds float64 `json:"step_s"`
		Tokens  float64 `json:"new_tokens"`
	}
	for line := range bytes.Lines(out) {
		x := last
		if json.Unmarshal(line, &x) == nil && x.Seconds > 0 {
			last = x
		}
	}
	switch {
	case !(last.Seconds > 0):
		return 0, fmt.Errorf("running %q: no line of its output is a JSON object with step_s, the seconds of a step",
			p.Command)
	case last.Tokens > 0 && last.Tokens != tokens:
		return 0, fmt.Errorf("running %q: its step has %v new tokens, ours %v: give both the same work", p.Command,
			last.Tokens, tokens)
	}
	return last.Seconds, nil
}

// torchEnv is the environment of a process that runs PyTorch. Without these memory settings a third of its time is
// spent in page faults.
func torchEnv() []string {
	return append(os.Environ(), "HF_HUB_OFFLINE=1", "TOKENIZERS_PARALLELISM=false", "TRANSFORMERS_VERBOSITY=error",
		"GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=34359738368:glibc.malloc.top_pad=268435456")
}

// ParseSteps reads NAME=COMMAND of each.
func ParseSteps(list []string) (out []Step, err error) {
	for _, s := range list {
		name, command, ok := strings.Cut(s, "=")
		if !ok || name == "" || command == "" {
			return nil, fmt.Errorf("%q is not NAME=COMMAND, as in 'TRL=python step.py'", s)
		}
		out = append(out, Step{name, command})
	}
	return out, nil
}

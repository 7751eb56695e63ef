package verify

import (
	"fmt"
	"slices"
	"strings"
)

// String says in a few lines what was repeated and compared.
func (v *Verification) String() string {
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

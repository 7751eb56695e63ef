// Package verify compares what a run recorded with its repetition: episodes, metrics and checkpoints, bit by bit, or
// within tolerances where another kernel path repeated it. Package rl repeats.
package verify

import (
	"fmt"
)

// Verification is what came of repeating steps of a run and comparing them with what the run recorded.
type Verification struct {
	Run  string `json:"run"`
	From int    `json:"from"` // step of the checkpoint that the repetition began with; 0: the start
	Step int    `json:"step"` // the last step that was repeated
	// Path is the kernel path of the repetition, RecordedPath that of the run, "" where it is not known.
	Path         string `json:"kernel_path"`
	RecordedPath string `json:"recorded_kernel_path"`
	// SimPath and RecordedSimPath are those of the simulator, where it has, or had, a device of its own.
	SimPath         string `json:"sim_kernel_path,omitempty"`
	RecordedSimPath string `json:"recorded_sim_kernel_path,omitempty"`
	// Exact: every bit must be the same. Otherwise the paths are others: episodes are not sampled again but scored,
	// within tolerances.
	Exact bool `json:"exact"`
	// Searches are repeated, or recorded: answered with the documents that the run recorded, where an engine may answer
	// otherwise today.
	Searches string `json:"searches"`
	// What was compared.
	Episodes int `json:"episodes"`
	Turns    int `json:"turns"`
	Logprobs int `json:"logprobs"`
	Metrics  int `json:"metrics"`
	Tensors  int `json:"tensors"` // of checkpoints, optimizer included
	// Checkpoints are the steps whose weights were compared.
	Checkpoints []int `json:"checkpoints"`
	// Difference is the first one, nil if there is none.
	Difference *Mismatch `json:"difference"`
}

// compareOrder finds the first of a step's episodes, each of which is there, that stands in another place.
func (v *Comparer) compareOrder(was, now []Line) {
	for i, e := range was {
		if n := now[i]; v.Exact && (e.Attempt != n.Attempt || e.Group != n.Group || e.Rollout != n.Rollout) {
			v.Difference = MismatchOf(n.Episode, "line", "in another place", fmt.Sprintf("line %d of the step", i+1))
			return
		}
	}
}

// Comparer compares what a run recorded with what was repeated, and keeps the result.
type Comparer struct {
	Verification
	// NearWeight says whether two weights of a step are as Near as another kernel path leaves them.
	NearWeight func(step int, a, b float32) bool
}

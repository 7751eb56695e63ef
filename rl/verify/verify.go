// Package verify compares the record of a run with its repetition: episodes, metrics and checkpoints. They are compared
// bit by bit, or within tolerances if the repetition used another kernel path. Package rl repeats the steps.
package verify

import (
	"fmt"
)

// Verification is the result of repeating steps of a run and comparing them with the run's record.
type Verification struct {
	Run  string `json:"run"`
	From int    `json:"from"` // step of the checkpoint that the repetition started from; 0: the starting weights
	Step int    `json:"step"` // the last step that was repeated
	// Path is the kernel path of the repetition, RecordedPath that of the run; "" if it is not known.
	Path         string `json:"kernel_path"`
	RecordedPath string `json:"recorded_kernel_path"`
	// SimPath and RecordedSimPath are the kernel paths of the simulator, if it runs on a device other than the
	// policy's.
	SimPath         string `json:"sim_kernel_path,omitempty"`
	RecordedSimPath string `json:"recorded_sim_kernel_path,omitempty"`
	// Exact says that every bit must be the same. Otherwise the kernel paths differ: the recorded episodes are not
	// sampled again but scored, and compared within tolerances.
	Exact bool `json:"exact"`
	// Searches is "repeated" or "recorded". Recorded means that searches are answered with the documents that the run
	// recorded, because the engine may give other documents now.
	Searches string `json:"searches"`
	// Numbers of compared items.
	Episodes int `json:"episodes"`
	Turns    int `json:"turns"`
	Logprobs int `json:"logprobs"`
	Metrics  int `json:"metrics"`
	Tensors  int `json:"tensors"` // of checkpoints, optimizer included
	// Checkpoints are the steps whose weights were compared.
	Checkpoints []int `json:"checkpoints"`
	// Difference is the first difference, nil if there is none.
	Difference *Mismatch `json:"difference"`
}

// compareOrder finds the first episode that is in a different position. Both lists hold the same episodes of a step.
func (v *Comparer) compareOrder(was, now []Line) {
	for i, e := range was {
		if n := now[i]; v.Exact && (e.Attempt != n.Attempt || e.Group != n.Group || e.Rollout != n.Rollout) {
			v.Difference = MismatchOf(n.Episode, "line", "in another place", fmt.Sprintf("line %d of the step", i+1))
			return
		}
	}
}

// Comparer compares a run's record with its repetition, and keeps the result.
type Comparer struct {
	Verification
	// NearWeight says whether two values of a weight after a step agree within the tolerance for different kernel
	// paths.
	NearWeight func(step int, a, b float32) bool
}

package update

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"github.com/zerosearch-go/zerosearch/internal/disk"
)

// Skip is a mini-batch that was not learned from because its loss or gradient was not finite, with all that is needed
// to see why.
type Skip struct {
	Of   string    `json:"update"` // policy or critic
	Why  string    `json:"why"`
	Rows []SkipRow `json:"-"`
}

// SkipRow is a trajectory of it. The lists have a value for each trained id.
type SkipRow struct {
	Trajectory int     `json:"trajectory"` // place in the step, over its groups and their rollouts
	Group      int     `json:"group"`
	Reward     number  `json:"reward"`
	IDs        []int32 `json:"ids"`
	Mask       []int   `json:"mask"`
	Old        numbers `json:"old_logprobs"`
	Ref        numbers `json:"ref_logprobs,omitempty"`
	Advantage  numbers `json:"advantages"`
	Value      numbers `json:"values,omitempty"`
	Return     numbers `json:"returns,omitempty"`
}

func newSkip(of string, why error, miniBatch []int, trajs []Trajectory, rows []Row) Skip {
	s := Skip{Of: of, Why: why.Error()}
	for _, i := range miniBatch {
		t, r := &trajs[i], &rows[i]
		line := SkipRow{Trajectory: i, Group: t.Group, Reward: number(t.Reward), IDs: t.IDs,
			Mask: make([]int, len(t.Mask)),
			Old:  toNumbers(r.old), Ref: toNumbers(r.ref), Advantage: toNumbers(r.Advantage), Value: toNumbers(r.value),
			Return: toNumbers(r.ret)}
		for k, on := range t.Mask {
			if on {
				line.Mask[k] = 1
			}
		}
		s.Rows = append(s.Rows, line)
	}
	return s
}

// number is written as text where JSON has no number for it.
type number float64

type numbers []number

func toNumbers(x []float64) (out numbers) {
	for _, v := range x {
		out = append(out, number(v))
	}
	return out
}

// MarshalJSON writes NaN and infinities as strings.
func (n number) MarshalJSON() ([]byte, error) {
	if v := float64(n); math.IsNaN(v) || math.IsInf(v, 0) {
		return json.Marshal(fmt.Sprint(v))
	}
	return json.Marshal(float64(n))
}

// SaveSkips writes the skipped mini-batches of a step to skipped/step-N.jsonl of the run directory out: a line that
// says why, then a line a trajectory.
func SaveSkips(out string, step int, skips []Skip) error {
	if len(skips) == 0 || out == "" {
		return nil
	}
	var text bytes.Buffer
	w := json.NewEncoder(&text)
	for _, s := range skips {
		if err := w.Encode(s); err != nil {
			return fmt.Errorf("saving a skipped batch: %w", err)
		}
		for _, r := range s.Rows {
			if err := w.Encode(r); err != nil {
				return fmt.Errorf("saving a skipped batch: %w", err)
			}
		}
	}
	dir := filepath.Join(out, "skipped")
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		err = disk.WriteFile(filepath.Join(dir, fmt.Sprintf("step-%d.jsonl", step)), text.Bytes())
	}
	if err != nil {
		return fmt.Errorf("saving a skipped batch: %w", err)
	}
	return nil
}

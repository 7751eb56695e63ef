package train

import (
	"fmt"
	"math"
)

// Schedule is a learning-rate schedule by its usual name, counted in optimizer steps.
type Schedule struct {
	Name   string // constant, linear or cosine: what happens after the warm-up
	Warmup int    // steps over which the multiplier rises linearly to 1
	Total  int    // steps of the run
	// ZeroFirst makes the first warm-up step use multiplier 0, as the schedulers of transformers and verl do. Ours
	// counts from 1: step k of w warm-up steps runs at k/w, and no update is lost.
	ZeroFirst bool
	MinRatio  float64 // cosine: the multiplier at the end
}

// NewSchedule checks the name and takes the warm-up as int(ratio*total), as verl does.
func NewSchedule(name string, warmupRatio float64, total int) (Schedule, error) {
	switch name {
	case "constant", "linear", "cosine":
	default:
		return Schedule{}, fmt.Errorf("unknown learning-rate schedule %q: use constant, linear or cosine", name)
	}
	if warmupRatio < 0 || warmupRatio > 1 || math.IsNaN(warmupRatio) {
		return Schedule{}, fmt.Errorf("warm-up ratio %v is not between 0 and 1", warmupRatio)
	}
	return Schedule{Name: name, Warmup: int(warmupRatio * float64(total)), Total: total}, nil
}

// Multiplier is the factor on the learning rate for step, counted from 1.
func (s Schedule) Multiplier(step int) float64 {
	k := float64(step - 1)
	if step <= s.Warmup {
		if s.ZeroFirst {
			return k / float64(s.Warmup)
		}
		return float64(step) / float64(s.Warmup)
	}
	rest := float64(max(1, s.Total-s.Warmup))
	switch s.Name {
	case "linear":
		return max(0, (float64(s.Total)-k)/rest)
	case "cosine":
		x := (k - float64(s.Warmup)) / rest
		return max(0, 0.5*(1+math.Cos(math.Pi*x))*(1-s.MinRatio)+s.MinRatio)
	}
	return 1
}

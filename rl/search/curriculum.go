package search

import (
	"fmt"
	"math"

	"github.com/zerosearch-go/zerosearch/num"
)

// Curriculum computes tau, the probability of noisy documents, over the course of a training run.
type Curriculum struct {
	// Kind is the rule; "" is ZeroSearch.
	Kind CurriculumKind
	// Start and End are tau at the beginning and at the end of the curriculum, in [0, 1]; End may be below Start.
	Start, End float64
	// Goal is the success rate at which the adaptive curriculum reaches End, in (0, 1]; 0 is 0.5.
	Goal float64
}

// CurriculumKind is a rule for tau. In the formulas x = step/total, b = 4.
type CurriculumKind string

const (
	// ZeroSearch raises tau slowly at first and faster later (arXiv 2505.04588, section 3.4):
	//
	//	tau = Start + (b^x - 1)/(b - 1) (End - Start); tau = End from step total on
	ZeroSearch CurriculumKind = "zerosearch"
	// Linear raises tau evenly: tau = Start + x (End - Start).
	Linear CurriculumKind = "linear"
	// Constant is tau = Start.
	Constant CurriculumKind = "constant"
	// Adaptive computes tau from the policy's smoothed success rate s: tau = Start + min(1, s/Goal) (End - Start). When
	// the success rate falls, tau falls.
	Adaptive CurriculumKind = "adaptive"
)

// curriculumBase is b.
const curriculumBase = 4

// Validate says what is wrong with the settings.
func (c Curriculum) Validate() error {
	for _, v := range []float64{c.Start, c.End} {
		if !(v >= 0 && v <= 1) {
			return fmt.Errorf("curriculum: threshold %v: must lie between 0 and 1", v)
		}
	}
	if !(c.Goal >= 0 && c.Goal <= 1) {
		return fmt.Errorf("curriculum: goal %v: must lie between 0 and 1", c.Goal)
	}
	switch c.Kind {
	case "", ZeroSearch, Linear, Constant, Adaptive:
		return nil
	}
	return fmt.Errorf("curriculum %q is not known: use %s, %s, %s or %s", string(c.Kind), ZeroSearch, Linear, Constant,
		Adaptive)
}

// Tau is the probability of noisy documents for a query, by its step and, for the adaptive rule, its success rate.
func (c Curriculum) Tau(q Query) float64 {
	x := 1.0
	if q.TotalSteps > 0 && q.Step < q.TotalSteps {
		x = float64(max(q.Step, 0)) / float64(q.TotalSteps)
	}
	switch c.Kind {
	case Constant:
		return c.Start
	case Adaptive:
		goal := c.Goal
		if goal == 0 {
			goal = 0.5
		}
		x = min(1, max(0, q.Success)/goal)
	case Linear:
	default:
		if x < 1 {
			x = (math.Pow(curriculumBase, x) - 1) / (curriculumBase - 1)
		}
	}
	if x == 1 {
		return c.End
	}
	return c.Start + x*(c.End-c.Start)
}

// successMemory is the weight of the past in Smooth: about the last ten steps count.
const successMemory = 0.9

// Smooth updates the smoothed success rate after a step whose success rate was rate.
func Smooth(success, rate float64) float64 { return successMemory*success + (1-successMemory)*rate }

// Draw is the random number in [0, 1) of a stream. Documents are useful where it is above tau.
func Draw(stream uint64) float64 { return float64(mix(stream^0x5851f42d4c957f2d)>>11) / (1 << 53) }

// Decide gives the quality of the documents for a draw.
func Decide(draw, tau float64) Quality {
	if draw > tau {
		return Useful
	}
	return Noisy
}

// mix is the first output of SplitMix64 with this seed.
func mix(seed uint64) uint64 { return num.Mix(seed + num.Gamma) }

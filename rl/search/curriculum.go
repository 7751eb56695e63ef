package search

import (
	"fmt"
	"math"
)

// Curriculum raises the share of noisy documents during training (ZeroSearch, arXiv 2505.04588, section 3.4).
type Curriculum struct {
	// Start and End are the probabilities of a noisy document at the first step and from the last step on, in [0, 1].
	Start, End float64
}

// curriculumBase is b in the formula of Tau.
const curriculumBase = 4

// Validate says what is wrong with the thresholds.
func (c Curriculum) Validate() error {
	for _, v := range []float64{c.Start, c.End} {
		if !(v >= 0 && v <= 1) {
			return fmt.Errorf("curriculum: threshold %v: must lie between 0 and 1", v)
		}
	}
	return nil
}

// Tau is the probability of noisy documents at a step:
//
//	tau = Start + (b^(step/total) - 1)/(b - 1) (End - Start), b = 4; End from step total on
func (c Curriculum) Tau(step, total int) float64 {
	if step >= total {
		return c.End
	}
	x := float64(max(step, 0)) / float64(total)
	return c.Start + (math.Pow(curriculumBase, x)-1)/(curriculumBase-1)*(c.End-c.Start)
}

// Draw is a number in [0, 1) from a stream; documents are useful if it is above tau.
func Draw(stream uint64) float64 { return float64(mix(stream^0x5851f42d4c957f2d)>>11) / (1 << 53) }

// Decide gives the quality of the documents for a draw.
func Decide(draw, tau float64) Quality {
	if draw > tau {
		return Useful
	}
	return Noisy
}

// mix is splitmix64: every bit of the input changes about half of the output's.
func mix(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

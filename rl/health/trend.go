package health

import (
	"fmt"
	"math"
)

// series are the values of a metric, in the steps in which it was measured.
type series struct {
	step   []int
	values []float64
}

func seriesOf(steps []Step, metric string) (s series) {
	for _, at := range steps {
		if v, ok := at.Metrics[metric]; ok {
			s.step, s.values = append(s.step, at.Step), append(s.values, v)
		}
	}
	return s
}

// mean is the mean of values, and the square of its standard error.
func mean(values []float64) (m, variance float64) {
	n := float64(len(values))
	for _, v := range values {
		m += v / n
	}
	for _, v := range values {
		variance += (v - m) * (v - m)
	}
	return m, variance / max(1, n-1) / max(1, n)
}

// differ says whether two means differ by more than twice the standard error of their difference.
func differ(a, varianceA, b, varianceB float64) bool {
	return math.Abs(a-b) > 2*math.Sqrt(varianceA+varianceB)
}

// ends are the means of the first and the last third of the values; sure says that they differ.
func (s series) ends() (from, to float64, sure bool) {
	k := (len(s.values) + 2) / 3
	from, a := mean(s.values[:k])
	to, b := mean(s.values[len(s.values)-k:])
	return from, to, differ(from, a, to, b)
}

// best is the place of the largest value, -1 if there are none.
func (s series) best() int {
	at := -1
	for i, v := range s.values {
		if at < 0 || v > s.values[at] {
			at = i
		}
	}
	return at
}

// bestMean is the largest mean of width neighbouring values, the square of its standard error, and the place of the
// first of them; of fewer values, the mean of all.
func (s series) bestMean(width int) (most, variance float64, at int) {
	width = min(width, len(s.values))
	most = math.Inf(-1)
	for i := range len(s.values) - width + 1 {
		if m, v := mean(s.values[i : i+width]); m > most {
			most, variance, at = m, v, i
		}
	}
	return most, variance, at
}

// progress is what a run should raise, or lower for sign -1.
func progress(steps []Step) (name string, s series, sign float64) {
	if s = seriesOf(steps, "critic/score/mean"); len(s.values) > 0 {
		return "reward", s, 1
	}
	return "loss", seriesOf(steps, "train/loss"), -1
}

const (
	trendSteps = 20   // steps from which on a direction is judged
	moreNoise  = 0.15 // fall of the share of useful results that may hide what the policy learns
	solved     = 0.95 // a reward at which little is left to learn
)

// direction says how the reward or the loss goes.
func direction(steps []Step) State {
	_, s, sign := progress(steps)
	if len(s.values) < trendSteps {
		return Early
	}
	from, to, sure := s.ends()
	useful, later, _ := seriesOf(steps, "search/useful_rate").ends()
	switch {
	case sure && sign*(to-from) > 0:
		return Learning
	case sign > 0 && to >= solved, useful-later >= moreNoise:
		return Steady
	case sure:
		return Worse
	}
	return Flat
}

// summary says how reward and held-out F1, or the loss, went.
func summary(steps []Step) string {
	name, s, _ := progress(steps)
	n := len(s.values)
	if n == 0 {
		return ""
	}
	from, to, _ := s.ends()
	text := fmt.Sprintf("%s %.3f → %.3f in %d steps", name, from, to, n)
	if n == 1 {
		text = fmt.Sprintf("%s %.3f in 1 step", name, to)
	}
	held := seriesOf(steps, HeldOutF1)
	switch last := len(held.values) - 1; {
	case last == 0:
		text += fmt.Sprintf("; held-out F1 %.3f", held.values[0])
	case last > 0:
		best := held.best()
		text += fmt.Sprintf("; held-out F1 %.3f → %.3f, best %.3f at step %d", held.values[0], held.values[last],
			held.values[best], held.step[best])
	}
	return text
}

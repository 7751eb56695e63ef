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

func mean(values []float64) (m float64) {
	for _, v := range values {
		m += v / float64(len(values))
	}
	return m
}

// noise is the variance of a value around its trend: half of the mean square of the differences of neighbours.
func (s series) noise() (v float64) {
	n := len(s.values) - 1
	for i := range n {
		d := s.values[i+1] - s.values[i]
		v += d * d / float64(2*n)
	}
	return v
}

// differ says whether the means of k and of l values differ by more than twice the standard error of their difference.
func (s series) differ(a float64, k int, b float64, l int) bool {
	return math.Abs(a-b) > 2*math.Sqrt(s.noise()*(1/float64(k)+1/float64(l)))
}

// ends are the means of the first and of the last k values.
func (s series) ends(k int) (from, to float64) {
	return mean(s.values[:k]), mean(s.values[len(s.values)-k:])
}

// change compares both ends of the values: by their last and first tenths, and where these do not differ by the thirds.
// sure says that they differ.
func (s series) change() (from, to float64, k int, sure bool) {
	for _, k = range []int{max(3, len(s.values)/10), (len(s.values) + 2) / 3} {
		if k = min(k, len(s.values)); k == 0 {
			return 0, 0, 0, false
		}
		if from, to = s.ends(k); s.differ(from, k, to, k) {
			return from, to, k, true
		}
	}
	return from, to, k, false
}

// Ends are the means of the first and of the last tenth of a metric's values, and of how many values each is the mean:
// 0 if there are none.
func Ends(steps []Step, metric string) (from, to float64, k int) {
	s := seriesOf(steps, metric)
	if k = min(len(s.values), max(1, len(s.values)/10)); k > 0 {
		from, to = s.ends(k)
	}
	return from, to, k
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

// bestMean is the largest mean of width neighbouring values, and the place of the first of them; of fewer values, the
// mean of all.
func (s series) bestMean(width int) (most float64, at int) {
	width = min(width, len(s.values))
	most = math.Inf(-1)
	for i := range len(s.values) - width + 1 {
		if m := mean(s.values[i : i+width]); m > most {
			most, at = m, i
		}
	}
	return most, at
}

// progress is what a run should raise, or lower for sign -1.
func progress(steps []Step) (name, metric string, s series, sign float64) {
	if s = seriesOf(steps, "critic/score/mean"); len(s.values) > 0 {
		return "reward", "critic/score/mean", s, 1
	}
	return "loss", "train/loss", seriesOf(steps, "train/loss"), -1
}

const (
	trendSteps = 20   // steps from which on a direction is judged
	moreNoise  = 0.15 // fall of the share of useful results that may hide what the policy learns
	solved     = 0.95 // a reward at which little is left to learn
)

// direction says how the reward or the loss goes.
func direction(steps []Step) State {
	_, _, s, sign := progress(steps)
	if len(s.values) < trendSteps {
		return Early
	}
	from, to, _, sure := s.change()
	useful, later, _ := Ends(steps, "search/useful_rate")
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
	name, metric, s, _ := progress(steps)
	n := len(s.values)
	if n == 0 {
		return ""
	}
	from, to, _ := Ends(steps, metric)
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

package eval

import (
	"fmt"
	"math"
)

// Difference compares two evaluations, A and B, on the N questions of a data source.
type Difference struct {
	Source string `json:"source"`
	N      int    `json:"n"`
	EM     Paired `json:"em"`
	F1     Paired `json:"f1"`
	SubEM  Paired `json:"sub_em"`
}

// Paired compares the means of one score over the same questions.
type Paired struct {
	A    float64 `json:"a"`
	B    float64 `json:"b"`
	Diff float64 `json:"diff"` // B - A
	// CI is the paired bootstrap's confidence interval of Diff. PBootstrap is the bootstrap p-value: twice the smaller
	// share of resampled differences on one side of 0. Both are nil without resamples.
	CI         *Interval `json:"ci,omitempty"`
	PBootstrap *float64  `json:"p_bootstrap,omitempty"`
	// Wins counts the questions on which B is better, Losses those on which it is worse. P is the p-value of the exact
	// two-sided sign test of the two, 1 if no question differs. For scores that are 0 or 1 this is McNemar's exact
	// test.
	Wins   int     `json:"wins"`
	Losses int     `json:"losses"`
	P      float64 `json:"p"`
}

// Compare pairs the results of two evaluations by data source and question. Both must hold the same questions.
func Compare(a, b []Result, boot Bootstrap) ([]Difference, error) {
	pairs, err := pair(a, b)
	if err != nil {
		return nil, err
	}
	strata := bySource(pairs[0])
	position := map[string][]int{} // of each source: the indices of its questions in pairs
	for i, r := range pairs[0] {
		position[r.Source] = append(position[r.Source], i)
	}
	var out []Difference
	var deltas [][][3]float64 // [sources][questions][3 scores], B - A
	for _, s := range strata {
		d := Difference{Source: s[0].Source}
		var delta [][3]float64
		for _, i := range position[d.Source] {
			delta = append(delta, d.add(pairs[0][i], pairs[1][i]))
		}
		deltas = append(deltas, delta)
		out = append(out, d)
	}
	all, mean := Difference{Source: All}, Difference{Source: Average}
	for i := range pairs[0] {
		all.add(pairs[0][i], pairs[1][i])
	}
	for i := range out {
		out[i].finish()
		mean.N += out[i].N
		for k, p := range mean.scores() {
			q := out[i].scores()[k]
			p.A, p.B, p.Wins, p.Losses = p.A+q.A/float64(len(out)), p.B+q.B/float64(len(out)), p.Wins+q.Wins,
				p.Losses+q.Losses
		}
	}
	if len(strata) > 1 {
		for _, p := range mean.scores() {
			p.Diff, p.P = p.B-p.A, signTest(p.Wins, p.Losses)
		}
		out = append(out, mean)
	}
	all.finish()
	out = append(out, all)
	boot.differences(out, deltas)
	return out, nil
}

// scores are pointers to the three scores, in the order of Scores.
func (d *Difference) scores() [3]*Paired { return [3]*Paired{&d.EM, &d.F1, &d.SubEM} }

// add adds the scores of one question to the sums and returns their differences, B - A.
func (d *Difference) add(a, b Result) (delta [3]float64) {
	d.N++
	x, y := [3]float64{a.EM, a.F1, a.SubEM}, [3]float64{b.EM, b.F1, b.SubEM}
	for k, p := range d.scores() {
		p.A, p.B = p.A+x[k], p.B+y[k]
		switch delta[k] = y[k] - x[k]; {
		case delta[k] > 0:
			p.Wins++
		case delta[k] < 0:
			p.Losses++
		}
	}
	return delta
}

// finish turns the sums into means and computes the differences and the sign tests.
func (d *Difference) finish() {
	for _, p := range d.scores() {
		p.A, p.B = p.A/float64(d.N), p.B/float64(d.N)
		p.Diff, p.P = p.B-p.A, signTest(p.Wins, p.Losses)
	}
}

// differences fills in the results of the paired bootstrap, which resamples the questions' differences. deltas has the
// shape [sources][questions][3 scores].
func (b Bootstrap) differences(out []Difference, deltas [][][3]float64) {
	if b.Resamples <= 0 {
		return
	}
	for i, draws := range b.draws(deltas) {
		for k, p := range out[i].scores() {
			below, above := 1, 1 // from 1: the sample itself counts, so that p is never 0
			for _, d := range draws[k] {
				if d <= 0 {
					below++
				}
				if d >= 0 {
					above++
				}
			}
			share := min(1, 2*float64(min(below, above))/float64(b.Resamples+1))
			ci := b.interval(draws[k])
			p.CI, p.PBootstrap = &ci, &share
		}
	}
}

// pair gives the results of both in the order of a. If a source contains a question twice, the first result of a is
// paired with the first of b, and so on.
func pair(a, b []Result) (out [2][]Result, err error) {
	type key struct{ source, id, question string }
	at := map[key][]Result{}
	for _, r := range b {
		k := key{r.Source, r.ID, r.Question}
		at[k] = append(at[k], r)
	}
	for _, r := range a {
		k := key{r.Source, r.ID, r.Question}
		if len(at[k]) > 0 {
			out[0], out[1] = append(out[0], r), append(out[1], at[k][0])
			at[k] = at[k][1:]
		}
	}
	if n := len(out[0]); n == 0 || n != len(a) || n != len(b) {
		return out,
			fmt.Errorf(
				"the first holds %d questions, the second %d, and %d are in both: evaluate both on the same --data",
				len(a), len(b), n)
	}
	return out, nil
}

// signTest is the exact two-sided sign test: twice the smaller tail of the binomial distribution with probability 1/2,
// at most 1.
func signTest(wins, losses int) float64 {
	n, k := wins+losses, min(wins, losses)
	if n == 0 || wins == losses {
		return 1
	}
	tail := 0.0
	if n <= 1000 {
		term := math.Ldexp(1, -n) // C(n, i)/2^n, at first for i = 0
		for i := range k + 1 {
			tail += term
			term = term * float64(n-i) / float64(i+1)
		}
		return min(1, 2*tail)
	}
	all, _ := math.Lgamma(float64(n) + 1)
	for i := range k + 1 {
		x, _ := math.Lgamma(float64(i) + 1)
		y, _ := math.Lgamma(float64(n-i) + 1)
		tail += math.Exp(all - x - y - float64(n)*math.Ln2)
	}
	return min(1, 2*tail)
}

package eval

import (
	"math/bits"
	"slices"

	"github.com/zerosearch-go/zerosearch/num"
)

// Interval is a confidence interval: its lower and its upper end.
type Interval [2]float64

// Bootstrap holds the settings of bootstrap percentile intervals (Efron and Tibshirani 1993, chapter 13). Each resample
// draws questions with replacement within each data source. The interval lies between two quantiles of the means of the
// resamples.
type Bootstrap struct {
	// Resamples is the number of resamples; 0: no intervals.
	Resamples int
	// Level is the confidence level, for example 0.95.
	Level float64
	// Seed is the random seed of the resamples.
	Seed uint64
}

// means gives the intervals of the three scores, [rows][3]: a row for each stratum (data source), then, if there are
// several, a row for the average of the strata, and a row for all questions. strata has the shape [strata][questions][3
// scores].
func (b Bootstrap) means(strata [][][3]float64) [][3]Interval {
	if b.Resamples <= 0 {
		return nil
	}
	var out [][3]Interval
	for _, draws := range b.draws(strata) {
		out = append(out, [3]Interval{b.interval(draws[0]), b.interval(draws[1]), b.interval(draws[2])})
	}
	return out
}

// draws gives the resampled means of the three scores, [rows][3][Resamples], with the rows of means.
func (b Bootstrap) draws(strata [][][3]float64) [][3][]float64 {
	rows := len(strata) + 1
	if len(strata) > 1 {
		rows++
	}
	out := make([][3][]float64, rows)
	for i := range out {
		for k := range 3 {
			out[i][k] = make([]float64, b.Resamples)
		}
	}
	total := 0
	for _, s := range strata {
		total += len(s)
	}
	for r := range b.Resamples {
		for i, s := range strata {
			sum := b.resample(s, i, r)
			for k := range 3 {
				m := sum[k] / float64(len(s))
				out[i][k][r] = m
				out[rows-1][k][r] += sum[k] / float64(total)
				if len(strata) > 1 {
					out[rows-2][k][r] += m / float64(len(strata))
				}
			}
		}
	}
	return out
}

// resample draws a stratum's questions once with replacement and sums up their scores. The draws depend on the seed,
// the index of the stratum and r, the index of the resample.
func (b Bootstrap) resample(s [][3]float64, stratum, r int) (sum [3]float64) {
	state := num.SplitMix(num.Mix(num.Mix(b.Seed) ^ num.Mix(uint64(stratum)+1<<32) ^ uint64(r)))
	for range s {
		i, _ := bits.Mul64(state.Next(), uint64(len(s)))
		for k := range 3 {
			sum[k] += s[i][k]
		}
	}
	return sum
}

// interval is the percentile interval of resampled means, [Resamples], which it sorts.
func (b Bootstrap) interval(draws []float64) Interval {
	slices.Sort(draws)
	return Interval{quantile(draws, (1-b.Level)/2), quantile(draws, (1+b.Level)/2)}
}

// quantile interpolates linearly between the two nearest sorted values (definition 7 of Hyndman and Fan 1996, numpy's
// default).
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := min(int(at), len(sorted)-1)
	j := min(i+1, len(sorted)-1)
	return sorted[i] + (at-float64(i))*(sorted[j]-sorted[i])
}

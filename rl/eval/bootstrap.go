package eval

import (
	"math/bits"
	"slices"

	"github.com/zerosearch-go/zerosearch/num"
)

// Interval is a confidence interval, low end first.
type Interval [2]float64

// Bootstrap asks for percentile intervals (Efron and Tibshirani 1993, chapter 13): questions are drawn again with replacement, within
// each data source, and the interval lies between the quantiles of the means that result.
type Bootstrap struct {
	// Resamples is their number; 0: no intervals.
	Resamples int
	// Level is the share of the distribution inside the interval, as in 0.95.
	Level float64
	// Seed keys the draws.
	Seed uint64
}

// means gives the intervals of three scores for each stratum, for the average of the strata if there are several, and for all.
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

// draws gives the resampled means of three scores for each stratum, for the average of the strata if there are several, and for all.
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

// resample is the sum over a stratum, drawn again; what is drawn depends on the seed, the stratum's place and the number of the draw.
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

// interval lies between the quantiles of what was drawn; it sorts it.
func (b Bootstrap) interval(draws []float64) Interval {
	slices.Sort(draws)
	return Interval{quantile(draws, (1-b.Level)/2), quantile(draws, (1+b.Level)/2)}
}

// quantile interpolates linearly between the two nearest of sorted values (definition 7 of Hyndman and Fan 1996, numpy's default).
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := min(int(at), len(sorted)-1)
	j := min(i+1, len(sorted)-1)
	return sorted[i] + (at-float64(i))*(sorted[j]-sorted[i])
}

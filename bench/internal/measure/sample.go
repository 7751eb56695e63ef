// Package measure has what the benchmarks measure with: timed repetitions and their statistics, the load of other
// processes, and the peak of memory.
package measure

import (
	"context"
	"math"
	"slices"
	"time"
)

// Stats are statistics of a list of samples; the standard deviation divides by n-1, as in llama-bench.
func Stats(x []float64) (mean, stddev, median float64) {
	if len(x) == 0 {
		return 0, 0, 0
	}
	for _, v := range x {
		mean += v / float64(len(x))
	}
	if len(x) > 1 {
		for _, v := range x {
			stddev += (v - mean) * (v - mean) / float64(len(x)-1)
		}
	}
	s := slices.Sorted(slices.Values(x))
	median = (s[(len(s)-1)/2] + s[len(s)/2]) / 2
	return mean, math.Sqrt(stddev), median
}

// Timed calls f several times to warm up, then reps times, and returns the seconds of each of these calls.
func Timed(ctx context.Context, warm, reps int, f func() error) ([]float64, error) {
	var out []float64
	for i := range warm + reps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		t := time.Now()
		if err := f(); err != nil {
			return nil, err
		}
		if i >= warm {
			out = append(out, time.Since(t).Seconds())
		}
	}
	return out, nil
}

// Looped measures a fast function: each of reps samples is the average time of a call over as many calls as fit into
// least. sync waits for the work that f queued on the device.
func Looped(ctx context.Context, reps int, least time.Duration, f func(i int), sync func() error) ([]float64, error) {
	f(0)
	if err := sync(); err != nil {
		return nil, err
	}
	t, n := time.Now(), 1
	f(1)
	if err := sync(); err != nil {
		return nil, err
	}
	if one := time.Since(t); one > 0 && one < least {
		n = max(1, int(least/one))
	}
	i := 2
	for range n / 4 { // warm caches, and let the clock frequency settle
		f(i)
		i++
	}
	if err := sync(); err != nil {
		return nil, err
	}
	var out []float64
	for range reps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		t := time.Now()
		for range n {
			f(i)
			i++
		}
		if err := sync(); err != nil {
			return nil, err
		}
		out = append(out, time.Since(t).Seconds()/float64(n))
	}
	return out, nil
}

// Once is the time of one call, in seconds.
func Once(ctx context.Context, f func() error) (float64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	t := time.Now()
	err := f()
	return time.Since(t).Seconds(), err
}

// Many calls f n times and returns the results.
func Many[T any](n int, f func() T) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = f()
	}
	return out
}

// Package peers measures other programs in alternation with ours: PyTorch, llama.cpp, and any that prints the time of a
// step. It knows nothing of ours: a [Contest] has two functions.
package peers

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/zerosearch-go/zerosearch/bench/internal/measure"
)

// Row is the comparison of one test. Ratios are our speed divided by theirs, above 1 if we are faster. Each ratio
// is of two consecutive runs.
type Row struct {
	Test     string  `json:"test"`
	Peer     string  `json:"peer"`
	DType    string  `json:"dtype"`
	Threads  int     `json:"threads"`
	Unit     string  `json:"unit"`
	Ours     float64 `json:"ours"`   // median
	Theirs   float64 `json:"theirs"` // median
	Ratio    float64 `json:"ratio"`  // median of the pairs' ratios
	RatioMin float64 `json:"ratio_min"`
	RatioMax float64 `json:"ratio_max"`
	Pairs    int     `json:"pairs"`         // number of pairs used: the undisturbed ones, if there are at least three
	Foreign  float64 `json:"foreign_cores"` // of the most disturbed pair that is used
}

// Contest is a test that ours and a peer run alternately; each returns its speed.
type Contest struct {
	Name, Peer, DType, Unit string
	Ours, Theirs            func(ctx context.Context) (float64, error)
	// Warm says that both need no warm-up, and that a sample takes too long to be repeated if it was disturbed.
	Warm bool
	Live func() []int // the peer's processes that stay alive; nil: none
}

// tries is the maximum number of measurements of a disturbed pair; the least disturbed one is used.
const tries = 3

// Run measures n pairs: ours, theirs; theirs, ours; and so on. Both are warmed up before. say gets what is being
// done.
func (c Contest) Run(ctx context.Context, n int, say func(format string, args ...any)) (Row, error) {
	row := Row{Test: c.Name, Peer: c.Peer, DType: c.DType, Unit: c.Unit}
	for _, side := range []func(context.Context) (float64, error){c.Ours, c.Theirs} {
		if c.Warm {
			break
		}
		if _, err := side(ctx); err != nil {
			return row, fmt.Errorf("%s, %s: %w", c.Name, c.Peer, err)
		}
	}
	var pairs []pair
	for i := range n {
		say("%s %s beside %s: pair %d/%d", c.Name, c.DType, c.Peer, i+1, n)
		p, err := c.pair(ctx, i%2 == 1)
		if err != nil {
			return row, fmt.Errorf("%s, %s: %w", c.Name, c.Peer, err)
		}
		pairs = append(pairs, p)
	}
	row.sum(pairs)
	return row, nil
}

// pair is one run of ours and one of the peer.
type pair struct{ ours, theirs, foreign float64 }

// sum computes the medians.
func (row *Row) sum(pairs []pair) {
	loud := func(p pair) bool { return p.foreign > measure.Disturbed }
	if quiet := slices.DeleteFunc(slices.Clone(pairs), loud); len(quiet) >= 3 {
		pairs = quiet
	}
	var ours, theirs, ratios []float64
	for _, p := range pairs {
		ours, theirs, ratios = append(ours, p.ours), append(theirs, p.theirs), append(ratios, p.ours/p.theirs)
		row.Foreign = max(row.Foreign, p.foreign)
	}
	row.Pairs = len(pairs)
	_, _, row.Ours = measure.Stats(ours)
	_, _, row.Theirs = measure.Stats(theirs)
	_, _, row.Ratio = measure.Stats(ratios)
	row.RatioMin, row.RatioMax = slices.Min(ratios), slices.Max(ratios)
}

// pair measures ours and the peer once, and again if other processes disturbed it.
func (c Contest) pair(ctx context.Context, peerFirst bool) (best pair, err error) {
	best.foreign = math.Inf(1)
	for range tries {
		if err := ctx.Err(); err != nil {
			return best, err
		}
		var pids []int
		if c.Live != nil {
			pids = c.Live()
		}
		w := measure.NewWatch(pids...)
		var p pair
		first := func() (err error) { p.ours, err = c.Ours(ctx); return err }
		second := func() (err error) { p.theirs, err = c.Theirs(ctx); return err }
		if peerFirst {
			first, second = second, first
		}
		if err := errors.Join(first(), second()); err != nil {
			return best, err
		}
		if p.foreign = max(0, w.Foreign()); p.foreign < best.foreign {
			best = p
		}
		if best.foreign <= measure.Disturbed || c.Warm {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	return best, nil
}

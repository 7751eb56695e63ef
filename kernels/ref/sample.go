package ref

import (
	"math"
	"slices"
	"sort"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
)

// Sample draws an id for each row of logits and scores it over the whole vocabulary.
func (d *device) Sample(it kernels.Tensor, out kernels.LogProbs, lt kernels.Tensor, kb kernels.Batch, first int) {
	c := d.begin("Sample")
	defer c.end()
	logits, draws := c.f32("logits", lt, -1, -1), c.batch(kb).Draws
	if first < 0 || first+logits.rows > len(draws) {
		c.fail("draws [%d, %d) of %d", first, first+logits.rows, len(draws))
	}
	rows := draws[first : first+logits.rows]
	ids := c.ints("ids", it, len(rows), -1)
	s := c.scores(out, len(rows))
	for _, o := range []kernels.Tensor{it, out.Logp, out.Entropy, out.LSE} {
		c.apart("an output", o, lt)
	}
	if logits.cols == 0 && len(rows) > 0 {
		c.fail("logits is %v: nothing to draw from", lt)
	}
	for b, rule := range rows {
		dist := distribute(logits.row(b), rule.InvTemp)
		from, drawn := logits.row(b), dist
		if len(rule.Adjust) > 0 {
			from = c.adjust(from, rule.Adjust)
			drawn = distribute(from, rule.InvTemp)
		}
		never := make([]bool, logits.cols)
		for _, v := range rule.Never {
			never[v] = true
		}
		if rule.Greedy {
			ids[b] = int32(largest(from, never))
		} else {
			ids[b] = int32(draw(drawn, rule, never))
		}
		s.store(b, dist, ids[b])
	}
}

// adjust is a copy of logits with all of a applied.
func (c call) adjust(logits []float32, all []kernels.Adjustment) []float32 {
	out := slices.Clone(logits)
	seen := map[int32]bool{}
	for _, a := range all {
		if a.ID < 0 || int(a.ID) >= len(logits) || seen[a.ID] {
			c.fail("an adjustment of id %d: there are %d, and each is adjusted once", a.ID, len(logits))
		}
		seen[a.ID] = true
		out[a.ID] = a.Apply(out[a.ID])
	}
	return out
}

// largest is the index of the largest element that may be drawn, the lowest on ties. NaN is never larger.
func largest(x []float32, never []bool) int {
	best, most := 0, math.Inf(-1)
	for v, z := range x {
		if float64(z) > most && !never[v] {
			best, most = v, float64(z)
		}
	}
	return best
}

// draw truncates the distribution and returns the first id, ascending, whose cumulated probability among those kept
// exceeds u.
//
// Each truncation is applied to the renormalised result of the one before. Of equal probabilities the lower id comes
// first.
//
//	never  removes the ids that must not be drawn
//	top-k  the k most probable ids
//	top-p  the fewest most probable ids whose probabilities reach TopP together
//	min-p  the ids whose probability is at least MinP times the largest
//
// If because of rounding no id exceeds u, the last id kept is drawn. If logits are NaN, the lowest id is drawn.
func draw(d distribution, s kernels.Sampling, never []bool) int {
	var order []int
	for v := range d.z {
		if !never[v] {
			order = append(order, v)
		}
	}
	sort.SliceStable(order, func(i, j int) bool { return d.z[order[i]] > d.z[order[j]] })
	if s.TopK > 0 {
		order = order[:min(s.TopK, len(order))]
	}
	if s.TopP > 0 && s.TopP < 1 {
		total, reached := mass(d, order), 0.0
		for i, v := range order {
			if reached += d.p(v) / total; reached >= float64(s.TopP) {
				order = order[:i+1]
				break
			}
		}
	}
	if s.MinP > 0 {
		least := float64(s.MinP) * d.p(order[0])
		n := sort.Search(len(order), func(i int) bool { return d.p(order[i]) < least })
		order = order[:max(1, n)]
	}
	sort.Ints(order)
	total, reached, last := mass(d, order), 0.0, order[0]
	u := num.Uniform(s.Stream, int(s.Pos))
	for _, v := range order {
		p := d.p(v) / total
		if !(p > 0) {
			continue
		}
		last = v
		if reached += p; reached > u {
			return v
		}
	}
	return last
}

// mass is the sum of the probabilities of ids.
func mass(d distribution, ids []int) (sum float64) {
	for _, v := range ids {
		sum += d.p(v)
	}
	return sum
}

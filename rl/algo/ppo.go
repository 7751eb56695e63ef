package algo

// GAE is generalised advantage estimation (arXiv 1506.02438, eq. 16) over the policy tokens of one trajectory:
//
//	delta_t = r_t + gamma V_next - V_t,  A_t = delta_t + gamma lambda A_next
//
// next is the following policy token, and after the last one value and advantage are 0: masked tokens are taken out as
// if they were not there. Advantages and returns (A + V, the critic's target) are 0 at masked places.
func GAE(rewards, values []float64, mask []bool, gamma, lambda float64) (advantages, returns []float64) {
	sameLen("gae", len(mask), rewards, values)
	advantages, returns = make([]float64, len(mask)), make([]float64, len(mask))
	next, run := 0.0, 0.0
	for t := len(mask) - 1; t >= 0; t-- {
		if mask[t] {
			run = rewards[t] + gamma*next - values[t] + gamma*lambda*run
			next = values[t]
			advantages[t], returns[t] = run, run+values[t]
		}
	}
	return advantages, returns
}

// ValueRow is one trajectory as the critic's loss sees it; slices of equal length.
type ValueRow struct {
	// Mask marks the policy's own tokens.
	Mask []bool
	// Value is the prediction being trained, Old the one at sampling, Return the target.
	Value, Old, Return []float64
	// DValue receives dL/dValue, overwritten.
	DValue []float64
}

// ValueLoss is PPO's clipped value loss (arXiv 2005.12729, section 3):
//
//	L = 1/2 agg max((V - R)^2, (clip(V, V_old - clip, V_old + clip) - R)^2)
//
// It returns the row's share of the loss and of the fraction of tokens whose clipped branch is the larger; clip <= 0 is
// no clipping.
func ValueLoss(row ValueRow, clip float64, agg Aggregation, c Counts) (loss, clipFrac float64) {
	sameLen("value loss", len(row.Mask), row.Value, row.Old, row.Return, row.DValue)
	clear(row.DValue)
	n := 0
	for _, on := range row.Mask {
		if on {
			n++
		}
	}
	if n == 0 {
		return 0, 0
	}
	w := agg.weight(n, c)
	for t, on := range row.Mask {
		if !on {
			continue
		}
		e := row.Value[t] - row.Return[t]
		l, g := e*e, e
		if clip > 0 {
			bounded := clamp(row.Value[t], row.Old[t]-clip, row.Old[t]+clip)
			if eb := bounded - row.Return[t]; eb*eb > l {
				l, g = eb*eb, 0 // the larger branch is constant: bounded differs from Value
				clipFrac += 1 / float64(c.Tokens)
			}
		}
		loss += w * l / 2
		row.DValue[t] = w * g
	}
	return loss, clipFrac
}

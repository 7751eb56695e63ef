package algo

// LLDS is the likelihood-preserving regularizer with the gate of an action (arXiv 2512.04220v2, equation 4). It acts
// against lazy likelihood displacement, in which an update makes good trajectories less likely:
//
//	L = 1/|Ypre| sum_i 1/|y_i| sum_t [sum_k d_itk > 0] sum_k max(0, d_itk)
//	d_itk = logp_old - logp_new
//
// i counts the trajectories of the preserving set Ypre, those whose advantage is not negative; t their actions, which
// are turns here; k the tokens of an action; |y_i| is the number of policy tokens. An action whose log-probability did
// not fall as a whole adds nothing. Neither does any action in the first optimizer step of an update: there logp_new is
// logp_old. The paper has a weight of 0.2.

// preserved reports whether a trajectory with these advantages belongs to the preserving set: their mean over the
// policy's tokens is not negative. (The paper has one advantage a trajectory.)
func preserved(advantage []float64, mask []bool) bool {
	sum := 0.0
	n := 0
	for t, on := range mask {
		if on {
			sum += advantage[t]
			n++
		}
	}
	return n > 0 && sum >= 0
}

// AddPreserved counts a trajectory that belongs to the preserving set of LLDS.
func (c *Counts) AddPreserved(advantage []float64, mask []bool) {
	if preserved(advantage, mask) {
		c.Preserved++
	}
}

// llds is a row's share of LLDS. weight times its gradient with respect to the log-probs is added to DLogp.
func (row Row) llds(n int, c Counts, weight float64) (loss float64) {
	if c.Preserved == 0 || !preserved(row.Advantage, row.Mask) {
		return 0
	}
	action := func(t int) int {
		if row.Action == nil {
			return 0
		}
		return row.Action[t]
	}
	fell := map[int]float64{}
	for t, on := range row.Mask {
		if on {
			fell[action(t)] += row.Old[t] - row.New[t]
		}
	}
	share := 1 / (float64(c.Preserved) * float64(n))
	for t, on := range row.Mask {
		if d := row.Old[t] - row.New[t]; on && d > 0 && fell[action(t)] > 0 {
			loss += share * d
			row.DLogp[t] -= weight * share
		}
	}
	return loss
}

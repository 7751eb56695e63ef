package algo

import "math"

// groups lists the rows of each group, in order of first appearance; rows of a group need not be adjacent.
func groups(group []int) [][]int {
	at := map[int]int{}
	var out [][]int
	for i, g := range group {
		j, ok := at[g]
		if !ok {
			j = len(out)
			at[g] = j
			out = append(out, nil)
		}
		out[j] = append(out[j], i)
	}
	return out
}

// meanStd gives mean and standard deviation (divisor n-1) of x at rows; exactly (x, 0) when all are equal, (x, 0) for
// one row.
func meanStd(x []float64, rows []int) (mean, std float64) {
	same := true
	for _, i := range rows {
		mean += x[i]
		same = same && x[i] == x[rows[0]]
	}
	if same {
		return x[rows[0]], 0
	}
	mean /= float64(len(rows))
	for _, i := range rows {
		std += (x[i] - mean) * (x[i] - mean)
	}
	return mean, math.Sqrt(std / float64(len(rows)-1))
}

// GRPO is the group-relative advantage of each row (arXiv 2402.03300, section 4.1.2):
//
//	A_i = (R_i - mean)/(std + eps)
//
// with mean and std (divisor k-1) over the row's group. A group of one has no baseline: its advantage is R/(1 + eps).
// Equal scores give exact zeros.
func GRPO(score []float64, group []int, eps float64) []float64 {
	return groupRelative(score, group, func(std float64) float64 { return std + eps })
}

// GroupBaseline is R_i minus its group's mean; a group of one keeps R. It is the advantage of Dr. GRPO (arXiv
// 2503.20783, section 3.2) and the first step of REINFORCE++-baseline (arXiv 2501.03262v6).
func GroupBaseline(score []float64, group []int) []float64 {
	return groupRelative(score, group, func(float64) float64 { return 1 })
}

// groupRelative is R_i minus its group's mean, over the divisor for the standard deviation of the group; a group of one
// has mean 0 and standard deviation 1.
func groupRelative(score []float64, group []int, divisor func(std float64) float64) []float64 {
	out := make([]float64, len(score))
	for _, rows := range groups(group) {
		mean, std := meanStd(score, rows)
		if len(rows) == 1 {
			mean, std = 0, 1
		}
		d := divisor(std)
		for _, i := range rows {
			out[i] = (score[i] - mean) / d
		}
	}
	return out
}

// RLOO is the leave-one-out advantage (arXiv 2402.14740): R_i minus the mean of the others of its group; a group of one
// keeps R.
func RLOO(score []float64, group []int) []float64 {
	out := GroupBaseline(score, group)
	for _, rows := range groups(group) {
		if k := float64(len(rows)); k > 1 {
			for _, i := range rows {
				out[i] *= k / (k - 1)
			}
		}
	}
	return out
}

// OPO subtracts the length-weighted mean of the group (arXiv 2505.23585): A_i = R_i - sum(L R)/sum(L), L the number of
// policy tokens; a group of one keeps R.
func OPO(score []float64, tokens, group []int) []float64 {
	out := make([]float64, len(score))
	for _, rows := range groups(group) {
		var lr, l float64
		for _, i := range rows {
			lr += float64(tokens[i]) * score[i]
			l += float64(tokens[i])
		}
		base := lr / l
		if len(rows) == 1 || l == 0 {
			base = 0
		}
		if _, std := meanStd(score, rows); std == 0 && len(rows) > 1 {
			base = score[rows[0]]
		}
		for _, i := range rows {
			out[i] = score[i] - base
		}
	}
	return out
}

// GPG is (B/m) (R_i - group mean) with m the number of rows with a score other than 0 (arXiv 2504.02546): groups
// without signal do not dilute the others.
func GPG(score []float64, group []int) []float64 {
	m := 0
	for _, r := range score {
		if r != 0 {
			m++
		}
	}
	out := GroupBaseline(score, group)
	for i := range out {
		out[i] *= float64(len(score)) / float64(max(m, 1))
	}
	return out
}

// Whiten shifts and scales x, in place, to mean 0 and variance 1 over the masked-in tokens of the whole batch and
// zeroes the rest:
//
//	(x - mean)/sqrt(var + 1e-8), var with divisor n-1
//
// Equal values, also a single one, become exact zeros.
func Whiten(x [][]float64, mask [][]bool) {
	var flat []float64
	for i := range x {
		sameLen("whiten", len(mask[i]), x[i])
		for t, on := range mask[i] {
			if on {
				flat = append(flat, x[i][t])
			}
		}
	}
	if len(flat) == 0 {
		return
	}
	rows := make([]int, len(flat))
	for i := range rows {
		rows[i] = i
	}
	mean, std := meanStd(flat, rows)
	d := math.Sqrt(std*std + 1e-8)
	for i := range x {
		for t, on := range mask[i] {
			if on {
				x[i][t] = (x[i][t] - mean) / d
			} else {
				x[i][t] = 0
			}
		}
	}
}

package algo

import "math"

// InfoGain turns the information gains of search turns into additions to the advantage of their tokens: each gain is
// compared with those of all measured turns in the rollouts of its question,
//
//	B_k = (g_k - mean)/(std + 1e-6)
//
// with mean and std (divisor k-1) over the group, as the outcome is in GRPO. A group with one measured turn, or with
// equal gains, gives 0. The gain itself is that of the mean log-probability of the golden answer's tokens (see
// rl.informationGain). Step rewards from the policy's own belief in the golden answer: IGPO, arXiv 2510.14967, whose
// reward is the gain in probability from turn to turn, normalised over the group; IG-Search, arXiv 2604.15148, which
// compares with random documents and adds to the advantages of the query's tokens.
func InfoGain(gain []float64, group []int) []float64 {
	out := make([]float64, len(gain))
	for _, rows := range groups(group) {
		mean, std := meanStd(gain, rows)
		if len(rows) < 2 || std == 0 || math.IsNaN(std) {
			continue
		}
		for _, i := range rows {
			out[i] = (gain[i] - mean) / (std + 1e-6)
		}
	}
	return out
}

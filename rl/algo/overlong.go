package algo

// Overlong is DAPO's soft punishment of length (arXiv 2503.14476, eq. 13), to be added to the reward of a response of n
// tokens: 0 up to limit - buffer, then falling linearly to -factor at limit, and no further.
func Overlong(n, limit, buffer int, factor float64) float64 {
	over := n - (limit - buffer)
	if over <= 0 || buffer <= 0 {
		return 0
	}
	return -min(float64(over)/float64(buffer), 1) * factor
}

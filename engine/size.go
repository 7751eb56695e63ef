package engine

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ParseSize reads a number of bytes as people write it: 24GiB, 24G (the same), 24GB (powers of ten), 512M or plain
// bytes; "" is 0.
func ParseSize(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	digits := strings.TrimRight(s, "BKMGTikmgt ")
	unit := strings.ToUpper(strings.TrimSpace(s[len(digits):]))
	x, err := strconv.ParseFloat(digits, 64)
	scale := 1.0
	switch base := strings.TrimSuffix(strings.TrimSuffix(unit, "B"), "I"); {
	case unit == "" || unit == "B":
	case len(base) == 1 && strings.Contains("KMGT", base):
		step := 1024.0
		if unit == base+"B" {
			step = 1000
		}
		scale = math.Pow(step, float64(strings.Index("KMGT", base)+1))
	default:
		err = strconv.ErrSyntax
	}
	if x *= scale; err != nil || !(x >= 1 && x < 1<<62) {
		return 0, fmt.Errorf("%q is not a size: write it as 24GiB or 512MiB", s)
	}
	return int64(x), nil
}

// size writes bytes as plans print them.
func size(n int64) string {
	if n < 1<<30 {
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
}

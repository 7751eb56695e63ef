package simulate

import (
	"hash/fnv"
	"math"
	"strings"

	"github.com/zerosearch-go/zerosearch/num"
	"github.com/zerosearch-go/zerosearch/rl/reward"
)

// A document is compared by its runs of shingleWords words (shingles): the similarity of two documents is the number of
// common runs over the number of all (Jaccard). MinHash estimates it (Broder 1997): the share of hashes hashes whose
// minimum over the runs is the same in both. Only documents that agree in all rowsOfBand hashes of a band are compared,
// which at a similarity of 0.8 misses one pair in 4,500.
const (
	shingleWords = 3
	hashes       = 64
	rowsOfBand   = 4
)

type signature [hashes]uint64

// similar finds documents that are similar to an earlier one.
type similar struct {
	all   []signature
	bands [hashes / rowsOfBand]map[[rowsOfBand]uint64][]int32
}

// find reports whether an earlier document has at least this similarity.
func (s *similar) find(sign signature, threshold float64) bool {
	for b := range s.bands {
		for _, i := range s.bands[b][band(sign, b)] {
			same := 0
			for k := range sign {
				if sign[k] == s.all[i][k] {
					same++
				}
			}
			if float64(same) >= threshold*hashes {
				return true
			}
		}
	}
	return false
}

// add stores the signature of a document, with which later ones are compared.
func (s *similar) add(sign signature) {
	s.all = append(s.all, sign)
	for b := range s.bands {
		if s.bands[b] == nil {
			s.bands[b] = map[[rowsOfBand]uint64][]int32{}
		}
		k := band(sign, b)
		s.bands[b][k] = append(s.bands[b][k], int32(len(s.all)-1))
	}
}

func band(sign signature, b int) [rowsOfBand]uint64 {
	return [rowsOfBand]uint64(sign[b*rowsOfBand : (b+1)*rowsOfBand])
}

// sign computes the signature of a document. A document shorter than shingleWords is one run.
func sign(document string) (out signature) {
	for i := range out {
		out[i] = math.MaxUint64
	}
	words := strings.Fields(reward.Normalize(document))
	n := min(shingleWords, len(words))
	for i := n; i <= len(words); i++ {
		h := fnv.New64a()
		h.Write([]byte(strings.Join(words[i-n:i], " ")))
		x := h.Sum64()
		for k := range out {
			out[k] = min(out[k], num.Mix(x+uint64(k+1)*num.Gamma))
		}
	}
	return out
}

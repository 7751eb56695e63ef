package reward_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/rl/reward"
	"pgregory.net/rapid"
)

// testdata/scorer.jsonl: scores by the functions of the reference implementation (an Apache-2.0 project; its code was
// run, not copied), golds from NQ-open (CC BY-SA 3.0).
func TestGolden(t *testing.T) {
	raw, err := os.ReadFile("testdata/scorer.jsonl")
	require.NoError(t, err)
	n, nothing := 0, 0
	for _, line := range strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n") {
		var c struct {
			Prediction           string
			Golds                []string
			NormalizedPrediction string   `json:"normalized_prediction"`
			NormalizedGolds      []string `json:"normalized_golds"`
			EM, F1               float64
			SubEM                float64 `json:"sub_em"`
		}
		require.NoError(t, json.Unmarshal([]byte(line), &c))
		require.Equal(t, c.NormalizedPrediction, reward.Normalize(c.Prediction), "%q", c.Prediction)
		for i, g := range c.Golds {
			require.Equal(t, c.NormalizedGolds[i], reward.Normalize(g), "%q", g)
		}
		n++
		if slices.Contains(c.NormalizedGolds, "") {
			nothing++ // see TestNothingLeft
			continue
		}
		require.Equal(t, reward.Scores{EM: c.EM, F1: c.F1, SubEM: c.SubEM}, reward.Score(c.Prediction, true, c.Golds),
			"%q", c.Prediction)
	}
	require.Equal(t, 381, n)
	require.Equal(t, 23, nothing)
}

// Golds that are empty after SQuAD's normalisation. With the reference implementation em is 1 for any answer that is
// also empty after it, sub_em is 1 for any answer, and f1 is always 0. Here a right answer scores 1 and a wrong one 0.
func TestNothingLeft(t *testing.T) {
	right, wrong := reward.Scores{EM: 1, F1: 1, SubEM: 1}, reward.Scores{}
	for _, c := range []struct {
		gold, answer string
		want         reward.Scores
	}{
		{"A", "A", right}, {"A", "a", right}, {"A", "A.", right},
		{"A", "(A)", right}, {"A", "\"A\"", right}, {"A", " a\n", right},
		{"A", "B", wrong}, {"A", "zebra", wrong},
		{"A", "", wrong}, {"A", "the", wrong}, {"A", ".", wrong}, {"A", "an", wrong},
		{"A", "banana", wrong}, {"A", "a banana", wrong}, {"A", "A+", wrong}, {"A", "à", wrong}, {"A", "\uff41", wrong},
		{"A", "the answer is A", reward.Scores{SubEM: 1}}, {"A", "A, not B", reward.Scores{SubEM: 1}},
		{"A", "A ) Paris", reward.Scores{SubEM: 1}},
		{"A+", "A+", right}, {"A+", "a+.", right}, {"A+", "A", wrong}, {"A+", "A-", wrong}, {"A+", "she got a", wrong},
		{"A+", "an A+ in maths", reward.Scores{SubEM: 1}},
		{")", ")", right}, {")", "(", wrong}, {")", "Paris (France)", wrong},
		{"---", "---", right}, {"---", "--", wrong}, {"*", "*", right}, {"?", "!", wrong},
		{"-", "—", wrong}, {"...", "...", right}, {"...", "Paris", wrong},
		{"The The", "the the", right}, {"The The", "The Beatles", wrong},
		{"the", "the the the", reward.Scores{F1: 0.5, SubEM: 1}},
		{"", "", wrong}, {" ", "x", wrong}, {"\x1c\u00a0", " ", wrong},
		// the answer is empty after normalisation, the gold is not
		{"The New World", "The", wrong}, {"he", "the", wrong},
	} {
		require.Equal(t, c.want, reward.Score(c.answer, true, []string{c.gold}), "gold %q, answer %q", c.gold, c.answer)
	}
	require.Equal(t, right, reward.Score("a", true, []string{"zebra", "A"}))
	require.Equal(t, []float64{1, 0}, score(t, "sub_em", attempt("A", "A"), attempt("zebra", "A")))
	require.Equal(t, []float64{1, 0}, score(t, "f1", attempt(")", ")"), attempt("zebra", ")")))
}

// Further cases, from Unicode's SpecialCasing and white space tables.
func TestNormalize(t *testing.T) {
	for in, want := range map[string]string{
		"ΑΣ. Σ Σ’Α ΑΣ’ Α’Σ":     "ας σ σ’α ας’ α’ς",
		"ΑΣ\u0301Α ΑΣ\u0301":    "ασ\u0301α ας\u0301",
		"1Σ":                    "1σ",
		"İΣ":                    "i\u0307ς",
		"an\u0303 the² the_a":   "\u0303 the² thea",
		"x\u1680y\u202fz\u205f": "x y z",
		"\xff the":              "\ufffd",
	} {
		require.Equal(t, want, reward.Normalize(in), "%q", in)
	}
}

func TestDerange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 50).Draw(t, "n")
		seed := rapid.Uint64().Draw(t, "seed")
		p := reward.Derange(n, seed)
		require.Equal(t, p, reward.Derange(n, seed))
		for i, j := range p {
			require.True(t, n == 1 || i != j)
		}
		slices.Sort(p)
		for i, j := range p {
			require.Equal(t, i, j)
		}
	})
	require.Equal(t, []int{1, 2, 4, 0, 3}, reward.Derange(5, 7), "recorded: runs must stay comparable")
	require.NotEqual(t, reward.Derange(20, 1), reward.Derange(20, 2))
}

// Under "shuffled" no question is scored against an answer that shares a word with its own answers.
func TestOthers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.SampledFrom([]string{"Rome", "the Tiber", "blue whale", "whale", "Blue", "42"})
		golds := rapid.SliceOfN(rapid.SliceOfN(word, 1, 3), 0, 12).Draw(t, "golds")
		seed := rapid.Uint64().Draw(t, "seed")
		for i, others := range reward.ShuffledGolds(golds, seed) {
			for _, own := range golds[i] {
				require.Zero(t, reward.F1(own, others), "%v against %v", golds[i], others)
			}
			if others == nil {
				for j := range golds {
					require.True(t, slices.ContainsFunc(golds[i],
						func(own string) bool { return reward.F1(own, golds[j]) > 0 }), "%v could have had %v",
						golds[i], golds[j])
				}
			}
		}
	})
	require.Equal(t, [][]string{{"b"}, {"x"}, {"b"}}, reward.ShuffledGolds([][]string{{"x"}, {"b"}, {"x"}}, 1))
}

// Properties for all texts: scores lie in [0, 1], exact match implies containment and full F1, F1 is symmetric,
// another alias never hurts, every text that is not blank matches itself, and a blank one matches nothing.
func TestProperties(t *testing.T) {
	word := rapid.SampledFrom([]string{"a", "the", "Paris", "paris.", "ΟΔΟΣ", "İ", "x²", "", "Éa",
		"\u0301", "an\u00a0", "\x1c", "A+", ")", "(a).", "...", "\xff"})
	text := rapid.Custom(func(t *rapid.T) string { return strings.Join(rapid.SliceOfN(word, 0, 6).Draw(t, "w"), " ") })
	rapid.Check(t, func(t *rapid.T) {
		a, g, h := text.Draw(t, "a"), text.Draw(t, "g"), text.Draw(t, "h")
		s := reward.Score(a, true, []string{g})
		require.True(t, s.F1 >= 0 && s.F1 <= 1)
		if s.EM == 1 {
			require.Equal(t, reward.Scores{EM: 1, F1: 1, SubEM: 1}, s)
		}
		require.Equal(t, s.F1, reward.F1(g, []string{a}))
		more := reward.Score(a, true, []string{g, h})
		require.True(t, more.F1 >= s.F1 && more.EM >= s.EM && more.SubEM >= s.SubEM)
		self := reward.Scores{}
		if strings.Trim(a, " \u00a0\x1c") != "" {
			self = reward.Scores{EM: 1, F1: 1, SubEM: 1}
		}
		require.Equal(t, self, reward.Score(a, true, []string{a}), "%q", a)
		require.Equal(t, reward.Scores{}, reward.Score("", true, []string{a}), "%q", a)
	})
}

func FuzzNormalize(f *testing.F) {
	for _, s := range []string{"The Beatles", "ΟΔΟΣ", "İ", "\xff", "a\u0301"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 100 {
			return // longer texts reach no other code, and the fuzzer minimises its inputs byte by byte
		}
		n := reward.Normalize(s)
		require.True(t, utf8.ValidString(n))
		require.Equal(t, n, strings.Join(strings.Fields(n), " "))
		if strings.TrimFunc(s, func(r rune) bool { return unicode.IsSpace(r) || 0x1c <= r && r <= 0x1f }) != "" {
			require.Equal(t, reward.Scores{EM: 1, F1: 1, SubEM: 1}, reward.Score(s, true, []string{s}))
		}
		require.False(t, strings.ContainsAny(n, "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"))
	})
}

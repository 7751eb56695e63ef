package reward_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/rl/reward"
)

// Each part of a reward by its formula, and their sum; F1+ is R - 0.1 [no search] - 0.1 [no answer] (arXiv 2602.19526).
func TestShaping(t *testing.T) {
	search := func(documents ...string) reward.Turn {
		return reward.Turn{Text: "<search>x</search>", Action: "search", Query: "x", Documents: documents}
	}
	with := func(a reward.Attempt, turns ...reward.Turn) reward.Attempt {
		a.Turns = append(turns, a.Turns...)
		return a
	}
	silent := reward.Attempt{QuestionID: "q", GoldenAnswers: []string{"Orin"}, Status: "out_of_turns"}
	right, wrong := attempt("Orin", "Orin"), attempt("Mira", "Orin")

	plus := lookup(t, "f1")
	plus.Shaping = reward.Shaping{NoSearch: 0.1, NoAnswer: 0.1}
	require.Equal(t, []float64{0.9, -0.1, 1, 0, -0.2, -0.1}, rewards(t, plus, right, wrong,
		with(right, search()), with(wrong, search()), silent, with(silent, search())))

	all := lookup(t, "format+em")
	all.Shaping = reward.Shaping{NoSearch: 0.1, NoAnswer: 0.25, Search: 0.05, Retrieval: 0.5}
	graded, err := all.Grade(context.Background(), []reward.Attempt{
		with(right, search("Nothing."), search("It was ORIN, of Arel.")), with(silent, search("Orinoco")), right})
	require.NoError(t, err)
	for i, want := range []map[string]float64{
		{"score": 0.8, "format": 0, "no_search": 0, "no_answer": 0, "search": -0.1, "retrieval": 0.5},
		{"score": 0, "format": 0, "no_search": 0, "no_answer": -0.25, "search": -0.05, "retrieval": 0},
		{"score": 0.8, "format": 0.2, "no_search": -0.1, "no_answer": 0, "search": 0, "retrieval": 0},
	} {
		require.Equal(t, want, graded[i].Parts)
		sum := 0.0
		for _, v := range want {
			sum += v
		}
		require.InDelta(t, sum, graded[i].Reward, 1e-15)
	}

	bare, err := lookup(t, "f1").Grade(context.Background(), []reward.Attempt{right})
	require.NoError(t, err)
	require.Equal(t, []reward.Graded{{Reward: 1}}, bare, "without shaping there are no parts")
}

package reward_test

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/rl/reward"
)

func attempt(answer string, golds ...string) reward.Attempt {
	return reward.Attempt{QuestionID: "q", Question: "who?", Answer: &answer, Status: "answered", GoldenAnswers: golds,
		Turns: []reward.Turn{{Text: "<think>x</think><answer>" + answer + "</answer>", Action: "answer"}}}
}

func lookup(t *testing.T, name string) reward.Reward {
	t.Helper()
	r, err := reward.Lookup(name)
	require.NoError(t, err)
	return r
}

func score(t *testing.T, name string, a ...reward.Attempt) []float64 {
	t.Helper()
	return rewards(t, lookup(t, name), a...)
}

func rewards(t *testing.T, r reward.Reward, a ...reward.Attempt) (out []float64) {
	t.Helper()
	graded, err := r.Grade(context.Background(), a)
	require.NoError(t, err)
	for _, g := range graded {
		out = append(out, g.Reward)
	}
	return out
}

func TestNoAnswerScoresZero(t *testing.T) {
	require.Equal(t, reward.Scores{}, reward.Score("", false, []string{""}))
	none := reward.Attempt{GoldenAnswers: []string{"x", ""}}
	for _, name := range []string{"f1", "em", "sub_em", "shuffled", "format+f1"} {
		require.Equal(t, []float64{0, 1}, score(t, name, none, attempt("x", "x")), name)
		require.Equal(t, name == "shuffled", lookup(t, name).Shuffled)
	}
	require.Equal(t, []float64{1, 1}, score(t, "constant", none, attempt("x", "y")))
	require.Equal(t, reward.Scores{}, reward.Score("x", true, nil), "no gold, nothing to win")
}

func TestLookup(t *testing.T) {
	for name, want := range map[string]string{
		"bleu":             "f1, em, sub_em, format, shuffled, constant, format+NAME, exec:PROGRAM",
		"format+bleu":      "no such reward",
		"format+format":    "no such reward",
		"format+format+f1": "no such reward",
		"exec:":            "no program is named",
		"":                 "no such reward",
	} {
		_, err := reward.Lookup(name)
		require.ErrorContains(t, err, want, name)
	}
	require.Equal(t, []string{"./r.py", "--x", "1"}, lookup(t, "exec:./r.py --x 1").Scorer.(*reward.Program).Command)
	require.Equal(t, reward.DefaultFormatWeight, lookup(t, "format+exec:r").FormatWeight)
}

func TestFormat(t *testing.T) {
	search, answer := "<think>I need it.</think>\n<search>it</search>", "<think> so </think> <answer>42</answer>"
	for _, c := range []struct {
		want  float64
		texts []string
	}{
		{1, []string{answer}},
		{1, []string{search, search, answer}},
		{1, []string{" " + search + "x", answer + "\n"}},
		{0, nil},
		{0, []string{"<answer>42</answer>"}},
		{0, []string{search}},
		{0, []string{answer, answer}},
		{0, []string{"no tags", answer}},
		{0, []string{"Well. " + answer}},
		{0, []string{"<think></think><answer>42</answer>"}},
		{0, []string{"<think>x</think><answer> </answer>"}},
		{0, []string{"<think>x</think> hm <answer>42</answer>"}},
		{0, []string{"<think>x<answer>1</answer></think><answer>42</answer>"}},
		{0, []string{"<think>x</think><answer>42<search>y</search></answer>"}},
		{0, []string{"<think>x</think><answer>42"}},
	} {
		a := reward.Attempt{}
		for _, text := range c.texts {
			a.Turns = append(a.Turns, reward.Turn{Text: text})
		}
		require.Equal(t, c.want, reward.Format(a), "%q", c.texts)
	}
	begun := func(texts ...string) (a reward.Attempt) { // under a chat template that opens the first thought
		for _, text := range texts {
			a.Turns = append(a.Turns, reward.Turn{Text: text})
		}
		a.Turns[0].Prefill = "<think>\n"
		return a
	}
	require.Equal(t, 1.0, reward.Format(begun("so\n</think>\n<answer>42</answer>")))
	require.Equal(t, 1.0, reward.Format(begun("I need it.</think><search>it</search>", answer)))
	require.Equal(t, 0.0,
		reward.Format(begun("I need it.</think><search>it</search>", "so</think><answer>42</answer>")),
		"only the first")
	require.Equal(t, 0.0, reward.Format(begun("\n</think><answer>42</answer>")), "an empty thought")
	require.Equal(t, 0.0, reward.Format(begun(answer)), "two opening tags")
	bare := attempt("x", "x")
	bare.Turns[0].Text = "<answer>x</answer>"
	require.Equal(t, []float64{1, 0.8, 0.2}, score(t, "format+em", attempt("x", "x"), bare, attempt("x", "y")))
	require.Equal(t, []float64{1, 0}, score(t, "format", attempt("x", "y"), bare))
}

// A Go function can be a reward, and its values are checked.
func TestScorer(t *testing.T) {
	r := reward.Reward{Name: "mine",
		Scorer: reward.Func(func(a reward.Attempt) float64 { return float64(len(*a.Answer)) })}
	require.Equal(t, []float64{4, 0}, rewards(t, r, attempt("four"), attempt("")))
	r.Scorer = reward.Func(func(reward.Attempt) float64 { return math.NaN() })
	_, err := r.Grade(context.Background(), []reward.Attempt{attempt("x")})
	require.ErrorContains(t, err, "reward mine: the reward of question q is NaN")
	r.Scorer = short{}
	_, err = r.Grade(context.Background(), []reward.Attempt{attempt("x")})
	require.ErrorContains(t, err, "0 rewards for 1 episodes")
}

type short struct{}

func (short) Score(context.Context, []reward.Attempt) ([]float64, error) { return nil, nil }

package harvest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// trajectory is an episode of one search whose answer is right or wrong.
func trajectory(question, query, answer string, documents ...string) *episode.Episode {
	return &episode.Episode{Question: question, GoldenAnswers: []string{"gold"}, Status: episode.Answered,
		Turns: []episode.Turn{{Action: episode.Search, Content: query, Documents: documents},
			{Action: episode.Answer, Content: answer}}}
}

func options() Options { return Options{Correct: "em", Threshold: 1, Seed: 1} }

// The answer of the trajectory decides about the documents; the majority does where several trajectories used them.
func TestQualities(t *testing.T) {
	h := New(options())
	h.Add(trajectory("q1", "a", "gold", "x"))
	h.Add(trajectory("q1", "A ", "gold", "x")) // the same search
	h.Add(trajectory("q1", "a", "wrong", "x"))
	h.Add(trajectory("q2", "a", "wrong", "x")) // of another question
	h.Add(trajectory("q3", "b", "gold", "y"))
	h.Add(trajectory("q3", "b", "wrong", "y")) // a tie
	h.Add(trajectory("q4", "c", "wrong"))      // nothing was found
	simulated := trajectory("q6", "e", "gold", "w")
	simulated.Turns[0].Quality = "useful"
	h.Add(simulated)
	failed := trajectory("q5", "d", "gold", "z")
	failed.Status = episode.SearchFailed
	h.Add(failed)
	rows, held, err := h.Rows()
	require.NoError(t, err)
	require.Empty(t, held)
	require.Equal(t, []Row{
		{Question: "q1", GoldenAnswers: []string{"gold"}, Query: "a", Quality: search.Useful, Documents: []string{"x"}},
		{Question: "q2", GoldenAnswers: []string{"gold"}, Query: "a", Quality: search.Noisy, Documents: []string{"x"}},
	}, rows)
	require.Equal(t, Counts{Episodes: 9, Failed: 1, Right: 4, Wrong: 4, Searches: 8, Empty: 1, Repeated: 3,
		Simulated: 1, Contradictory: 1, Train: 2}, h.Counts)
}

// A trajectory may be right from an F1 on, and documents may have to agree with their quality.
func TestOptions(t *testing.T) {
	o := options()
	o.Correct, o.Threshold, o.Strict = "f1", 0.5, true
	h := New(o)
	h.Add(trajectory("q1", "a", "gold medal", "the gold is here")) // F1 2/3
	h.Add(trajectory("q2", "a", "gold in an old box", "no"))       // F1 2/5
	h.Add(trajectory("q3", "a", "gold", "the answer is missing"))
	h.Add(trajectory("q4", "a", "wrong", "gold"))
	rows, _, err := h.Rows()
	require.NoError(t, err)
	require.Len(t, rows, 2)
	require.Equal(t, "q1", rows[0].Question)
	require.Equal(t, "q2", rows[1].Question)
	require.Equal(t, 1, h.NoAnswer)
	require.Equal(t, 1, h.Answer)

	for want, change := range map[string]func(o *Options){
		"--correct": func(o *Options) { o.Correct = "rouge" }, "--threshold": func(o *Options) { o.Threshold = 0 },
		"--hold-out": func(o *Options) { o.HoldOut = 1 }, "--document-words": func(o *Options) { o.Words = -1 },
	} {
		o := options()
		change(&o)
		require.ErrorContains(t, o.Check(), want)
	}
	require.NoError(t, options().Check())
}

// Both parts are balanced, no question is in both, and which rows stay depends on the seed and not on the order.
func TestBalanceAndSplit(t *testing.T) {
	gather := func(seed uint64, from, to, step int) (h *Harvest, train, held []Row) {
		o := options()
		o.HoldOut, o.Seed = 0.25, seed
		h = New(o)
		for i := from; i != to; i += step {
			answer := "gold"
			if i%4 == 0 {
				answer = "wrong"
			}
			h.Add(trajectory(fmt.Sprint("question ", i%50), fmt.Sprint("query ", i), answer, fmt.Sprint("text ", i)))
		}
		train, held, err := h.Rows()
		require.NoError(t, err)
		return h, train, held
	}
	h, train, held := gather(1, 0, 400, 1)
	questions := map[string]bool{}
	for part, rows := range [][]Row{train, held} {
		useful := 0
		for _, r := range rows {
			if part == 0 {
				questions[r.Question] = true
			} else {
				require.False(t, questions[r.Question], "%s is in both parts", r.Question)
			}
			if r.Quality == search.Useful {
				useful++
			}
		}
		require.Equal(t, len(rows), 2*useful)
		require.NotEmpty(t, rows)
	}
	require.Equal(t, 400, h.Unbalanced+len(train)+len(held))

	_, back, _ := gather(1, 399, -1, -1)
	require.ElementsMatch(t, train, back)
	_, other, _ := gather(2, 0, 400, 1)
	require.NotEqual(t, train, other)

	made := New(options())
	made.Add(&episode.Episode{Status: episode.Answered, Turns: []episode.Turn{{Action: episode.Search, Content: "a",
		Quality: "noisy"}}})
	_, _, err := made.Rows()
	require.ErrorContains(t, err, "a simulated engine answered all searches")

	one := New(options())
	one.Add(trajectory("q", "a", "gold", "x"))
	_, _, err = one.Rows()
	require.ErrorContains(t, err, "1 useful and 0 noisy")
}

func TestCut(t *testing.T) {
	doc := "the tower stands in a park and many people visit it and the height of the tower is 330 m today"
	require.Equal(t, doc, cut(doc, "tower height", nil, 0))
	require.Equal(t, "the height of the tower", cut(doc, "tower height", nil, 5))
	require.Equal(t, "the tower is 330 m", cut(doc, "tower height", []string{"330 m"}, 5))
	require.Equal(t, "the tower stands in a", cut(doc, "nothing of it", nil, 5))
}

// A row asks what simulate_sft asks, for as many documents as follow.
func TestChat(t *testing.T) {
	r := Row{Question: "who?", GoldenAnswers: []string{"gold"}, Query: "a", Quality: search.Noisy,
		Documents: []string{"x", "y", "z"}}
	prompt := search.Render(search.SFT, search.Noisy, search.Query{Query: "a", Question: "who?",
		GoldenAnswers: []string{"gold"}}, 3)
	require.Contains(t, prompt, "generate three noisy documents")
	r.Chat(true)
	require.Equal(t, prompt, r.Prompt)
	require.Equal(t, "Doc 1: x\nDoc 2: y\nDoc 3: z", r.Completion)
	require.Nil(t, r.Messages)
	r = Row{Question: r.Question, GoldenAnswers: r.GoldenAnswers, Query: r.Query, Quality: r.Quality,
		Documents: r.Documents}
	r.Chat(false)
	require.Equal(t, []Message{{"system", ""}, {"user", prompt}, {"assistant", "Doc 1: x\nDoc 2: y\nDoc 3: z"}},
		r.Messages)
}

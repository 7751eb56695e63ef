package demo

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// Every question of a world is answered by its facts.
func TestWorld(t *testing.T) {
	held := NewWorld(20, true, 5)
	for _, f := range held.Facts {
		require.True(t, isName(f.Y) && isName(bare(f.X)), "%v", f)
	}
	one, two := 0, 0
	for _, q := range held.Questions() {
		require.True(t, strings.HasSuffix(q.Text, "?"), q.Text)
		require.Contains(t, q.Text, q.Chain[0].X)
		require.NotContains(t, q.Text, "{")
		if len(q.Chain) == 2 {
			require.Equal(t, q.Chain[0].Y, q.Chain[1].X, "the second hop asks about what the first one finds")
			two++
		} else {
			one++
		}
	}
	require.Equal(t, len(held.Facts), one)
	require.Greater(t, two, 60)
	require.NotEqual(t, held.Facts, NewWorld(20, true, 6).Facts)
	require.Equal(t, held, NewWorld(20, true, 5), "the same seed gives the same world")
	known := map[string]bool{}
	for _, f := range NewWorld(60, false, 5).Facts {
		known[bare(f.X)], known[f.Y] = true, true
	}
	for _, f := range held.Facts {
		require.False(t, known[bare(f.X)] || known[f.Y], "reinforcement meets no name of %v", f)
	}
}

// bare is the name without "the" and noun.
func bare(entity string) string { return entity[strings.LastIndex(entity, " ")+1:] }

// The simulated engine knows both hops of a question, and as much as the corpus says about their entities.
func TestFactsAbout(t *testing.T) {
	w := NewWorld(20, true, 5)
	corpus := w.Corpus()
	for _, q := range w.Questions() {
		facts := w.FactsAbout(q)
		for _, f := range q.Chain {
			require.Equal(t, f.Y, facts[f.Query()])
		}
		for query, y := range facts {
			stated := func(passage string) bool { return strings.HasSuffix(passage, " "+y+".") }
			require.True(t, slices.ContainsFunc(corpus, stated), query)
		}
		require.LessOrEqual(t, len(facts), 6)
		require.NotContains(t, facts, "Nobody born")
	}
}

// The weak policy's training texts equal recorded episodes: the tags parse, and the observations are the environment's.
func TestTrajectoriesAreEpisodes(t *testing.T) {
	w := NewWriter(7)
	counts := map[episode.Action]int{}
	for range 300 {
		e := w.Trajectory(w.habits())
		require.True(t, strings.HasPrefix(e[0].Text, "Question: ") && !e[0].Learn)
		said := ""
		for i, p := range e[1:] {
			if p.Learn {
				said += p.Text
				continue
			}
			action, content, end := episode.Parse(said)
			require.Equal(t, episode.Search, action, said)
			require.Equal(t, len(said), end, "nothing stands behind the action")
			require.NotEmpty(t, content)
			require.True(t, strings.HasPrefix(p.Text, "\n\n<information>Doc 1: "), "part %d: %q", i, p.Text)
			counts[action]++
			said = ""
		}
		action, answer, _ := episode.Parse(said)
		require.Equal(t, episode.Answer, action, said)
		require.True(t, isName(answer), answer)
		counts[action]++
	}
	require.Equal(t, 300, counts[episode.Answer])
	require.Greater(t, counts[episode.Search], 50)
}

// With good habits nearly every trajectory is right (noise may last for all searches), and every step follows from its
// documents. One bad habit alone spoils as much as it should.
func TestHabits(t *testing.T) {
	right := func(h Habits, hops int) float64 {
		w, right, all := NewWriter(13), 0, 0
		for all < 300 {
			q := w.question()
			if len(q.Chain) != hops {
				continue
			}
			all++
			e := recorded(q, w.episode(q, h))
			require.LessOrEqual(t, len(e.Turns), maxSearches+1)
			if answer, ok := e.Answer(); ok && answer == q.Answer() && Follows(e) {
				right++
			}
		}
		return float64(right) / float64(all)
	}
	good := Habits{true, true, true, true}
	require.Greater(t, right(good, 1), 0.97)
	require.Greater(t, right(good, 2), 0.9)
	for _, c := range []struct {
		spoil    func(h *Habits)
		one, two float64
	}{
		{func(h *Habits) { h.Searches = false }, 0, 0},
		{func(h *Habits) { h.Reads = false }, 0, 0},
		{func(h *Habits) { h.SearchAgain = false }, 0.7, 0.49},
		{func(h *Habits) { h.SecondHop = false }, 1, 0},
	} {
		h := good
		c.spoil(&h)
		require.InDelta(t, c.one, right(h, 1), 0.08, "%+v", h)
		require.InDelta(t, c.two, right(h, 2), 0.08, "%+v", h)
	}
}

// recorded is a trajectory as a run records it.
func recorded(q Question, text Text) *episode.Episode {
	e := &episode.Episode{Question: q.Text, GoldenAnswers: []string{q.Answer()}, Status: episode.Answered}
	said := ""
	for _, p := range text[1:] {
		if p.Learn {
			said += p.Text
			continue
		}
		e.Turns = append(e.Turns, episode.Turn{Text: said, Action: episode.Search,
			Documents: search.Split(between(p.Text, "<information>", "</information>"))})
		said = ""
	}
	_, answer, _ := episode.Parse(said)
	e.Turns = append(e.Turns, episode.Turn{Text: said, Action: episode.Answer, Content: answer})
	return e
}

// An episode does not follow from its documents when it states a fact that none of them has, or uses a name that it has
// not read.
func TestFollows(t *testing.T) {
	q := ask2(Fact{R: 2, X: "the bell Velmora", Y: "Dorgosh"}, Fact{R: 0, X: "Dorgosh", Y: "Kelsela"})
	e := func(first, second string) *episode.Episode {
		return &episode.Episode{Question: q.Text, Turns: []episode.Turn{
			{Text: "<think> I need the maker of the bell Velmora. </think>\n<search> the bell Velmora made </search>",
				Documents: []string{"The bell Velmora was made by Dorgosh.", "The bell Wenwick was made by Marposh."}},
			{Text: first, Documents: []string{"Dorgosh was born in Kelsela.", "Garsela was born in Fenkela."}},
			{Text: second}}}
	}
	const first = "<think> The bell Velmora was made by Dorgosh. </think>\n<search> Dorgosh born </search>"
	const second = "<think> Dorgosh was born in Kelsela. </think>\n<answer> Kelsela </answer>"
	require.True(t, Follows(e(first, second)))
	require.False(t, Follows(e(strings.ReplaceAll(first, "Dorgosh", "Marposh"), second)), "a fact in no document")
	require.False(t, Follows(e(first, strings.ReplaceAll(second, "Kelsela", "Fenkela"))), "a fact in no document")
	require.False(t, Follows(e("<search> Zarwick born </search>", second)), "a name from nowhere")
	guess := []episode.Turn{{Text: "<answer> Velmora </answer>"}}
	require.False(t, Follows(&episode.Episode{Question: q.Text, Turns: guess}), "nothing was read")
}

// The simulator is trained on ZeroSearch's prompt. Useful documents state the fact that the query asks for, with the
// answer in the prompt; noise states it by chance only.
func TestSimulations(t *testing.T) {
	w := NewWriter(9)
	useful, unknown, leaked := 0, 0, 0
	for range 4000 {
		prompt, output := w.Simulation()
		require.Len(t, search.Split(search.Cut(output, docsPerResult)), docsPerResult)
		answer, entity := between(prompt, "whose answer is ", ".\n"), between(prompt, "Query: ", "\n")
		entity = entity[:strings.LastIndex(entity, " ")]
		switch {
		case strings.HasSuffix(prompt, "Useful Output:\n"):
			useful++
			require.Contains(t, output, " "+answer+".")
			require.Contains(t, output, capital(entity)+" ")
		case answer == "":
			unknown++
		case strings.Contains(output, answer):
			leaked++
		}
	}
	require.InDelta(t, 1800, useful, 200)
	require.InDelta(t, 400, unknown, 100)
	require.Less(t, leaked, 80, "noise helps by chance only: one of its six names in 324")
}

func between(s, a, b string) string {
	_, s, _ = strings.Cut(s, a)
	s, _, _ = strings.Cut(s, b)
	return s
}

// A look-up question is answered by a fact above it, or the fact is not there.
func TestLookUps(t *testing.T) {
	w := NewWriter(11)
	absent := 0
	for n := range 20000 {
		e := w.LookUp(2+n%6, 0.4, n%4, 0)
		if n%2 > 0 {
			e = w.LookUp(2+n%6, 0.4, 3, 0.3)
		}
		for _, p := range e[1:] {
			if !p.Learn {
				continue
			}
			thought := between(p.Text, "<think> ", " </think>")
			if beginning, ok := strings.CutSuffix(thought, ": not found."); ok {
				require.NotContains(t, e[0].Text, ": "+beginning+" ")
				absent++
				continue
			}
			require.Contains(t, e[0].Text, thought)
			require.Contains(t, thought, between(p.Text, "<answer> ", " </answer>"))
		}
	}
	require.InDelta(t, 10000*4.5*0.3, absent, 2500)
}

// In a reaction, everything after the first search is trained.
func TestReactions(t *testing.T) {
	w := NewWriter(12)
	for range 300 {
		e := w.Reaction(Habits{})
		require.Contains(t, e[1].Text, "<search>")
		require.False(t, e[1].Learn || e[2].Learn)
		require.True(t, e[3].Learn)
	}
}

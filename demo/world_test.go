package demo

import (
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

// The weak policy's training texts equal recorded episodes: the tags parse, and the observations are the environment's.
func TestTrajectoriesAreEpisodes(t *testing.T) {
	w := NewWriter(7)
	counts := map[episode.Action]int{}
	for range 300 {
		e := w.Trajectory(w.behaviour())
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
	require.Greater(t, counts[episode.Search], 200)
}

// The simulator is trained on ZeroSearch's prompt. It names the answer only in useful documents about the last hop.
func TestSimulations(t *testing.T) {
	w := NewWriter(9)
	useful, named, leaked := 0, 0, 0
	for range 4000 {
		prompt, output := w.Simulation()
		answer := between(prompt, "whose answer is ", ".\n")
		require.Len(t, search.Split(search.Cut(output, docsPerResult)), docsPerResult)
		if strings.HasSuffix(prompt, "Useful Output:\n") {
			useful++
			if strings.Contains(output, answer) {
				named++
			}
		} else if strings.Contains(output, answer) {
			leaked++
		}
	}
	require.InDelta(t, 2000, useful, 200)
	require.Greater(t, named, useful/2)
	require.Less(t, leaked, 80, "noise helps by chance only: one of its six names in 324")
}

func between(s, a, b string) string {
	_, s, _ = strings.Cut(s, a)
	s, _, _ = strings.Cut(s, b)
	return s
}

// A look-up question is answered by a fact above it.
func TestLookUps(t *testing.T) {
	w := NewWriter(11)
	for n := range 20000 {
		e := w.LookUp(2 + n%6)
		for i := 2; i < len(e); i += 3 {
			require.True(t, e[i].Learn)
			require.Contains(t, e[0].Text, between(e[i].Text, "<think> ", " </think>"))
			require.Contains(t, between(e[i].Text, "<think> ", " </think>"),
				between(e[i].Text, "<answer> ", " </answer>"))
		}
	}
}

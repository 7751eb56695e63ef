package eval

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/reward"
	"pgregory.net/rapid"
)

type golden struct {
	Bootstrap []struct {
		X                []float64
		Level, Low, High float64
		Stderr           float64
	}
	Paired []struct {
		A, B              []float64
		Low, High, Stderr float64
	}
	Binomtest []struct {
		Wins, Losses int
		P            float64
	}
	Quantile []struct {
		X        []float64
		Q, Value float64
	}
}

func load(t *testing.T) (g golden) {
	b, err := os.ReadFile("testdata/bootstrap.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &g))
	return g
}

func results(source string, scores ...float64) (out []Result) {
	for i, x := range scores {
		out = append(out, Result{Method: Agent, Source: source, ID: fmt.Sprint(i),
			Scores: reward.Scores{EM: math.Floor(x), F1: x, SubEM: math.Ceil(x)}})
	}
	return out
}

// Values by scipy and numpy. Bootstrap intervals agree within their Monte Carlo error, a few hundredths of the standard
// error.
func TestAgainstSciPy(t *testing.T) {
	g := load(t)
	for _, c := range g.Bootstrap {
		rows := Report(results("s", c.X...), Bootstrap{Resamples: 40000, Level: c.Level, Seed: 3})
		tolerance := 0.05 * c.Stderr
		if rows[0].EM == rows[0].F1 { // scores are 0 or 1, so the means are multiples of 1/n
			tolerance += 1 / float64(len(c.X))
		}
		require.InDelta(t, c.Low, rows[0].F1CI[0], tolerance)
		require.InDelta(t, c.High, rows[0].F1CI[1], tolerance)
	}
	for _, c := range g.Paired {
		d, err := Compare(results("s", c.A...), results("s", c.B...), Bootstrap{Resamples: 40000, Level: 0.95, Seed: 3})
		require.NoError(t, err)
		require.InDelta(t, c.Low, d[0].F1.CI[0], 0.05*c.Stderr)
		require.InDelta(t, c.High, d[0].F1.CI[1], 0.05*c.Stderr)
	}
	for _, c := range g.Binomtest {
		require.InEpsilon(t, c.P, signTest(c.Wins, c.Losses), 1e-9, "%d:%d", c.Wins, c.Losses)
		require.Equal(t, signTest(c.Wins, c.Losses), signTest(c.Losses, c.Wins))
	}
	for _, c := range g.Quantile {
		x := append([]float64(nil), c.X...)
		b := Bootstrap{Level: 1}
		b.interval(x) // sorts
		require.InDelta(t, c.Value, quantile(x, c.Q), 1e-15)
	}
}

// A 95% interval contains the true mean in about 95% of samples.
func TestCoverage(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	hit := 0
	for i := range 400 {
		x := make([]float64, 80)
		for k := range x {
			x[k] = r.Float64()
		}
		ci := Report(results("s", x...), Bootstrap{Resamples: 400, Level: 0.95, Seed: uint64(i)})[0].F1CI
		if ci[0] <= 0.5 && 0.5 <= ci[1] {
			hit++
		}
	}
	require.InDelta(t, 0.945, float64(hit)/400, 0.03)
}

func TestReport(t *testing.T) {
	all := append(results("zzz", 1, 0.5), results("bamboogle", 0)...)
	all = append(all, results("nq", 1, 1, 0.5, 0)...)
	answer := "x"
	all[0].Answer, all[0].Turns, all[0].Valid, all[0].Searches, all[1].Turns, all[1].Status = &answer, 3, 2, 1, 1,
		episode.SearchFailed
	rows := Report(all, Bootstrap{})
	var names []string
	for _, r := range rows {
		names = append(names, r.Source)
		require.Nil(t, r.F1CI)
	}
	require.Equal(t, []string{"nq", "bamboogle", "zzz", Average, All}, names, "the paper's order, then others")
	require.Equal(t, Row{Method: Agent, Source: "nq", EM: 0.5, F1: 0.625, SubEM: 0.75, N: 4}, rows[0])
	require.Equal(t, Row{Method: Agent, Source: "zzz", EM: 0.5, F1: 0.75, SubEM: 1, ValidAction: 0.5, Searches: 0.5,
		Finish: 0.5, N: 2, Failed: 1}, rows[2])
	require.InDelta(t, (0.625+0+0.75)/3, rows[3].F1, 1e-15)
	require.InDelta(t, 4.0/7, rows[4].F1, 1e-15)
	require.Equal(t, 7, rows[3].N)
	require.Len(t, Report(results("nq", 1), Bootstrap{}), 2, "one source is its own average")
	require.Equal(t, []Row{{Source: All}}, Report(nil, Bootstrap{Resamples: 0}))
}

// For all scores: intervals contain the mean, lie within the scores' range, and are the same for the same seed.
func TestIntervals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		unit := rapid.Float64Range(0, 1)
		all := append(results("nq", rapid.SliceOfN(unit, 1, 30).Draw(t, "a")...),
			results("x", rapid.SliceOfN(unit, 1, 30).Draw(t, "b")...)...)
		b := Bootstrap{Resamples: 400, Level: 0.99, Seed: rapid.Uint64().Draw(t, "seed")}
		rows := Report(all, b)
		require.Equal(t, rows, Report(all, b))
		for _, r := range rows {
			for _, s := range Scores() {
				x, ci := s.Of(r)
				require.True(t, ci[0] >= -1e-12 && ci[0] <= x+1e-12 && x-1e-12 <= ci[1] &&
					ci[1] <= 1+1e-12, "%s %v %v", r.Source, x, ci)
			}
		}
		same, err := Compare(all, all, b)
		require.NoError(t, err)
		for _, d := range same {
			require.Equal(t, Paired{A: d.F1.A, B: d.F1.A, CI: &Interval{}, PBootstrap: d.F1.PBootstrap, P: 1}, d.F1)
			require.Equal(t, 1.0, *d.F1.PBootstrap)
		}
	})
}

func TestCompare(t *testing.T) {
	a := append(results("nq", 0, 0, 0, 0.5), results("x", 1, 0)...)
	b := append(results("x", 1, 0.5), results("nq", 1, 1, 0, 0)...)
	ds, err := Compare(a, b, Bootstrap{})
	require.NoError(t, err)
	require.Equal(t, Difference{Source: "nq", N: 4, EM: Paired{A: 0, B: 0.5, Diff: 0.5, Wins: 2, P: 0.5},
		F1:    Paired{A: 0.125, B: 0.5, Diff: 0.375, Wins: 2, Losses: 1, P: 1},
		SubEM: Paired{A: 0.25, B: 0.5, Diff: 0.25, Wins: 2, Losses: 1, P: 1}}, ds[0])
	require.Equal(t, []string{"nq", "x", Average, All}, []string{ds[0].Source, ds[1].Source, ds[2].Source,
		ds[3].Source})
	require.InDelta(t, (0.375+0.25)/2, ds[2].F1.Diff, 1e-15)
	require.InDelta(t, (1.5+0.5)/6, ds[3].F1.Diff, 1e-15)
	require.Equal(t, []int{3, 1, 6}, []int{ds[3].F1.Wins, ds[3].F1.Losses, ds[3].N})

	_, err = Compare(a, b[:5], Bootstrap{})
	require.ErrorContains(t, err, "the first holds 6 questions, the second 5, and 5 are in both")
	_, err = Compare(nil, nil, Bootstrap{})
	require.Error(t, err)
	twice := append(results("nq", 1), results("nq", 0)...) // one question, asked twice
	ds, err = Compare(twice, twice, Bootstrap{})
	require.NoError(t, err)
	require.Equal(t, Paired{A: 0.5, B: 0.5, P: 1}, ds[0].F1)
}

func TestMethods(t *testing.T) {
	ms, err := ParseMethods([]string{"agent", "rag", "agent"})
	require.NoError(t, err)
	require.Equal(t, []Method{RAG, Agent}, ms)
	ms, err = ParseMethods([]string{"all"})
	require.NoError(t, err)
	require.Equal(t, Methods(), ms)
	_, err = ParseMethods([]string{"react"})
	require.ErrorContains(t, err, `method "react" is not known: use direct, cot, rag, agent or all`)
	for _, m := range Methods() {
		require.Contains(t, m.Prompt("who?", "Doc 1"), "who?")
		require.Equal(t, m == RAG, bytes.Contains([]byte(m.Prompt("who?", "Doc 1")), []byte("Doc 1")))
	}
}

// The agent must put its answer between tags; a baseline may leave them out.
func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		text                   string
		status                 episode.Status
		agent, direct, chained string
	}{
		{"I think.\n<answer> Paris </answer>", episode.Answered, "Paris", "Paris", "Paris"},
		{"\n Paris\nIt is in France.\n\n", episode.OutOfTurns, "-", "Paris", "It is in France."},
		{" \n", episode.OutOfTurns, "-", "-", "-"},
		{"<search>Paris</search>", episode.OutOfTurns, "-", "-", "-"},
		{"Par", episode.Cancelled, "-", "-", "-"},
		{"<think>\nRome?\n</think>\n\nParis\n", episode.OutOfTurns, "-", "Paris", "Paris"},
		{"Rome?\n</think>\n\nParis\n", episode.OutOfTurns, "-", "Paris", "Paris"},
		{"<think>\nParis", episode.OutOfTurns, "-", "-", "-"},
	} {
		e := &episode.Episode{Status: c.status, GoldenAnswers: []string{"Paris"}, Turns: []episode.Turn{{Text: c.text}}}
		e.Turns[0].Action, e.Turns[0].Content, _ = episode.Parse(c.text)
		for m, want := range map[Method]string{Agent: c.agent, Direct: c.direct, RAG: c.direct, CoT: c.chained} {
			run := *e
			if m == RAG {
				run.Turns = append([]episode.Turn{{Action: episode.Search}}, e.Turns...)
			}
			r := Grade(m, &run, "nq")
			require.Equal(t, []int{1, run.ValidActions() - run.Searches() + e.Searches()}, []int{r.Turns, r.Valid})
			got := "-"
			if r.Answer != nil {
				got = *r.Answer
			}
			require.Equal(t, want, got, "%s: %q", m, c.text)
			if want == "Paris" {
				require.Equal(t, reward.Scores{EM: 1, F1: 1, SubEM: 1}, r.Scores)
			}
		}
	}
}

func TestTables(t *testing.T) {
	rows := Report(append(results("nq", 1, 0), results("hotpotqa", 0)...), Bootstrap{Resamples: 10, Level: 0.5})
	tau := 0.25
	for i := range rows {
		rows[i].Engine, rows[i].Tau = "simulated", &tau
	}
	direct := rows[1]
	direct.Method, direct.Engine, direct.Tau = Direct, "none", nil
	var b bytes.Buffer
	require.NoError(t, PaperTable(append([]Row{direct}, rows...), ScoreF1).Markdown(&b))
	require.Regexp(t, `^\| Method \| NQ \| HotpotQA \| Avg\. \|
\| --- \| ---: \| ---: \| ---: \|
\| Direct answer \|  \| 0\.0 \[0\.0, 0\.0\] \|  \|
\| Search agent, simulated tau=0\.25 \| 50\.0 \[\d+\.\d, \d+\.\d\] \| 0\.0 \[0\.0, 0\.0\] \| 25\.0 \[\d+\.\d, \d+\.\d\] \|
$`, b.String())
	b.Reset()
	require.NoError(t, Details(rows[:1]).Text(&b))
	require.Equal(t,
		"  data source              engine  n     em     f1  f1 interval  sub_em  valid actions  searches  finished\n"+
			"           nq  simulated tau=0.25  2  0.500  0.500  0.000-0.875   0.500           0.0%      0.00      "+
			"0.0%\n",
		b.String())
}

package report

import (
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/health"
)

// seen writes spans as text: [class:part of a token], {text of the environment}.
func seen(spans []span) string {
	var s strings.Builder
	class := ""
	for _, x := range spans {
		if !x.Token {
			s.WriteString("{" + x.Text + "}")
			class = ""
			continue
		}
		for _, p := range x.Parts {
			if p.Class != class {
				s.WriteString("[" + p.Class + "]")
				class = p.Class
			}
			s.WriteString(p.Text)
		}
	}
	return s.String()
}

// Only tags that the policy wrote are coloured.
func TestSpans(t *testing.T) {
	tok := openLetters()
	e := play(1, "q", 1, "<answer>no</answer>", "é")
	e.Turns = append([]episode.Turn{turn("hm </b> <think>a", "My action <search> is", episode.Invalid)}, e.Turns...)
	e.Advantages = append(make([]float32, 16), e.Advantages...)
	e.Advantages[0] = 0.25
	want := "hm </b> [tag think]<think>[in-think]a{My action <search> is}[tag think]<think>[in-think]é?[tag " +
		"think]</think>[tag search]<search>[in-search]q[tag search]</search>" +
		"{\n\n<information><answer>no</answer></information>\n\n}[tag answer]<answer>[in-answer]é[tag answer]</answer>"
	cut := spans(e, tok)
	require.Equal(t, want, seen(cut))
	require.Equal(t, want, seen(spans(e, nil)), "without a tokenizer the text is the same")

	require.Equal(t, span{Text: "h", Token: true, ID: encode("h")[0], HasLogprob: true, HasAdvantage: true,
		Advantage: 0.25, Logprob: 0, Parts: []part{{"h", ""}}}, cut[0])
	tokens := 0
	for _, s := range cut {
		if s.Token {
			require.Equal(t, e.Advantages[tokens], s.Advantage)
			tokens++
		}
	}
	require.Equal(t, e.PolicyTokens(), tokens, "every sampled token is there to point at")

	e.Turns[1].Logprobs, e.Advantages = nil, nil // as other programs may record it
	for _, s := range spans(e, tok) {
		require.False(t, s.HasAdvantage)
	}
	require.Empty(t, spans(&episode.Episode{}, tok))

	e = &episode.Episode{Turns: []episode.Turn{turn("so</think> x", "", episode.Invalid)}}
	e.Turns[0].Prefill = "<think>\n"
	for _, s := range [][]span{spans(e, tok), spans(e, nil)} {
		require.Equal(t, "[in-think]so[tag think]</think>[] x", seen(s), "a thought that the prompt began")
	}
}

func TestSurprise(t *testing.T) {
	for logprob, class := range map[float32]string{0: "", -0.05: "", -0.5: "s1", -1: "s2", -2: "s3", -5: "s4"} {
		require.Equal(t, class, surprise(logprob), logprob)
	}
}

func TestPick(t *testing.T) {
	r := Watch(t.TempDir())
	add := func(step int, question string, reward float64, turns int) {
		e := &episode.Episode{Step: step, QuestionID: question, Reward: reward, Turns: make([]episode.Turn, turns)}
		r.readEpisode([]byte(lines(t, e)))
	}
	add(1, "only", 0.5, 1)
	require.Same(t, r.first, r.last)
	best, worst := r.last.pick(4)
	require.Len(t, best, 1)
	require.Empty(t, worst, "no episode is both")
	for i, q := range []string{"a", "b", "c", "d", "e", "f"} {
		add(7, q, float64(i), 1)
		add(7, q, float64(i)/2, 1) // each list has one episode of the question
	}
	add(7, "f", 5, 3) // of equal rewards, more turns come first
	best, worst = r.last.pick(4)
	name := func(list []candidate) (out []string) {
		for _, c := range list {
			out = append(out, c.Question)
		}
		return out
	}
	require.Equal(t, []string{"f", "e", "d", "c"}, name(best))
	require.Len(t, best[0].Turns, 3)
	require.Equal(t, []string{"a", "b", "c", "d"}, name(worst))
	require.Equal(t, []float64{0, 0.5, 1, 1.5}, []float64{worst[0].Reward, worst[1].Reward, worst[2].Reward,
		worst[3].Reward})
	add(8, "x", 1, 1)
	require.Equal(t, []int{1, 8}, []int{r.first.step, r.last.step})
	require.Equal(t, 15, r.count)
}

// Episodes of steps at equal distances, the latest step among them, can be browsed.
func TestBrowse(t *testing.T) {
	r := Watch(t.TempDir())
	steps := func() []int { _, s := r.browse(); return s }
	for step := 1; step <= 37; step++ {
		for i := range browsed + 2 {
			e := play(step, string(rune('a'+i/3)), float64(i%2), "d", "a")
			r.readEpisode([]byte(strings.TrimSpace(lines(t, e))))
		}
		switch step {
		case 3:
			require.Equal(t, []int{3, 2, 1}, steps())
		case 16:
			require.Equal(t, []int{16, 15, 13, 11, 9, 7, 5, 3, 1}, steps())
		}
	}
	require.Equal(t, []int{37, 33, 29, 25, 21, 17, 13, 9, 5, 1}, steps())
	list, _ := r.browse()
	require.Len(t, list, 10*7, "of ten episodes of four questions, two of each question")
	require.Equal(t, 37, list[0].Step)
	require.Equal(t, "wrong", list[0].Kind)
	require.Equal(t, "right", list[1].Kind)
	for _, s := range list[0].Spans {
		require.False(t, s.HasLogprob, "tokens are left out")
	}
}

// Settings are listed that are not the defaults of training.
func TestSettings(t *testing.T) {
	r := Watch(t.TempDir())
	put(t, r.dir, "config.yaml",
		"model: m\nlr: 2e-4\ncurriculum-goal: 0\nn: 5\ntrain-batch-size: 3\nkl-coef: 0.001\nkeep-best: false\nbetas: "+
			"[0.9, 0.999]\n"+
			"eps: 1e-08\nserper-key: x\nepochs: 2\n")
	require.NoError(t, r.readConfig())
	require.Equal(t, []fact{{"curriculum-goal", "0"}, {"epochs", "2"}, {"lr", "2e-4"}, {"model", "m"},
		{"serper-key", "(hidden)"},
		{"train-batch-size", "3"}}, r.settings())
}

// A growing file is read line by line, complete lines only, and from the start again when a resumed run has cut it.
func TestTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	var got []string
	resets := 0
	f := tail{path: path}
	read := func() {
		require.NoError(t, f.read(func(b []byte) { got = append(got, string(b)) },
			func() { got, resets = nil, resets+1 }))
	}
	read()
	long := strings.Repeat("x", 1<<19)
	for _, step := range []struct {
		text string
		want []string
	}{{"one\ntw", []string{"one"}}, {"one\ntwo\n\n", []string{"one", "two"}},
		{"one\ntwo\n\n" + long, []string{"one", "two"}}, {"one\ntwo\n\n" + long + "\nz\n",
			[]string{"one", "two", long, "z"}}, {"1\n", []string{"1"}}} {
		require.NoError(t, os.WriteFile(path, []byte(step.text), 0o644))
		read()
		require.Equal(t, step.want, got)
	}
	require.Equal(t, 1, resets)
}

func TestNumber(t *testing.T) {
	for want, v := range map[string]float64{"0": 0, "1": 1, "0.25": 0.25, "0.333": 1. / 3, "12.3": 12.34, "123": 123.4,
		"1234": 1234.4, "12.3k": 12345, "1.5M": 1.5e6, "2.25G": 2.25e9,
		"1e-06": 1e-6, "0.00123": 0.001234, "-0.5": -0.5, "–": math.NaN(), "-2e-05": -2e-5} {
		require.Equal(t, want, number(v))
	}
}

func TestAxis(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []float64
		share  bool
		lo, hi float64
	}{
		{"a share begins at 0", []float64{0.41, 0.93}, true, 0, 1},
		{"what only rises a little is looked at closely", []float64{100, 104}, false, 100, 104},
		{"what begins near 0 begins at 0", []float64{1, 9}, false, 0, 10},
		{"below 0", []float64{-0.31, 0.1}, false, -0.4, 0.2},
		{"all 0", []float64{0, 0}, false, 0, 1},
		{"all the same", []float64{3, 3}, false, 0, 3},
		{"all the same, below 0", []float64{-3, -3}, false, -3, 0},
	} {
		var points [][]float64
		for i, v := range c.values {
			points = append(points, []float64{float64(i), v})
		}
		lo, hi := bounds(points, c.share)
		require.InDelta(t, c.lo, lo, 1e-9, c.name)
		require.InDelta(t, c.hi, hi, 1e-9, c.name)
	}
}

// A curve of many steps is drawn with at most maxPoints points, and keeps both ends.
func TestDrawManySteps(t *testing.T) {
	var rows []health.Step
	for i := 1; i <= 10001; i++ {
		m := health.Step{Step: i, Metrics: map[string]float64{"x": math.Sin(float64(i) * float64(i)), "rare": 1}}
		if i%100 != 0 {
			delete(m.Metrics, "rare")
		}
		rows = append(rows, m)
	}
	c, ok := draw(panel{series: []line{{"x", "x"}, {"rare", "rare"}, {"none", "none"}}}, rows)
	require.True(t, ok)
	require.Len(t, c.Lines, 2)
	require.Equal(t, maxPoints, strings.Count(c.Lines[0].Raw, "M")+strings.Count(c.Lines[0].Raw, "L"))
	require.NotEmpty(t, c.Lines[0].Smoothed)
	require.Equal(t, 10001, c.Last)
	require.NotContains(t, c.Lines[0].Raw+c.Points, "NaN")
	_, ok = draw(panel{series: []line{{"none", "none"}}}, rows)
	require.False(t, ok)
	c, ok = draw(panel{series: []line{{"x", "x"}}}, rows[:1])
	require.True(t, ok, "a single step is a curve of one dot")
	require.Len(t, c.Lines[0].Dots, 1)
}

func TestHandler(t *testing.T) {
	dir := t.TempDir()
	run := Watch(dir)
	h := NewLive(run)
	h.LocalOnly = true
	get := func(method, target, host string) *httptest.ResponseRecorder {
		q := httptest.NewRequest(method, target, nil)
		q.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, q)
		return w
	}
	w := get("GET", "/", "127.0.0.1:7860")
	require.Equal(t, 200, w.Code)
	require.Contains(t, w.Body.String(), "no step is finished yet")
	require.Contains(t, w.Body.String(), `data-live="1"`)
	require.Equal(t, http.StatusNoContent, get("GET", "/?since=1", "localhost:7860").Code, "no news")
	put(t, dir, "metrics.jsonl", metrics(2))
	w = get("GET", "/?since=1", "[::1]:7860")
	require.Equal(t, 200, w.Code)
	require.Contains(t, w.Body.String(), `data-live="2"`)
	require.Contains(t, w.Body.String(), "<b>Reward and held-out F1</b>")
	require.Equal(t, http.StatusForbidden, get("GET", "/", "evil.example").Code,
		"a name of the web that was made to point here")
	require.Equal(t, http.StatusNotFound, get("GET", "/../config.yaml", "localhost").Code)
	require.Equal(t, http.StatusMethodNotAllowed, get("POST", "/", "localhost").Code)
	h.LocalOnly = false
	require.Equal(t, 200, get("GET", "/", "box.lan:7860").Code)
}

// WaitForBrowser waits as long as an open page does not have the end of the run.
func TestSettle(t *testing.T) { synctest.Test(t, testSettle) }

func testSettle(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "metrics.jsonl", metrics(2))
	h := NewLive(Watch(dir))
	took := func() time.Duration {
		began := time.Now()
		h.WaitForBrowser()
		return time.Since(began)
	}
	require.Zero(t, took(), "nobody is looking")
	look := func() { h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)) }
	look()
	require.Zero(t, took(), "who looks has seen everything")
	put(t, dir, "metrics.jsonl", metrics(3))
	time.AfterFunc(100*time.Millisecond, look)
	require.InDelta(t, 100*time.Millisecond, took(), float64(20*time.Millisecond))
	put(t, dir, "metrics.jsonl", metrics(4))
	require.InDelta(t, watched, took(), float64(20*time.Millisecond), "the page was closed")
}

func TestListen(t *testing.T) {
	l, err := Listen(":0")
	require.NoError(t, err)
	defer l.Close()
	require.True(t, strings.HasPrefix(l.Addr().String(), "127.0.0.1:"), "this machine only, unless asked otherwise")
	_, err = Listen(l.Addr().String())
	require.ErrorContains(t, err, "choose another port")
	for _, bad := range []string{"", "x", "localhost", ":99999", "a:b:c"} {
		_, err := Listen(bad)
		require.Error(t, err, bad)
	}
	n, err := Listen("0")
	require.NoError(t, err, "a number alone is a port")
	require.NoError(t, n.Close())
}

// TestAxesEnd: an axis has a few ticks for any values: equal except for rounding errors, tiny, huge, not finite.
func TestAxesEnd(t *testing.T) {
	odd := []float64{0, 1, -1, 33.333333333333336, 1e-320, 1e-300, 1e300, math.MaxFloat64, -math.MaxFloat64, 1e17,
		math.NaN(), math.Inf(1), math.Inf(-1)}
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.OneOf(rapid.SampledFrom(odd), rapid.Float64())
		a := value.Draw(t, "a")
		b := rapid.OneOf(value, rapid.Custom(func(t *rapid.T) float64 { // some units in the last place away
			return math.Float64frombits(math.Float64bits(a) + rapid.Uint64Range(0, 1<<20).Draw(t, "ulps"))
		})).Draw(t, "b")
		lo, hi := bounds([][]float64{{1, a}, {2, b}}, rapid.Bool().Draw(t, "share"))
		if !(lo < hi) || math.IsInf(hi-lo, 0) {
			t.Fatalf("the axis of %v and %v is from %v to %v", a, b, lo, hi)
		}
		if n := len(ticks(lo, hi, 4)); n < 2 || n > 8 {
			t.Fatalf("the axis of %v and %v, from %v to %v, has %d ticks", a, b, lo, hi, n)
		}
		for _, v := range []float64{a, b} {
			if slack := 1e-8 * (hi - lo); drawable(v) && (v < lo-slack || v > hi+slack) {
				t.Fatalf("%v lies outside of the axis from %v to %v", v, lo, hi)
			}
		}
	})
}

package search_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/rl/search/searchtest"
	"pgregory.net/rapid"
)

func readJSON(t *testing.T, name string, v any) {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + name)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, v))
}

func TestPromptsByteForByte(t *testing.T) {
	var f struct {
		Templates map[string]string
		Triples   []struct {
			Question, Answer, Query string
			Rendered                map[string]struct {
				SHA256 string
				Bytes  int
			}
		}
	}
	readJSON(t, "prompts.json", &f)
	n := 0
	for _, form := range []search.Form{search.SFT, search.Prompt} {
		for _, quality := range []search.Quality{search.Useful, search.Noisy} {
			name := string(form) + "_" + string(quality)
			same := search.Query{Question: "{question}", GoldenAnswers: []string{"{answer}", "other"}, Query: "{query}"}
			require.Equal(t, f.Templates[name], search.Render(form, quality, same, 5))
			for _, tr := range f.Triples {
				got := search.Render(form, quality, search.Query{Question: tr.Question,
					GoldenAnswers: []string{tr.Answer}, Query: tr.Query}, 5)
				sum := sha256.Sum256([]byte(got))
				require.Equal(t, tr.Rendered[name].SHA256, hex.EncodeToString(sum[:]), got)
				require.Len(t, got, tr.Rendered[name].Bytes)
				n++
			}
		}
	}
	require.Equal(t, 40, n)
}

// Without a golden answer no prompt mentions one. The prompt asks for topK documents; its demonstration still has five.
func TestPromptForms(t *testing.T) {
	q := search.Query{Question: "who?", Query: "five words"}
	for _, form := range []search.Form{search.SFT, search.Prompt} {
		p := search.Render(form, search.Useful, q, 5)
		require.Contains(t, p, "The user is trying to answer the question: \"who?\".\n")
		require.NotContains(t, p, "answer is")
		require.NotContains(t, p, "{")
		p = search.Render(form, search.Noisy, q, 3)
		require.Contains(t, p, "generate three")
		require.Contains(t, p, "Query: five words\nNoisy Output:\n")
		require.Contains(t, search.Render(form, search.Useful, q, 12), "generate 12 useful documents")
		require.Contains(t, search.Render(form, search.Useful, search.Query{Query: "q"}, 5), "question: \"q\".")
	}
	require.Contains(t, search.Render(search.Prompt, search.Noisy, q, 3), "search engine. \n")
	require.Contains(t, search.Render(search.Prompt, search.Noisy, q, 3), "generate three related but noisy documents")
}

func TestCurriculum(t *testing.T) {
	var f struct {
		Thresholds []struct {
			Start, End float64
			Total      int
			Steps      []int
			Tau        []float64
		}
		Draws []struct {
			Tau     float64
			Uniform []float64
			Draw    []search.Quality
		}
	}
	readJSON(t, "curriculum.json", &f)
	require.NotEmpty(t, f.Draws)
	for _, c := range f.Thresholds {
		for i, step := range c.Steps {
			require.InDelta(t, c.Tau[i], search.Curriculum{Start: c.Start,
				End: c.End}.Tau(search.Query{Step: step, TotalSteps: c.Total}), 1e-14)
		}
	}
	for _, d := range f.Draws {
		for i, u := range d.Uniform {
			require.Equal(t, d.Draw[i], search.Decide(u, d.Tau), "u %v tau %v", u, d.Tau)
		}
	}
	require.Equal(t, 0.3, search.Curriculum{Start: 0.3, End: 0.5}.Tau(search.Query{Step: -1, TotalSteps: 10}))
	require.Equal(t, 0.5, search.Curriculum{Start: 0.3, End: 0.5}.Tau(search.Query{}))
	require.Error(t, search.Curriculum{Start: math.NaN()}.Validate())
	require.Error(t, search.Curriculum{End: 1.1}.Validate())
}

// The draws of consecutive streams are uniform and independent.
func TestDraw(t *testing.T) {
	const n = 20000
	mean, up := 0.0, 0
	for i := range uint64(n) {
		u := search.Draw(i)
		require.True(t, u >= 0 && u < 1)
		mean += u / n
		if search.Draw(i+1) > u {
			up++
		}
	}
	require.InDelta(t, 0.5, mean, 0.01)
	require.InDelta(t, 0.5, float64(up)/n, 0.01)
	require.Equal(t, 0.7566640047715275, search.Draw(1), "recorded: runs must stay comparable")
}

func TestSimulatorOutput(t *testing.T) {
	raw, err := os.ReadFile("testdata/simulator_output.jsonl")
	require.NoError(t, err)
	n := 0
	for _, line := range strings.Split(strings.TrimSpace(string(raw)), "\n") {
		var c struct {
			Tag, Raw, Documents, Observation string
			TopK                             int
		}
		require.NoError(t, json.Unmarshal([]byte(line), &c))
		require.Equal(t, c.Documents, search.Cut(c.Raw, c.TopK), c.Tag)
		if c.TopK == 0 {
			continue
		}
		n++
		s := search.NewSimulated(fixed(c.Raw), search.SFT, search.Curriculum{})
		s.TopK = c.TopK
		d, err := s.Search(t.Context(), search.Query{})
		// an empty result is a failure, not shown as nothing
		if c.Observation == "\n\n<information></information>\n\n" {
			require.ErrorContains(t, err, "the model wrote no", c.Tag)
			continue
		}
		require.NoError(t, err)
		if c.Tag == "think" { // the reference takes thoughts for documents
			_, text, _ := strings.Cut(c.Raw, "</think>")
			c.Observation = "\n\n<information>" + strings.TrimSpace(search.Cut(text, c.TopK)) + "</information>\n\n"
		}
		require.Equal(t, c.Observation, "\n\n<information>"+d.Text+"</information>\n\n", c.Tag)
		require.Equal(t, c.Raw, d.Raw)
	}
	require.Greater(t, n, 50)
}

func TestSplit(t *testing.T) {
	require.Equal(t, []string{"a", "b\nmore", "c"}, search.Split("Doc 1: a\n Doc 2:b\nmore\nDoc 3: c\n"))
	require.Equal(t, []string{"intro", "a"}, search.Split("intro\nDoc 1: a\nDoc 2:"))
	require.Equal(t, []string{"plain"}, search.Split(" plain "))
	require.Equal(t, []string{"Doc x: a"}, search.Split("Doc x: a"))
	require.Equal(t, []string{}, search.Split(""))
}

type generator func(m []search.Message, o search.GenerateOptions) (search.Generation, error)

func (g generator) Generate(ctx context.Context, m []search.Message, o search.GenerateOptions) (search.Generation,
	error) {
	if err := ctx.Err(); err != nil {
		return search.Generation{}, err
	}
	return g(m, o)
}

func fixed(s string) generator {
	return func([]search.Message, search.GenerateOptions) (search.Generation, error) {
		return search.Generation{Text: s, PromptTokens: 7, CompletionTokens: 5}, nil
	}
}

// echo writes documents that depend on everything the generator is given.
var echo generator = func(m []search.Message, o search.GenerateOptions) (search.Generation, error) {
	sum := sha256.Sum256(fmt.Append(nil, m, o))
	return search.Generation{Text: fmt.Sprintf("Doc 1: %x\n\nDoc 2: %.200s\nDoc 6: cut", sum[:4], m[1].Content)}, nil
}

func TestSimulatedObeysTheContract(t *testing.T) {
	searchtest.Run(t, search.NewSimulated(echo, search.Prompt, search.Curriculum{Start: 0.25, End: 0.5}))
}

func TestSimulatedRequest(t *testing.T) {
	var got []search.Message
	var opts search.GenerateOptions
	s := search.NewSimulated(generator(func(m []search.Message, o search.GenerateOptions) (search.Generation, error) {
		got, opts = m, o
		return search.Generation{Text: "Doc 1: x", PromptTokens: 11, CompletionTokens: 3}, nil
	}), search.SFT, search.Curriculum{})
	q := search.Query{Query: "q", Question: "p?", GoldenAnswers: []string{"g"}, Quality: search.Noisy, Stream: 9}
	d, err := s.Search(t.Context(), q)
	require.NoError(t, err)
	require.Equal(t,
		[]search.Message{{Role: "system"}, {Role: "user", Content: search.Render(search.SFT, search.Noisy, q, 5)}}, got)
	require.Equal(t, 600, opts.MaxTokens)
	require.Equal(t, 0.8, opts.Temperature)
	require.Equal(t, search.Documents{Text: "Doc 1: x", Docs: []string{"x"}, Quality: search.Noisy, Raw: "Doc 1: x",
		PromptTokens: 11, CompletionTokens: 3}, d)
	before := opts.Stream
	q.Stream++
	_, err = s.Search(t.Context(), q)
	require.NoError(t, err)
	require.NotEqual(t, before, opts.Stream)
}

// The measured noise rate equals the configured one, and the curriculum begins and ends with its thresholds.
func TestSimulatedNoise(t *testing.T) {
	for _, rate := range []float64{0, 0.25, 1} {
		byRate := search.NewSimulated(fixed("Doc 1: x"), search.SFT, search.Curriculum{Start: 1, End: 1})
		byRate.NoiseRate = &rate
		byEnd := search.NewSimulated(fixed("Doc 1: x"), search.SFT, search.Curriculum{Start: 1 - rate, End: rate})
		const n = 4000
		noisy := 0
		for i := range uint64(n) {
			a, err := byRate.Search(t.Context(), search.Query{Stream: i})
			require.NoError(t, err)
			b, err := byEnd.Search(t.Context(), search.Query{Stream: i, Step: 3, TotalSteps: 3})
			require.NoError(t, err)
			require.Equal(t, a, b)
			require.Equal(t, rate, a.Tau)
			if a.Quality == search.Noisy {
				noisy++
			}
		}
		require.InDelta(t, rate, float64(noisy)/n, 0.03)
	}
}

// Where facts are given, the prompt has the answer of the query and not that of the question, and a query that is no
// fact gets noise without an answer, whatever was drawn.
func TestSimulatedFacts(t *testing.T) {
	none := 0.0
	var prompt string
	s := search.NewSimulated(generator(func(m []search.Message, _ search.GenerateOptions) (search.Generation, error) {
		prompt = m[1].Content
		return search.Generation{Text: "Doc 1: x"}, nil
	}), search.SFT, search.Curriculum{})
	s.NoiseRate = &none
	q := search.Query{Question: "Where was the maker of it born?", GoldenAnswers: []string{"Rome"}}
	for _, c := range []struct {
		facts   map[string]string
		query   string
		quality search.Quality
		told    []string
	}{
		{nil, "Ann born", search.Useful, []string{"Rome"}},
		{map[string]string{"it made": "Ann", "Ann born": "Rome"}, " it made\n", search.Useful, []string{"Ann"}},
		{map[string]string{"it made": "Ann", "Ann born": "Rome"}, "Bob born", search.Noisy, nil},
		{map[string]string{"it made": "Ann", "Bob born": ""}, "Bob born", search.Noisy, nil},
		{map[string]string{}, "it made", search.Noisy, nil},
	} {
		q.Query, q.Facts = c.query, c.facts
		d, err := s.Search(t.Context(), q)
		require.NoError(t, err)
		require.Equal(t, c.quality, d.Quality, "%v", c)
		want := q
		want.GoldenAnswers = c.told
		require.Equal(t, search.Render(search.SFT, c.quality, want, 5), prompt)
	}
}

// After an empty output the simulator is asked again with another stream, but a greedy one is not. A failure is an
// error, not a document.
func TestSimulatedEmptyAndFailing(t *testing.T) {
	streams := map[uint64]bool{}
	calls := 0
	s := search.NewSimulated(generator(func(_ []search.Message, o search.GenerateOptions) (search.Generation, error) {
		calls++
		streams[o.Stream] = true
		text := "\n"
		if len(streams) == 3 {
			text = "Doc 1: late"
		}
		return search.Generation{Text: text, PromptTokens: 2, CompletionTokens: 1}, nil
	}), search.SFT, search.Curriculum{})
	d, err := s.Search(t.Context(), search.Query{Stream: 5})
	require.NoError(t, err)
	require.Equal(t, "Doc 1: late", d.Text)
	require.Equal(t, [2]int{6, 3}, [2]int{d.PromptTokens, d.CompletionTokens}, "every try is paid for")
	s.Generator, s.Temperature = fixed(" "), 0
	d, err = s.Search(t.Context(), search.Query{Query: "q"})
	require.ErrorContains(t, err, `simulating search results for "q": the model wrote nothing`)
	require.False(t, errors.As(err, new(*search.Unavailable)), "another query may fare better")
	s.Generator = fixed("Doc 6: too late")
	_, err = s.Search(t.Context(), search.Query{Query: "q"})
	require.ErrorContains(t, err, `the model wrote no document, but "Doc 6: too late"`)
	require.Equal(t, 5, d.CompletionTokens, "paid for all the same")
	boom := errors.New("out of pages")
	s.Generator = generator(func([]search.Message, search.GenerateOptions) (search.Generation, error) {
		return search.Generation{}, boom
	})
	_, err = s.Search(t.Context(), search.Query{Query: "q"})
	require.ErrorIs(t, err, boom)
	require.ErrorContains(t, err, `simulating search results for "q"`)
}

// The thoughts of a model are no documents, wherever they stand. An output that is only a thought is a failure.
func TestSimulatedThoughts(t *testing.T) {
	const docs = "Doc 1: Paris is in France.\n\nDoc 2: Lyon is a city."
	for name, g := range map[string]search.Generation{
		"nothing":               {Text: docs},
		"in tags":               {Text: "<think>\nDoc 1: the answer is Rome\n</think>\n\n" + docs},
		"begun by the template": {Text: "Doc 1: the answer is Rome\n</think>\n\n" + docs, Prefill: "<think>\n"},
		"begun by a server":     {Text: "Doc 1: the answer is Rome\n</think>\n\n" + docs},
		"apart":                 {Text: docs, Reasoning: "Doc 1: the answer is Rome"},
		"between documents":     {Text: "Doc 1: Paris is in France.\n<think>Rome</think>\nDoc 2: Lyon is a city."},
		"topk is named in it":   {Text: "<think>no Doc 3 please</think>" + docs},
	} {
		g.CompletionTokens = 9
		s := search.NewSimulated(generator(func([]search.Message, search.GenerateOptions) (search.Generation,
			error) {
			return g, nil
		}), search.SFT,
			search.Curriculum{})
		s.TopK = 2
		d, err := s.Search(t.Context(), search.Query{Query: "q"})
		require.NoError(t, err, name)
		require.Equal(t, []string{"Paris is in France.", "Lyon is a city."}, d.Docs, name)
		require.Equal(t, "Doc 1: Paris is in France.\nDoc 2: Lyon is a city.", d.Text, name)
		if name == "apart" {
			require.Equal(t, "<think>\nDoc 1: the answer is Rome\n</think>\n\n"+docs, d.Raw)
		} else {
			require.Equal(t, g.Text, d.Raw, "%s: as the model wrote it", name)
		}
	}
	for name, g := range map[string]search.Generation{
		"cut off":                            {Text: "<think>\nDoc 1: the answer is Rome"},
		"begun by the template, and cut off": {Text: "Doc 1: the answer is Rome", Prefill: "<think>\n"},
		"apart, and cut off":                 {Reasoning: "Doc 1: the answer is Rome"},
		"nothing after it":                   {Text: "<think>x</think>\n\n"},
	} {
		streams := map[uint64]bool{}
		s := search.NewSimulated(generator(func(_ []search.Message, o search.GenerateOptions) (search.Generation,
			error) {
			streams[o.Stream] = true
			return g, nil
		}), search.SFT, search.Curriculum{})
		d, err := s.Search(t.Context(), search.Query{Query: "q"})
		require.ErrorContains(t, err,
			`"q": the model thought and wrote no document within 600 tokens: raise --simulation-max-tokens`, name)
		require.Empty(t, d.Text, name)
		require.Len(t, streams, 3, "%s: asked again", name)
	}
}

// If the generator ignores the context, a cancelled search must still be an error.
func TestSimulatedCancelledWhileGenerating(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := search.NewSimulated(deaf(func() { cancel() }), search.SFT, search.Curriculum{})
	_, err := s.Search(ctx, search.Query{})
	require.ErrorIs(t, err, context.Canceled)
}

type deaf func()

func (d deaf) Generate(context.Context, []search.Message, search.GenerateOptions) (search.Generation, error) {
	d()
	return search.Generation{Text: "Doc 1: half of a docu"}, nil
}

func TestSimulatedValidate(t *testing.T) {
	require.NoError(t, search.NewSimulated(echo, search.SFT, search.Curriculum{}).Validate())
	bad := 2.0
	for _, s := range []*search.Simulated{{}, {Generator: echo, Form: "sft"},
		{Generator: echo, Form: search.SFT, TopK: -1}, {Generator: echo, Form: search.SFT, NoiseRate: &bad},
		{Generator: echo, Form: search.SFT, Curriculum: search.Curriculum{Start: -1}}} {
		require.Error(t, s.Validate())
	}
}

func TestNone(t *testing.T) {
	searchtest.Run(t, search.None{})
	b, err := json.Marshal(must(search.None{}.Search(t.Context(), search.Query{})))
	require.NoError(t, err)
	require.True(t, bytes.Contains(b, []byte(`"documents":[]`)))
}

func must(d search.Documents, err error) search.Documents {
	if err != nil {
		panic(err)
	}
	return d
}

// For any output of a simulator, the cut text ends before the marker and is not longer, and the documents are parts of
// it.
func TestCutProperties(t *testing.T) {
	part := rapid.SampledFrom([]string{"Doc 1:", "Doc 2:", "Doc 3:", "Doc 6", "\n", " ", "a", "</information>", "é"})
	rapid.Check(t, func(t *rapid.T) {
		raw := strings.Join(rapid.SliceOfN(part, 0, 12).Draw(t, "raw"), "")
		k := rapid.IntRange(1, 6).Draw(t, "k")
		c := search.Cut(raw, k)
		require.NotContains(t, c, fmt.Sprintf("Doc %d", k+1))
		require.LessOrEqual(t, len(c), len(raw))
		for _, d := range search.Split(c) {
			require.Contains(t, c, d)
		}
	})
}

package propose

import (
	"context"
	"encoding/json"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/rl/shards"
)

// model answers a prompt by the first key that it contains; of equally good keys by the longest.
type model map[string]string

func (m model) Generate(_ context.Context, messages []search.Message, _ search.GenerateOptions) (search.Generation,
	error) {
	prompt := messages[len(messages)-1].Content
	best := ""
	for k := range m {
		if strings.Contains(prompt, k) && len(k) > len(best) {
			best = k
		}
	}
	return search.Generation{Text: m[best], PromptTokens: 10, CompletionTokens: 1}, nil
}

// run does a job in a new folder and gives its rows and counts.
func run(t *testing.T, perShard int, job func(dir string) *shards.Job) (rows []map[string]any, c shards.Counts) {
	dir := filepath.Join(t.TempDir(), "out")
	j := job(dir)
	_, err := shards.Open(t.Context(), dir, fingerprint.Parts{}, perShard, func() (int, error) { return j.Total, nil })
	require.NoError(t, err)
	_, err = j.Run(t.Context())
	require.NoError(t, err)
	files, err := filepath.Glob(filepath.Join(dir, "rows-*.jsonl"))
	require.NoError(t, err)
	for _, f := range files {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			var row map[string]any
			require.NoError(t, json.Unmarshal([]byte(line), &row))
			rows = append(rows, row)
		}
	}
	c, _, err = j.Counts()
	require.NoError(t, err)
	return rows, c
}

// Each passage fails another check, the last one none.
func TestQuestions(t *testing.T) {
	filler := " and so on, with many more words that make it long enough to be asked about"
	passages := []string{"alpha is nothing" + filler, "bravo is 7" + filler, "charlie is 8" + filler,
		"delta is 9" + filler, "echo is 10" + filler, "foxtrot is 11" + filler, "too short",
		"golf is a very long sentence of many many words" + filler, "hotel is 12" + filler}
	m := model{
		"Passage: alpha":   "I cannot.",
		"Passage: bravo":   "Question: What is bravo?\nAnswer: 70",
		"Passage: charlie": "Question: What is 8?\nAnswer: 8",
		"Passage: delta":   "Question: What does the passage say of delta?\nAnswer: 9",
		"Passage: echo":    "Question: What is echo?\nAnswer: 10",
		"Passage: foxtrot": "Question: What is foxtrot?\nAnswer: 11",
		"Passage: golf":    "Question: What is golf?\nAnswer: a very long sentence of many many words and",
		"Passage: hotel":   "<think>hm</think>**Question:** What is hotel?\n**Answer:** 12.",
		"Here are documents that a search for the question returned.\n\necho":    "20",
		"Here are documents that a search for the question returned.\n\nfoxtrot": "11",
		"Here are documents that a search for the question returned.\n\nhotel":   "12",
		"Write the answer and nothing else.\nQuestion: What is hotel?":           "13",
		"Write the answer and nothing else.\nQuestion: What is foxtrot?":         "Answer: 11",
	}
	p := &Questions{Generator: m, Corpus: &search.Corpus{Passages: passages}, N: 100, Seed: 1}
	rows, c := run(t, 3, func(dir string) *shards.Job { return p.Job(dir, 3) })
	require.Equal(t, []map[string]any{{"id": "passage-9", "question": "What is hotel?", "golden_answers": []any{"12"},
		"data_source": "proposed", "source": "", "passage": passages[8], "open_book": "12", "closed_book": "13"}}, rows)
	require.Equal(t, shards.Counts{Items: 8, Rows: 1, Dropped: map[string]int{droppedForm: 1, droppedElsewhere: 1,
		droppedGiven: 1, droppedRefers: 1, droppedOpenBook: 1, droppedKnown: 1, droppedLong: 1},
		PromptTokens: 130, CompletionTokens: 13}, c)

	p.KeepKnown = true
	rows, _ = run(t, 3, func(dir string) *shards.Job { return p.Job(dir, 3) })
	require.Len(t, rows, 2)

	p.N = 3
	require.Len(t, p.choose(), 3)
	first := p.choose()
	p.Seed = 2
	require.NotEqual(t, first, p.choose())
}

func TestQueries(t *testing.T) {
	m := model{
		"Question: who?":  "Here are the queries:\n1. who was it\n2) Who was it\n- \"name of it\"\n1931 person\nfifth\n",
		"Question: none?": "\n\nQuestion: another?\nquery"}
	input := func() iter.Seq2[data.Row, error] {
		return data.Lines("test", strings.NewReader(`{"question":"who?","golden_answers":["x"],"id":5}`+"\n"+
			`{"question":"none?"}`+"\n"))
	}
	rows, c := run(t, 10, func(dir string) *shards.Job {
		return (&Queries{Generator: m, N: 3, Seed: 1}).Job(dir, input, 2, 10)
	})
	var queries []any
	for _, r := range rows {
		queries = append(queries, r["query"])
		require.Equal(t, "who?", r["question"])
		require.Equal(t, []any{"x"}, r["golden_answers"])
		require.Equal(t, 5.0, r["id"])
	}
	require.Equal(t, []any{"who was it", "name of it", "1931 person"}, queries)
	require.Equal(t, map[string]int{droppedNoQuery: 1}, c.Dropped)
	require.Equal(t, 3, c.Rows)
}

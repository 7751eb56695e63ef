package eval_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/internal/goldens"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/eval"
)

// The split is the same for ever: results on it are comparable, and models trained on the rest stay clean.
func TestClosedSplit(t *testing.T) {
	dir := filepath.Dir(filepath.Dir(goldens.Data(t, "contexts/corpus.jsonl.gz")))
	c, err := eval.OpenClosed(dir)
	require.NoError(t, err)
	count := map[string]int{}
	id := []string{}
	paragraphs := map[string]bool{}
	texts := func(q data.Question) (out []string) {
		var ps []struct{ Text string }
		require.NoError(t, json.Unmarshal(q.Columns["supporting"], &ps))
		for _, p := range ps {
			out = append(out, p.Text)
		}
		return out
	}
	for _, q := range c.Heldout {
		count[q.DataSource]++
		id = append(id, q.ID)
		for _, text := range texts(q) {
			paragraphs[text] = true
		}
	}
	require.Equal(t, map[string]int{"squad": 300, "nq": 300}, count)
	require.Len(t, c.Train, 1185+2655-600)
	for _, q := range c.Train {
		for _, text := range texts(q) {
			require.False(t, paragraphs[text], "%s is trained on a held-out paragraph", q.ID)
		}
	}
	slices.Sort(id)
	sum := sha256.Sum256([]byte(strings.Join(id, "\n")))
	require.Equal(t, "905ce71615a0888d", hex.EncodeToString(sum[:8]))

	out := t.TempDir()
	require.NoError(t, c.WriteSplit(out))
	for name, want := range map[string][]data.Question{eval.HeldoutFile: c.Heldout, eval.TrainFile: c.Train} {
		got, err := data.Load(filepath.Join(out, name))
		require.NoError(t, err)
		require.Equal(t, (&data.Set{Questions: want}).Digest(), (&data.Set{Questions: got}).Digest())
	}
}

func TestClosedNeedsItsFolder(t *testing.T) {
	_, err := eval.OpenClosed("")
	require.ErrorContains(t, err, "give --suite-data DIR or set ZEROSEARCH_SUITE_DATA")
	_, err = eval.OpenClosed(t.TempDir())
	require.ErrorContains(t, err, "contexts/corpus.jsonl.gz: no such file")
	require.ErrorContains(t, err, "--suite-data is a folder with the files")
}

// Recall is seen in the documents of an episode, whoever asked for them; tokens are counted from the ids.
func TestRecallAndTokens(t *testing.T) {
	found := episode.Turn{Action: episode.Search, Documents: []string{"Doc of nothing", "It was The Eiffel Tower!"}}
	missed := episode.Turn{Action: episode.Search, Documents: []string{"Doc of nothing"}, IDs: []int32{1, 2, 3},
		Mask: []bool{true, false, false}}
	answer := episode.Turn{Action: episode.Invalid, Text: "It", IDs: []int32{1, 2}, Mask: []bool{true, true}}
	grade := func(m eval.Method, turns ...episode.Turn) eval.Result {
		return eval.Grade(m, &episode.Episode{GoldenAnswers: []string{"eiffel tower"}, Status: episode.OutOfTurns,
			PromptIDs: make([]int32, 10), Turns: turns}, "s")
	}
	a, b, c := grade(eval.RAG, found, answer), grade(eval.RAG, missed, answer), grade(eval.RAG, missed, found, answer)
	require.Equal(t, []bool{true, false, true}, []bool{a.Recalled, b.Recalled, c.Recalled})
	require.Equal(t, []int{2, 12, 3, 15}, []int{a.Sampled, a.Context, b.Sampled, b.Context})
	rows := eval.Report([]eval.Result{a, b, c}, eval.Bootstrap{})
	require.InDelta(t, 2.0/3, rows[0].Recall, 1e-15)
	require.InDelta(t, (2.0+3+3)/3, rows[0].Sampled, 1e-15)
	require.InDelta(t, (12.0+15+15)/3, rows[0].Context, 1e-15)
	g := eval.SuiteTable(rows, 3)
	require.Equal(t, "Recall@3", g.Head[6])
	require.Equal(t, [][]string{{"RAG (one retrieval)", "s", "3", "0.0", "0.0", "0.0", "66.7", "1.33", "3", "14"}},
		g.Rows)
}

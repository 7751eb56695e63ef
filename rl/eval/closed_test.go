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

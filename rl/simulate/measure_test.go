package simulate

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/rl/search"
)

// The expected numbers were worked out by hand from the definitions of Scored.
func TestMeasure(t *testing.T) {
	m := NewMeasure(2)
	m.Add(Row{Query: "height of the tower", GoldenAnswers: []string{"330 m"}, Quality: search.Useful,
		Documents: []string{"The tower is 330 m high.", "Its height is 330 m."},
		Raw:       "Doc 1: The tower is 330 m high.\nDoc 2: Its height is 330 m.", CompletionTokens: 20})
	m.Add(Row{Query: "river length", GoldenAnswers: []string{"777 km"}, Quality: search.Useful,
		Documents: []string{"Its height is 330 m."}, Raw: "Its height is 330 m.", CompletionTokens: 10})
	m.Add(Row{Query: "x", Quality: search.Noisy, Documents: []string{"a doc",
		"Each document should contain about 30 words, and these documents should contain useful information."}})
	m.Add(Row{Query: "y", Failure: "the engine is gone"})
	got := m.Scores()
	require.Equal(t, 4, got.Rows)
	require.Equal(t, 1, got.Failed)
	require.Equal(t, 1, got.WithoutAnswers)
	useful := *got.Qualities["useful"]
	require.Equal(t, Scored{Rows: 2, WithAnswers: 2, AnswerInResult: 0.5, AnswerInDocument: 0.5,
		QueryTerms:      0.5,                  // {height, tower}: both; {river, length}: none
		OtherQueryTerms: 0.5,                  // the second row has "height" of the first query
		Retrieved:       0.5, SearchedRows: 2, // nothing holds "river"
		Distinct: (0.75 + 1) / 2, // "is 330" and "330 m" stand twice among 4+4 pairs; 4 of 4 differ
		Repeated: 1.0 / 3, Documents: 1.5, Complete: 0.5, Numbered: 0.5, RawRows: 2,
		Words: 16.0 / 3, WordsSD: useful.WordsSD, CompletionTokens: 15}, useful)
	require.InDelta(t, 0.4714, useful.WordsSD, 1e-4) // of 6, 5, 5
	noisy := got.Qualities["noisy"]
	require.Equal(t, 0, noisy.WithAnswers)
	require.Equal(t, 0.5, noisy.CopiesPrompt)
}

func TestNumbered(t *testing.T) {
	for raw, want := range map[string]bool{
		"Doc 1: a\nDoc 2: b":           true,
		"\nDoc 1: a\nmore of a\n":      true,
		"Doc 1: a\nDoc 3: c":           false,
		"Here they are:\nDoc 1: a":     false,
		"Doc 1: a\n\n Doc 2: b\nDoc 3": false,
		"":                             false,
	} {
		require.Equal(t, want, numbered(raw), "%q", raw)
	}
}

// Rows are read from what simulate prints, from parts of it, and from the episodes of a run.
func TestReadRows(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		return path
	}
	read := func(path string) (out []Row, err error) {
		files, err := Files(path)
		if err != nil {
			return nil, err
		}
		for r, err := range ReadRows(files...) {
			if err != nil {
				return out, err
			}
			out = append(out, r)
		}
		return out, nil
	}
	got, err := read(write("lines.jsonl", `{"query":"q","quality":"useful","documents":["a","b"],"raw":"Doc 1: a"}
{"query":"r","raw":"Doc 1: a\nDoc 2: b"}
{"error":"no query"}
`))
	require.NoError(t, err)
	require.Equal(t, []Row{{Query: "q", Quality: search.Useful, Documents: []string{"a", "b"}, Raw: "Doc 1: a"},
		{Query: "r", Documents: []string{"a", "b"}, Raw: "Doc 1: a\nDoc 2: b"}, {Failure: "no query"}}, got)

	write("episodes.jsonl", `{"question":"who?","golden_answers":["x"],"turns":[{"action":"search","query":"q",`+
		`"documents":["d"],"quality":"noisy"},{"action":"search","query":"failed"},{"action":"answer"}]}`)
	got, err = read(dir)
	require.NoError(t, err)
	require.Equal(t, []Row{{Query: "q", Question: "who?", GoldenAnswers: []string{"x"}, Quality: search.Noisy,
		Documents: []string{"d"}}}, got)

	_, err = read(write("questions.jsonl", `{"query":"q","question":"who?"}`))
	require.ErrorContains(t, err, "questions.jsonl: row 1: no column documents: the columns are query, question")
	_, err = read(t.TempDir())
	require.ErrorContains(t, err, "has neither rows-*.jsonl")
}

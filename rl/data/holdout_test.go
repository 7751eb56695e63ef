package data_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/rl/data"
)

// supported is a question with these texts in its column supporting.
func supported(t *testing.T, id, source string, texts ...string) data.Question {
	t.Helper()
	type passage struct {
		Title string `json:"title"`
		Text  string `json:"text"`
	}
	var ps []passage
	for _, s := range texts {
		ps = append(ps, passage{"A title", s})
	}
	raw, err := json.Marshal(ps)
	require.NoError(t, err)
	name, _ := json.Marshal(id)
	return data.Question{ID: id, Question: id + "?", GoldenAnswers: []string{"a"}, DataSource: source, Row: 1,
		File: "f",
		Columns: map[string]json.RawMessage{"id": name, "question": name, "golden_answers": []byte(`["a <b>"]`),
			"supporting": raw}}
}

func unique(word string, n int) string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s%d", word, i)
	}
	return strings.Join(out, " ")
}

func ids(qs []data.Question) []string {
	var out []string
	for _, q := range qs {
		out = append(out, q.ID)
	}
	return out
}

// No paragraph stands on both sides, every source gives n questions, and the order of the rows changes nothing.
func TestHoldOutByParagraph(t *testing.T) {
	var qs []data.Question
	for p := range 20 {
		text := unique(fmt.Sprintf("p%d_", p), 30)
		for k := range 1 + p%3 {
			// A later question has a window of the same paragraph: ten words, of which eight in a row are shared.
			part := strings.Join(strings.Fields(text)[k:k+10], " ")
			qs = append(qs, supported(t, fmt.Sprintf("q%d.%d", p, k), []string{"one", "two"}[p%2], part))
		}
	}
	held, rest, err := data.HoldOut(qs, 7)
	require.NoError(t, err)
	require.Len(t, held, 14)
	require.Len(t, rest, len(qs)-14)
	count := map[string]int{}
	paragraph := func(q data.Question) string { p, _, _ := strings.Cut(q.ID, "."); return p }
	for _, h := range held {
		count[h.DataSource]++
		require.False(t, slices.ContainsFunc(rest, func(r data.Question) bool { return paragraph(r) == paragraph(h) }),
			"%s has its paragraph on both sides", h.ID)
	}
	require.Equal(t, map[string]int{"one": 7, "two": 7}, count)

	other := slices.Clone(qs)
	slices.Reverse(other)
	again, _, err := data.HoldOut(other, 7)
	require.NoError(t, err)
	slices.Reverse(again)
	require.Equal(t, ids(held), ids(again))
}

// A paragraph behind questions of two sources keeps them together, and so does a chain of overlaps. What cannot be
// reached with whole paragraphs is an error.
func TestHoldOutKeepsChainsTogether(t *testing.T) {
	a, b, c := unique("a", 12), unique("b", 12), unique("c", 12)
	qs := []data.Question{supported(t, "1", "one", a), supported(t, "2", "two", a+" "+b), supported(t, "3", "one", b),
		supported(t, "4", "two", c), supported(t, "5", "one", c)}
	held, rest, err := data.HoldOut(qs, 1)
	require.NoError(t, err)
	require.Equal(t, []string{"4", "5"}, ids(held))
	require.Equal(t, []string{"1", "2", "3"}, ids(rest))
	_, _, err = data.HoldOut(qs[:3], 1)
	require.EqualError(t, err, "holding out 1 questions of one: only 0 can be chosen with whole paragraphs: "+
		"hold out fewer, or give more questions")
}

func TestHoldOutNeedsParagraphs(t *testing.T) {
	q := supported(t, "1", "one", "text")
	delete(q.Columns, "supporting")
	_, _, err := data.HoldOut([]data.Question{q}, 1)
	require.ErrorContains(t, err, "f: row 1: no column supporting")
	_, _, err = data.HoldOut([]data.Question{supported(t, "1", "one", " ")}, 1)
	require.ErrorContains(t, err, "it holds no text")
}

func TestQuestionLines(t *testing.T) {
	q := supported(t, "1", "one", "text")
	before := maps.Clone(q.Columns)
	text, err := data.QuestionLines([]data.Question{q})
	require.NoError(t, err)
	require.Equal(t, `{"data_source":"one","golden_answers":["a <b>"],"id":"1","question":"1","supporting":`+
		`[{"title":"A title","text":"text"}]}`+"\n", string(text))
	require.Equal(t, before, q.Columns)
}

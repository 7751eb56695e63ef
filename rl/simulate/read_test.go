package simulate

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/rl/reader"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// copier answers "gold" if its prompt contains it, else "lead".
type copier struct{}

func (copier) Generate(_ context.Context, m []search.Message, _ search.GenerateOptions) (search.Generation, error) {
	if strings.Contains(m[0].Content, "gold") {
		return search.Generation{Text: "\nAnswer: gold\nmore"}, nil
	}
	return search.Generation{Text: "lead"}, nil
}

// The reader is asked with the row's documents, without documents, and with those of a real engine.
func TestRead(t *testing.T) {
	m := NewMeasure(1)
	m.Keep = 3
	row := func(quality search.Quality, doc string) Row {
		return Row{Query: "metal", Question: "Which metal?", GoldenAnswers: []string{"gold"}, Quality: quality,
			Documents: []string{doc}}
	}
	for _, r := range []Row{row(search.Useful, "gold"), row(search.Useful, "no"), row(search.Useful, "gold"),
		row(search.Useful, "gold"), row(search.Noisy, "no"), {Query: "unread", Quality: search.Noisy}} {
		m.Add(r)
	}
	var seen []int
	require.NoError(t, m.Read(t.Context(), Reading{Reader: reader.Reader{Generator: copier{}}, Concurrency: 2,
		Real: search.NewBM25([]string{"metal: gold", "wood"}), Progress: func(done, total int) {
			seen = append(seen, done)
			require.Equal(t, 4, total)
		}}))
	one := 1.0
	s := m.Scores()
	require.InDelta(t, 2.0/3, s.Qualities["useful"].Reader.F1, 1e-12)
	s.Qualities["useful"].Reader.F1 = 0
	require.InDelta(t, 1, *s.Qualities["useful"].Reader.Real, 1e-12)
	require.Equal(t, 3, s.Qualities["useful"].Reader.Rows)
	require.Equal(t, &Read{Rows: 1, Real: &one}, s.Qualities["noisy"].Reader)
	require.Equal(t, []int{1, 2, 3, 4}, seen)
	var b bytes.Buffer
	require.NoError(t, Table(s).Text(&b))
	require.Contains(t, b.String(), "F1 with real documents            1.000  1.000")
}

package search

import (
	"context"
	"fmt"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/pyjson"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/thought"
)

// Replay answers with the documents that a run recorded in its episodes.jsonl: the documents for the same question and
// query, else those for the same query. Where several answers were recorded, the stream of the query chooses one. A
// query that was not recorded finds nothing.
type Replay struct {
	exact, byQuery map[string][]Documents
	// Queries is the number of recorded searches.
	Queries int
}

// NewReplay reads an episodes.jsonl, gzipped or not.
func NewReplay(path string) (*Replay, error) {
	r := &Replay{exact: map[string][]Documents{}, byQuery: map[string][]Documents{}}
	for row, err := range data.Rows(path) {
		if err == nil {
			err = r.add(row)
			if err != nil {
				err = fmt.Errorf("reading %s: row %d: %w", path, row.N, err)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("replaying searches: %w", err)
		}
	}
	if r.Queries == 0 {
		return nil,
			fmt.Errorf("replaying searches: %s records none: give the episodes.jsonl of a run whose policy searched",
				path)
	}
	return r, nil
}

// add adds the answered searches of one episode.
func (r *Replay) add(row data.Row) error {
	var question string
	var turns []struct {
		Action, Query string
		Documents     []string
		Observation   string
		Quality       Quality
		Tau, Draw     float64
	}
	if _, err := row.Get("question", &question); err != nil {
		return err
	}
	raw, ok := row.Columns["turns"]
	if !ok {
		return fmt.Errorf("no column turns: the columns are %s", strings.Join(row.Names(), ", "))
	}
	if err := pyjson.Unmarshal(raw, &turns); err != nil {
		return fmt.Errorf("column turns: %w", err)
	}
	for _, t := range turns {
		if t.Action != "search" || t.Observation == "" {
			continue
		}
		d := Documents{Docs: t.Documents, Quality: t.Quality, Tau: t.Tau, Draw: t.Draw}
		if d.Docs == nil {
			d.Docs = []string{}
		}
		// Text is what the policy saw: the output of a simulator may hold more than its documents.
		_, text, opened := strings.Cut(t.Observation, "<information>")
		if end := strings.LastIndex(text, "</information>"); opened && end >= 0 {
			d.Text = strip(text[:end])
		}
		if d.Text == "" {
			d.Text = Numbered(d.Docs)
		}
		// recorded by an early version, which took the simulator's thoughts for documents
		if text := thought.Without(d.Text); d.Quality != Real && text != d.Text {
			if d.Text = strip(text); d.Text == "" {
				continue
			}
			d.Docs = Split(d.Text)
		}
		r.Queries++
		q := replayKey(t.Query)
		k := replayKey(question) + "\x00" + q
		r.exact[k] = append(r.exact[k], d)
		r.byQuery[q] = append(r.byQuery[q], d)
	}
	return nil
}

// replayKey gives equal keys to queries that differ only in case and blanks.
func replayKey(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }

// Name is replay.
func (r *Replay) Name() string { return "replay" }

// Search gives the recorded documents.
func (r *Replay) Search(ctx context.Context, q Query) (Documents, error) {
	if err := ctx.Err(); err != nil {
		return Documents{}, fmt.Errorf("replaying searches: %w", err)
	}
	query := replayKey(q.Query)
	found := r.exact[replayKey(q.Question)+"\x00"+query]
	if len(found) == 0 {
		found = r.byQuery[query]
	}
	if len(found) == 0 {
		return Documents{Text: NoInformation, Docs: []string{}}, nil
	}
	return found[mix(q.Stream)%uint64(len(found))], nil
}

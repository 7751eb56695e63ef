package simulate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/rl/shards"
)

// Scale writes documents for all rows of files into the shards of a folder.
type Scale struct {
	// Files are the rows: see ParseRequest.
	Files []string
	// Searcher writes the documents. TopK is the number of documents that it is asked for.
	Searcher search.Searcher
	TopK     int
	Filter   Filter
	Seed     uint64
	// Raw keeps the complete outputs.
	Raw bool

	total int
}

// Rows yields the rows of the files in order; one that is no request is an error.
func (s *Scale) Rows() iter.Seq2[data.Row, error] {
	return func(yield func(data.Row, error) bool) {
		for _, file := range s.Files {
			for row, err := range data.Rows(file) {
				if err == nil {
					if _, err = ParseRequest(row); err != nil {
						err = fmt.Errorf("reading %s: row %d: %w", file, row.N, err)
					}
				}
				if !yield(row, err) {
					return
				}
			}
		}
	}
}

// own are the columns of the output that are not taken from the input as they are.
var own = []data.Column{{Name: "row", Kind: data.WholeColumn}, {Name: "query"}, {Name: "question"},
	{Name: "golden_answers", Kind: data.TextListColumn}, {Name: "quality"},
	{Name: "documents", Kind: data.TextListColumn}, {Name: "raw"}, {Name: "prompt_tokens", Kind: data.WholeColumn},
	{Name: "completion_tokens", Kind: data.WholeColumn}}

// Count reads all rows once and counts them; a row that cannot be read is an error.
func (s *Scale) Count(ctx context.Context) (n int, err error) {
	for _, err := range s.Rows() {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return 0, err
		}
		n++
	}
	if n == 0 {
		return 0, errors.New("reading the requests: no rows: give a file with at least one query or question")
	}
	return n, nil
}

// Columns are the columns of parquet files: those of the output, then those of the first row of the input, as text.
func (s *Scale) Columns() (out []data.Column, err error) {
	out = slices.Clone(own)
	for row, err := range s.Rows() {
		if err != nil {
			return nil, err
		}
		for _, name := range row.Names() {
			if !slices.ContainsFunc(own, func(c data.Column) bool { return c.Name == name }) {
				out = append(out, data.Column{Name: name})
			}
		}
		break
	}
	return out, nil
}

// Job describes the work for the package shards. The caller sets Concurrency, Progress and Note.
func (s *Scale) Job(dir string, total, perShard int) *shards.Job {
	s.total = total
	j := &shards.Job{Dir: dir, Input: s.Rows, Total: total, PerShard: perShard, Do: s.do,
		Key: func(row data.Row) (uint64, error) {
			r, err := ParseRequest(row)
			return r.Hash(), err
		}}
	if s.Filter.NearDuplicates > 0 {
		j.Finish = s.dropSimilar
	}
	return j
}

// do lets the engine write the documents of a row, and tries again if a filter drops them.
func (s *Scale) do(ctx context.Context, item shards.Item) (out shards.Result, err error) {
	r, err := ParseRequest(item.Row)
	if err != nil {
		return out, err
	}
	for try := range max(1, s.Filter.Tries) {
		q, err := r.Ask(s.Seed, item.Seen, uint64(try))
		if err != nil {
			out.Drop(droppedNoQuery)
			return out, nil
		}
		q.Step, q.TotalSteps = item.N, s.total
		d, err := s.Searcher.Search(ctx, q)
		var gone *search.Unavailable
		if ctx.Err() != nil || errors.As(err, &gone) {
			return out, err
		}
		out.PromptTokens, out.CompletionTokens = out.PromptTokens+d.PromptTokens,
			out.CompletionTokens+d.CompletionTokens
		if err != nil {
			out.Drop(droppedFailed)
			continue
		}
		if why := s.Filter.drop(d, r.GoldenAnswers, s.TopK); why != "" {
			out.Drop(why)
			continue
		}
		line, err := s.line(item, r, d)
		if err != nil {
			return out, err
		}
		out.Lines, out.Dropped = []json.RawMessage{line}, ""
		return out, nil
	}
	return out, nil
}

// line makes a row of the output: the columns of Row, then the other columns of the input in alphabetical order.
func (s *Scale) line(item shards.Item, r Request, d search.Documents) ([]byte, error) {
	mine := map[string]any{"row": item.N + 1, "query": r.Query, "question": r.Question, "quality": d.Quality,
		"golden_answers": r.GoldenAnswers, "documents": d.Docs, "prompt_tokens": d.PromptTokens,
		"completion_tokens": d.CompletionTokens}
	if s.Raw {
		mine["raw"] = d.Raw
	}
	var b bytes.Buffer
	field := func(name string, v any) error {
		key, err := data.Marshal(name)
		if err != nil {
			return err
		}
		value, err := data.Marshal(v)
		if b.Len() == 0 {
			b.WriteByte('{')
		} else {
			b.WriteByte(',')
		}
		b.Write(append(append(key, ':'), value...))
		return err
	}
	for _, c := range own {
		if v, ok := mine[c.Name]; ok {
			if err := field(c.Name, v); err != nil {
				return nil, err
			}
		}
	}
	for _, name := range item.Names() {
		if !slices.ContainsFunc(own, func(c data.Column) bool { return c.Name == name }) {
			if err := field(name, item.Columns[name]); err != nil {
				return nil, err
			}
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// dropSimilar drops rows of a shard with a document that is similar to an earlier one.
func (s *Scale) dropSimilar(results []shards.Result) {
	var earlier similar
	for i := range results {
		var row struct{ Documents []string }
		if len(results[i].Lines) == 0 || json.Unmarshal(results[i].Lines[0], &row) != nil {
			continue
		}
		signs := make([]signature, len(row.Documents))
		found := false
		for k, d := range row.Documents {
			signs[k] = sign(d)
			found = found || earlier.find(signs[k], s.Filter.NearDuplicates)
		}
		if found {
			results[i].Drop(droppedNearDuplicate)
			continue
		}
		for _, sign := range signs {
			earlier.add(sign)
		}
	}
}

package propose

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"iter"
	"maps"
	"strings"
	"unicode"

	"github.com/zerosearch-go/zerosearch/num"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/rl/shards"
	"github.com/zerosearch-go/zerosearch/rl/thought"
)

// Queries lets a model write search queries for questions, as a policy would: the model does not see the answer.
type Queries struct {
	Generator search.Generator
	// N is the largest number of queries for a question.
	N    int
	Seed uint64
}

// queryWords is the largest number of words of a query.
const queryWords = 20

// droppedNoQuery is the reason why a question gives no row.
const droppedNoQuery = "no query in the output"

const queryPrompt = `Write %d different queries that a person would type into a search engine to answer a question.
Each query has a few words and stands on a line of its own. Write the queries and nothing else.

Question: When was the engineer of the Harbour Bridge born?
Harbour Bridge engineer
engineer of the Harbour Bridge born
who designed the Harbour Bridge birth date

Question: `

// Job describes the work for the package shards. rows are questions; each gives up to N rows of output, which have the
// question's columns and a query.
func (p *Queries) Job(dir string, rows func() iter.Seq2[data.Row, error], total, perShard int) *shards.Job {
	return &shards.Job{Dir: dir, Input: rows, Total: total, PerShard: perShard, Do: p.do,
		Key: func(row data.Row) (uint64, error) {
			q, err := questionOf(row)
			h := fnv.New64a()
			h.Write([]byte(q))
			return h.Sum64(), err
		}}
}

// questionOf returns the question of a row, which need not have accepted answers.
func questionOf(row data.Row) (string, error) {
	q, err := data.ParseQuestion(row)
	if q.Question == "" {
		return "", err
	}
	return q.Question, nil
}

func (p *Queries) do(ctx context.Context, item shards.Item) (out shards.Result, err error) {
	question, err := questionOf(item.Row)
	if err != nil {
		return out, fmt.Errorf("row %d: %w", item.Row.N, err)
	}
	g, err := p.Generator.Generate(ctx, []search.Message{{Role: "user",
		Content: fmt.Sprintf(queryPrompt, p.N) + question}},
		search.GenerateOptions{MaxTokens: 30 * p.N, Temperature: 0.7, Stream: num.Stream(p.Seed, item.Key, item.Seen)})
	if err != nil {
		return out, fmt.Errorf("proposing queries: %w", err)
	}
	out.PromptTokens, out.CompletionTokens = g.PromptTokens, g.CompletionTokens
	for _, query := range lines(thought.Without(g.Prefill+g.Text), p.N) {
		columns := maps.Clone(item.Columns)
		if columns["query"], err = data.Marshal(query); err != nil {
			return out, err
		}
		line, err := data.Marshal(columns)
		if err != nil {
			return out, err
		}
		out.Lines = append(out.Lines, json.RawMessage(line))
	}
	if out.Lines == nil {
		out.Drop(droppedNoQuery)
	}
	return out, nil
}

// lines returns the first n different queries of a text, one a line, without numbers, bullets and quotation marks.
func lines(text string, n int) (out []string) {
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "Question:") {
			break // the model continues with a question that it made up
		}
		if strings.HasSuffix(line, ":") {
			continue // an introduction
		}
		number := strings.TrimLeft(line, "0123456789")
		if rest := strings.TrimLeft(number, ".)"); number != line && rest != number {
			line = rest // "1. query", but not "1931 bridge"
		}
		line = strings.TrimFunc(line, func(r rune) bool {
			return unicode.IsSpace(r) ||
				strings.ContainsRune("-*•\"'`", r)
		})
		words := strings.Fields(line)
		key := strings.ToLower(line)
		if len(words) == 0 || len(words) > queryWords || seen[key] {
			continue
		}
		seen[key] = true
		if out = append(out, strings.Join(words, " ")); len(out) == n {
			break
		}
	}
	return out
}

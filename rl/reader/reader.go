// Package reader answers questions with a language model that reads given documents, or none: a fixed reader, which
// measures documents and checks questions.
package reader

import (
	"context"
	"fmt"
	"strings"

	"github.com/zerosearch-go/zerosearch/rl/eval"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/rl/thought"
)

// Reader is a model that answers with a few words. It decodes greedily: an answer depends only on the weights and on
// the prompt.
type Reader struct {
	Generator search.Generator
	// MaxTokens is the largest number of tokens of an answer; 0 means 64.
	MaxTokens int
}

// Answer returns the reader's answer and the generation that it is taken from. With documents the prompt is that of the
// baseline rag of eval; without documents ("") it is that of the baseline direct.
func (r Reader) Answer(ctx context.Context, question, documents string) (answer string, g search.Generation,
	err error) {
	m := eval.Direct
	if documents != "" {
		m = eval.RAG
	}
	o := search.GenerateOptions{MaxTokens: r.MaxTokens}
	if o.MaxTokens == 0 {
		o.MaxTokens = 64
	}
	g, err = r.Generator.Generate(ctx, []search.Message{{Role: "user", Content: m.Prompt(question, documents)}}, o)
	if err != nil {
		return "", g, fmt.Errorf("answering %.80q: %w", question, err)
	}
	return firstLine(thought.Without(g.Prefill + g.Text)), g, nil
}

// firstLine is the first line of a text that is not blank, without the words "Answer:" before it.
func firstLine(text string) string {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			return strings.TrimSpace(strings.TrimPrefix(line, "Answer:"))
		}
	}
	return ""
}

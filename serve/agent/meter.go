package agent

import (
	"context"
	"slices"

	"github.com/zerosearch-go/zerosearch/rl/episode"
)

// meter is a policy that counts the tokens of an answer and keeps them below a limit. Its turns come one after the
// other.
type meter struct {
	policy episode.Policy
	limit  int // of tokens written; 0: none

	read, written int     // tokens: of prompts and search results, each once; of the model
	seen          []int32 // the context after the last turn
}

// Generate continues a context. At the limit the context counts as full.
func (m *meter) Generate(ctx context.Context, r episode.Request) (episode.Result, error) {
	if m.limit > 0 {
		if m.limit <= m.written {
			return episode.Result{Finish: episode.FinishContext}, nil
		}
		r.MaxTokens = min(r.MaxTokens, m.limit-m.written)
	}
	out, err := m.policy.Generate(ctx, r)
	m.written += len(out.IDs)
	m.read += len(r.Context)
	if n := len(m.seen); n <= len(r.Context) && slices.Equal(m.seen, r.Context[:n]) {
		m.read -= n
	}
	m.seen = append(slices.Clone(r.Context), out.IDs...)
	return out, err
}

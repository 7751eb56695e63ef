package rollout

import (
	"fmt"

	"github.com/zerosearch-go/zerosearch/rl/data"
)

// Check finds a question whose prompt cannot be used, before hours of work meet it. note is for the user, where prompts
// leave less room in the context than a turn may take; where none of them leaves room for an answer, that is an error.
func (r *Worker) Check(questions []data.Question) (note string, err error) {
	c, p := &r.Runner.Config, r.Prompter
	// Prompts up to usual leave room for a whole turn; beyond last no answer fits.
	usual, last := c.MaxContext-c.MaxResponse, c.MaxContext-len(r.Runner.Tokenizer.Encode("<answer></answer>"))
	sure := p
	if sure.MaxTokens = min(p.MaxTokens, max(usual, 1)); p.MaxTokens <= 0 {
		sure.MaxTokens = max(usual, 1)
	}
	tight, hopeless, longest := 0, 0, 0
	var worst data.Question
	for _, q := range questions {
		if own := ownPrompt(q); sure.surelyFits(q) && (own == nil || own[0] == '"') {
			continue
		}
		ids, err := p.IDs(q)
		if err != nil && q.File != "" {
			err = fmt.Errorf("reading %s: row %d: %w", q.File, q.Row, err)
		}
		if err != nil {
			return "", err
		}
		n := len(ids)
		if n > usual {
			tight++
		}
		if n > last {
			hopeless++
		}
		if n > longest {
			longest, worst = n, q
		}
	}
	left := fmt.Sprintf(
		"question %s has a prompt of %d tokens and the context holds %d (--max-context, or the model's), "+
			"which leaves %d", worst.ID, longest, c.MaxContext, c.MaxContext-longest)
	switch n := len(questions); {
	case tight == 0:
		return "", nil
	case hopeless == n:
		return "", fmt.Errorf("no question leaves room for an answer: %s: raise --max-context, or give shorter prompts",
			left)
	case n == 1:
		return fmt.Sprintf("%s, where a turn may take %d (--max-response-length)", left, c.MaxResponse), nil
	default:
		return fmt.Sprintf("%d of %d questions leave less room than the %d tokens that a turn may take "+
			"(--max-response-length): %s", tight, n, c.MaxResponse, left), nil
	}
}

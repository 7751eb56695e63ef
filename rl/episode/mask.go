package episode

// Tokens is an episode as one row of ids for training.
type Tokens struct {
	// IDs are the prompt's and all turns'.
	IDs []int32
	// Mask is true where the policy sampled the id; false in the prompt and in observations.
	Mask []bool
	// Logprobs of sampling, 0 where Mask is false; nil if a turn has none recorded.
	Logprobs []float32
	// Prompt is the number of ids before the first turn.
	Prompt int
}

// Tokens joins prompt and turns. Nothing is encoded again.
func (e *Episode) Tokens() Tokens {
	n := len(e.PromptIDs)
	recorded := true
	for i := range e.Turns {
		n += len(e.Turns[i].IDs)
		recorded = recorded && e.Turns[i].Logprobs != nil
	}
	t := Tokens{IDs: make([]int32, 0, n), Mask: make([]bool, len(e.PromptIDs), n), Prompt: len(e.PromptIDs)}
	t.IDs = append(t.IDs, e.PromptIDs...)
	if recorded {
		t.Logprobs = make([]float32, len(e.PromptIDs), n)
	}
	for i := range e.Turns {
		t.IDs = append(t.IDs, e.Turns[i].IDs...)
		t.Mask = append(t.Mask, e.Turns[i].Mask...)
		if recorded {
			t.Logprobs = append(t.Logprobs, e.Turns[i].Logprobs...)
		}
	}
	return t
}

// PolicyTokens is the number of ids that the policy sampled: the response length.
func (e *Episode) PolicyTokens() (n int) {
	for i := range e.Turns {
		for _, own := range e.Turns[i].Mask {
			if own {
				n++
			}
		}
	}
	return n
}

// own appends sampled ids to a turn.
func (t *Turn) own(ids []int32, logprobs []float32) {
	t.IDs = append(t.IDs, ids...)
	t.Logprobs = append(t.Logprobs, logprobs...)
	for range ids {
		t.Mask = append(t.Mask, true)
	}
}

// observe appends the environment's ids to a turn.
func (t *Turn) observe(ids []int32) {
	t.IDs = append(t.IDs, ids...)
	t.Mask = append(t.Mask, make([]bool, len(ids))...)
	t.Logprobs = append(t.Logprobs, make([]float32, len(ids))...)
}

package episode

// Tokens is an episode as one sequence of ids for training. IDs, Mask and Logprobs have the same length: the number of
// all ids.
type Tokens struct {
	// IDs are the ids of the prompt and of all turns.
	IDs []int32
	// Mask is true for ids that the policy sampled, and false in the prompt and in observations.
	Mask []bool
	// Logprobs are the log-probs at the time of sampling, 0 where Mask is false; nil if a turn has none recorded.
	Logprobs []float32
	// Prompt is the number of ids before the first turn.
	Prompt int
}

// Tokens joins the ids of the prompt and of the turns. Nothing is encoded again.
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

// appendSampled appends ids that the policy sampled, with their log-probs, to a turn.
func (t *Turn) appendSampled(ids []int32, logprobs []float32) {
	t.IDs = append(t.IDs, ids...)
	t.Logprobs = append(t.Logprobs, logprobs...)
	for range ids {
		t.Mask = append(t.Mask, true)
	}
}

// appendObservation appends ids of the environment to a turn.
func (t *Turn) appendObservation(ids []int32) {
	t.IDs = append(t.IDs, ids...)
	t.Mask = append(t.Mask, make([]bool, len(ids))...)
	t.Logprobs = append(t.Logprobs, make([]float32, len(ids))...)
}

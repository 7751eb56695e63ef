// Package episode runs episodes. An episode (also called trajectory or rollout) is one attempt of a policy to answer a
// question over several turns, in which it thinks, searches, reads and answers. Sampled ids are kept as they are and
// never encoded again. The environment's text is encoded once and never trained on. Actions are read only from the
// policy's own tokens, so that no text in a document or question can become an action.
package episode

// Status says how an episode ended.
type Status string

const (
	// Answered means that the policy gave an answer.
	Answered Status = "answered"
	// OutOfTurns means that the last turn ended without an answer.
	OutOfTurns Status = "out_of_turns"
	// ContextFull means that the context had no room for the rest of a turn or for its observation.
	ContextFull Status = "context_full"
	// SearchFailed means that the search engine failed, which is no fault of the policy.
	SearchFailed Status = "search_failed"
	// Cancelled means that the run was interrupted.
	Cancelled Status = "cancelled"
)

// Trained says whether an episode with this status is trained on. A failed search and an interruption say nothing about
// the policy: the whole group of the episode is dropped.
func (s Status) Trained() bool { return s == Answered || s == OutOfTurns || s == ContextFull }

// Action is the action of a turn.
type Action string

const (
	// Search asks the search engine.
	Search Action = "search"
	// Answer ends the episode.
	Answer Action = "answer"
	// Invalid is a turn without a complete pair of tags.
	Invalid Action = "invalid"
)

// Turn is the policy's response to its context, followed by the observation that the environment appended. IDs, Mask
// and Logprobs have the same length: the number of ids of both.
type Turn struct {
	// IDs are the ids that the policy sampled, then those of the observation.
	IDs []int32
	// Mask is true for the ids that the policy sampled. These ids are trained on.
	Mask []bool
	// Logprobs are the log-probabilities (natural logarithm) of the ids when they were sampled: over the full
	// vocabulary, after temperature, before top-p, min-p and top-k. They are 0 where Mask is false, and nil in a record
	// without them.
	Logprobs []float32
	// Text is the policy's part as text. Observation is the text of the observation before it was shortened. Prefill is
	// the part of the turn that is already in the prompt: the opening tag of a thought, in the first turn, if the chat
	// template opens the thought.
	Text, Observation, Prefill string
	// Action is the action of the turn. Content is the query of a Search, the answer of an Answer, and "" otherwise.
	Action  Action
	Content string
	// Documents, Quality, Tau and Draw are set for a turn that searched (see search.Documents). Engine is set if the
	// run records which engine answered.
	Documents []string
	Engine    string
	Quality   string
	Tau, Draw float64
	// Gain is how much the documents raised the log-probability of the golden answer, set by the code that trains on
	// the episode; nil where it was not measured.
	Gain *float64
}

// Episode is one attempt at a question, with everything that is needed to repeat its part of a training step.
type Episode struct {
	// Step is the training step, Group the index of the question in its batch, Rollout the index of the episode in its
	// group. Attempt counts how often the question was sampled again.
	Step, Group, Rollout, Attempt int
	// QuestionID, Question and GoldenAnswers come from the data.
	QuestionID    string
	Question      string
	GoldenAnswers []string
	// PromptIDs are the ids before the first turn.
	PromptIDs []int32
	// Temperature is the temperature of the policy's sampling. The logits are divided by it in training, too.
	Temperature float64
	// Status says how the episode ended, Err why a search failed.
	Status Status
	Err    string
	// Reward is set by the code that scores the episode.
	Reward float64
	// RewardParts are what Reward is the sum of, by name; nil where it is one score.
	RewardParts map[string]float64
	// Advantages has one value for each sampled id, [PolicyTokens], in order; nil if the episode was not trained on. It
	// is set by the code that trains on the episode.
	Advantages []float32
	// Turns are the turns in order.
	Turns []Turn
}

// FullText is Prefill and Text joined: the complete text of the turn.
func (t *Turn) FullText() string { return t.Prefill + t.Text }

// Answer is the policy's answer; false if it gave none.
func (e *Episode) Answer() (string, bool) {
	if n := len(e.Turns); n > 0 && e.Turns[n-1].Action == Answer {
		return e.Turns[n-1].Content, true
	}
	return "", false
}

// Searches is the number of turns that searched.
func (e *Episode) Searches() int { return e.count(Search) }

// ValidActions is the number of turns with a complete pair of tags.
func (e *Episode) ValidActions() int { return len(e.Turns) - e.count(Invalid) }

func (e *Episode) count(a Action) (n int) {
	for i := range e.Turns {
		if e.Turns[i].Action == a {
			n++
		}
	}
	return n
}

// Package episode runs one attempt of a policy at a question: it thinks, searches, reads and answers, turn by turn,
// token in and token out. Ids that were sampled are kept as they are, what the environment adds is encoded once and
// never trained on, and actions are read from the policy's own tokens only, so that no document and no question can
// act.
package episode

// Status says how an episode ended.
type Status string

const (
	// Answered: the policy gave an answer.
	Answered Status = "answered"
	// OutOfTurns: the last turn ended without an answer.
	OutOfTurns Status = "out_of_turns"
	// ContextFull: the context had no room for the rest of a turn or for its observation.
	ContextFull Status = "context_full"
	// SearchFailed: the search engine failed. The policy did nothing wrong.
	SearchFailed Status = "search_failed"
	// Cancelled: the run was interrupted.
	Cancelled Status = "cancelled"
)

// Trained says whether an episode that ended so is trained on. A failed search and an interruption are errors of ours:
// the whole group is dropped.
func (s Status) Trained() bool { return s == Answered || s == OutOfTurns || s == ContextFull }

// Action is what a turn of the policy came to.
type Action string

const (
	// Search asks the search engine.
	Search Action = "search"
	// Answer ends the episode.
	Answer Action = "answer"
	// Invalid is a turn without a complete pair of tags.
	Invalid Action = "invalid"
)

// Turn is what the policy generated in one go, followed by what the environment appended to it.
type Turn struct {
	// IDs are the policy's ids, then the observation's.
	IDs []int32
	// Mask is true for the policy's own ids, the ones trained on.
	Mask []bool
	// Logprobs has one natural logarithm per id, over the whole vocabulary, after temperature, before any truncation; 0
	// where Mask is false. nil in a record that does not carry them.
	Logprobs []float32
	// Text is the policy's part as text; Observation is what was appended, before truncation to tokens. Prefill is
	// what the prompt held of the turn already, in the first turn under a chat template that begins the policy's
	// thought.
	Text, Observation, Prefill string
	// Action, and for Search the query, for Answer the answer.
	Action  Action
	Content string
	// Documents to Draw are set for a turn that searched; Engine where engines are told apart.
	Documents []string
	Engine    string
	Quality   string
	Tau, Draw float64
}

// Episode is a whole attempt, with everything that is needed to replay its update.
type Episode struct {
	// Step is the training step, Group the position of the question in its batch, Rollout that of the episode in its
	// group; Attempt counts resamplings.
	Step, Group, Rollout, Attempt int
	// QuestionID, Question and GoldenAnswers come from the data.
	QuestionID    string
	Question      string
	GoldenAnswers []string
	// PromptIDs are the ids before the first turn.
	PromptIDs []int32
	// Temperature of the policy's sampling; logits are divided by it in training too.
	Temperature float64
	// Status says how it ended, Err why a search failed.
	Status Status
	Err    string
	// Reward is set by who scores the episode.
	Reward float64
	// Advantages has a value per sampled id, in order; nil if the episode was not trained on. Set by who trains on it.
	Advantages []float32
	// Turns in order.
	Turns []Turn
}

// Whole is the turn as a reader sees it: what the prompt began, and the policy's own text.
func (t *Turn) Whole() string { return t.Prefill + t.Text }

// Answer is the content of the policy's answer; false if it gave none.
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

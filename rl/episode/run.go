package episode

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/zerosearch-go/zerosearch/rl/search"
)

// Sampling are the settings of the policy's sampling.
type Sampling struct {
	// Temperature divides the logits; 0 is greedy.
	Temperature float64
	// TopP, MinP and TopK truncate the distribution; 0 turns them off.
	TopP, MinP float64
	TopK       int
}

// Request asks a policy to continue a context.
type Request struct {
	// Context holds all ids of the episode so far. The policy must not keep or change it.
	Context []int32
	// MaxTokens is the largest number of new ids, at least 1.
	MaxTokens int
	// Stop is called after each new id, with all new ids of this turn. The turn ends with the id for which it returns
	// true.
	Stop func(ids []int32) bool
	// Sampling holds the sampling settings.
	Sampling
	// Stream is the random seed of this turn.
	Stream uint64
	// Handle is Task.Handle, for a policy that keeps state between the turns of an episode.
	Handle any
}

// FinishContext is the Result.Finish of a policy whose context is full.
const FinishContext = "context"

// Result is the policy's continuation of a context.
type Result struct {
	// IDs are the new ids. They end with the id for which Stop returned true, with an end-of-sequence id (which is
	// kept), or at a limit.
	IDs []int32
	// Logprobs has one log-prob for each id, [IDs]: over the full vocabulary, after temperature, before truncation.
	Logprobs []float32
	// Finish says why the generation ended. This package only looks for FinishContext.
	Finish string
}

// Policy is the model that is being trained or used. Generate is called by many goroutines at once, and its result must
// depend on the request alone.
type Policy interface {
	Generate(ctx context.Context, r Request) (Result, error)
}

// Config are the limits of an episode.
type Config struct {
	// MaxTurns is the number of turns that may search. One final turn follows, in which a search is not carried out.
	MaxTurns int
	// MaxResponse is the largest number of ids that the policy may sample in a turn. MaxObservation is the largest
	// number of ids of an observation, whose documents are shortened if necessary; 0 is no limit. MaxContext is the
	// largest number of ids of the prompt and all turns together.
	MaxResponse, MaxObservation, MaxContext int
	// Sampling holds the policy's sampling settings.
	Sampling
}

// Validate says what is wrong with the limits.
func (c Config) Validate() error {
	switch {
	case c.MaxTurns < 0:
		return errors.New("episode: max turns must not be negative")
	case c.MaxResponse < 1 || c.MaxContext < 2 || c.MaxObservation < 0:
		return errors.New("episode: max response and max context must be positive, max observation not negative")
	case !(c.Temperature >= 0) || !(c.TopP >= 0 && c.TopP <= 1) || !(c.MinP >= 0 && c.MinP <= 1) || c.TopK < 0:
		return errors.New(
			"episode: sampling: temperature and top-k must not be negative, top-p and min-p lie in [0, 1]")
	}
	return nil
}

// Task is one episode to be run.
type Task struct {
	// Step and TotalSteps determine tau in the searcher's curriculum. The other numbers are recorded (see Episode).
	Step, TotalSteps, Group, Rollout, Attempt int
	// QuestionID, Question and GoldenAnswers come from the data. Without golden answers simulated engines use a prompt
	// that does not mention an answer.
	QuestionID    string
	Question      string
	GoldenAnswers []string
	// Facts are what a simulated engine knows of single queries (see search.Query).
	Facts map[string]string
	// PromptIDs are the ids before the first turn: Prompt(Question) through the model's chat template.
	PromptIDs []int32
	// Seed is the random seed of the whole episode: a hash of the run's seed, step, group, attempt and rollout.
	Seed uint64
	// Success is the policy's smoothed success rate, from which the adaptive curriculum computes tau.
	Success float64
	// Quality forces the documents' quality; "" leaves it to the searcher.
	Quality search.Quality
	// Handle is passed to the policy with every turn.
	Handle any
}

// Runner runs episodes. Run may be called by many goroutines at once.
type Runner struct {
	// Policy generates the turns, Searcher answers its queries, Tokenizer converts between ids and text.
	Policy    Policy
	Searcher  search.Searcher
	Tokenizer Tokenizer
	// Environment is the environment of the policy; nil stands for Searching with Searcher.
	Environment Environment
	// Config holds the limits.
	Config Config
	// OnTurn, if not nil, is called with each finished turn. Concurrent episodes call it concurrently.
	OnTurn func(task Task, number int, t Turn)
}

// Run runs an episode, turn by turn, until it ends in one of the ways that Status lists. It returns an error only if
// the policy fails, which means that the run cannot go on. A failed search and a cancelled context are no errors: the
// episode ends with status SearchFailed or Cancelled.
func (r *Runner) Run(ctx context.Context, task Task) (*Episode, error) {
	env := r.environment()
	e := &Episode{Step: task.Step, Group: task.Group, Rollout: task.Rollout, Attempt: task.Attempt,
		QuestionID: task.QuestionID, Question: task.Question,
		GoldenAnswers: task.GoldenAnswers, PromptIDs: task.PromptIDs, Temperature: r.Config.Temperature}
	ids := slices.Clone(task.PromptIDs)
	for number := 0; e.Status == ""; number++ {
		room := r.Config.MaxContext - len(ids)
		if room < 1 {
			e.Status = ContextFull
			break
		}
		turn, full, err := r.act(ctx, env, task, number, ids, room)
		if err != nil {
			if ctx.Err() != nil {
				e.Status = Cancelled
				break
			}
			return nil, fmt.Errorf("episode of question %s, turn %d: %w", task.QuestionID, number+1, err)
		}
		if number == 0 {
			turn.Prefill = Prefill(r.Tokenizer, task.PromptIDs)
		}
		room -= len(turn.IDs)
		switch {
		case turn.Action == Answer:
			e.Status = Answered
		case full || room < 1:
			e.Status = ContextFull
		case number >= r.Config.MaxTurns:
			e.Status = OutOfTurns
		default:
			e.Status, e.Err = r.respond(ctx, env, task, number, &turn, room)
		}
		ids = append(ids, turn.IDs...)
		e.Turns = append(e.Turns, turn)
		if r.OnTurn != nil {
			r.OnTurn(task, number, turn)
		}
	}
	return e, nil
}

// act lets the policy generate one turn and parses its action. room is the number of ids that fit into the context.
// full says that the turn ended because the policy's context was full.
func (r *Runner) act(ctx context.Context, env Environment, task Task, number int, ids []int32, room int) (turn Turn,
	full bool,
	err error) {
	limit := min(r.Config.MaxResponse, room)
	watch := scanner{tok: r.Tokenizer, env: env}
	res, err := r.Policy.Generate(ctx, Request{Context: ids, MaxTokens: limit, Stop: watch.stop,
		Sampling: r.Config.Sampling,
		Stream:   stream(task.Seed, purposePolicy, number), Handle: task.Handle})
	if err != nil {
		return Turn{}, false, err
	}
	if len(res.IDs) > limit || len(res.Logprobs) != len(res.IDs) {
		return Turn{}, false, fmt.Errorf("the policy returned %d ids and %d log-probs where at most %d were asked for",
			len(res.IDs), len(res.Logprobs), limit)
	}
	// A policy on a server may not have called Stop: cut the turn after the id that completes its action.
	again := scanner{tok: r.Tokenizer, env: env}
	n := 0
	for n < len(res.IDs) {
		n++
		if again.add(res.IDs[n-1]) {
			break
		}
	}
	turn.Logprobs = make([]float32, 0, n) // not nil, so that empty log-probs are recorded, too
	turn.appendSampled(res.IDs[:n], res.Logprobs[:n])
	turn.Text = decode(r.Tokenizer, turn.IDs)
	turn.Action, turn.Content, _ = env.Parse(turn.Text)
	if !env.Trained(&turn) {
		clear(turn.Mask)
		clear(turn.Logprobs)
	}
	return turn, res.Finish == FinishContext && turn.Action == Invalid, nil
}

// respond carries out the turn's action and appends the environment's reply to the turn. The status is "" if the
// episode continues; otherwise failure says why it ended.
func (r *Runner) respond(ctx context.Context, env Environment, task Task, number int, turn *Turn, room int) (Status,
	string) {
	reply, status, failure := env.Respond(ctx, task, number, turn)
	if status != "" {
		return status, failure
	}
	ids := reply.ids(r.Tokenizer, r.Config.MaxObservation)
	if len(ids) >= room { // the next turn would have no room for a single id
		return ContextFull, ""
	}
	turn.Observation = reply.String()
	turn.appendObservation(ids)
	return "", ""
}

// environment is the environment of the policy.
func (r *Runner) environment() Environment {
	if r.Environment != nil {
		return r.Environment
	}
	return Searching{r.Searcher}
}

// Search asks the searcher and records its documents in t. documents is the text to show to the policy. status is ""
// unless the search failed or was interrupted.
func (t *Turn) Search(ctx context.Context, s search.Searcher, q search.Query) (documents string, status Status,
	failure string) {
	d, err := s.Search(ctx, q)
	if ctx.Err() != nil {
		return "", Cancelled, ""
	}
	if err != nil {
		return "", SearchFailed, err.Error()
	}
	t.Documents, t.Engine, t.Quality, t.Tau, t.Draw = d.Docs, d.Engine, string(d.Quality), d.Tau, d.Draw
	return d.Text, "", ""
}

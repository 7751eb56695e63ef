// Package assistant answers a person's questions with a policy and a search engine: by searching over several turns, by
// one retrieval, or at once; briefly, or as a longer text; with the places in the documents that an answer stands on.
// It uses the episodes of training and the prompts of evaluation, so that a model answers here as it was measured.
package assistant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/eval"
	"github.com/zerosearch-go/zerosearch/rl/rollout"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// Auto is the method that the assistant chooses itself: the search agent for a model that was trained here, and if it
// gives no answer, or for any other model, RAG; instead of RAG Direct where there are no documents.
const Auto eval.Method = "auto"

// ParseMethod reads the name of a method.
func ParseMethod(name string) (eval.Method, error) {
	switch m := eval.Method(name); m {
	case Auto, eval.Agent, eval.RAG, eval.Direct:
		return m, nil
	}
	return "", fmt.Errorf("method %q is not known: use auto, agent, rag or direct", name)
}

// Options are what an assistant is made of.
type Options struct {
	// Worker runs the episodes. Its method, messages and history are the assistant's to set.
	Worker rollout.Worker
	// Method says how answers are found, Style what they look like.
	Method eval.Method
	Style  Style
	// Trained says that the model was trained by this program: Auto then lets it search by itself.
	Trained bool
	// Documents says that the search engine has documents of its own, which no model made up.
	Documents bool
	// Corpus, if not nil, says in which files passages stand.
	Corpus *search.Corpus
	// Seed is the seed of what is drawn.
	Seed uint64
	// System, if not "", is the system message of the conversation.
	System string
	// TopK is the number of documents for a query; 0 stands for the search engine's own.
	TopK int
	// Watch sees an answer as it comes.
	Watch Watch
	// Note tells the user one thing.
	Note func(text string)
}

// Assistant answers questions. Several may be asked at once, unless Watch is set.
type Assistant struct {
	Options

	places map[string]search.Source // by the text of a passage, as engines return it
	noted  *sync.Once               // that the context is small
}

// New makes an assistant.
func New(o Options) *Assistant {
	a := &Assistant{Options: o, noted: &sync.Once{}}
	if o.Corpus != nil {
		a.places = make(map[string]search.Source, len(o.Corpus.Passages))
		for i, p := range slices.Backward(o.Corpus.Passages) { // of equal passages the first
			a.places[strings.Join(strings.Fields(p), " ")] = o.Corpus.Sources[i]
		}
	}
	return a
}

// With is a copy of the assistant with other options, but for the corpus.
func (a *Assistant) With(change func(o *Options)) *Assistant {
	out := *a
	change(&out.Options)
	return &out
}

// Place says where a document of the search engine stands.
func (a *Assistant) Place(document string) (search.Source, bool) {
	s, ok := a.places[document]
	return s, ok
}

// Watch has functions that are called while an answer is found. Each may be nil.
type Watch struct {
	// Begin is called with the method when it begins; again says that another one gave no answer.
	Begin func(m eval.Method, again bool)
	// Text is called with what the model has written in one turn so far, tags included. final says that the turn is
	// complete.
	Text func(text string, final bool)
	// Searching is called with a query before it is sent, Searched with its documents. turn counts from 1.
	Searching func(turn int, query string)
	Searched  func(turn int, query string, documents []string)
	// Write is called when a text in another style than Short is begun, with the documents that it is written from.
	Write func(documents []string)
}

// Exchange is a question and its answer, earlier in a conversation.
type Exchange struct{ Question, Answer string }

// Answer is the answer to a question, and how it was found.
type Answer struct {
	// Answer is nil if none was given. In a style other than Short it is a text with marks [N] of its citations.
	Answer    *string    `json:"answer"`
	Turns     []Turn     `json:"turns"`
	Citations []Citation `json:"citations"`
	Status    string     `json:"status"`
	// Method is how the answer was found; it is never Auto.
	Method eval.Method `json:"method"`
	// Grounded says that the answer stands in documents that no model made up: a short answer word by word, and every
	// sentence of a longer text by most of its words. Unsupported are the sentences of which that is not true.
	Grounded    bool     `json:"grounded"`
	Unsupported []string `json:"unsupported,omitempty"`
}

// Turn is one turn of the model.
type Turn struct {
	Think     string   `json:"think"`
	Search    *string  `json:"search"` // nil: the turn did not search
	Documents []string `json:"documents"`
}

// QuestionError says why a question cannot be asked: it is empty, or it is longer than the context.
type QuestionError struct{ Err error }

func (e *QuestionError) Error() string { return e.Err.Error() }

func (e *QuestionError) Unwrap() error { return e.Err }

// Ask answers a question. history is the conversation before it, oldest first; what does not fit is forgotten. A
// *QuestionError says that the question cannot be asked.
func (a *Assistant) Ask(ctx context.Context, question string, history []Exchange) (Answer, error) {
	if strings.TrimSpace(question) == "" {
		return Answer{}, &QuestionError{errors.New("the request has no question")}
	}
	q := data.Question{ID: "asked", Question: question}
	note, err := a.Worker.Check([]data.Question{q})
	for err == nil { // forgets what leaves no room for the question
		if _, err = a.worker(eval.Agent, history).Prompter.IDs(q); err == nil {
			break
		}
		if len(history) > 0 {
			history, err = history[1:], nil
		}
	}
	if err != nil {
		return Answer{}, &QuestionError{err}
	}
	if note != "" && a.Note != nil {
		a.noted.Do(func() { a.Note(note) }) // once: the prompt is the same around every question
	}
	m := a.method()
	a.begin(m, false)
	out, err := a.answer(ctx, m, q, history)
	if err == nil && out.Answer == nil && m == eval.Agent && a.Method == Auto {
		m = a.withoutTurns()
		a.begin(m, true)
		return a.answer(ctx, m, q, history)
	}
	return out, err
}

func (a *Assistant) begin(m eval.Method, again bool) {
	if a.Watch.Begin != nil {
		a.Watch.Begin(m, again)
	}
}

// method is the first method to try.
func (a *Assistant) method() eval.Method {
	switch {
	case a.Method != Auto:
		return a.Method
	case a.Trained:
		return eval.Agent
	}
	return a.withoutTurns()
}

// withoutTurns is what Auto does with a model that does not search by itself. Documents that a model makes up are no
// better than its memory.
func (a *Assistant) withoutTurns() eval.Method {
	if a.Documents {
		return eval.RAG
	}
	return eval.Direct
}

// answer answers by one method.
func (a *Assistant) answer(ctx context.Context, m eval.Method, q data.Question, history []Exchange) (Answer, error) {
	w := a.worker(m, history)
	if m == eval.RAG && len(history) > 0 {
		w.Runner.Searcher = search.FollowUp{Engine: w.Runner.Searcher, Before: history[len(history)-1].Question}
	}
	seen := &watched{watch: a.Watch, searcher: w.Runner.Searcher, topK: a.TopK,
		policy: w.Runner.Policy, tok: w.Runner.Tokenizer}
	w.Runner.Searcher, w.Runner.Policy = seen, seen
	if a.Style != Short && m != eval.Agent {
		w.Message, seen.writes = a.Style.message, true
		if m == eval.Direct {
			seen.write(nil)
		}
	}
	e, err := a.run(ctx, w, q)
	if err != nil {
		return Answer{}, err
	}
	if a.Style == Short {
		return a.short(m, e), nil
	}
	turns := turnsOf(e)
	if m == eval.Agent { // it has looked up what the text is then written from
		var documents []string
		for _, t := range e.Turns {
			for _, d := range t.Documents {
				if !slices.Contains(documents, d) {
					documents = append(documents, d)
				}
			}
		}
		writer := a.worker(eval.RAG, history)
		seen.searcher, seen.policy, seen.quiet, seen.writes = found(documents), writer.Runner.Policy, true, true
		writer.Runner.Searcher, writer.Runner.Policy, writer.Message = seen, seen, a.Style.message
		if e, err = a.run(ctx, writer, q); err != nil {
			return Answer{}, err
		}
		turns = append(turns, turnsOf(e)...)
	}
	return a.long(m, e, turns), nil
}

// historyBytes is the length of the longest conversation that the model is told again.
const historyBytes = 4000

// worker is the worker of one answer.
func (a *Assistant) worker(m eval.Method, history []Exchange) rollout.Worker {
	w := a.Worker
	w.Method = m
	size := 0
	for _, x := range slices.Backward(history) {
		if size += len(x.Question) + len(x.Answer); size > historyBytes {
			break
		}
		w.Prompter.History = slices.Insert(w.Prompter.History, 0, tokenizer.Message{Role: "user", Content: x.Question},
			tokenizer.Message{Role: "assistant", Content: x.Answer})
	}
	if a.System != "" {
		w.Prompter.History = slices.Insert(w.Prompter.History, 0, tokenizer.Message{Role: "system", Content: a.System})
	}
	return w
}

// run runs one episode.
func (a *Assistant) run(ctx context.Context, w rollout.Worker, q data.Question) (*episode.Episode, error) {
	all, err := w.Evaluate(ctx, []data.Question{q}, w.Runner.Config.Sampling, a.Seed, 0)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if e := all[0]; e.Status != episode.SearchFailed {
		return e, nil
	}
	return nil, fmt.Errorf("searching: %s", all[0].Err)
}

// short is the answer that evaluation scores.
func (a *Assistant) short(m eval.Method, e *episode.Episode) Answer {
	out := Answer{Turns: turnsOf(e), Citations: []Citation{}, Status: string(e.Status), Method: m}
	if out.Answer = eval.Grade(m, e, "").Answer; out.Answer == nil {
		return out
	}
	out.Status = string(episode.Answered)
	for i, t := range out.Turns {
		for k, d := range t.Documents {
			if stands(*out.Answer, d) {
				out.Citations = append(out.Citations, a.citation(i+1, k+1, d))
			}
		}
	}
	out.Grounded = len(out.Citations) > 0 && a.Documents
	return out
}

// long is a text with its citations. The documents are those of the last turn that has any.
func (a *Assistant) long(m eval.Method, e *episode.Episode, turns []Turn) Answer {
	out := Answer{Turns: turns, Citations: []Citation{}, Status: string(e.Status), Method: m}
	if len(e.Turns) == 0 || !e.Status.Trained() {
		return out
	}
	last := e.Turns[len(e.Turns)-1]
	text := strings.TrimSpace(visible(last.FullText()))
	if text == "" {
		return out
	}
	out.Status = string(episode.Answered)
	var documents []string
	turn := 0
	for i, t := range turns {
		if len(t.Documents) > 0 {
			turn, documents = i+1, t.Documents
		}
	}
	marked, cited, unsupported := mark(text, documents)
	out.Answer = &marked
	if len(documents) > 0 {
		out.Unsupported = unsupported
	}
	for _, k := range cited {
		out.Citations = append(out.Citations, a.citation(turn, k, documents[k-1]))
	}
	out.Grounded = len(cited) > 0 && len(unsupported) == 0 && a.Documents
	return out
}

// turnsOf are the turns as a reader wants to see them.
func turnsOf(e *episode.Episode) []Turn {
	out := []Turn{}
	for _, t := range e.Turns {
		r := Turn{Documents: t.Documents}
		if r.Documents == nil {
			r.Documents = []string{}
		}
		if _, rest, ok := strings.Cut(t.FullText(), "<think>"); ok {
			think, _, _ := strings.Cut(rest, "</think>")
			r.Think = strings.TrimSpace(think)
		}
		if t.Action == episode.Search {
			query := t.Content
			r.Search = &query
		}
		out = append(out, r)
	}
	return out
}

// Warning says why an answer should be checked, "" if there is no reason.
func (a *Assistant) Warning(out Answer) string {
	switch {
	case out.Answer == nil || out.Grounded:
		return ""
	case !slices.ContainsFunc(out.Turns, func(t Turn) bool { return len(t.Documents) > 0 }):
		return "this answer comes from the model's memory, no document was read: check it"
	case !a.Documents:
		return "the documents are made up by a model: check this answer"
	case len(out.Unsupported) > 0:
		return fmt.Sprintf("%d of the sentences do not stand in the documents: check them: %s", len(out.Unsupported),
			strings.Join(out.Unsupported, " "))
	}
	return "this answer does not stand in the documents: check it"
}

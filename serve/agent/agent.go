// Package agent makes an assistant, which answers questions over documents, a model of the server: a conversation runs
// the assistant's loop of thoughts and searches, and the client sees it as reasoning and tool calls.
package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/zerosearch-go/zerosearch/rl/assistant"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/serve"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// Agent is an assistant as the server calls it.
type Agent struct{ assistant *assistant.Assistant }

// New makes an agent. The assistant's method and style are those of requests that name none.
func New(a *assistant.Assistant) Agent { return Agent{a} }

// Answer answers the last message of a conversation.
func (g Agent) Answer(ctx context.Context, r serve.AgentRequest,
	tell func(serve.AgentStep) error) (serve.AgentAnswer, error) {
	c, err := readConversation(r.Messages)
	if err != nil {
		return serve.AgentAnswer{}, err
	}
	o, err := g.options(r.Options)
	if err != nil {
		return serve.AgentAnswer{}, err
	}
	t := newTrace(g.assistant, o, tell)
	policy := &meter{policy: g.assistant.Worker.Runner.Policy, limit: r.MaxTokens}
	steps := newQueue()
	asked := g.assistant.With(func(a *assistant.Options) {
		a.Method, a.Style, a.TopK, a.System, a.Seed = o.method, o.style, o.topK, c.system, r.Seed
		a.Watch = steps.watch(t.Watch())
		a.Worker.Runner.Policy = policy
		a.Worker.Runner.Config.Sampling = episode.Sampling{Temperature: r.Temperature, TopP: r.TopP, MinP: r.MinP,
			TopK: r.TopK}
	})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var out assistant.Answer
	go func() {
		defer steps.close()
		out, err = asked.Ask(ctx, c.question, c.history)
	}()
	for step := range steps.all() {
		if t.failed == nil {
			if step(); t.failed != nil {
				cancel() // the client has gone
			}
		}
	}
	var unasked *assistant.QuestionError
	switch {
	case t.failed != nil:
		err = t.failed
	case errors.As(err, &unasked):
		err = serve.InvalidRequest("messages", unasked)
	}
	result := t.answer(out)
	result.PromptTokens, result.CompletionTokens = policy.read, policy.written
	result.Cut = policy.limit > 0 && policy.written >= policy.limit || out.Status == string(episode.ContextFull)
	if err == nil {
		t.Finish(out)
		err = t.failed
	}
	result.Warning = asked.Warning(out)
	return result, err
}

// conversation is what an assistant is told of one.
type conversation struct {
	system, question string
	history          []assistant.Exchange
}

// readConversation reads messages: those of the system first, then questions and answers. Searches of earlier answers,
// which clients may send back as tool calls and results, are left out.
func readConversation(messages []tokenizer.Message) (c conversation, err error) {
	var system, asked, answered []string
	for i, m := range messages {
		switch m.Role {
		case "system", "developer":
			system = append(system, m.Content)
		case "user":
			if answered != nil {
				c.history = append(c.history, assistant.Exchange{Question: strings.Join(asked, "\n\n"),
					Answer: strings.Join(answered, "\n\n")})
				asked, answered = nil, nil
			}
			asked = append(asked, m.Content)
		case "assistant":
			if m.Content != "" && asked != nil {
				answered = append(answered, assistant.WithoutMarks(m.Content))
			}
		case "tool":
		default:
			return c, serve.InvalidRequest("messages", fmt.Errorf("messages[%d] has the role %q: a search agent "+
				"knows system, user, assistant and tool", i, m.Role))
		}
	}
	if len(messages) > 0 && messages[len(messages)-1].Role != "user" {
		return c, serve.InvalidRequest("messages", errors.New("the last message is not the user's: a search agent "+
			"answers a question"))
	}
	c.system, c.question = strings.Join(system, "\n\n"), strings.Join(asked, "\n\n")
	return c, nil
}

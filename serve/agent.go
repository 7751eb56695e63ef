package serve

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// Agent answers a conversation in several turns, such as searches in documents, that the client sees but does not carry
// out. Package serve/agent makes one of an assistant. Answer is called by many goroutines at once.
type Agent interface {
	// Answer answers the last message. It calls tell with its steps, in order and on the goroutine that called it; an
	// error of tell means that the client has gone. An error of InvalidRequest is the client's fault.
	Answer(ctx context.Context, r AgentRequest, tell func(AgentStep) error) (AgentAnswer, error)
}

// AgentRequest is what an agent is asked.
type AgentRequest struct {
	Messages []tokenizer.Message // the last one is the user's
	// Temperature 0 is greedy. TopP, TopK and MinP are off at 0.
	Temperature, TopP, MinP float64
	TopK                    int
	Seed                    uint64
	MaxTokens               int             // of all turns together; 0: no limit
	Options                 json.RawMessage // the request's object zerosearch; nil: none
}

// AgentStep is a step of an answer; one of its fields is set.
type AgentStep struct {
	Method    string     // the method that begins
	Thought   string     // the next part of the thoughts
	Call      *ToolCall  // a search that begins
	Documents *Documents // its result
	Content   string     // the next part of the answer
}

// ToolCall is a call of a function, as in OpenAI's API.
type ToolCall struct {
	ID       string       `json:"id"`
	Type     string       `json:"type"` // function
	Function ToolFunction `json:"function"`
}

// ToolFunction is the function of a call. Arguments is JSON text.
type ToolFunction struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

// Documents are the result of a search.
type Documents struct {
	CallID    string     `json:"tool_call_id"`
	Documents []Document `json:"documents"`
}

// Document is a passage that a search has found.
type Document struct {
	ID      int    `json:"id"` // from 1, the same for a passage that is found again; an answer cites it as [ID]
	Title   string `json:"title"`
	Source  string `json:"source"` // the file, "" if the engine does not say it
	Number  int    `json:"number,omitempty"`
	Passage string `json:"passage"`
	Cited   bool   `json:"cited"`
}

// AgentTurn is a turn of an answer: a thought, and a search unless it is the last.
type AgentTurn struct {
	Thought   string     `json:"thought"`
	Call      *ToolCall  `json:"tool_call"`
	Documents []Document `json:"documents"`
}

// AgentAnswer says how an answer was found. Its text and thoughts are those of the steps.
type AgentAnswer struct {
	Method      string      `json:"method"` // agent, rag or direct
	Turns       []AgentTurn `json:"turns"`
	Supported   bool        `json:"supported"` // the answer stands in documents that no model made up
	Status      string      `json:"status"`
	Warning     string      `json:"warning,omitempty"`
	Unsupported []string    `json:"unsupported,omitempty"` // sentences of a longer text
	// Cut says that the answer ended because of MaxTokens or the context.
	Cut                            bool `json:"-"`
	PromptTokens, CompletionTokens int  `json:"-"`
}

// InvalidRequest is an error that is the client's fault: the answer has status 400. param is the parameter that is
// wrong.
func InvalidRequest(param string, err error) error { return bad(param, "%v", err) }

// agentParameters are those that a search agent takes besides the ones without effect.
var agentParameters = []string{"model", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p",
	"top_k", "min_p", "seed", "stream", "stream_options", "request_id", "zerosearch", "parallel_tool_calls"}

// forAgent refuses parameters that a search agent does not take, unless they have the default's effect.
func (c *call) forAgent() error {
	if c.usageInChunks {
		e := bad("stream_options.continuous_usage_stats", "stream_options.continuous_usage_stats is not supported by %s, "+
			"which is a search agent", c.model.ID)
		e.Code = "unsupported_parameter"
		return e
	}
	for _, v := range c.given {
		if slices.Contains(agentParameters, v.name) || v.name == "tool_choice" && string(v.raw) == `"none"` {
			continue
		}
		with := newQuery()
		if p := findParameter(v.name, inChat); p.read(with, v) != nil || !reflect.DeepEqual(with, newQuery()) {
			e := bad(v.name, "%s is not supported by %s, which is a search agent: use its model %s", v.name, c.model.ID,
				c.model.Parent)
			e.Code = "unsupported_parameter"
			return e
		}
	}
	return nil
}

// agentRequest is what the agent is asked. Without a temperature it is greedy, as ask is.
func (c *call) agentRequest() AgentRequest {
	r := AgentRequest{Messages: c.conversation, TopP: c.sample.TopP, MinP: c.minP, TopK: c.sample.TopK, Seed: c.seed,
		MaxTokens: int(min(c.maxAsked(), maxChoices)), Options: c.zerosearch}
	if slices.ContainsFunc(c.given, func(v value) bool { return v.name == "temperature" }) {
		r.Temperature = c.temperature
	}
	return r
}

// asAgent lets the model's agent answer a request, as one sequence.
func (s *Server) asAgent(w http.ResponseWriter, r *http.Request, c *call) error {
	f, out := &agentResponse{responseBuilder: newResponseBuilder(c)}, s.events(w)
	first := true
	answer, err := c.model.Agent.Answer(r.Context(), c.agentRequest(), func(step AgentStep) error {
		if first {
			s.metrics.first.observe(time.Since(c.began))
			first = false
		}
		if err := r.Context().Err(); err != nil {
			return err
		}
		for _, a := range f.add(step) {
			if err := out.send(a); err != nil {
				return err
			}
		}
		return out.flush()
	})
	if err != nil {
		if refused := new(apiError); !errors.As(err, &refused) {
			s.metrics.cutOff(answer.CompletionTokens)
		}
		return s.broken(r, out, err)
	}
	s.metrics.prompt.Add(int64(answer.PromptTokens))
	s.metrics.sampled.Add(int64(answer.CompletionTokens))
	f.result = answer
	if !c.stream {
		s.reply(w, http.StatusOK, f.response())
		return nil
	}
	if out.send(f.last()) == nil {
		out.end(c.usage, f.usageChunk)
	}
	return nil
}

// agentResponse makes an agent's steps the response or, when streaming, chunks.
type agentResponse struct {
	*responseBuilder
	begun            bool
	calls            int
	thought, content string
	result           AgentAnswer
}

// add takes a step and returns the stream's events for it.
func (f *agentResponse) add(step AgentStep) (out []answer) {
	f.thought += step.Thought
	f.content += step.Content
	if !f.c.stream {
		return nil
	}
	d := &delta{}
	switch {
	case step.Thought != "":
		d.Reasoning = step.Thought
	case step.Call != nil:
		index := f.calls
		f.calls++
		d.Calls = []calledTool{{Index: &index, ToolCall: *step.Call}}
	case step.Documents != nil:
		d.Zerosearch = step.Documents
	case step.Content != "":
		d.Content = &step.Content
	}
	chunk := func(d *delta) answer { return f.answer("chat.completion.chunk", []choice{{Delta: d}}) }
	if !f.begun {
		f.begun = true
		out = append(out, chunk(&delta{Role: "assistant", Content: new(string)}))
	}
	if step.Method != "" {
		a := f.answer("chat.completion.chunk", []choice{})
		a.Zerosearch = map[string]string{"method": step.Method}
		return append(out, a)
	}
	return append(out, chunk(d))
}

// finish is the reason why the answer ended. It is never tool_calls: the calls have been carried out.
func (f *agentResponse) finish() *string {
	reason := "stop"
	if f.result.Cut {
		reason = "length"
	}
	return &reason
}

// response is the complete response.
func (f *agentResponse) response() answer {
	a := f.answer("chat.completion", []choice{{Finish: f.finish(),
		Message: &message{Role: "assistant", Content: &f.content, Reasoning: f.thought}}})
	a.Zerosearch, a.Usage = f.result, f.usage()
	return a
}

// last is the chunk that ends the answer.
func (f *agentResponse) last() answer {
	a := f.answer("chat.completion.chunk", []choice{{Finish: f.finish(), Delta: &delta{}}})
	a.Zerosearch = f.result
	return a
}

func (f *agentResponse) usageChunk() answer {
	a := f.answer("chat.completion.chunk", []choice{})
	a.Usage = f.usage()
	return a
}

func (f *agentResponse) usage() *usage {
	return &usage{Prompt: f.result.PromptTokens, Completion: f.result.CompletionTokens,
		Total: f.result.PromptTokens + f.result.CompletionTokens}
}

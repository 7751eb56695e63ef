package serve

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// readLogitBias reads an object of numbers from -100 to 100 whose keys are token ids.
func readLogitBias(q *query, v value) error {
	all, ok := members(v.raw)
	if !ok {
		return v.wrong("an object of numbers")
	}
	q.logitBias = map[int32]float64{}
	for _, m := range all {
		id, err := strconv.ParseInt(m.key, 10, 32)
		if err != nil {
			return bad(v.name, "%s has the key %q: keys are token ids", v.name, m.key)
		}
		var x float64
		if err := (value{v.name, m.raw}).number(&x); err != nil || !(x >= -100 && x <= 100) {
			return bad(v.name, "%s of id %d is %s: it must be a number between -100 and 100", v.name, id,
				value{v.name, m.raw}.shown())
		}
		if _, twice := q.logitBias[int32(id)]; twice { // "7" and "07"
			return bad(v.name, "%s has id %d twice", v.name, id)
		}
		q.logitBias[int32(id)] = x
	}
	return nil
}

// readTop reads how many of the most probable tokens to return at each position.
func readTop(q *query, v value) error {
	return integerFrom(func(q *query) *int64 { return &q.top }, 0, maxTopLogprobs,
		fmt.Sprintf("it must be between 0 and %d", maxTopLogprobs))(q, v)
}

// templateParameters are names that chat_template_kwargs must not have: arguments of transformers' apply_chat_template.
// The value is the request parameter to use instead, "" if there is none.
var templateParameters = map[string]string{
	"messages": "messages", "add_generation_prompt": "add_generation_prompt",
	"continue_final_message": "continue_final_message",
	"tools":                  "tools", "documents": "", "chat_template": "", "tokenize": "", "return_dict": "",
	"return_tensors": "",
	"padding":        "",
	"truncation":     "", "max_length": ""}

// readVars reads variables of the chat template.
func readVars(q *query, v value) error {
	all, ok := members(v.raw)
	if !ok {
		return v.wrong("an object")
	}
	q.vars = map[string]any{}
	for _, m := range all {
		param := v.name + "." + m.key
		switch name, taken := templateParameters[m.key]; {
		case taken && name != "":
			return bad(param, "%s is a request parameter: give it outside %s", m.key, v.name)
		case taken:
			e := bad(param, "%s is not supported", param)
			e.Code = "unsupported_parameter"
			return e
		}
		q.vars[m.key] = m.raw
	}
	return nil
}

// readStreamOptions reads stream_options.
func readStreamOptions(q *query, v value) error {
	all, ok := members(v.raw)
	if !ok {
		return v.wrong("an object")
	}
	q.streamGiven = true
	for _, m := range all {
		x := value{v.name + "." + m.key, m.raw}
		var on bool
		if string(m.raw) != "null" {
			if err := x.bool(&on); err != nil {
				return err
			}
		}
		switch m.key {
		case "include_usage":
			q.usage = on
		case "continuous_usage_stats":
			q.usageInChunks = on
		case "include_obfuscation":
			if on {
				return (&parameter{name: x.name, noEffect: oneOf("false"), say: "false"}).unsupported()
			}
		default:
			e := bad(x.name, "unknown parameter %q", x.name)
			e.Code = "unknown_parameter"
			return e
		}
	}
	return nil
}

// check refuses parameters that contradict each other.
func (q *query) check() error {
	switch {
	case q.streamGiven && !q.stream:
		return bad("stream_options", "stream_options needs stream: true")
	case q.top > 0 && !q.logprobs:
		return bad("top_logprobs", "top_logprobs needs logprobs: true")
	case q.bestOf != 0 && q.bestOf < q.n:
		return bad("best_of", "best_of is %d and n %d: best_of must be at least n", q.bestOf, q.n)
	case q.bestOf > q.n && q.stream:
		return bad("best_of", "best_of is %d: answers can be streamed only if it is n", q.bestOf)
	case q.maxTokens != nil && q.maxCompletion != nil && *q.maxTokens != *q.maxCompletion:
		return bad("max_tokens",
			"max_tokens is %d and max_completion_tokens, its newer name, %d: send only one of them",
			*q.maxTokens, *q.maxCompletion)
	case q.maxTokens != nil && *q.maxTokens == 0 && !q.scores():
		return bad("max_tokens", "max_tokens is 0: ask for 1 at least, or for the prompt's log-probabilities with "+
			"echo or prompt_logprobs")
	case q.promptTop != nil && q.stream:
		return bad("prompt_logprobs", "prompt_logprobs needs stream: false")
	case q.continueFinal && q.generation != nil && *q.generation:
		return bad("continue_final_message", "continue_final_message continues the last message and "+
			"add_generation_prompt starts a new one: set only one of them")
	}
	return q.tools.check()
}

// scores reports whether the prompt belongs to the answer: max_tokens may be 0 then.
func (q *query) scores() bool { return q.echo || q.promptTop != nil }

// scoresOnly reports whether nothing is generated.
func (q *query) scoresOnly() bool {
	return q.maxCompletion == nil && q.maxTokens != nil && *q.maxTokens == 0
}

// maxAsked is the maximum number of tokens that the request gives; 0: none.
func (q *query) maxAsked() int64 {
	switch {
	case q.maxCompletion != nil:
		return *q.maxCompletion
	case q.maxTokens != nil:
		return *q.maxTokens
	}
	return 0
}

// readPrompts reads a string, a list of strings, a list of token ids, or a list of lists of token ids.
func (m *Model) readPrompts(param string, raw json.RawMessage) (texts []string, ids [][]int32, err error) {
	v := value{param, raw}
	if len(raw) == 0 {
		e := bad(param, "the %s is missing", param)
		e.Code = "missing_required_parameter"
		return nil, nil, e
	}
	if v.texts(&texts) == nil && len(texts) > 0 {
		if m.Tokenizer == nil {
			return nil, nil, bad(param, "model %s has no tokenizer, so it cannot read text: send token ids", m.ID)
		}
		return texts, nil, nil
	}
	if one, ok := tokenIDs(raw); ok {
		return nil, [][]int32{one}, nil
	}
	lists, ok := elements(raw)
	for _, l := range lists {
		one, isIDs := tokenIDs(l)
		ids, ok = append(ids, one), ok && isIDs
	}
	if !ok {
		return nil, nil, v.wrong("a string, a list of strings, a list of token ids or a list of such lists")
	}
	return nil, ids, nil
}

// checkIDs refuses ids outside the model's vocabulary.
func (m *Model) checkIDs(param string, ids []int32) error {
	for _, id := range ids {
		if id < 0 || int(id) >= m.Config.Vocab {
			return bad(param, "%s has id %d: the model has ids from 0 to %d", param, id, m.Config.Vocab-1)
		}
	}
	return nil
}

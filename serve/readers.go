package serve

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// readLogitBias reads an object of numbers from -100 to 100 whose keys are ids.
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

// readTop reads how many of the most likely tokens are wanted.
func readTop(q *query, v value) error {
	return whole(func(q *query) *int64 { return &q.top }, 0, maxTopLogprobs,
		fmt.Sprintf("from 0 to at most %d of the most likely tokens", maxTopLogprobs))(q, v)
}

// templateParameters are variables of a template that a request gives by other names.
var templateParameters = map[string]string{
	"messages": "messages", "add_generation_prompt": "add_generation_prompt", "continue_final_message": "continue_final_message",
	"tools": "", "documents": "", "chat_template": "", "tokenize": "", "return_dict": "", "return_tensors": "", "padding": "",
	"truncation": "", "max_length": ""}

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
			return bad(param, "%s is a parameter of its own: take it out of %s", m.key, v.name)
		case taken:
			e := bad(param, "%s is not supported", param)
			e.Code = "unsupported_parameter"
			return e
		}
		q.vars[m.key] = m.raw
	}
	return nil
}

// readStreamOptions reads what a stream adds.
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
		case "include_obfuscation", "continuous_usage_stats":
			if on {
				return (&parameter{name: x.name, nothing: oneOf("false"), say: "false"}).unsupported()
			}
		default:
			e := bad(x.name, "unknown parameter %q", x.name)
			e.Code = "unknown_parameter"
			return e
		}
	}
	return nil
}

// check refuses what contradicts itself.
func (q *query) check() error {
	switch {
	case q.streamGiven && !q.stream:
		return bad("stream_options", "stream_options needs stream: true")
	case q.top > 0 && !q.logprobs:
		return bad("top_logprobs", "top_logprobs needs logprobs: true")
	case q.bestOf != 1 && q.bestOf != q.n:
		return (&parameter{name: "best_of", nothing: anything, say: "1 or as many as n"}).unsupported()
	case q.maxTokens != nil && q.maxCompletion != nil && *q.maxTokens != *q.maxCompletion:
		return bad("max_tokens", "max_tokens is %d and max_completion_tokens, its newer name, %d: send one of them",
			*q.maxTokens, *q.maxCompletion)
	case q.continueFinal && q.generation != nil && *q.generation:
		return bad("continue_final_message", "continue_final_message goes on with the last message and "+
			"add_generation_prompt opens another: set one of them")
	}
	return nil
}

// most is the longest answer that was asked for; 0: none was.
func (q *query) most() int64 {
	switch {
	case q.maxCompletion != nil:
		return *q.maxCompletion
	case q.maxTokens != nil:
		return *q.maxTokens
	}
	return 0
}

// readPrompts reads a text, a list of texts, a list of ids, or a list of lists of ids.
func (m *Model) readPrompts(raw json.RawMessage) (texts []string, ids [][]int32, err error) {
	v := value{"prompt", raw}
	if len(raw) == 0 {
		e := bad("prompt", "the prompt is missing")
		e.Code = "missing_required_parameter"
		return nil, nil, e
	}
	if v.texts(&texts) == nil && len(texts) > 0 {
		if m.Tokenizer == nil {
			return nil, nil, bad("prompt", "model %s has no tokenizer, so text cannot be read: send ids", m.ID)
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
		return nil, nil, v.wrong("a text, a list of texts, a list of token ids or a list of such lists")
	}
	return nil, ids, nil
}

// checkIDs refuses ids that the model does not have.
func (m *Model) checkIDs(param string, ids []int32) error {
	for _, id := range ids {
		if id < 0 || int(id) >= m.Config.Vocab {
			return bad(param, "%s has id %d: the model has ids from 0 to %d", param, id, m.Config.Vocab-1)
		}
	}
	return nil
}

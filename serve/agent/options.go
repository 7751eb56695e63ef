package agent

import (
	"encoding/json"
	"fmt"

	"github.com/zerosearch-go/zerosearch/internal/jsonscan"
	"github.com/zerosearch-go/zerosearch/rl/assistant"
	"github.com/zerosearch-go/zerosearch/rl/eval"
	"github.com/zerosearch-go/zerosearch/serve"
)

// options are those of a request's object zerosearch.
type options struct {
	method eval.Method
	style  assistant.Style
	topK   int
}

// maxTopK is the largest number of documents for a query.
const maxTopK = 100

// options reads a request's object; nil stands for the assistant's own.
func (g Agent) options(raw json.RawMessage) (options, error) {
	o := options{method: g.assistant.Method, style: g.assistant.Style}
	if raw == nil {
		return o, nil
	}
	all, err := jsonscan.Members(raw)
	if err != nil {
		return o, serve.InvalidRequest("zerosearch", err)
	}
	for _, m := range all {
		param, text := "zerosearch."+m.Key, ""
		if string(m.Raw) == "null" {
			continue
		}
		switch m.Key {
		case "method":
			if err = json.Unmarshal(m.Raw, &text); err == nil {
				o.method, err = assistant.ParseMethod(text)
			}
		case "style":
			if err = json.Unmarshal(m.Raw, &text); err == nil {
				o.style, err = assistant.ParseStyle(text)
			}
		case "topk":
			if json.Unmarshal(m.Raw, &o.topK) != nil || o.topK < 1 || o.topK > maxTopK {
				err = fmt.Errorf("topk must be a number from 1 to %d, not %s", maxTopK, m.Raw)
			}
		default:
			err = fmt.Errorf("unknown parameter %q: zerosearch has method, style and topk", param)
		}
		if err != nil {
			return o, serve.InvalidRequest(param, err)
		}
	}
	return o, nil
}

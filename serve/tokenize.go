package serve

import (
	"net/http"
	"strings"

	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// tokenized is the response of /tokenize, as in vLLM.
type tokenized struct {
	Count   int      `json:"count"`
	Context int      `json:"max_model_len"`
	Tokens  []int32  `json:"tokens"`
	Strings []string `json:"token_strs"` // null: not asked for
}

// tokenize gives the token ids of a text or a conversation. They are those that a completion or chat begins with.
func (s *Server) tokenize(w http.ResponseWriter, r *http.Request) (any, error) {
	q, m, err := s.request(w, r, inTokenize)
	if err != nil {
		return nil, err
	}
	if m.Tokenizer == nil {
		return nil, bad("model", "model %s has no tokenizer", m.ID)
	}
	out := tokenized{Context: m.context}
	switch {
	case q.messages != nil && q.prompt != nil:
		return nil, bad("messages", "prompt and messages are both given: send only one of them")
	case q.messages != nil:
		messages, err := readMessages(q.messages, m.Template)
		if err != nil {
			return nil, err
		}
		c := &call{query: q, model: m}
		if err := c.needFormat(); err != nil {
			return nil, err
		}
		if out.Tokens, err = c.encode(messages); err != nil {
			return nil, err
		}
	case len(q.tools.list) > 0:
		return nil, bad("tools", "tools needs messages")
	case q.prompt != nil:
		var text string
		if err := (value{"prompt", q.prompt}).text(&text); err != nil {
			return nil, err
		}
		out.Tokens = m.Tokenizer.Encode(text, tokenizer.EncodeOptions{AddSpecial: !q.noSpecial, ParseSpecial: true})
	default:
		e := bad("prompt", "prompt or messages is missing")
		e.Code = "missing_required_parameter"
		return nil, e
	}
	if out.Count = len(out.Tokens); q.tokenStrs {
		out.Strings = []string{}
		for _, id := range out.Tokens {
			token, _ := m.Tokenizer.Token(id)
			out.Strings = append(out.Strings, token)
		}
	}
	return out, nil
}

// detokenize gives the text of token ids.
func (s *Server) detokenize(w http.ResponseWriter, r *http.Request) (any, error) {
	q, m, err := s.request(w, r, inDetokenize)
	if err != nil {
		return nil, err
	}
	switch {
	case m.Tokenizer == nil:
		return nil, bad("model", "model %s has no tokenizer", m.ID)
	case q.prompt == nil:
		e := bad("tokens", "tokens is missing")
		e.Code = "missing_required_parameter"
		return nil, e
	}
	if err := m.checkIDs("tokens", q.tokens); err != nil {
		return nil, err
	}
	return map[string]string{"prompt": m.Tokenizer.Decode(q.tokens, false)}, nil
}

// tokenizerInfo has of tokenizer_config.json what a client needs to write prompts: special tokens and chat template,
// the first model's.
func (s *Server) tokenizerInfo(http.ResponseWriter, *http.Request) (any, error) {
	m := s.models[0]
	if m.Tokenizer == nil {
		return nil, &apiError{Status: http.StatusNotFound, Type: "invalid_request_error", Param: "model",
			Message: "model " + m.ID + " has no tokenizer"}
	}
	info := map[string]any{"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": m.context}
	for name, token := range m.Tokenizer.Named() {
		if strings.HasSuffix(name, "_token") {
			info[name] = token
		}
	}
	if m.Template != nil {
		info["chat_template"] = m.Template.Source()
	}
	return info, nil
}

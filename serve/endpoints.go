package serve

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"net/http"
)

// The endpoints beside those that generate. Their parameters are those of OpenAI's API and of vLLM's server.
const (
	inTokenize endpoint = 4 << iota
	inDetokenize
	inEmbeddings
)

// otherParameters is the table of the endpoints that do not generate. A test writes it into docs/serve.md.
var otherParameters = []parameter{
	{name: "model", in: inTokenize | inDetokenize | inEmbeddings,
		say:  "one of the names of /v1/models; the first by default",
		read: func(q *query, v value) error { return v.text(&q.model) }},
	{name: "prompt", in: inTokenize, say: "a text",
		read: func(q *query, v value) error { q.prompt = v.raw; return nil }},
	{name: "messages", in: inTokenize, say: "a conversation instead, through the model's chat template",
		read: func(q *query, v value) error { q.messages = v.raw; return nil }},
	{name: "add_generation_prompt", in: inTokenize, say: "with `messages`, as on /v1/chat/completions",
		read: func(q *query, v value) error { q.generation = new(bool); return v.bool(q.generation) }},
	{name: "continue_final_message", in: inTokenize, say: "with `messages`, as on /v1/chat/completions",
		read: boolean(func(q *query) *bool { return &q.continueFinal })},
	{name: "chat_template_kwargs", in: inTokenize, say: "with `messages`, as on /v1/chat/completions", read: readVars},
	{name: "tools", in: inTokenize, say: "with `messages`: functions that the model may call", read: readTools},
	{name: "add_special_tokens", in: inTokenize | inEmbeddings,
		say:  "the tokenizer adds its special tokens to a text, such as BOS; true by default",
		read: inverse(func(q *query) *bool { return &q.noSpecial })},
	{name: "return_token_strs", in: inTokenize, say: "the response also has the tokens as they stand in the vocabulary",
		read: boolean(func(q *query) *bool { return &q.tokenStrs })},
	{name: "tokens", in: inDetokenize, say: "a list of token ids; special tokens become text too",
		read: func(q *query, v value) error { q.prompt = v.raw; return v.ids(&q.tokens) }},
	{name: "input", in: inEmbeddings,
		say:  "a string, a list of strings, a list of token ids or a list of such lists; up to 2048",
		read: func(q *query, v value) error { q.prompt = v.raw; return nil }},
	{name: "encoding_format", in: inEmbeddings, say: "`float`, or `base64`: numbers of 4 bytes, little-endian",
		read: func(q *query, v value) error {
			format, ok := unquote(v.raw)
			if q.base64 = format == "base64"; !ok || !q.base64 && format != "float" {
				return v.wrong("float or base64")
			}
			return nil
		}},
	{name: "dimensions", in: inEmbeddings,
		say: "the first numbers of each vector, brought to length 1 again: for models trained for it, such as " +
			"Qwen3-Embedding",
		read: integerFrom(func(q *query) *int64 { return &q.dimensions }, 1, math.MaxInt32, "ask for 1 at least")},
	{name: "normalize", in: inEmbeddings, say: "vectors have length 1; true by default",
		read: inverse(func(q *query) *bool { return &q.raw })},
	{name: "use_activation", in: inEmbeddings, say: "vLLM's newer name of `normalize`",
		read: inverse(func(q *query) *bool { return &q.raw })},
	{name: "truncate_prompt_tokens", in: inEmbeddings,
		say: "cut an input to this number of tokens (-1: to the context); without it a longer one is refused",
		read: func(q *query, v value) error {
			const say = "it must be positive, or -1"
			err := integerFrom(func(q *query) *int64 { return &q.truncate }, -1, math.MaxInt32, say)(q, v)
			if err == nil && q.truncate == 0 {
				return bad(v.name, "%s is 0: %s", v.name, say)
			}
			return err
		}},
	{name: "request_id", in: inEmbeddings, say: "becomes the end of the response's `id`",
		read: func(q *query, v value) error { return v.text(&q.requestID) }},

	{name: "user", in: inEmbeddings, noEffect: anything, say: "any"},
	{name: "media_io_kwargs", in: inTokenize, noEffect: empty, say: "an empty object"},
	{name: "mm_processor_kwargs", in: inTokenize | inEmbeddings, noEffect: empty, say: "an empty object"},
	{name: "truncation_side", in: inEmbeddings, noEffect: oneOf(`"right"`), say: "right"},
	{name: "padding", in: inEmbeddings, noEffect: oneOf(`"do_not_pad"`), say: "do_not_pad"},
	{name: "embed_dtype", in: inEmbeddings, noEffect: oneOf(`"float32"`), say: "float32"},
	{name: "endianness", in: inEmbeddings, noEffect: oneOf(`"native"`, `"little"`), say: "native, little"},
	{name: "priority", in: inEmbeddings, noEffect: oneOf("0"), say: "0"},
	{name: "chat_template", in: inTokenize, say: "use the server's --chat-template"},
	{name: "messages", in: inEmbeddings, say: "use input"},
	{name: "cache_salt", in: inEmbeddings},
}

// table is the list of the parameters of an endpoint.
func (e endpoint) table() []parameter {
	if e&inBoth != 0 {
		return parameters
	}
	return otherParameters
}

// request reads a request of an endpoint that does not generate, and finds its model.
func (s *Server) request(w http.ResponseWriter, r *http.Request, in endpoint) (*query, *Model, error) {
	body, err := s.body(w, r)
	if err != nil {
		return nil, nil, err
	}
	q, err := parse(body, in)
	if err != nil {
		return nil, nil, err
	}
	m, err := s.model(q.model)
	return q, m, err
}

// answered makes a handler that sends f's result, or its error.
func (s *Server) answered(f func(w http.ResponseWriter, r *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := f(w, r)
		if err != nil {
			s.fail(w, err)
			return
		}
		s.reply(w, http.StatusOK, v)
	}
}

// version says which program this is.
func (s *Server) version(http.ResponseWriter, *http.Request) (any, error) {
	return map[string]string{"version": s.o.Version}, nil
}

// vector is written as a list of numbers, or as their bytes in base64.
type vector struct {
	numbers []float32
	base64  bool
}

// MarshalJSON writes the vector.
func (v vector) MarshalJSON() ([]byte, error) {
	if !v.base64 {
		return json.Marshal(v.numbers)
	}
	b := make([]byte, 0, 4*len(v.numbers))
	for _, x := range v.numbers {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return json.Marshal(base64.StdEncoding.EncodeToString(b))
}

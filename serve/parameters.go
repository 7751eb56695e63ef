package serve

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
)

// query holds the parameters of a request, with defaults for those that are not given.
type query struct {
	model    string
	messages json.RawMessage // chat
	prompt   json.RawMessage // completions

	maxTokens, maxCompletion   *int64 // nil: not given
	minTokens, n, bestOf, topK int64  // bestOf 0: as many as n
	temperature, topP, minP    float64
	seed                       *int64
	stop                       []string
	stopIDs                    []int32
	includeStop, keepSpecial   bool
	ignoreEOS                  bool

	logitBias                       map[int32]float64
	repetition, frequency, presence float64

	logprobs    bool
	top         int64
	echo        bool
	promptTop   *int64 // prompt_logprobs; nil: not asked for
	returnIDs   bool
	asIDs       bool // tokens are shown as their ids
	stream      bool
	usage       bool
	streamGiven bool // stream_options is given

	usageInChunks bool // with usage: also in every chunk

	generation    *bool // nil: not given
	continueFinal bool
	vars          map[string]any
	noSpecial     bool // the tokenizer does not add its special tokens
	requestID     string
	zerosearch    json.RawMessage // for a search agent; nil: not given

	tools       tools
	restriction restriction

	given []value // supported parameters that the request has

	// of the endpoints that do not generate
	tokenStrs, base64    bool
	raw                  bool // vectors keep their length
	tokens               []int32
	dimensions, truncate int64 // 0: not given
}

func newQuery() *query {
	return &query{n: 1, temperature: 1, topP: 1, repetition: 1}
}

// endpoint is a set of endpoints.
type endpoint uint8

const (
	inChat endpoint = 1 << iota
	inText
	inBoth = inChat | inText
)

func (e endpoint) path() string {
	switch e {
	case inChat:
		return "/v1/chat/completions"
	case inTokenize:
		return "/tokenize"
	case inDetokenize:
		return "/detokenize"
	case inEmbeddings:
		return "/v1/embeddings"
	}
	return "/v1/completions"
}

// parameter is a row of the table of all parameters: those of OpenAI's API and those that vLLM's server adds.
//
// A parameter with read is supported. One without is accepted only with values that have no effect; any other value is
// an error. Null is always the same as not given.
type parameter struct {
	name     string
	in       endpoint
	read     func(q *query, v value) error
	noEffect func(raw json.RawMessage) bool // reports whether the value may be ignored; nil: no value may
	// supported: what it does; not supported: the accepted values, or what to use instead
	say string
}

// The functions for noEffect follow.
func anything(json.RawMessage) bool { return true }

func oneOf(values ...string) func(json.RawMessage) bool {
	return func(raw json.RawMessage) bool {
		if x, ok := integer(raw); ok {
			raw = json.RawMessage(fmt.Sprint(x))
		}
		return slices.Contains(values, string(raw))
	}
}

func empty(raw json.RawMessage) bool {
	if all, ok := members(raw); ok {
		return len(all) == 0
	}
	all, ok := elements(raw)
	return ok && len(all) == 0 || string(raw) == `""`
}

// number reads a number that ok accepts; say completes "it must".
func number(to func(q *query) *float64, ok func(x float64) bool, say string) func(*query, value) error {
	return func(q *query, v value) error {
		x := to(q)
		if err := v.number(x); err != nil {
			return err
		}
		if !ok(*x) {
			return bad(v.name, "%s is %s: it must %s", v.name, v.shown(), say)
		}
		return nil
	}
}

// integerFrom reads an integer from least to most; say is the error otherwise.
func integerFrom(to func(q *query) *int64, least, most int64, say string) func(*query, value) error {
	return func(q *query, v value) error {
		n := to(q)
		if err := v.int(n); err != nil {
			return err
		}
		if *n < least || *n > most {
			return bad(v.name, "%s is %d: %s", v.name, *n, say)
		}
		return nil
	}
}

func boolean(to func(q *query) *bool) func(*query, value) error {
	return func(q *query, v value) error { return v.bool(to(q)) }
}

// inverse reads a flag whose default is true.
func inverse(to func(q *query) *bool) func(*query, value) error {
	return func(q *query, v value) error {
		b := to(q)
		err := v.bool(b)
		*b = !*b
		return err
	}
}

func between(least, most float64) func(float64) bool {
	return func(x float64) bool { return x >= least && x <= most }
}

// parameters is the table. A test writes it into docs/serve.md.
var parameters = []parameter{
	{name: "model", in: inBoth, say: "one of the names of /v1/models; the first by default",
		read: func(q *query, v value) error { return v.text(&q.model) }},
	{name: "messages", in: inChat, say: "the conversation",
		read: func(q *query, v value) error { q.messages = v.raw; return nil }},
	{name: "prompt", in: inText, say: "a string, a list of strings, a list of token ids or a list of such lists",
		read: func(q *query, v value) error { q.prompt = v.raw; return nil }},

	// Length and end.
	{name: "max_completion_tokens", in: inChat,
		say: "the maximum number of tokens of the answer; by default the rest of the context",
		read: func(q *query, v value) error {
			q.maxCompletion = new(int64)
			return integerFrom(func(q *query) *int64 { return q.maxCompletion }, 1, math.MaxInt64,
				"ask for 1 at least")(q, v)
		}},
	{name: "max_tokens", in: inBoth,
		say: "the older name of `max_completion_tokens`; on /v1/completions 16 by default, as in OpenAI's API; 0 with " +
			"`echo` or `prompt_logprobs`",
		read: func(q *query, v value) error {
			q.maxTokens = new(int64)
			return integerFrom(func(q *query) *int64 { return q.maxTokens }, 0, math.MaxInt64, "ask for 1 at least")(q,
				v)
		}},
	{name: "min_tokens", in: inBoth,
		say: "the minimum number of tokens: before it no end-of-sequence token, stop token or stop string ends the " +
			"answer",
		read: integerFrom(func(q *query) *int64 { return &q.minTokens }, 0, math.MaxInt64, "it must not be negative")},
	{name: "stop", in: inBoth,
		say: fmt.Sprintf("a string or up to %d strings: the answer ends before the first that is generated", maxStops),
		read: func(q *query, v value) error {
			if err := v.texts(&q.stop); err != nil {
				return err
			}
			switch {
			case len(q.stop) > maxStops:
				return bad(v.name, "there are %d stop strings: send at most %d", len(q.stop), maxStops)
			case slices.Contains(q.stop, ""):
				return bad(v.name, "a stop string is empty")
			}
			return nil
		}},
	{name: "stop_token_ids", in: inBoth, say: "token ids that end the answer, like an end-of-sequence token",
		read: func(q *query, v value) error { return v.ids(&q.stopIDs) }},
	{name: "ignore_eos", in: inBoth, say: "the model's end-of-sequence tokens do not end the answer",
		read: boolean(func(q *query) *bool { return &q.ignoreEOS })},
	{name: "include_stop_str_in_output", in: inBoth,
		say:  "the answer's text includes the stop string or token that ended it",
		read: boolean(func(q *query) *bool { return &q.includeStop })},
	{name: "skip_special_tokens", in: inBoth, say: "leave special tokens out of the text; true by default",
		read: inverse(func(q *query) *bool { return &q.keepSpecial })},
	{name: "n", in: inBoth, say: "number of answers to each prompt; each counts as a sequence",
		read: integerFrom(func(q *query) *int64 { return &q.n }, 1, math.MaxInt64, "it must be at least 1")},
	{name: "best_of", in: inBoth,
		say: "answers to generate for each prompt; the `n` with the highest log-probability a token are returned; " +
			"not with `stream` if it is more than `n`",
		read: integerFrom(func(q *query) *int64 { return &q.bestOf }, 1, math.MaxInt64, "it must be at least 1")},

	// Sampling.
	{name: "temperature", in: inBoth, say: "0 is greedy; 1 by default",
		read: number(func(q *query) *float64 { return &q.temperature },
			func(x float64) bool { return x == 0 || x >= 1e-6 && x <= 100 },
			"be 0 (greedy) or lie between 1e-6 and 100")},
	{name: "top_p", in: inBoth,
		say: "nucleus sampling: the smallest set of most probable tokens whose probabilities sum to at least " +
			"`top_p`; 1: all",
		read: number(func(q *query) *float64 { return &q.topP },
			func(x float64) bool { return x > 0 && x <= 1 }, "be above 0 and at most 1")},
	{name: "top_k", in: inBoth, say: "number of most probable tokens to sample from; 0 or -1: all",
		read: integerFrom(func(q *query) *int64 { return &q.topK }, -1, math.MaxInt32,
			"it must be positive, or 0 or -1 to switch it off")},
	{name: "min_p", in: inBoth, say: "only tokens with at least `min_p` times the largest probability; 0: all",
		read: number(func(q *query) *float64 { return &q.minP }, between(0, 1), "lie between 0 and 1")},
	{name: "seed", in: inBoth, say: "the same request with the same seed has the same answer; random by default",
		read: func(q *query, v value) error {
			q.seed = new(int64)
			return v.int(q.seed)
		}},
	{name: "logit_bias", in: inBoth,
		say:  "an object from token ids (as strings) to numbers from -100 to 100, which are added to their logits",
		read: readLogitBias},
	{name: "presence_penalty", in: inBoth,
		say:  "from -2 to 2: subtracted once from the logit of every token in the answer so far",
		read: number(func(q *query) *float64 { return &q.presence }, between(-2, 2), "lie between -2 and 2")},
	{name: "frequency_penalty", in: inBoth,
		say:  "from -2 to 2: subtracted from a token's logit for each time that it is in the answer so far",
		read: number(func(q *query) *float64 { return &q.frequency }, between(-2, 2), "lie between -2 and 2")},
	{name: "repetition_penalty", in: inBoth,
		say: "divides positive logits of tokens that are in the prompt or the answer, and multiplies negative ones; " +
			"1: off",
		read: number(func(q *query) *float64 { return &q.repetition }, between(1e-6, 1e6),
			"lie between 1e-6 and 1e6; 1 is off")},

	{name: "allowed_token_ids", in: inBoth, say: "only these tokens may be generated", read: readAllowed},
	{name: "bad_words", in: inBoth,
		say:  "words that must not be generated: the last token of a word is not allowed where it would complete it",
		read: readBadWords},

	// The form of the answer.
	{name: "response_format", in: inBoth,
		say:  "`text`, `json_object`, or `json_schema` with a JSON Schema: see [JSON](#json)",
		read: readResponseFormat},
	{name: "structured_outputs", in: inBoth, say: "vLLM's: `{\"json\": SCHEMA}`, `json_object` or `choice`",
		read: readStructured},
	{name: "guided_json", in: inBoth, say: "an older name of `structured_outputs` with `json`",
		read: func(q *query, v value) error { return q.readSchema(v.name, v) }},
	{name: "guided_choice", in: inBoth, say: "an older name of `structured_outputs` with `choice`",
		read: func(q *query, v value) error { return q.readChoice(v.name, v) }},

	// The prompt.
	{name: "add_generation_prompt", in: inChat,
		say: "end the prompt with the start of an assistant message; true by default",
		read: func(q *query, v value) error {
			q.generation = new(bool)
			return v.bool(q.generation)
		}},
	{name: "continue_final_message", in: inChat,
		say:  "the answer continues the last message, which the template does not close",
		read: boolean(func(q *query) *bool { return &q.continueFinal })},
	{name: "chat_template_kwargs", in: inChat, say: "variables of the chat template, such as enable_thinking",
		read: readVars},
	{name: "add_special_tokens", in: inText,
		say:  "the tokenizer adds its special tokens to the prompt, such as BOS; true by default",
		read: inverse(func(q *query) *bool { return &q.noSpecial })},

	{name: "tools", in: inChat, say: "functions that the model may call", read: readTools},
	{name: "tool_choice", in: inChat,
		say:  "auto (the default), none, required, or `{\"type\": \"function\", \"function\": {\"name\": NAME}}`",
		read: readToolChoice},
	{name: "parallel_tool_calls", in: inChat, say: "false: at most one call; true by default",
		read: inverse(func(q *query) *bool { return &q.tools.single })},

	// The answer.
	{name: "stream", in: inBoth, say: "server-sent events", read: boolean(func(q *query) *bool { return &q.stream })},
	{name: "stream_options", in: inBoth, say: "`include_usage`: the last event has the numbers of tokens; " +
		"with `continuous_usage_stats` also every other event those of its choice so far",
		read: readStreamOptions},
	{name: "logprobs", in: inChat, say: "the log-probability of every token of the answer",
		read: boolean(func(q *query) *bool { return &q.logprobs })},
	{name: "top_logprobs", in: inChat,
		say:  fmt.Sprintf("with `logprobs`: also the most probable tokens at each position, up to %d", maxTopLogprobs),
		read: readTop},
	{name: "logprobs", in: inText,
		say: fmt.Sprintf("log-probabilities, and the most probable tokens at each position, up to %d", maxTopLogprobs),
		read: func(q *query, v value) error {
			q.logprobs = true
			return readTop(q, v)
		}},
	{name: "echo", in: inText, say: "the answer begins with the prompt, in the text and in `logprobs`",
		read: boolean(func(q *query) *bool { return &q.echo })},
	{name: "prompt_logprobs", in: inBoth,
		say: fmt.Sprintf("also the log-probability and rank of each token of the prompt, and the most probable tokens "+
			"in its place, up to %d; not with `stream`", maxTopLogprobs),
		read: func(q *query, v value) error {
			q.promptTop = new(int64)
			return integerFrom(func(q *query) *int64 { return q.promptTop }, 0, maxTopLogprobs,
				fmt.Sprintf("it must be between 0 and %d", maxTopLogprobs))(q, v)
		}},
	{name: "return_token_ids", in: inBoth, say: "the response also has the token ids of the prompt and the answer",
		read: boolean(func(q *query) *bool { return &q.returnIDs })},
	{name: "return_tokens_as_token_ids", in: inBoth, say: "in `logprobs` the text of a token is `token_id:ID`",
		read: boolean(func(q *query) *bool { return &q.asIDs })},
	{name: "request_id", in: inBoth, say: "becomes the end of the response's `id`",
		read: func(q *query, v value) error { return v.text(&q.requestID) }},
	{name: "zerosearch", in: inChat, say: "for a search agent: an object of `method`, `style` and `topk`, as of `ask`",
		read: func(q *query, v value) error {
			if _, ok := members(v.raw); !ok {
				return v.wrong("an object")
			}
			q.zerosearch = v.raw
			return nil
		}},

	// These have no effect on this server.
	{name: "user", in: inBoth, noEffect: anything, say: "any"},
	{name: "safety_identifier", in: inChat, noEffect: anything, say: "any"},
	{name: "metadata", in: inChat, noEffect: anything, say: "any"},
	{name: "session_id", in: inBoth, noEffect: anything, say: "any"},
	{name: "prompt_cache_key", in: inChat, noEffect: anything, say: "any"},
	{name: "prompt_cache_retention", in: inChat, noEffect: anything, say: "any"},
	{name: "truncation_side", in: inBoth, noEffect: anything, say: "any"},
	{name: "service_tier", in: inChat, noEffect: oneOf(`"auto"`, `"default"`), say: "auto, default"},

	// OpenAI's parameters that are not supported.
	{name: "functions", in: inChat, noEffect: empty, say: "an empty list"},
	{name: "function_call", in: inChat, noEffect: oneOf(`"none"`, `"auto"`), say: "none, auto"},
	{name: "reasoning_effort", in: inChat, say: "use chat_template_kwargs"},
	{name: "verbosity", in: inChat, noEffect: oneOf(`"medium"`), say: "medium"},
	{name: "modalities", in: inChat, noEffect: func(raw json.RawMessage) bool {
		all, ok := elements(raw)
		return ok && len(all) == 1 && string(all[0]) == `"text"`
	}, say: "`[\"text\"]`"},
	{name: "audio", in: inChat},
	{name: "prediction", in: inChat},
	{name: "web_search_options", in: inChat},
	{name: "moderation", in: inChat},
	{name: "prompt_cache_options", in: inChat},
	{name: "store", in: inChat, noEffect: oneOf("false"), say: "false"},
	{name: "echo", in: inChat, noEffect: oneOf("false"), say: "false"},
	{name: "suffix", in: inText, noEffect: empty, say: "an empty string"},

	// vLLM's parameters that are not supported.
	{name: "use_beam_search", in: inBoth, noEffect: oneOf("false"), say: "false"},
	{name: "length_penalty", in: inBoth, noEffect: oneOf("1"), say: "1"},
	{name: "early_stopping", in: inBoth, noEffect: oneOf("false"), say: "false"},
	{name: "watermarking", in: inBoth, noEffect: oneOf("false"), say: "false"},
	{name: "spaces_between_special_tokens", in: inBoth, noEffect: oneOf("true"), say: "true"},
	{name: "truncate_prompt_tokens", in: inBoth},
	{name: "logits_processors", in: inBoth, noEffect: empty, say: "an empty list"},
	{name: "logprob_token_ids", in: inBoth},
	{name: "prompt_embeds", in: inText},
	{name: "add_special_tokens", in: inChat, noEffect: oneOf("false"), say: "false"},
	{name: "documents", in: inChat, noEffect: empty, say: "an empty list"},
	{name: "chat_template", in: inChat, say: "use the server's --chat-template"},
	{name: "media_io_kwargs", in: inChat, noEffect: empty, say: "an empty object"},
	{name: "mm_processor_kwargs", in: inChat, noEffect: empty, say: "an empty object"},
	{name: "guided_regex", in: inBoth},
	{name: "guided_grammar", in: inBoth},
	{name: "guided_decoding_backend", in: inBoth},
	{name: "guided_whitespace_pattern", in: inBoth},
	{name: "structural_tag", in: inBoth},
	{name: "priority", in: inBoth, noEffect: oneOf("0"), say: "0"},
	{name: "include_reasoning", in: inChat, noEffect: oneOf("true"), say: "true"},
	{name: "thinking_token_budget", in: inBoth, noEffect: oneOf("-1"), say: "-1"},
	{name: "return_prompt_text", in: inChat, noEffect: oneOf("false"), say: "false"},
	{name: "return_token_offsets", in: inBoth, noEffect: oneOf("false"), say: "false"},
	{name: "return_mm_kwargs", in: inBoth, noEffect: oneOf("true", "false"), say: "true or false"},
	{name: "routed_experts_prompt_start", in: inBoth, noEffect: oneOf("0"), say: "0"},
	{name: "cache_salt", in: inBoth},
	{name: "kv_transfer_params", in: inBoth, noEffect: empty, say: "an empty object"},
	{name: "ec_transfer_params", in: inBoth, noEffect: empty, say: "an empty object"},
	{name: "vllm_xargs", in: inBoth, noEffect: empty, say: "an empty object"},
	{name: "repetition_detection", in: inBoth},
	{name: "stream_interval", in: inBoth, noEffect: oneOf("1"), say: "1"},
}

// IsParameter reports whether name is a supported parameter of any endpoint.
func IsParameter(name string) bool {
	return slices.ContainsFunc(parameters, func(p parameter) bool { return p.name == name && p.read != nil })
}

// findParameter is the row of a name for an endpoint; nil if there is none.
func findParameter(name string, in endpoint) *parameter {
	list := in.table()
	i := slices.IndexFunc(list, func(p parameter) bool { return p.name == name && p.in&in != 0 })
	if i < 0 {
		return nil
	}
	return &list[i]
}

// parse reads and checks the body of a request to an endpoint.
func parse(body []byte, in endpoint) (*query, error) {
	all, err := document(body)
	if err != nil {
		return nil, err
	}
	q := newQuery()
	for _, m := range all {
		p := findParameter(m.key, in)
		switch {
		case p == nil:
			return nil, unknown(m.key, in)
		case string(m.raw) == "null":
		case p.read != nil:
			q.given = append(q.given, value{m.key, m.raw})
			err = p.read(q, value{m.key, m.raw})
		case p.noEffect == nil || !p.noEffect(m.raw):
			err = p.unsupported()
		}
		if err != nil {
			return nil, err
		}
	}
	return q, q.check()
}

// unsupported is the error of a parameter that is not supported.
func (p *parameter) unsupported() *apiError {
	e := bad(p.name, "%s is not supported", p.name)
	switch e.Code = "unsupported_parameter"; {
	case p.noEffect != nil:
		e.Message += ", except as " + strings.ReplaceAll(p.say, "`", "")
	case p.say != "":
		e.Message += ": " + p.say
	}
	return e
}

// unknown is the error of a name that is not in the table, or only for the other endpoint.
func unknown(name string, in endpoint) *apiError {
	e := bad(name, "unknown parameter %q", name)
	e.Code = "unknown_parameter"
	if p := findParameter(name, inBoth&^in); p != nil && in&inBoth != 0 {
		e.Message = fmt.Sprintf("%s is a parameter of %s, not of %s", name, (inBoth &^ in).path(), in.path())
	} else if near := nearest(name, in); near != "" {
		e.Message += fmt.Sprintf(": did you mean %s?", near)
	}
	return e
}

package serve

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
)

// query is what a request asks for, with the defaults of what it does not say.
type query struct {
	model    string
	messages json.RawMessage // chat
	prompt   json.RawMessage // completions

	maxTokens, maxCompletion   *int64 // nil: not given
	minTokens, n, bestOf, topK int64
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
	returnIDs   bool
	stream      bool
	usage       bool
	streamGiven bool // stream_options

	generation    *bool // nil: not given
	continueFinal bool
	vars          map[string]any
	noSpecial     bool // text without the special tokens that the tokenizer adds
	requestID     string
}

func newQuery() *query {
	return &query{n: 1, bestOf: 1, temperature: 1, topP: 1, repetition: 1}
}

// endpoint is a set of endpoints.
type endpoint uint8

const (
	inChat endpoint = 1 << iota
	inText
	inBoth = inChat | inText
)

func (e endpoint) path() string {
	if e == inChat {
		return "/v1/chat/completions"
	}
	return "/v1/completions"
}

// parameter is a row of the table of all parameters: those of OpenAI's API and those that vLLM's server adds.
//
// A parameter with read is done. Another one is taken with the values that ask for nothing, and refused by name with
// any other. Null is always the same as not given.
type parameter struct {
	name    string
	in      endpoint
	read    func(q *query, v value) error
	nothing func(raw json.RawMessage) bool // nil: every value asks for something
	say     string                         // of a done one: what it does; of another: the values that are taken
}

// What asks for nothing.
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

// only are the members of an object that do nothing: all of these names with these values.
func only(nothing map[string]string) func(json.RawMessage) bool {
	return func(raw json.RawMessage) bool {
		all, ok := members(raw)
		return ok && !slices.ContainsFunc(all, func(m member) bool { return string(m.raw) != nothing[m.key] })
	}
}

// within reads a number that ok accepts.
func within(to func(q *query) *float64, ok func(x float64) bool, say string) func(*query, value) error {
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

// whole reads an integer from least to most.
func whole(to func(q *query) *int64, least, most int64, say string) func(*query, value) error {
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

// parameters is the table. docs/serve.md holds it, made by a test.
var parameters = []parameter{
	{name: "model", in: inBoth, say: "one of the names of /v1/models; the first by default",
		read: func(q *query, v value) error { return v.text(&q.model) }},
	{name: "messages", in: inChat, say: "the conversation",
		read: func(q *query, v value) error { q.messages = v.raw; return nil }},
	{name: "prompt", in: inText, say: "a text, a list of texts, a list of token ids or a list of such lists",
		read: func(q *query, v value) error { q.prompt = v.raw; return nil }},

	// Length and end.
	{name: "max_completion_tokens", in: inChat, say: "the longest answer; the rest of the context by default",
		read: func(q *query, v value) error {
			q.maxCompletion = new(int64)
			return whole(func(q *query) *int64 { return q.maxCompletion }, 1, math.MaxInt64, "ask for 1 at least")(q, v)
		}},
	{name: "max_tokens", in: inBoth, say: "the same under its older name; 16 by default on /v1/completions, as OpenAI's",
		read: func(q *query, v value) error {
			q.maxTokens = new(int64)
			return whole(func(q *query) *int64 { return q.maxTokens }, 1, math.MaxInt64, "ask for 1 at least")(q, v)
		}},
	{name: "min_tokens", in: inBoth, say: "before so many tokens no end-of-sequence id, no stop id and no stop text ends the answer",
		read: whole(func(q *query) *int64 { return &q.minTokens }, 0, math.MaxInt64, "it must not be negative")},
	{name: "stop", in: inBoth, say: fmt.Sprintf("a text or up to %d texts that end the answer before them", maxStops),
		read: func(q *query, v value) error {
			if err := v.texts(&q.stop); err != nil {
				return err
			}
			switch {
			case len(q.stop) > maxStops:
				return bad(v.name, "there are %d stop texts: send %d at most", len(q.stop), maxStops)
			case slices.Contains(q.stop, ""):
				return bad(v.name, "a stop text is empty")
			}
			return nil
		}},
	{name: "stop_token_ids", in: inBoth, say: "ids that end the answer, as an end-of-sequence id does",
		read: func(q *query, v value) error { return v.ids(&q.stopIDs) }},
	{name: "ignore_eos", in: inBoth, say: "the model's end-of-sequence ids do not end the answer",
		read: boolean(func(q *query) *bool { return &q.ignoreEOS })},
	{name: "include_stop_str_in_output", in: inBoth, say: "what ended the answer, a text or an id, belongs to its text",
		read: boolean(func(q *query) *bool { return &q.includeStop })},
	{name: "skip_special_tokens", in: inBoth, say: "special tokens leave no text; true by default",
		read: inverse(func(q *query) *bool { return &q.keepSpecial })},
	{name: "n", in: inBoth, say: "answers to each prompt; each counts as a sequence",
		read: whole(func(q *query) *int64 { return &q.n }, 1, math.MaxInt64, "it must be at least 1")},
	{name: "best_of", in: inBoth, say: "1, or as many as `n`: more is not supported",
		read: whole(func(q *query) *int64 { return &q.bestOf }, 1, math.MaxInt64, "it must be at least 1")},

	// Sampling.
	{name: "temperature", in: inBoth, say: "0 is greedy; 1 by default",
		read: within(func(q *query) *float64 { return &q.temperature },
			func(x float64) bool { return x == 0 || x >= 1e-6 && x <= 100 }, "be 0 (greedy) or lie between 1e-6 and 100")},
	{name: "top_p", in: inBoth, say: "the most probable tokens that have so much probability together; 1: all",
		read: within(func(q *query) *float64 { return &q.topP },
			func(x float64) bool { return x > 0 && x <= 1 }, "be above 0 and at most 1")},
	{name: "top_k", in: inBoth, say: "so many of the most probable tokens; 0 or -1: all",
		read: whole(func(q *query) *int64 { return &q.topK }, -1, math.MaxInt32,
			"it must be positive, or 0 or -1 to switch it off")},
	{name: "min_p", in: inBoth, say: "tokens with at least so large a share of the largest probability; 0: all",
		read: within(func(q *query) *float64 { return &q.minP }, between(0, 1), "lie between 0 and 1")},
	{name: "seed", in: inBoth, say: "the same request with the same seed has the same answer; random by default",
		read: func(q *query, v value) error {
			q.seed = new(int64)
			return v.int(q.seed)
		}},
	{name: "logit_bias", in: inBoth, say: "from -100 to 100 for ids, written as text: added to their logits",
		read: readLogitBias},
	{name: "presence_penalty", in: inBoth, say: "from -2 to 2: taken off the logit of every generated token",
		read: within(func(q *query) *float64 { return &q.presence }, between(-2, 2), "lie between -2 and 2")},
	{name: "frequency_penalty", in: inBoth, say: "from -2 to 2: taken off for every time that the token was generated",
		read: within(func(q *query) *float64 { return &q.frequency }, between(-2, 2), "lie between -2 and 2")},
	{name: "repetition_penalty", in: inBoth,
		say:  "divides positive logits of tokens of the prompt and the answer, multiplies negative ones; 1: off",
		read: within(func(q *query) *float64 { return &q.repetition }, between(1e-6, 1e6), "lie between 1e-6 and 1e6; 1 is off")},

	// The prompt.
	{name: "add_generation_prompt", in: inChat,
		say: "end the prompt with the opening of the assistant's turn; true by default",
		read: func(q *query, v value) error {
			q.generation = new(bool)
			return v.bool(q.generation)
		}},
	{name: "continue_final_message", in: inChat, say: "the answer goes on with the last message, which stays open",
		read: boolean(func(q *query) *bool { return &q.continueFinal })},
	{name: "chat_template_kwargs", in: inChat, say: "variables of the chat template, such as enable_thinking",
		read: readVars},
	{name: "add_special_tokens", in: inText,
		say:  "the tokenizer adds its special tokens to the prompt, such as BOS; true by default",
		read: inverse(func(q *query) *bool { return &q.noSpecial })},

	// The answer.
	{name: "stream", in: inBoth, say: "server-sent events", read: boolean(func(q *query) *bool { return &q.stream })},
	{name: "stream_options", in: inBoth, say: "`include_usage`: a last event with the counts of tokens",
		read: readStreamOptions},
	{name: "logprobs", in: inChat, say: "the log-probability of every token of the answer",
		read: boolean(func(q *query) *bool { return &q.logprobs })},
	{name: "top_logprobs", in: inChat,
		say:  fmt.Sprintf("with `logprobs`: up to %d of the most probable tokens in the place of each", maxTopLogprobs),
		read: readTop},
	{name: "logprobs", in: inText,
		say: fmt.Sprintf("log-probabilities, with up to %d of the most probable tokens in the place of each", maxTopLogprobs),
		read: func(q *query, v value) error {
			q.logprobs = true
			return readTop(q, v)
		}},
	{name: "return_token_ids", in: inBoth, say: "the ids of the prompt and of the answer beside its text",
		read: boolean(func(q *query) *bool { return &q.returnIDs })},
	{name: "request_id", in: inBoth, say: "the end of the answer's `id`",
		read: func(q *query, v value) error { return v.text(&q.requestID) }},

	// What has no effect on an answer of this server.
	{name: "user", in: inBoth, nothing: anything, say: "any"},
	{name: "safety_identifier", in: inChat, nothing: anything, say: "any"},
	{name: "metadata", in: inChat, nothing: anything, say: "any"},
	{name: "session_id", in: inBoth, nothing: anything, say: "any"},
	{name: "prompt_cache_key", in: inChat, nothing: anything, say: "any"},
	{name: "prompt_cache_retention", in: inChat, nothing: anything, say: "any"},
	{name: "truncation_side", in: inBoth, nothing: anything, say: "any"},
	{name: "parallel_tool_calls", in: inChat, nothing: oneOf("true", "false"), say: "true or false"},
	{name: "service_tier", in: inChat, nothing: oneOf(`"auto"`, `"default"`), say: "auto, default"},

	// OpenAI's, refused unless they ask for nothing.
	{name: "tools", in: inChat, nothing: empty, say: "an empty list"},
	{name: "tool_choice", in: inChat, nothing: oneOf(`"none"`, `"auto"`), say: "none, auto"},
	{name: "functions", in: inChat, nothing: empty, say: "an empty list"},
	{name: "function_call", in: inChat, nothing: oneOf(`"none"`, `"auto"`), say: "none, auto"},
	{name: "response_format", in: inBoth, nothing: only(map[string]string{"type": `"text"`}),
		say: "`{\"type\": \"text\"}`"},
	{name: "reasoning_effort", in: inChat, say: "use chat_template_kwargs"},
	{name: "verbosity", in: inChat, nothing: oneOf(`"medium"`), say: "medium"},
	{name: "modalities", in: inChat, nothing: func(raw json.RawMessage) bool {
		all, ok := elements(raw)
		return ok && len(all) == 1 && string(all[0]) == `"text"`
	}, say: "`[\"text\"]`"},
	{name: "audio", in: inChat},
	{name: "prediction", in: inChat},
	{name: "web_search_options", in: inChat},
	{name: "moderation", in: inChat},
	{name: "prompt_cache_options", in: inChat},
	{name: "store", in: inChat, nothing: oneOf("false"), say: "false"},
	{name: "echo", in: inBoth, nothing: oneOf("false"), say: "false"},
	{name: "suffix", in: inText, nothing: empty, say: "an empty text"},

	// vLLM's, refused unless they ask for nothing.
	{name: "use_beam_search", in: inBoth, nothing: oneOf("false"), say: "false"},
	{name: "length_penalty", in: inBoth, nothing: oneOf("1"), say: "1"},
	{name: "early_stopping", in: inBoth, nothing: oneOf("false"), say: "false"},
	{name: "watermarking", in: inBoth, nothing: oneOf("false"), say: "false"},
	{name: "spaces_between_special_tokens", in: inBoth, nothing: oneOf("true"), say: "true"},
	{name: "truncate_prompt_tokens", in: inBoth},
	{name: "allowed_token_ids", in: inBoth},
	{name: "bad_words", in: inBoth, nothing: empty, say: "an empty list"},
	{name: "logits_processors", in: inBoth, nothing: empty, say: "an empty list"},
	{name: "prompt_logprobs", in: inBoth},
	{name: "logprob_token_ids", in: inBoth},
	{name: "prompt_embeds", in: inText},
	{name: "add_special_tokens", in: inChat, nothing: oneOf("false"), say: "false"},
	{name: "documents", in: inChat, nothing: empty, say: "an empty list"},
	{name: "chat_template", in: inChat, say: "use the server's --chat-template"},
	{name: "media_io_kwargs", in: inChat, nothing: empty, say: "an empty object"},
	{name: "mm_processor_kwargs", in: inChat, nothing: empty, say: "an empty object"},
	{name: "structured_outputs", in: inBoth},
	{name: "guided_json", in: inBoth},
	{name: "guided_regex", in: inBoth},
	{name: "guided_choice", in: inBoth},
	{name: "guided_grammar", in: inBoth},
	{name: "guided_decoding_backend", in: inBoth},
	{name: "guided_whitespace_pattern", in: inBoth},
	{name: "structural_tag", in: inBoth},
	{name: "priority", in: inBoth, nothing: oneOf("0"), say: "0"},
	{name: "include_reasoning", in: inChat, nothing: oneOf("true"), say: "true"},
	{name: "thinking_token_budget", in: inBoth, nothing: oneOf("-1"), say: "-1"},
	{name: "return_tokens_as_token_ids", in: inBoth, nothing: oneOf("false"), say: "false"},
	{name: "return_prompt_text", in: inChat, nothing: oneOf("false"), say: "false"},
	{name: "return_token_offsets", in: inBoth, nothing: oneOf("false"), say: "false"},
	{name: "return_mm_kwargs", in: inBoth, nothing: oneOf("true", "false"), say: "true or false"},
	{name: "routed_experts_prompt_start", in: inBoth, nothing: oneOf("0"), say: "0"},
	{name: "cache_salt", in: inBoth},
	{name: "kv_transfer_params", in: inBoth, nothing: empty, say: "an empty object"},
	{name: "ec_transfer_params", in: inBoth, nothing: empty, say: "an empty object"},
	{name: "vllm_xargs", in: inBoth, nothing: empty, say: "an empty object"},
	{name: "repetition_detection", in: inBoth},
	{name: "stream_interval", in: inBoth, nothing: oneOf("1"), say: "1"},
}

// IsParameter reports whether a request may have a parameter of this name that does something.
func IsParameter(name string) bool {
	return slices.ContainsFunc(parameters, func(p parameter) bool { return p.name == name && p.read != nil })
}

// findParameter is the row of a name at an endpoint; nil if there is none.
func findParameter(name string, in endpoint) *parameter {
	i := slices.IndexFunc(parameters, func(p parameter) bool { return p.name == name && p.in&in != 0 })
	if i < 0 {
		return nil
	}
	return &parameters[i]
}

// parse reads the body of a request to an endpoint.
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
			err = p.read(q, value{m.key, m.raw})
		case p.nothing == nil || !p.nothing(m.raw):
			err = p.unsupported()
		}
		if err != nil {
			return nil, err
		}
	}
	return q, q.check()
}

// unsupported is the error of a parameter that is not done.
func (p *parameter) unsupported() *apiError {
	e := bad(p.name, "%s is not supported", p.name)
	switch e.Code = "unsupported_parameter"; {
	case p.nothing != nil:
		e.Message += ", except as " + strings.ReplaceAll(p.say, "`", "")
	case p.say != "":
		e.Message += ": " + p.say
	}
	return e
}

// unknown is the error of a name that nobody knows, or only the other endpoint.
func unknown(name string, in endpoint) *apiError {
	e := bad(name, "unknown parameter %q", name)
	e.Code = "unknown_parameter"
	if p := findParameter(name, inBoth&^in); p != nil {
		e.Message = fmt.Sprintf("%s is a parameter of %s, not of %s", name, (inBoth &^ in).path(), in.path())
	} else if near := nearest(name, in); near != "" {
		e.Message += fmt.Sprintf(": did you mean %s?", near)
	}
	return e
}

// elsewhere are names that other servers and libraries have for parameters of the table.
var elsewhere = map[string]string{
	"repeat_penalty": "repetition_penalty", "n_predict": "max_tokens", "num_predict": "max_tokens",
	"max_new_tokens": "max_tokens", "max_length": "max_tokens", "min_length": "min_tokens", "min_new_tokens": "min_tokens",
	"stop_strings": "stop", "num_return_sequences": "n", "enable_thinking": "chat_template_kwargs"}

// nearest is the name of the endpoint that is meant: another server's word for it, or the one that takes the fewest
// edits, if they are few for its length; "" if there is none.
func nearest(name string, in endpoint) (best string) {
	if best = elsewhere[name]; findParameter(best, in) != nil {
		return best
	}
	best = ""
	least := len(name)/3 + 2
	for _, p := range parameters {
		if n := edits(strings.ToLower(name), p.name); p.in&in != 0 && n < least {
			best, least = p.name, n
		}
	}
	return best
}

// edits is Levenshtein's distance of two names.
func edits(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

package serve

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the table of docs/serve.md")

// endpoints by their names in the recorded lists.
var endpoints = map[string]endpoint{"chat": inChat, "text": inText}

func recorded(t testing.TB) (all map[string]map[string][]string) {
	text, err := os.ReadFile("testdata/parameters.json")
	require.NoError(t, err)
	var raw map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(text, &raw))
	all = map[string]map[string][]string{}
	for of, list := range raw {
		if of == "comment" {
			continue
		}
		var names map[string][]string
		require.NoError(t, json.Unmarshal(list, &names))
		all[of] = names
	}
	return all
}

// The table has exactly one row for every parameter and endpoint of OpenAI's API and of vLLM's server, and no others.
func TestEveryParameterHasAVerdict(t *testing.T) {
	known := map[string]bool{"zerosearchchat": true} // our own
	for of, lists := range recorded(t) {
		for at, in := range endpoints {
			require.NotEmpty(t, lists[at])
			for _, name := range lists[at] {
				require.NotNil(t, findParameter(name, in), "%s's %s of %s has no verdict", of, name, in.path())
				known[name+at] = true
			}
		}
	}
	for _, in := range endpoints {
		seen := map[string]bool{}
		for _, p := range parameters {
			if p.in&in != 0 {
				require.False(t, seen[p.name], "%s has two verdicts", p.name)
				seen[p.name] = true
			}
		}
	}
	for _, p := range parameters {
		require.True(t, known[p.name+"chat"] || known[p.name+"text"], "nobody has %s", p.name)
	}
}

// An unsupported parameter is refused by name, except for null and values without effect.
func TestUnsupportedParameters(t *testing.T) {
	r := newRig(t, Options{})
	body := func(in endpoint, extra string) string {
		if in == inChat {
			return `{"messages":[{"role":"user","content":"x"}],"max_tokens":1` + extra + `}`
		}
		return `{"prompt":"x"` + `,"max_tokens":1` + extra + `}`
	}
	refused, taken := 0, 0
	for _, in := range endpoints {
		for _, p := range parameters {
			if p.in&in == 0 {
				continue
			}
			if p.name != "messages" && p.name != "prompt" && p.name != "max_tokens" {
				status, _, text := r.do(t.Context(), "POST", in.path(),
					[]byte(body(in, fmt.Sprintf(`,%q:null`, p.name))))
				require.Equal(t, 200, status, "%s: %s", p.name, text)
			}
			if p.read != nil {
				continue
			}
			for _, raw := range []string{"true", "false", "0", "1", "1.0", "0.7", "-1", `"none"`, `"auto"`, `"default"`,
				`"medium"`, `"required"`, `"x"`, `""`, "[]", "{}",
				`["text"]`, `["text","audio"]`, `{"type":"text"}`, `{"type":"json_object"}`, `{"type":"text","x":1}`,
				`[{"type":"function"}]`} {
				e, err := parse([]byte(body(in, fmt.Sprintf(`,%q:%s`, p.name, raw))), in)
				if p.noEffect != nil && p.noEffect(json.RawMessage(raw)) {
					taken++
					require.NoError(t, err)
					require.NotNil(t, e)
					continue
				}
				refused++
				var bad *apiError
				require.ErrorAs(t, err, &bad, "%s: %s is taken", p.name, raw)
				require.Equal(t, p.name, bad.Param)
				require.Equal(t, "unsupported_parameter", bad.Code)
				require.Contains(t, bad.Message, p.name+" is not supported")
			}
		}
	}
	require.Greater(t, taken, 100)
	require.Greater(t, refused, 1000)
	for _, asks := range []string{
		`"echo":true`, `"store":true`, `"priority":1`, `"reasoning_effort":"low"`, `"guided_regex":"x"`,
		`"use_beam_search":true`, `"truncate_prompt_tokens":5`, `"service_tier":"flex"`, `"include_reasoning":false`, `"length_penalty":1.5`,
		`"guided_grammar":"x"`, `"chat_template":"x"`} {
		_, err := parse([]byte(body(inChat, ","+asks)), inChat)
		require.ErrorContains(t, err, "is not supported", asks)
	}
}

// The error for an unknown name suggests the nearest one.
func TestUnknownParameters(t *testing.T) {
	for body, want := range map[string]string{
		`{"max_tokenz":3}`:                      `unknown parameter "max_tokenz": did you mean max_tokens?`,
		`{"max_token":3}`:                       `did you mean max_tokens?`,
		`{"max_new_tokens":3}`:                  `did you mean max_tokens?`,
		`{"Temperature":1}`:                     `did you mean temperature?`,
		`{"temprature":1}`:                      `did you mean temperature?`,
		`{"topp":1}`:                            `did you mean top_p?`,
		`{"topK":1}`:                            `did you mean top_k?`,
		`{"repeat_penalty":1.1}`:                `did you mean repetition_penalty?`,
		`{"enable_thinking":false}`:             `did you mean chat_template_kwargs?`,
		`{"stop_tokens":[1]}`:                   `did you mean`,
		`{"seeds":1}`:                           `did you mean seed?`,
		`{"strem":true}`:                        `did you mean stream?`,
		`{"message":[]}`:                        `did you mean messages?`,
		`{"prompt":"x"}`:                        `prompt is a parameter of /v1/completions, not of /v1/chat/completions`,
		`{"suffix":"x"}`:                        `suffix is a parameter of /v1/completions`,
		`{"xyzzyplugh":null}`:                   `unknown parameter "xyzzyplugh"`,
		`{"` + strings.Repeat("m", 99) + `":1}`: `unknown parameter`,
		`{"":1}`:                                `unknown parameter ""`,
		`{"stream":true,"stream_options":{"includ_usage":true}}`: `unknown parameter "stream_options.includ_usage"`,
	} {
		_, err := parse([]byte(body), inChat)
		var e *apiError
		require.ErrorAs(t, err, &e, body)
		require.Contains(t, e.Message, want)
		require.Equal(t, "unknown_parameter", e.Code)
		require.NotContains(t, want, "xyzzyplugh\": did")
	}
	_, err := parse([]byte(`{"max_completion_tokens":1}`), inText)
	require.ErrorContains(t, err,
		"max_completion_tokens is a parameter of /v1/chat/completions, not of /v1/completions")
	_, err = parse([]byte(`{"xyzzyplugh":1}`), inText)
	require.EqualError(t, err, `unknown parameter "xyzzyplugh"`)
}

// Numbers follow JSON, a key given twice is an error, and errors name the parameter of the wrong type.
func TestValues(t *testing.T) {
	for body, want := range map[string]string{
		`{"max_tokens":12.0}`: "", `{"max_tokens":1.2e1}`: "", `{"seed":42.0}`: "", `{"seed":-9223372036854775808}`: "",
		`{"seed":9223372036854775807}`: "",
		`{"seed":-0}`:                  "", `{"top_k":-1}`: "", `{"top_k":-1.0}`: "", `{"n":1E0}`: "",
		`{"temperature":1}`:   "",
		`{"temperature":0.0}`: "", `{"temperature":-0.0}`: "",
		`{"logit_bias":{}}`: "", `{"logit_bias":{"5":-100,"7":1e1}}`: "", `{"stop":[]}`: "", `{"stop":null}`: "",
		`{"stop_token_ids":[1,2.0]}`:                    "",
		`{"max_tokens":null,"max_completion_tokens":5}`: "", `{"max_tokens":5,"max_completion_tokens":5}`: "",
		`{"stream":true,"stream_options":{"include_usage":null}}`: "",
		`{"metadata":{"a":"b"},"user":"u"}`:                       "", `{"max_tokens":10,"min_tokens":10}`: "",
		`{"best_of":3,"n":3}`:                 "",
		`{"logprobs":true,"top_logprobs":20}`: "",

		`{"max_tokens":12.5}`: "max_tokens must be an integer, not 12.5",
		`{"seed":42.5}`:       "seed must be an integer, not 42.5",
		`{"max_tokens":"12"}`: `max_tokens must be an integer, not "12"`, `{"max_tokens":true}`: "an integer, not true",
		`{"max_tokens":[1]}`: "not a list",
		`{"seed":1e300}`:     "seed must be an integer", `{"seed":9223372036854775808}`: "seed must be an integer",
		`{"max_tokens":1e30}`:                      "an integer",
		`{"seed":` + strings.Repeat("9", 99) + `}`: "seed must be an integer, not a long number",
		`{"seed":9007199254740993.0}`:              "",
		`{"temperature":1e400}`:                    "temperature must be a number, not 1e400",
		`{"temperature":"hot"}`:                    `must be a number, not "hot"`,
		`{"temperature":{}}`:                       "not an object",
		`{"temperature":101}`:                      "temperature is 101: it must be 0 (greedy) or lie",
		`{"top_p":1.1}`:                            "above 0 and at most 1", `{"min_p":-0.1}`: "between 0 and 1",
		`{"top_k":-2}`: "top_k is -2", `{"n":0}`: "n is 0: it must be at least 1",
		`{"stream":1}`: "stream must be true or false, not 1", `{"stream":"true"}`: "true or false",
		`{"presence_penalty":2.1}`: "lie between -2 and 2", `{"frequency_penalty":-3}`: "lie between -2 and 2",
		`{"repetition_penalty":0}`: "1 is off",
		`{"logit_bias":[1]}`:       "logit_bias must be an object of numbers",
		`{"logit_bias":{"a":1}}`:   `has the key "a": keys are token ids`,
		`{"logit_bias":{"5":101}}`: "between -100 and 100",
		`{"logit_bias":{"5":"1"}}`: "logit_bias of id 5 is", `{"logit_bias":{"5":1,"5":2}}`: `"5" is given twice`,
		`{"logit_bias":{"5":1,"05":2}}`:    "id 5 twice",
		`{"logit_bias":{"99999999999":1}}`: "keys are token ids", `{"logit_bias":{"5":null}}`: "id 5 is null",
		`{"stop":["a",null]}`: "stop must be a string or a list of strings",
		`{"stop":5}`:          "a string or a list of strings", `{"stop":["a",""]}`: "a stop string is empty",
		`{"stop_token_ids":[1.5]}`: "a list of token ids", `{"stop_token_ids":7}`: "a list of token ids",
		`{"stop_token_ids":[99999999999]}`: "a list of token ids",
		`{"min_tokens":-1}`:                "must not be negative", `{"chat_template_kwargs":[]}`: "must be an object",
		`{"chat_template_kwargs":{"messages":[]}}`:    "messages is a request parameter",
		`{"chat_template_kwargs":{"tokenize":false}}`: "chat_template_kwargs.tokenize is not supported",
		`{"model":5}`:         "model must be a string",
		`{"seed":1,"seed":1}`: `the key "seed" is given twice`, `{"metadata":{"a":1,"a":2}}`: `"a" is given twice`,
		`{"metadata":[[{"b":{"a":1,"a":2}}]]}`:                          `"a" is given twice`,
		`{"max_tokens":5,"max_completion_tokens":6}`:                    "send only one of them",
		`{"continue_final_message":true,"add_generation_prompt":true}`:  "set only one of them",
		`{"stream_options":{"include_usage":true}}`:                     "needs stream: true",
		`{"stream":true,"stream_options":{"include_obfuscation":true}}`: "is not supported",
		`{"top_logprobs":3}`:                                            "needs logprobs: true",
		`{"best_of":2,"n":3}`:                                           "best_of must be at least n",
		`{"logprobs":3}`:                                                "logprobs must be true or false",
	} {
		if strings.Contains(body, "9007199254740993.0") {
			want = "seed must be an integer" // float64 cannot tell it from its neighbours
		}
		_, err := parse([]byte(body), inChat)
		if want == "" {
			require.NoError(t, err, body)
			continue
		}
		var e *apiError
		require.ErrorAs(t, err, &e, body)
		require.Contains(t, e.Message, want, body)
		require.NotEmpty(t, e.Param, body)
	}
}

// OpenAI's errors have all four members; unknown ones are null.
func TestErrorForm(t *testing.T) {
	r := newRig(t, Options{})
	_, _, text := r.do(t.Context(), "POST", chatPath, []byte(`{"max_tokenz":3}`))
	require.JSONEq(t,
		`{"error":{"message":"unknown parameter \"max_tokenz\": did you mean max_tokens?","type":"invalid_request_error","param":"max_tokenz","code":"unknown_parameter"}}`, string(text))
	_, _, text = r.do(t.Context(), "POST", chatPath, []byte(`[]`))
	require.JSONEq(t,
		`{"error":{"message":"the request is not a JSON object","type":"invalid_request_error","param":null,"code":null}}`, string(text))
}

// docs/serve.md has the table of parameters.
func TestTableOfParameters(t *testing.T) {
	const file, begin, end = "../docs/serve.md",
		"<!-- parameters: made by `go test ./serve -run TableOfParameters -update` -->\n", "<!-- end of parameters -->"
	page, err := os.ReadFile(file)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(page), begin)
	require.True(t, ok)
	_, after, ok := strings.Cut(rest, end)
	require.True(t, ok)
	want := before + begin + table(parameters) + end + after
	const otherBegin, otherEnd = "<!-- other parameters: made as well -->\n", "<!-- end of other parameters -->"
	before, rest, ok = strings.Cut(want, otherBegin)
	require.True(t, ok)
	_, after, ok = strings.Cut(rest, otherEnd)
	require.True(t, ok)
	want = before + otherBegin + table(otherParameters) + otherEnd + after
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(want), 0o644))
		return
	}
	require.Equal(t, want, string(page), "run the test with -update and read the difference")
}

func table(parameters []parameter) string {
	var b strings.Builder
	at := map[endpoint]string{inChat: "chat", inText: "completions", inBoth: "both", inTokenize: "/tokenize",
		inDetokenize: "/detokenize", inEmbeddings: "embeddings", inTokenize | inEmbeddings: "/tokenize, embeddings",
		inTokenize | inDetokenize | inEmbeddings: "all"}
	b.WriteString("\n| parameter | endpoint | |\n|---|---|---|\n")
	for _, p := range parameters {
		if p.read != nil {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", p.name, at[p.in], p.say)
		}
	}
	b.WriteString("\nNot supported, and accepted only with values that have no effect:\n\n| parameter | endpoint | " +
		"accepted values |\n|---|---|---|\n")
	for _, p := range parameters {
		if p.read == nil && p.noEffect != nil {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", p.name, at[p.in], p.say)
		}
	}
	b.WriteString("\nRefused by name:")
	sep := " "
	for _, p := range parameters {
		if p.read == nil && p.noEffect == nil {
			fmt.Fprintf(&b, "%s`%s`", sep, p.name)
			if sep = ", "; p.say != "" {
				fmt.Fprintf(&b, " (%s)", p.say)
			}
		}
	}
	b.WriteString(".\n\n")
	return b.String()
}

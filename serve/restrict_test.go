package serve

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// Answers in the form of a schema parse and satisfy it, whole and streamed, on both endpoints; nothing follows them.
func TestResponseFormat(t *testing.T) {
	r := newRig(t, Options{})
	schema := json.RawMessage(`{"type":"object","properties":{"name":{"type":"string","minLength":1,"maxLength":6},
		"age":{"type":"integer","minimum":0,"maximum":99},"kind":{"enum":["cat","dog"]}},
		"required":["name","age","kind"],"additionalProperties":false}`)
	check := func(text, finish string) {
		require.Equal(t, "stop", finish, text)
		var got struct {
			Name, Kind *string
			Age        *int
		}
		require.NoError(t, json.Unmarshal([]byte(text), &got), text)
		require.True(t, got.Name != nil && got.Age != nil && *got.Age < 100 && (*got.Kind == "cat" || *got.Kind == "dog"), text)
		require.NotEmpty(t, *got.Name)
		require.Equal(t, byte('}'), text[len(text)-1])
	}
	format := object{"type": "json_schema", "json_schema": object{"name": "animal", "strict": true, "schema": schema}}
	for seed := range 8 {
		x := r.post(chatPath, object{"messages": []object{{"role": "user", "content": "x"}}, "response_format": format,
			"seed": seed, "max_tokens": 400})
		check(x.Choices[0].Message.Content, x.Choices[0].Finish)
	}
	x := r.post(textPath, object{"prompt": "x", "structured_outputs": object{"json": schema}, "seed": 1, "max_tokens": 400, "n": 2})
	check(x.Choices[0].Text, x.Choices[0].Finish)
	check(x.Choices[1].Text, x.Choices[1].Finish)
	require.NotEqual(t, x.Choices[0].Text, x.Choices[1].Text)
	s := r.stream(textPath, object{"prompt": "x", "guided_json": string(schema), "seed": 1, "max_tokens": 400, "ignore_eos": true})
	require.True(t, s.done)
	require.Equal(t, x.Choices[0].Text, s.text[0])

	// Any object; the bias makes a random model close what it opens.
	bias := object{}
	for _, text := range []string{`"`, `}`, `":`, `",`, `]`} {
		ids := r.m.Tokenizer.Encode(text, tokenizer.EncodeOptions{})
		require.Len(t, ids, 1)
		bias[fmt.Sprint(ids[0])] = 12
	}
	for seed := range 6 {
		x := r.post(textPath, object{"prompt": "x", "response_format": object{"type": "json_object"}, "seed": seed,
			"max_tokens": 400, "logit_bias": bias})
		var any map[string]any
		require.NoError(t, json.Unmarshal([]byte(x.Choices[0].Text), &any), x.Choices[0].Text)
		require.Equal(t, "stop", x.Choices[0].Finish)
	}
	seen := map[string]bool{}
	for seed := range 12 {
		x := r.post(textPath, object{"prompt": "x", "guided_choice": []string{"yes", "no"}, "seed": seed})
		seen[x.Choices[0].Text] = true
	}
	require.Equal(t, map[string]bool{"yes": true, "no": true}, seen)
	x = r.post(textPath, object{"prompt": "x", "response_format": object{"type": "text"}, "max_tokens": 2})
	require.Equal(t, "length", x.Choices[0].Finish)
}

// What is not supported of a form is refused with a reason.
func TestResponseFormatErrors(t *testing.T) {
	r := newRig(t, Options{})
	for body, want := range map[string]string{
		`"response_format":"json"`:                                                          "must be an object such as",
		`"response_format":{}`:                                                              "must be text, json_object or json_schema",
		`"response_format":{"type":"grammar"}`:                                              "must be text, json_object or json_schema",
		`"response_format":{"type":"text","x":1}`:                                           `unknown parameter \"response_format.x\"`,
		`"response_format":{"type":"json_schema"}`:                                          `needs \"json_schema\"`,
		`"response_format":{"type":"json_schema","json_schema":{"name":"x"}}`:               "response_format.json_schema.schema is missing",
		`"response_format":{"type":"json_schema","json_schema":{"schema":{"pattern":"x"}}}`: `keyword \"pattern\" at # is not supported`,
		`"response_format":{"type":"json_schema","json_schema":{"schemas":{}}}`:             `unknown parameter \"response_format.json_schema.schemas\"`,
		`"guided_json":"{"`:                                                                 "holds no JSON",
		`"guided_json":"{\"type\":1,\"type\":2}"`:                                           `is given twice`,
		`"guided_choice":[]`:                                                                "one text at least",
		`"guided_choice":"x"`:                                                               "must be a list of strings",
		`"structured_outputs":{"regex":"x"}`:                                                "structured_outputs.regex is not supported",
		`"structured_outputs":{"json":{},"choice":["a"]}`:                                   "must have one of",
		`"structured_outputs":{"json":{}},"response_format":{"type":"json_object"}`:         "send only one of them",
		`"response_format":{"type":"json_object"},"min_tokens":1`:                           "min_tokens is not supported with response_format",
		`"response_format":{"type":"json_object"},"allowed_token_ids":[5]`:                  "no token may be sampled",
		`"allowed_token_ids":[]`:                                                            "allowed_token_ids is empty",
		`"allowed_token_ids":[99999999]`:                                                    "allowed_token_ids has id 99999999",
		`"bad_words":[""]`:                                                                  "a bad word is empty",
		`"bad_words":"x"`:                                                                   "a list of strings",
		`"best_of":1,"n":2`:                                                                 "best_of must be at least n",
		`"best_of":3,"n":2,"stream":true`:                                                   "can be streamed only if it is n",
	} {
		status, _, text := r.do(t.Context(), "POST", textPath, []byte(`{"prompt":"x","max_tokens":9,`+body+`}`))
		require.Equal(t, 400, status, "%s: %s", body, text)
		require.Contains(t, string(text), want, body)
	}
}

// allowed_token_ids and bad_words leave out tokens as vLLM defines them.
func TestAllowedTokensAndBadWords(t *testing.T) {
	r := newRig(t, Options{})
	ask := func(extra object) []int32 {
		body := object{"prompt": "x", "max_tokens": 40, "ignore_eos": true, "return_token_ids": true, "seed": 3}
		for k, v := range extra {
			body[k] = v
		}
		return r.post(textPath, body).Choices[0].IDs
	}
	for _, id := range ask(object{"allowed_token_ids": []int{100, 200, 300}}) {
		require.Contains(t, []int32{100, 200, 300}, id)
	}
	tok := r.m.Tokenizer
	one, two := tok.Encode("cat", tokenizer.EncodeOptions{}), tok.Encode(" cat", tokenizer.EncodeOptions{})
	require.Equal(t, [][]int32{one, two}, spellings(tok, " cat"))
	long := tok.Encode("catzebra", tokenizer.EncodeOptions{})
	require.Greater(t, len(long), 1)
	only := append([]int32{one[0], two[0]}, long...)
	found := func(ids, word []int32) int {
		return strings.Count(strings.Trim(fmt.Sprint(ids), "[]")+" ", strings.Trim(fmt.Sprint(word), "[]")+" ")
	}
	free := ask(object{"allowed_token_ids": only})
	require.Positive(t, found(free, one))
	require.Positive(t, found(free, long), free)
	ids := ask(object{"allowed_token_ids": only, "bad_words": []string{"catzebra"}})
	require.Zero(t, found(ids, long))
	require.Positive(t, found(ids, long[len(long)-1:]), "the word's last token where it does not complete the word")
	ids = ask(object{"allowed_token_ids": only, "bad_words": []string{"cat"}})
	require.Zero(t, found(ids, two))
	require.NotContains(t, ids, two[0])
}

// best_of returns the answers with the highest log-probability a token, in that order, and counts all tokens.
func TestBestOf(t *testing.T) {
	r := newRig(t, Options{})
	body := object{"prompt": []string{"x", "y"}, "max_tokens": 5, "ignore_eos": true, "seed": 3, "logprobs": 0, "n": 6}
	all := r.post(textPath, body)
	mean := func(raw json.RawMessage) (sum float64) {
		var l struct {
			Values []float64 `json:"token_logprobs"`
		}
		require.NoError(t, json.Unmarshal(raw, &l))
		for _, x := range l.Values {
			sum += x
		}
		return sum
	}
	body["n"], body["best_of"] = 2, 6
	best := r.post(textPath, body)
	require.Len(t, best.Choices, 4)
	require.Equal(t, all.Usage, best.Usage)
	for p := range 2 {
		kept := best.Choices[2*p : 2*p+2]
		first, second := mean(kept[0].Logprobs), mean(kept[1].Logprobs)
		require.GreaterOrEqual(t, first, second)
		for _, c := range all.Choices[6*p : 6*p+6] {
			if c.Text != kept[0].Text && c.Text != kept[1].Text {
				require.LessOrEqual(t, mean(c.Logprobs), second)
			}
		}
		require.Equal(t, []int{2 * p, 2*p + 1}, []int{kept[0].Index, kept[1].Index})
	}
}

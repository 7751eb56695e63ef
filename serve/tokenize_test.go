package serve

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// /tokenize gives the ids that a completion or chat begins with, and /detokenize the text back.
func TestTokenize(t *testing.T) {
	r := newRig(t, Options{})
	ask := func(q object) (out tokenized) {
		status, _, text := r.do(t.Context(), "POST", "/tokenize", marshal(t, q))
		require.Equal(t, 200, status, "%s", text)
		require.NoError(t, json.Unmarshal(text, &out))
		require.Equal(t, len(out.Tokens), out.Count)
		require.Equal(t, context0, out.Context)
		var raw map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(text, &raw))
		require.Len(t, raw, 4)
		return out
	}
	text := "Whales läuten 鯨 <|im_end|>\n"
	plain := ask(object{"prompt": text, "return_token_strs": true})
	ids := r.m.Tokenizer.Encode(text, tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true})
	require.Equal(t, ids, plain.Tokens)
	require.Equal(t, []string{"Wh", "ales", "Ġl"}, plain.Strings[:3])
	require.Contains(t, plain.Strings, "<|im_end|>")
	require.Nil(t, ask(object{"prompt": "x"}).Strings)
	require.Empty(t, ask(object{"prompt": ""}).Tokens)

	chat := r.post(chatPath, object{"messages": hello(), "max_tokens": 1})
	require.Equal(t, chat.Usage.Prompt, ask(object{"messages": hello()}).Count)
	bare := ask(object{"messages": hello(), "add_generation_prompt": false})
	require.Less(t, bare.Count, chat.Usage.Prompt)

	status, _, body := r.do(t.Context(), "POST", "/detokenize", marshal(t, object{"tokens": plain.Tokens}))
	require.Equal(t, 200, status)
	require.JSONEq(t, string(marshal(t, object{"prompt": text})), string(body))
	status, _, body = r.do(t.Context(), "GET", "/tokenizer_info", nil)
	require.Equal(t, 200, status)
	var info map[string]any
	require.NoError(t, json.Unmarshal(body, &info))
	require.Equal(t, "<|im_end|>", info["eos_token"])
	require.Equal(t, "<|im_start|>", info["bos_token"])
	require.Equal(t, r.m.Template.Source(), info["chat_template"])
	require.Contains(t, info["chat_template"], "{% for message in messages %}")

	tmpl, err := r.m.Tokenizer.ParseTemplate(toolTemplate)
	require.NoError(t, err)
	plainTemplate := r.s.models[0].Template
	r.s.models[0].Template = tmpl
	called := r.post(chatPath, object{"messages": hello(), "tools": weather(), "max_tokens": 1})
	require.Equal(t, called.Usage.Prompt, ask(object{"messages": hello(), "tools": weather()}).Count)
	require.Greater(t, called.Usage.Prompt, ask(object{"messages": hello()}).Count)
	r.s.models[0].Template = plainTemplate

	for want, q := range map[string]object{"prompt or messages is missing": {},
		"tools needs messages":                             {"prompt": "x", "tools": weather()},
		"cannot call tools":                                {"messages": hello(), "tools": weather()},
		"send only one of them":                            {"prompt": "x", "messages": hello()},
		"prompt must be a string":                          {"prompt": []int{1}},
		"unknown parameter \\\"tokenz\\\"":                 {"tokenz": 1},
		"there is no model \\\"x\\\"":                      {"prompt": "x", "model": "x"},
		"chat_template is not supported: use the server's": {"messages": hello(), "chat_template": "x"},
		"set only one of them": {"messages": hello(), "continue_final_message": true,
			"add_generation_prompt": true},
	} {
		status, _, text := r.do(t.Context(), "POST", "/tokenize", marshal(t, q))
		require.GreaterOrEqual(t, status, 400)
		require.Less(t, status, 500)
		require.Contains(t, string(text), want)
	}
	for want, q := range map[string]object{"tokens is missing": {}, "tokens has id 49152": {"tokens": []int{49152}},
		"tokens must be a list of token ids": {"tokens": "x"}} {
		status, _, text := r.do(t.Context(), "POST", "/detokenize", marshal(t, q))
		require.Equal(t, 400, status)
		require.Contains(t, string(text), want)
	}
}

// The small endpoints of vLLM's server. /ping needs no key, as /health.
func TestSmallEndpoints(t *testing.T) {
	r := newRig(t, Options{Version: "1.2.3", APIKey: "secret"})
	for _, method := range []string{"GET", "POST"} {
		status, _, _ := r.do(t.Context(), method, "/ping", nil)
		require.Equal(t, 200, status)
	}
	status, _, _ := r.do(t.Context(), "GET", "/version", nil)
	require.Equal(t, 401, status)
	_, _, text := r.do(t.Context(), "GET", "/version", nil, "Authorization", "Bearer secret")
	require.JSONEq(t, `{"version":"1.2.3"}`, string(text))
	status, _, _ = r.do(t.Context(), "GET", "/tokenize", nil, "Authorization", "Bearer secret")
	require.Equal(t, 405, status)
}

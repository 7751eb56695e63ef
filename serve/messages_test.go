package serve

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// prompted is the rendered prompt of a chat, decoded from the response's prompt_token_ids.
func (r *rig) prompted(q object) string {
	if _, ok := q["max_tokens"]; !ok {
		q["max_tokens"] = 1
	}
	q["return_token_ids"] = true
	status, _, text := r.do(r.t.Context(), "POST", chatPath, marshal(r.t, q))
	require.Equal(r.t, 200, status, "%s", text)
	var a struct {
		Choices []struct {
			IDs []int32 `json:"prompt_token_ids"`
		}
	}
	require.NoError(r.t, json.Unmarshal(text, &a))
	return r.m.Tokenizer.Decode(a.Choices[0].IDs, false)
}

// Messages as OpenAI's clients send them, and the prompts that SmolLM2's template renders.
func TestMessages(t *testing.T) {
	r := newRig(t, Options{})
	const system, user, assistant, end = "<|im_start|>system\nS<|im_end|>\n", "<|im_start|>user\n",
		"<|im_start|>assistant\n", "<|im_end|>\n"
	for messages, want := range map[string]string{
		`{"role":"user","content":"a"}`: user + "a" + end,
		`{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}`: user + "a\nb" + end,
		`{"role":"user","content":["a",{"text":"b"}]}`:                                      user + "a\nb" + end,
		`{"role":"user","content":[]}`:                                                      user + end,
		`{"role":"user","content":null}`:                                                    user + end,
		`{"role":"user","content":"a","name":"Ann"}`:                                        user + "a" + end,
		`{"content":"<|im_end|>","role":"user"}`:                                            user + "<|im_end|>" + end,
		`{"role":"developer","content":"a"}`: "<|im_start|>system\na" +
			end,
		`{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]}`: assistant + end,
		`{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":""}}]}`:                  assistant + end,
		`{"role":"assistant","content":"a","tool_calls":null,"function_call":null,"audio":null,"refusal":null,"annotations":[]}`:   assistant + "a" + end,
		`{"role":"assistant","content":"a","tool_calls":[]}`:                                                                       assistant + "a" + end,
		`{"role":"assistant"}`:                                                assistant + end,
		`{"role":"assistant","content":null,"refusal":"No."}`:                 assistant + "No." + end,
		`{"role":"assistant","content":[{"type":"refusal","refusal":"No."}]}`: assistant + "No." + end,
		`{"role":"tool","tool_call_id":"c","content":"Paris"}`: "<|im_start|>tool\nParis" +
			end,
		`{"role":"tool","tool_call_id":"c","content":[{"type":"text","text":"Paris"}]}`: "<|im_start|>tool\nParis" +
			end,
	} {
		q := object{"messages": []json.RawMessage{json.RawMessage(`{"role":"system","content":"S"}`),
			json.RawMessage(messages)}}
		require.Equal(t, system+want+assistant, r.prompted(q), messages)
	}
	for messages, want := range map[string]string{
		`5`:                                      "messages[0] must be a message, not 5",
		`{}`:                                     "messages[0] has no role",
		`{"role":null,"content":"a"}`:            "messages[0] has no role",
		`{"role":5,"content":"a"}`:               "messages[0].role must be the name of a role, not 5",
		`{"role":"user"}`:                        "messages[0] has no content",
		`{"role":"user","contents":"a"}`:         "messages[0] has no content",
		`{"role":"user","Content":"a"}`:          "messages[0] has no content",
		`{"role":"tool","tool_call_id":"c"}`:     "messages[0] has no content",
		`{"role":"user","content":5}`:            "messages[0].content must be a string or a list of parts, not 5",
		`{"role":"user","content":{"text":"a"}}`: "not an object",
		`{"role":"user","content":[5]}`: "messages[0].content[0]: it is neither a string nor an object " +
			"with a type",
		`{"role":"user","content":[{"type":"text"}]}`:                                                         "messages[0].content[0]: it has no text",
		`{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"u"}}]}`: `content of type "image_url" is not supported`,
		`{"role":"user","content":[{"type":"input_audio","input_audio":{}}]}`:                                 `content of type "input_audio" is not supported`,
		`{"role":"user","content":[{"type":"file","file":{}}]}`:                                               `content of type "file" is not supported`,
		`{"role":"user","content":"a","content":"b"}`:                                                         `"content" is given twice`,
		`{"role":"user","content":"a","name":5}`:                                                              "messages[0].name must be a string",
		`{"role":"assistant","content":null,"audio":{"id":"x"}}`:                                              "messages[0].audio is not supported",
		`{"role":"assistant","content":null,"function_call":{"name":"f"}}`:                                    "messages[0].function_call is not supported",
		`{"role":"assistant","tool_calls":5}`:                                                                 "messages[0].tool_calls must be a list of calls",
		`{"role":"assistant","tool_calls":[5]}`:                                                               "messages[0].tool_calls[0].function is missing",
		`{"role":"assistant","tool_calls":[{"function":{"arguments":"{}"}}]}`:                                 "tool_calls[0].function has no name",
		`{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{"}}]}`:                       "arguments is not a JSON object",
		`{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"5"}}]}`:                       "arguments is not a JSON object",
		`{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{} x"}}]}`:                    "arguments is not a JSON object",
	} {
		status, _, text := r.do(t.Context(), "POST", chatPath, []byte(`{"messages":[`+messages+`],"max_tokens":1}`))
		require.Equal(t, 400, status, messages)
		var e struct{ Error apiError }
		require.NoError(t, json.Unmarshal(text, &e))
		require.Contains(t, e.Error.Message, want, messages)
		require.Contains(t, e.Error.Param, "messages", messages)
	}
}

// A template sees a tool call's arguments as an object with its keys in order. Roles that it knows are not renamed.
func TestMessagesInTemplates(t *testing.T) {
	r := newRig(t, Options{})
	for template, want := range map[string]string{
		`{%- for m in messages %}{{ m.role }}:{{ m.content }};{% for c in m.tool_calls or [] %}{{ c.function.arguments | tojson }}{% for k, v in c.function.arguments.items() %}{{ k }}={{ v }},{% endfor %}{% endfor %}{% endfor %}`: `system:d;assistant:;{"z": 1, "a": "é"}z=1,a=é,user:q;`,
		`{%- for m in messages %}{% if m.role == 'developer' %}D{% else %}{{ m.role }}{% endif %}{{ m | tojson }}{% endfor %}`: `D{"role": "developer", "content": "d"}` +
			`assistant{"role": "assistant", "content": "", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": {"z": 1, "a": "é"}}}], "reasoning": "r", "reasoning_content": "r"}` +
			`user{"role": "user", "content": "q", "name": "Ann"}`,
	} {
		tmpl, err := r.m.Tokenizer.ParseTemplate(template)
		require.NoError(t, err)
		r.s.models[0].Template = tmpl
		got := r.prompted(object{"messages": []json.RawMessage{json.RawMessage(`{"role":"developer","content":"d"}`),
			json.RawMessage(
				`{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"z\":1,\"a\":\"é\"}"}}],"reasoning":"r","audio":null}`),
			json.RawMessage(`{"role":"user","content":"q","name":"Ann"}`)}})
		require.Equal(t, want, got)
	}
}

// chat_template_kwargs reach the template; add_generation_prompt false adds no assistant turn; continue_final_message
// leaves the last message open.
func TestPromptsOfChats(t *testing.T) {
	r := newRig(t, Options{})
	q := func(extra object) object {
		all := object{"messages": []object{{"role": "user", "content": "Where?"},
			{"role": "assistant", "content": " The sea "}}}
		for k, v := range extra {
			all[k] = v
		}
		return all
	}
	plain := r.prompted(q(nil))
	require.Contains(t, plain, "<|im_start|>assistant\n The sea <|im_end|>\n<|im_start|>assistant\n")
	closed := r.prompted(q(object{"add_generation_prompt": false}))
	require.Equal(t, plain, closed+"<|im_start|>assistant\n")
	open := r.prompted(q(object{"continue_final_message": true}))
	require.Equal(t, closed, open+"<|im_end|>\n")
	require.Equal(t, open, r.prompted(q(object{"continue_final_message": true, "add_generation_prompt": false})))

	tmpl, err := r.m.Tokenizer.ParseTemplate(
		`{%- for m in messages %}[{{ m.content | trim }}]{% endfor %}{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}{{ who }}`)
	require.NoError(t, err)
	r.s.models[0].Template = tmpl
	require.Equal(t, "[Where?][The sea]", r.prompted(q(nil)))
	require.Equal(t, "[Where?][The sea]<think></think>me", r.prompted(
		q(object{"chat_template_kwargs": object{"enable_thinking": false, "who": "me"}})))
	require.Equal(t, "[Where?][The sea",
		r.prompted(q(object{"continue_final_message": true, "chat_template_kwargs": object{"enable_thinking": false}})))

	tmpl, err = r.m.Tokenizer.ParseTemplate(`{{ messages[0].content }}`)
	require.NoError(t, err)
	r.s.models[0].Template = tmpl
	status, _, text := r.do(t.Context(), "POST", chatPath, marshal(t, q(object{"continue_final_message": true})))
	require.Equal(t, 400, status)
	require.Contains(t, string(text), "last message")
	r.s.models[0].Template = nil // a base model: the contents are joined
	require.Equal(t, "Where? The sea ", r.prompted(q(object{"continue_final_message": true})))
	require.Equal(t,
		r.m.Tokenizer.Decode(append(r.m.Tokenizer.Encode("Where?", tokenizer.EncodeOptions{}),
			r.m.Tokenizer.Encode(" The sea ", tokenizer.EncodeOptions{})...), false),
		r.prompted(q(nil)), "as before")
}

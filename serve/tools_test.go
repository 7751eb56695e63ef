package serve

import (
	"bufio"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/internal/goldens"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// said shows calls as NAME(ARGUMENTS).
func said(calls []ToolCall) (out []string) {
	for _, c := range calls {
		out = append(out, c.Function.Name+"("+c.Function.Arguments+")")
	}
	return out
}

// Calls are found in an answer, however it comes in parts; what is no call stays content.
func TestCallsOfAnAnswer(t *testing.T) {
	const a, b = `{"name": "f", "arguments": {"x": 1.0, "a": "é"}}`, `{"name": "g", "arguments": {}}`
	callA, callB := `f({"x": 1.0, "a": "é"})`, "g({})"
	for _, c := range []struct {
		format        *callFormat
		text, content string
		calls         []string
		single        bool
	}{
		{hermes, "plain < text", "plain < text", nil, false},
		{hermes, "ends in space \n", "ends in space \n", nil, false},
		{hermes, "<tool_call>\n" + a + "\n</tool_call>", "", []string{callA}, false},
		{hermes, "Look:\n\n<tool_call>\n" + a + "\n</tool_call>\n<tool_call>" + b + "</tool_call>\n", "Look:",
			[]string{callA, callB}, false},
		{hermes, "<tool_call>\n" + a + "\n</tool_call>\n<tool_call>" + b + "</tool_call>", "", []string{callA}, true},
		{hermes, "<tool_call>\n" + a + "\n</tool_call>\nDone.", "Done.", []string{callA}, false},
		{hermes, "<tool_call>\n" + a, "", []string{callA}, false},
		{hermes, "<tool_call>\n{\"name\": \"f\", \"argu", "<tool_call>\n{\"name\": \"f\", \"argu", nil, false},
		{hermes, "<tool_call>{broken</tool_call> on", "<tool_call>{broken</tool_call> on", nil, false},
		{hermes, `<tool_call>{"name": "f", "arguments": "{\"q\": 1}"}</tool_call>`, "", []string{`f({"q": 1})`}, false},
		{hermes, `<tool_call>{"name": "f", "arguments": [1]}</tool_call>`,
			`<tool_call>{"name": "f", "arguments": [1]}</tool_call>`, nil, false},
		{hermes, `<tool_call>{"name": "f"}</tool_call>`, "", []string{"f({})"}, false},
		{hermes, "a <tool", "a <tool", nil, false},
		{llama, "plain {text}", "plain {text}", nil, false},
		{llama, `{"name": "f", "parameters": {"q": "x}"}}`, "", []string{`f({"q": "x}"})`}, false},
		{llama, ` <|python_tag|>{"name": "f", "parameters": {}}`, "", []string{"f({})"}, false},
		{llama, `{"name": "f", "parameters": {}}; {"name": "g", "parameters": {"a": 1}}`, "",
			[]string{"f({})", `g({"a": 1})`}, false},
		{llama, `{"name": "f", "parameters": {}}; {"name": "g", "parameters": {"a": 1}}`, "", []string{"f({})"}, true},
		{llama, `{"name": "f", "parameters": {`, `{"name": "f", "parameters": {`, nil, false},
		{llama, `{"answer": 42} is it`, `{"answer": 42} is it`, nil, false},
		{llama, "<|python", "<|python", nil, false},
	} {
		for _, step := range []int{1, 2, 3, 7, 1000} {
			p := newCallParser(&tools{list: []json.RawMessage{nil}, format: c.format, single: c.single})
			content, calls := "", []ToolCall(nil)
			for text := c.text; text != ""; {
				n := min(step, len(text))
				x, more := p.feed(text[:n])
				content, calls, text = content+x, append(calls, more...), text[n:]
			}
			x, more := p.end()
			require.Equal(t, c.content, content+x, "%s by %d", c.text, step)
			require.Equal(t, c.calls, said(append(calls, more...)), "%s by %d", c.text, step)
		}
	}
	p := newCallParser(&tools{}) // a request without tools
	x, calls := p.feed("<tool_call>" + a + "</tool_call>")
	require.Equal(t, "<tool_call>"+a+"</tool_call>", x)
	require.Empty(t, calls)
}

// Conversations with tools that come as OpenAI's client sends them are rendered as transformers renders them.
func TestToolsAreRenderedAsTransformersDoes(t *testing.T) {
	for name, at := range map[string]string{"qwen2.5": "qwen2.5/tokenizer_config.json",
		"qwen3": "qwen3/tokenizer_config.json", "qwq": "chat_templates/Qwen-QwQ-32B.jinja",
		"llama3.1": "chat_templates/meta-llama-Llama-3.1-8B-Instruct.jinja",
		"llama3.2": "chat_templates/meta-llama-Llama-3.2-3B-Instruct.jinja"} {
		text, err := os.ReadFile(goldens.Data(t, "tokenizers/"+at))
		require.NoError(t, err)
		var config struct {
			Template string `json:"chat_template"`
		}
		if strings.HasSuffix(at, ".json") {
			require.NoError(t, json.Unmarshal(text, &config))
			text = []byte(config.Template)
		}
		tmpl, err := tokenizer.ParseTemplate(string(text))
		require.NoError(t, err)
		want := hermes
		if strings.HasPrefix(name, "llama") {
			want = llama
		}
		require.Equal(t, want, formatOf(tmpl), name)
		f, err := os.Open(goldens.Path(t, "chat/"+name+".jsonl"))
		require.NoError(t, err)
		defer f.Close()
		lines, checked := bufio.NewScanner(f), 0
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var c struct {
				Name            string
				Messages, Tools []json.RawMessage
				Generation      bool `json:"add_generation_prompt"`
				Vars            map[string]any
				Text, Error     string
			}
			require.NoError(t, json.Unmarshal(lines.Bytes(), &c))
			if len(c.Tools) == 0 || c.Error != "" || strings.HasPrefix(c.Name, "content_none") ||
				strings.HasPrefix(c.Name, "args_string") {
				continue // serve makes empty text of null, and objects of arguments
			}
			q, err := parse(marshal(t, object{"messages": asClient(t, c.Messages), "tools": c.Tools}), inChat)
			require.NoError(t, err, c.Name)
			messages, err := readMessages(q.messages, tmpl)
			require.NoError(t, err, c.Name)
			vars := map[string]any{"bos_token": "<|begin_of_text|>"}
			for k, v := range c.Vars {
				vars[k] = v
			}
			got, err := tmpl.Render(tokenizer.ChatInput{Messages: messages, Tools: q.tools.list,
				AddGenerationPrompt: c.Generation, Vars: vars})
			require.NoError(t, err, c.Name)
			require.Equal(t, c.Text, got, "%s: %s", name, c.Name)
			checked++
		}
		require.NoError(t, lines.Err())
		require.Greater(t, checked, 5, name)
	}
}

// The template of SmolLM3 has no tools, and Qwen3.5 writes calls otherwise.
func TestTemplatesWithoutKnownCalls(t *testing.T) {
	for _, name := range []string{"HuggingFaceTB-SmolLM3-3B", "Qwen3.5-4B"} {
		text, err := os.ReadFile(goldens.Data(t, "tokenizers/chat_templates/"+name+".jinja"))
		require.NoError(t, err)
		tmpl, err := tokenizer.ParseTemplate(string(text))
		require.NoError(t, err)
		require.Nil(t, formatOf(tmpl), name)
	}
}

// asClient writes the arguments of calls as strings, as OpenAI's API has them.
func asClient(t *testing.T, messages []json.RawMessage) (out []json.RawMessage) {
	for _, raw := range messages {
		m, _ := members(raw)
		f := fields(m)
		if calls, ok := elements(f.get("tool_calls")); ok {
			for i, c := range calls {
				of, _ := members(c)
				call := fields(of)
				function, _ := members(call.get("function"))
				called := fields(function)
				called.set("arguments", marshal(t, string(called.get("arguments"))))
				call.set("function", toObject(called))
				calls[i] = toObject(call)
			}
			f.set("tool_calls", marshal(t, calls))
		}
		out = append(out, toObject(f))
	}
	return out
}

const toolTemplate = "{% for t in tools or [] %}[{{ t | tojson }}]<tool_call>{% endfor %}" +
	"{% for m in messages %}{{ m.content }}{% endfor %}"

func weather() []object {
	return []object{{"type": "function", "function": object{"name": "weather", "parameters": object{"type": "object"}}},
		{"type": "function", "function": object{"name": "time"}}}
}

// A forced call begins with its prefix: as ids of the answer, not of the prompt; what the model writes behind it makes
// a call or stays content.
func TestToolChoice(t *testing.T) {
	r := newRig(t, Options{})
	tmpl, err := r.m.Tokenizer.ParseTemplate(toolTemplate)
	require.NoError(t, err)
	r.s.models[0].Template = tmpl
	ask := func(choice any) result {
		return r.post(chatPath, object{"messages": []object{{"role": "user", "content": "Hi"}}, "tools": weather(),
			"tool_choice": choice, "max_tokens": 6, "temperature": 0, "return_token_ids": true})
	}
	ids := func(text string) []int32 {
		return r.m.Tokenizer.Encode(text, tokenizer.EncodeOptions{ParseSpecial: true})
	}
	free := ask("auto")
	for _, c := range []struct {
		choice any
		prefix string
	}{
		{"required", "<tool_call>\n{\"name\": \""},
		{object{"type": "function", "function": object{"name": "weather"}},
			"<tool_call>\n{\"name\": \"weather\", \"arguments\":"},
	} {
		got := ask(c.choice)
		n := len(ids(c.prefix))
		require.Equal(t, ids(c.prefix), got.Choices[0].IDs[:n])
		require.Equal(t, n+6, got.Usage.Completion)
		require.Equal(t, free.Usage.Prompt, got.Usage.Prompt)
		require.True(t, strings.HasPrefix(got.Choices[0].Message.Content, c.prefix), "broken JSON stays content")
		require.Equal(t, "length", got.Choices[0].Finish)
		want, err := r.eng.Generate(t.Context(), engine.Request{Model: "m", MaxTokens: 6, EOS: r.m.EOS,
			Prompt: append(ids("["+string(marshal0(t, tmpl))+"Hi"), ids(c.prefix)...)})
		require.NoError(t, err)
		require.Equal(t, want.IDs, got.Choices[0].IDs[n:])
		s := r.stream(chatPath, object{"messages": []object{{"role": "user", "content": "Hi"}}, "tools": weather(),
			"tool_choice": c.choice, "max_tokens": 6, "temperature": 0, "return_token_ids": true})
		require.Equal(t, got.Choices[0].IDs, s.ids[0])
		require.Equal(t, got.Choices[0].Message.Content, s.text[0])
	}
	none := ask("none")
	require.Less(t, none.Usage.Prompt, free.Usage.Prompt, "the model is not told of them")

	for _, c := range []struct {
		extra object
		want  string
	}{
		{object{"tool_choice": "required"}, "tool_choice needs tools"},
		{object{"tool_choice": "maybe", "tools": weather()}, "must be none, auto, required or"},
		{object{"tool_choice": object{"type": "function", "function": object{"name": "x"}}, "tools": weather()},
			`names the function "x", which is not among the tools`},
		{object{"tools": object{}}, "tools must be a list of tools, not an object"},
		{object{"tools": []int{1}}, "tools[0] must be an object, not 1"},
		{object{"tools": []object{{"type": "web_search"}}}, `tools[0].type must be "function"`},
		{object{"tools": []object{{"type": "function", "function": object{}}}}, "has no function with a name"},
		{object{"tools": weather(), "tool_choice": "required", "continue_final_message": true,
			"add_generation_prompt": false}, "set only one of them"},
	} {
		q := object{"messages": []object{{"role": "user", "content": "Hi"}}}
		for k, v := range c.extra {
			q[k] = v
		}
		status, _, text := r.do(t.Context(), "POST", chatPath, marshal(t, q))
		require.Equal(t, 400, status)
		var e struct{ Error struct{ Message string } }
		require.NoError(t, json.Unmarshal(text, &e))
		require.Contains(t, e.Error.Message, c.want)
	}
	r.s.models[0].Template = r.m.Template
	status, _, text := r.do(t.Context(), "POST", chatPath, marshal(t, object{"tools": weather(),
		"messages": []object{{"role": "user", "content": "Hi"}}}))
	require.Equal(t, 400, status)
	require.Contains(t, string(text), "model tiny cannot call tools: its chat template has none")
}

// marshal0 is what toolTemplate makes of the tools.
func marshal0(t *testing.T, tmpl *tokenizer.Template) string {
	list := []json.RawMessage{}
	for _, tool := range weather() {
		list = append(list, marshal(t, tool))
	}
	text, err := tmpl.Render(tokenizer.ChatInput{Tools: list})
	require.NoError(t, err)
	return strings.TrimPrefix(text, "[")
}

// The response with calls, whole and in chunks.
func TestToolCallWireFormat(t *testing.T) {
	c := &call{query: &query{n: 1, tools: tools{list: []json.RawMessage{nil}, format: hermes}}, chat: true, choices: 1,
		model: &Model{ID: "m"}, prompts: [][]int32{{1}}}
	pieces := []piece{{text: "Hm.\n<tool"}, {text: "_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>"},
		{text: "\n<tool_call>{\"name\": \"g\"}</tool_call>", finish: "stop"}}
	whole, streamed := newResponseBuilder(c), newResponseBuilder(c)
	var chunks []answer
	for _, p := range pieces {
		whole.add(p)
		chunks = append(chunks, streamed.chunks(p)...)
	}
	m := whole.response().Choices[0]
	require.Equal(t, "tool_calls", *m.Finish)
	require.Equal(t, "Hm.", *m.Message.Content)
	require.Equal(t, []string{`f({"a": 1})`, "g({})"}, said([]ToolCall{m.Message.Calls[0].ToolCall, m.Message.Calls[1].ToolCall}))
	require.Nil(t, m.Message.Calls[0].Index)
	var deltas []string
	for _, a := range chunks {
		x := a.Choices[0]
		text := string(marshal(t, x.Delta))
		for _, c := range x.Delta.Calls {
			require.Regexp(t, "^call_[0-9a-f]{24}$", c.ID)
			text = strings.Replace(text, c.ID, "ID", 1)
		}
		if x.Finish != nil {
			text += " " + *x.Finish
		}
		deltas = append(deltas, text)
	}
	require.Equal(t, []string{`{"role":"assistant","content":""}`, `{"content":"Hm."}`,
		`{"tool_calls":[{"index":0,"id":"ID","type":"function","function":{"name":"f","arguments":"{\"a\": 1}"}}]}`,
		`{"tool_calls":[{"index":1,"id":"ID","type":"function","function":{"name":"g","arguments":"{}"}}]}`,
		"{} tool_calls"}, deltas)
	only := newResponseBuilder(c)
	only.add(piece{text: "<tool_call>{\"name\": \"g\"}</tool_call>", finish: "stop"})
	require.Nil(t, only.response().Choices[0].Message.Content, "null, as in OpenAI's API")
}

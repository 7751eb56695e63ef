package tokenizer

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/internal/goldens"
)

// chatCase is a line of the chat goldens, rendered with transformers 5.23.0.
type chatCase struct {
	Name                string
	Messages            []Message
	Tools               []json.RawMessage
	AddGenerationPrompt bool `json:"add_generation_prompt"`
	Vars                map[string]any
	Text                string
	IDs                 []int32
	Error               string
}

var chatSources = []struct {
	name, tokenizer, file, bos, eos string
}{
	{"smollm2", "smollm2", "", "<|im_start|>", "<|im_end|>"},
	{"qwen2.5", "qwen2.5", "qwen2.5/tokenizer_config.json", "", "<|im_end|>"},
	{"qwen3", "qwen3", "qwen3/tokenizer_config.json", "", "<|im_end|>"},
	{"qwq", "qwen3", "chat_templates/Qwen-QwQ-32B.jinja", "", "<|im_end|>"},
	{"smollm3", "llama3.2", "chat_templates/HuggingFaceTB-SmolLM3-3B.jinja", "", ""},
	{"llama3", "llama3", "llama3/tokenizer_config.json", "<|begin_of_text|>", "<|end_of_text|>"},
	{"llama3.1", "llama3.2", "chat_templates/meta-llama-Llama-3.1-8B-Instruct.jinja", "<|begin_of_text|>",
		"<|eot_id|>"},
	{"llama3.2", "llama3.2", "chat_templates/meta-llama-Llama-3.2-3B-Instruct.jinja", "<|begin_of_text|>",
		"<|eot_id|>"},
}

func TestChatAsReference(t *testing.T) {
	for _, s := range chatSources {
		t.Run(s.name, func(t *testing.T) {
			tok := open(t, s.tokenizer)
			var template *Template
			var err error
			golden := "testdata/goldens/smollm2.chat.jsonl"
			if s.file == "" {
				template, err = tok.Chat()
			} else {
				golden = goldens.Path(t, "chat/"+s.name+".jsonl")
				template, err = ParseTemplate(templateText(t, goldens.Data(t, "tokenizers/"+s.file)))
			}
			require.NoError(t, err)
			eachLine(t, golden, func(n int, c chatCase) {
				vars := map[string]any{"bos_token": s.bos, "eos_token": s.eos}
				for k, v := range c.Vars {
					vars[k] = v
				}
				text, err := template.Render(ChatInput{Messages: c.Messages, Tools: c.Tools,
					AddGenerationPrompt: c.AddGenerationPrompt, Vars: vars})
				if c.Error != "" {
					if !strings.HasPrefix(c.Name, "content_none") {
						require.Error(t, err, "line %d, %s", n, c.Name)
					}
					return
				}
				require.NoError(t, err, "line %d, %s", n, c.Name)
				require.Equal(t, c.Text, text, "line %d, %s", n, c.Name)
				require.Equal(t, c.IDs, tok.Encode(text, EncodeOptions{ParseSpecial: true}), "line %d, %s", n, c.Name)
			})
		})
	}
}

// templateText reads a template file, or the template in a tokenizer_config.json.
func templateText(t testing.TB, file string) string {
	if strings.HasSuffix(file, ".json") {
		var c struct {
			Template string `json:"chat_template"`
		}
		readTestJSON(t, file, &c)
		return c.Template
	}
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(text)
}

// The conversations that the model's own reference values were computed for.
func TestSmolLM2Conversations(t *testing.T) {
	var golden struct {
		Chats []struct {
			Messages []Message
			Text     string
			IDs      []int32
		}
		Passages []struct {
			Text string
			IDs  []int32
		}
	}
	readTestJSON(t, goldens.Path(t, "smollm2/golden.json"), &golden)
	tok := open(t, "smollm2")
	chat, err := tok.Chat()
	require.NoError(t, err)
	require.NotEmpty(t, golden.Chats)
	for _, c := range golden.Chats {
		text, err := chat.Render(ChatInput{Messages: c.Messages, AddGenerationPrompt: true})
		require.NoError(t, err)
		require.Equal(t, c.Text, text)
		require.Equal(t, c.IDs, tok.Encode(text, EncodeOptions{ParseSpecial: true}))
	}
	for _, p := range golden.Passages {
		require.Equal(t, p.IDs, tok.Encode(p.Text, EncodeOptions{}))
	}
}

// A message read from JSON is written as it was read, until a field is changed.
func TestMessageKeepsItsJSON(t *testing.T) {
	const text = `{"zeta":1,"role":"assistant","content":"","tool_calls":[{"function":{"arguments":{"z":1.0,"a":2},"name":"f"}}],"x":null}`
	var m Message
	require.NoError(t, json.Unmarshal([]byte(text), &m))
	require.Equal(t, []ToolCall{{Name: "f", Arguments: json.RawMessage(`{"z":1.0,"a":2}`)}}, m.ToolCalls)
	out, err := json.Marshal(m)
	require.NoError(t, err)
	require.Equal(t, text, string(out))
	m.Content = "changed"
	out, err = json.Marshal(m)
	require.NoError(t, err)
	require.Equal(t,
		`{"role":"assistant","content":"changed","tool_calls":[{"type":"function","function":{"name":"f","arguments":{"z":1.0,"a":2}}}]}`, string(out))
	for _, bad := range []string{`5`, `{"role": 5}`, `{"role": "user", "tool_calls": 3}`} {
		require.Error(t, json.Unmarshal([]byte(bad), &m), bad)
	}
}

func TestRenderErrors(t *testing.T) {
	_, err := ParseTemplate("{% include 'x' %}")
	require.ErrorContains(t, err, "--chat-template")
	c, err := ParseTemplate("{{ raise_exception('not so') }}")
	require.NoError(t, err)
	_, err = c.Render(ChatInput{})
	require.ErrorContains(t, err, "not so")
	_, err = c.Render(ChatInput{Tools: []json.RawMessage{json.RawMessage(`{`)}})
	require.ErrorContains(t, err, "tool 1")
	_, err = c.Render(ChatInput{Vars: map[string]any{"f": func() {}}})
	require.ErrorContains(t, err, "variable f")
	deep := `{"role":"user","content":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`
	var m Message
	require.NoError(t, json.Unmarshal([]byte(deep), &m))
	_, err = c.Render(ChatInput{Messages: []Message{m}})
	require.ErrorContains(t, err, "message 1")
}

// What a message says stays text, whatever the template does with it: the text is that of rendering the real contents,
// and special tokens are those that the template wrote. The reference is transformers', with everything between two of
// the template's special tokens encoded at once (testdata/quoted.py).
func TestQuotedSpecialTokens(t *testing.T) {
	tok := open(t, "smollm2")
	eachLine(t, "testdata/goldens/smollm2.quoted.jsonl", func(n int, c struct {
		chatCase
		Template string
	}) {
		tmpl, err := ParseTemplate(c.Template)
		require.NoError(t, err)
		in := ChatInput{Messages: c.Messages, Tools: c.Tools, AddGenerationPrompt: c.AddGenerationPrompt, Vars: c.Vars}
		text, err := tmpl.Render(in)
		require.NoError(t, err)
		require.Equal(t, c.Text, text, "line %d", n)
		ids, err := tok.EncodeChat(tmpl, in)
		require.NoError(t, err)
		require.Equal(t, c.IDs, ids, "line %d: %s", n, text)
		require.NotEqual(t, tok.Encode(text, EncodeOptions{ParseSpecial: true}), ids,
			"line %d holds no quoted special token", n)
		require.Equal(t, text, tok.Decode(ids, false), "line %d", n)
		// In two parts, as a caller that trains on some of them needs it.
		m, err := tmpl.RenderMarked(in)
		require.NoError(t, err)
		at := strings.LastIndex(m.Text, "<|im_start|>")
		if at < 0 || m.said[at] != 0 {
			return // it is not the template's
		}
		require.Equal(t, ids, append(tok.EncodeMarked(m.Slice(0, at)), tok.EncodeMarked(m.Slice(at, len(m.Text)))...),
			"line %d", n)
	})
}

// Templates that a search for stand-ins would mislead: comparisons, prefixes, lengths and slices see the real text.
func TestQuotedTextIsSeen(t *testing.T) {
	tok := open(t, "smollm2")
	tmpl, err := ParseTemplate("{% set c = messages[0].content %}{{ c == '<|im_end|>!' }} {{ " +
		"c.startswith('<|im_end|>') }} {{ c|length }} {{ c[2:8] }} {{ c[0:10] + 'x' }}" +
		"{{ c.removeprefix('<|im_') }}{{ c[:-1] }}{{ '<|im_end|>' }}")
	require.NoError(t, err)
	m, err := tmpl.RenderMarked(ChatInput{Messages: []Message{{Role: "user", Content: "<|im_end|>!"}}})
	require.NoError(t, err)
	require.Equal(t, "True True 11 im_end <|im_end|>xend|>!<|im_end|><|im_end|>", m.Text)
	ids := tok.EncodeMarked(m)
	end, _ := tok.ID("<|im_end|>")
	require.Equal(t, len(ids)-1, slices.Index(ids, end), "only the template's own is a token")
}

// Without a template the contents follow one another, those in parts too.
func TestEncodeChatWithoutTemplate(t *testing.T) {
	tok := open(t, "smollm2")
	var messages []Message
	require.NoError(t,
		json.Unmarshal(
			[]byte(
				`[{"role":"user","content":[{"type":"text","text":"a <|im_end|>"},{"type":"text","text":" b"}]},{"role":"user","content":null},{"role":"user","content":"c"}]`), &messages))
	ids, err := tok.EncodeChat(nil, ChatInput{Messages: messages})
	require.NoError(t, err)
	require.Equal(t, append(tok.Encode("a <|im_end|>\n b", EncodeOptions{AddSpecial: true}),
		tok.Encode("c", EncodeOptions{})...), ids)
	require.NoError(t, json.Unmarshal([]byte(`[{"role":"user","content":[{"type":"image_url"}]}]`), &messages))
	_, err = tok.EncodeChat(nil, ChatInput{Messages: messages})
	require.ErrorContains(t, err, `message 1: content of type "image_url"`)
}

// A tokenizer that looks for special tokens in normalised text keeps the marks where the normalizer moves them.
func TestQuotedNormalizedTokens(t *testing.T) {
	tok, err := Parse([]byte(`{"added_tokens":[{"id":6,"content":"<s>","special":true,"normalized":true}],
	 "normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Replace","pattern":{"String":"a"},"content":"bbb"}]},
	 "model":{"type":"BPE","vocab":{"_":0,"b":1,"é":2,"<":3,"s":4,">":5},"merges":[]}}`))
	require.NoError(t, err)
	tmpl, err := ParseTemplate("aaae\u0301<s>{% for m in messages %}{{ m.content }}<s>a{% endfor %}")
	require.NoError(t, err)
	ids, err := tok.EncodeChat(tmpl,
		ChatInput{Messages: []Message{{Content: "e\u0301a<s>" + strings.Repeat("e\u0301", 50)}, {Content: "<s>"}}})
	require.NoError(t, err)
	want := slices.Concat(slices.Repeat([]int32{1}, 9), []int32{2, 6, 2, 1, 1, 1, 3, 4, 5},
		slices.Repeat([]int32{2}, 50), []int32{6, 1, 1, 1, 3, 4, 5, 6, 1, 1, 1})
	require.Equal(t, want, ids)
}
